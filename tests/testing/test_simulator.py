from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from streamflow.testing.simulator import Allowance, Call, Reply, Simulator, serve

pytestmark = pytest.mark.asyncio


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Echo(Simulator):
    """Allows three calls in two seconds, two at once."""

    name = "echo"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.arrived = asyncio.Event()

    def identify(self, call: Call) -> tuple[str, str]:
        self.arrived.set()
        return "echo", call.path

    def allowance(self, call: Call) -> Allowance | None:
        if call.path.startswith("/free"):
            return None
        return Allowance(call.query.get("pool", "all"), requests=3, per=2.0, concurrency=2)

    def answer(self, call: Call, key: str) -> Reply:
        if call.path == "/free/endless":
            return Reply(body=b"begin", endless=b"x" * 1000)
        return Reply.json({"path": call.path, "query": call.query, "filling": "." * 100})


async def status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        await response.read()
        return response.status


async def test_a_call_is_refused_when_the_window_before_it_is_full_and_accepted_when_the_first_left_it() -> None:
    clock = Clock()
    async with Echo(clock=clock) as echo, aiohttp.ClientSession() as session:
        seen = []
        for now in (100.0, 100.9, 101.8, 101.9, 102.0, 102.1, 102.95):
            clock.now = now
            seen.append(await status(session, f"{echo.url}/a"))
        assert seen == [200, 200, 200, 429, 200, 429, 200]
        assert echo.refused == 2
        assert echo.calls == {"/a": 7}


async def test_scale_multiplies_the_rate() -> None:
    async with Echo(clock=Clock(), scale=2) as echo, aiohttp.ClientSession() as session:
        assert [await status(session, f"{echo.url}/a") for _ in range(8)] == [200] * 6 + [429] * 2
    clock = Clock()
    async with Echo(clock=clock, scale=0.1) as echo, aiohttp.ClientSession() as session:
        seen = []
        for now in (100.0, 106.0, 106.7):  # 0.3 in 2 s is 1 in 6.67 s
            clock.now = now
            seen.append(await status(session, f"{echo.url}/a"))
        assert seen == [200, 429, 200]


async def test_pools_are_counted_apart() -> None:
    async with Echo(clock=Clock()) as echo, aiohttp.ClientSession() as session:
        for _ in range(3):
            assert await status(session, f"{echo.url}/a?pool=one") == 200
        assert await status(session, f"{echo.url}/a?pool=one") == 429
        assert await status(session, f"{echo.url}/a?pool=two") == 200


async def test_more_calls_at_once_than_allowed_are_refused_and_a_client_that_hangs_up_frees_its_place() -> None:
    async with Echo(faults="hang=1") as echo, aiohttp.ClientSession() as session:
        hanging = []
        for _ in range(2):
            echo.arrived.clear()
            hanging.append(asyncio.create_task(status(session, f"{echo.url}/a")))
            await echo.arrived.wait()
        assert await status(session, f"{echo.url}/a") == 429
        assert echo.max_in_flight == 2
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        while echo.in_flight:  # noqa: ASYNC110  the server learns of it by its socket
            await asyncio.sleep(0)
        assert echo.refused == 1


@pytest.mark.parametrize(("faults", "expected"), [("503=1:7", 503), ("429=1:7", 429), ("404=1", 404)])
async def test_faults_answer_a_status_with_retry_after(faults: str, expected: int) -> None:
    async with (
        Echo(faults=faults) as echo,
        aiohttp.ClientSession() as session,
        session.get(f"{echo.url}/a") as response,
    ):
        assert response.status == expected
        assert response.headers.get("Retry-After") == ("7" if expected != 404 else None)


async def test_faults_cut_the_connection_with_and_without_half_a_body() -> None:
    async with Echo(faults="reset=1") as echo, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await status(session, f"{echo.url}/a")
        echo.adjust({"faults": "half=1"})
        async with session.get(f"{echo.url}/a") as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


@pytest.mark.parametrize(("fault", "type"), [("html", "text/html"), ("empty", "application/json")])
async def test_faults_answer_other_bodies(fault: str, type: str) -> None:
    async with (
        Echo(faults=f"{fault}=1") as echo,
        aiohttp.ClientSession() as session,
        session.get(f"{echo.url}/a") as response,
    ):
        assert response.content_type == type
        assert b"filling" not in await response.read()


async def test_an_endless_body_ends_when_the_client_goes() -> None:
    async with Echo() as echo, aiohttp.ClientSession() as session:
        async with session.get(f"{echo.url}/free/endless") as response:
            assert (await response.content.readexactly(200_000)).startswith(b"beginx")
        assert await status(session, f"{echo.url}/free/a") == 200


async def test_the_same_seed_means_the_same_faults_in_any_order() -> None:
    async def failed(paths: list[str], seed: int) -> set[str]:
        async with Echo(faults="500=0.3", seed=seed) as echo, aiohttp.ClientSession() as session:
            return {path for path in paths if await status(session, f"{echo.url}/free/{path}") == 500}

    paths = [str(number) for number in range(60)]
    first = await failed(paths, 1)
    assert 8 <= len(first) <= 28
    assert await failed(paths[::-1], 1) == first
    assert await failed(paths, 2) != first


@pytest.mark.parametrize("faults", ["503", "503=x", "fire=0.1", "503=2", "503=0.6,reset=0.6", "200=0.1", "503=0.1:-2"])
async def test_a_wrong_fault_is_told(faults: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Echo(faults=faults)


async def test_stats_over_http_are_those_in_process_and_can_be_forgotten() -> None:
    async with Echo() as echo, aiohttp.ClientSession() as session:
        await status(session, f"{echo.url}/free/%C3%A9%2F1?a=b%20c")
        async with session.get(f"{echo.url}/_simulator/stats") as response:
            stats = await response.json()
        assert stats == echo.stats()
        assert stats["calls"] == {"/free/é/1": 1}
        assert stats["total"] == 1
        async with session.delete(f"{echo.url}/_simulator/stats") as response:
            assert (await response.json())["total"] == 0


async def test_settings_change_over_http() -> None:
    async with Echo() as echo, aiohttp.ClientSession() as session:
        async with session.post(f"{echo.url}/_simulator/settings", json={"faults": "503=1", "scale": 5}) as response:
            assert response.status == 200
        assert await status(session, f"{echo.url}/a") == 503
        for wrong in ({"speed": 1}, {"faults": "fire=1"}, [1], {"latency": "x"}):
            async with session.post(f"{echo.url}/_simulator/settings", json=wrong) as response:
                assert response.status == 400
        assert await status(session, f"{echo.url}/a") == 503


async def test_a_simulator_that_does_not_run_says_so() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = Echo().url


async def test_serve_announces_the_environment_of_all_and_stops() -> None:
    class Other(Echo):
        name = "other"

    announced: dict[str, str] = {}
    stop = asyncio.Event()
    started = asyncio.Event()

    def announce(environment: Any) -> None:
        announced.update(environment)
        started.set()

    running = asyncio.create_task(serve([Echo(), Other()], announce=announce, stop=stop, signals=()))
    await started.wait()
    assert sorted(announced) == ["STREAMFLOW_SERVICES__ECHO__BASE_URL", "STREAMFLOW_SERVICES__OTHER__BASE_URL"]
    async with aiohttp.ClientSession() as session:
        for url in announced.values():
            assert await status(session, f"{url}/free/a") == 200
        stop.set()
        await running
        with pytest.raises(aiohttp.ClientConnectionError):
            await status(session, f"{url}/free/b")
