"""What limits used outlives the process, however it ends; in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import pytest

from streamflow.errors import StorageError
from streamflow.limits.keeping import keeping
from streamflow.limits.limit import Limit
from streamflow.limits.registry import Registry
from streamflow.limits.window import Window
from streamflow.testing.clock import run_virtual

T = TypeVar("T")


class Disk:
    """Keeps texts; a save takes `latency` seconds, and while `broken` it fails."""

    def __init__(self, texts: Mapping[str, str] | None = None, latency: float = 0.01) -> None:
        self.texts = dict(texts or {})
        self.latency = latency
        self.broken = False
        self.saves = 0

    async def keep(self, texts: Mapping[str, str]) -> None:
        await asyncio.sleep(self.latency)
        if self.broken:
            raise StorageError("the disk is full")
        self.texts |= texts
        self.saves += 1

    async def kept(self, prefix: str) -> Mapping[str, str]:
        return {name: text for name, text in self.texts.items() if name.startswith(prefix)}


def now() -> float:
    return asyncio.get_running_loop().time()


def process(limits: Registry, disk: Disk, work: Coroutine[Any, Any, T]) -> T:
    """Run with the limits kept, in a loop of its own that starts at 0."""

    async def main() -> T:
        async with keeping(limits, disk):
            return await work

    return run_virtual(main())


def made(began: float, *windows: Window, **numbers: Any) -> tuple[Registry, Limit]:
    """A limit of a process that began at that Unix time."""
    limits = Registry(wall_clock=lambda: began + now())
    return limits, limits.limit("api", windows=windows, **numbers)


async def call(limit: Limit, calls: int = 1, every: float = 0.0) -> list[float]:
    times = []
    for _ in range(calls):
        async with limit() as grant:
            grant.sent()
            times.append(now())
        await asyncio.sleep(every)
    return times


def test_after_a_clean_end_a_long_window_goes_on_as_it_was() -> None:
    disk, window = Disk(), Window(100, 3600)
    limits, limit = made(1000, window)
    process(limits, disk, call(limit, 60, every=1))
    limits, limit = made(2000, window)
    used = process(limits, disk, call(limit, 41))
    assert used[39] < 1
    assert used[40] == pytest.approx(3600 - 1000 + 1, abs=40)  # the first of the earlier process has left the window


@pytest.mark.parametrize("seed", range(20))
def test_whenever_processes_are_killed_no_long_window_holds_more_than_its_size(seed: int) -> None:
    draw = random.Random(seed)
    windows = Window(50, 60), Window(200, 600, "points")
    sends: list[tuple[float, float]] = []
    texts: dict[str, str] = {}
    began = 1000.0
    for _ in range(12):
        limits, limit = made(began, *windows)
        disk = Disk(texts, latency=draw.random())
        until = draw.choice([0.001, 0.3, 3, 40, 90])

        async def work(limit: Limit = limit, disk: Disk = disk, until: float = until, began: float = began) -> None:
            async def worker() -> None:
                while True:
                    points = draw.randint(1, 20)
                    async with limit(points=points) as grant:
                        await asyncio.sleep(draw.random() * 0.1)
                        grant.sent()
                        sends.append((began + now(), points))

            workers = [asyncio.create_task(worker()) for _ in range(8)]
            await asyncio.sleep(until)
            texts.clear()
            texts.update(disk.texts)  # what a kill leaves
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

        process(limits, disk, work())
        began += until + draw.random()
    for start, _ in sends:
        assert sum(start <= at < start + 60 for at, _ in sends) <= 50
        assert sum(points for at, points in sends if start <= at < start + 600) <= 200


@pytest.mark.parametrize(
    ("size", "cost", "number", "lost"),
    [
        (1000, 1, 300, 20),  # a fiftieth
        (1000, 1, 0, 20),
        (10, 1, 5, 2),  # two calls
        (4, 1, 1, 1),  # a quarter
        (1, 1, 0, 1),  # a call
        (1000, 5, 100, 20),
        (1000, 50, 8, 100),
        (1000, 200, 2, 250),
        (1000, 600, 0, 600),
    ],
)
def test_a_kill_costs_a_fiftieth_of_a_window_or_two_calls(size: int, cost: int, number: int, lost: int) -> None:
    """`lost` is the most that counts as used beyond the calls that were made, at whatever moment it ends."""
    window = Window(size, 3600, "tokens")
    limits, limit = made(1000, window)
    disk = Disk()

    async def killed() -> list[tuple[float, dict[str, str]]]:
        async with limit(tokens=cost) as grant:
            grant.sent()
        left = []
        for sent in range(1, number + 2):
            await asyncio.sleep(0.1)
            left.append((sent * cost, dict(disk.texts)))
            if sent <= number:
                async with limit(tokens=cost) as grant:
                    grant.sent()
        return left

    for used, texts in process(limits, disk, killed()):
        limits, limit = made(1040, window)

        async def read(limit: Limit = limit) -> float | None:
            return limit.snapshot().windows[0].used

        counted = process(limits, Disk(texts), read())
        assert counted is not None
        assert used <= counted <= used + lost


@pytest.mark.parametrize(
    ("idle", "first"),
    [(0.0, 10.2), (4.0, 6.2), (60.0, 0.0)],
)
def test_a_short_window_starts_spent_unless_it_was_idle(idle: float, first: float) -> None:
    disk = Disk()
    limits, limit = made(1000, Window(5, 10))
    ended = process(limits, disk, call(limit, 2))[-1]
    limits, limit = made(1000 + ended + idle, Window(5, 10))
    assert process(limits, disk, call(limit)) == pytest.approx([first], abs=0.1)


def test_an_even_spacing_starts_spent_too() -> None:
    disk = Disk()
    limits, limit = made(1000, rate=1, per=3.0)
    assert process(limits, disk, call(limit)) == pytest.approx([0.0], abs=0.001)
    limits, limit = made(1000, rate=1, per=3.0)
    assert process(limits, disk, call(limit)) == pytest.approx([3.06], abs=0.1)


def test_calls_wait_until_what_they_use_is_saved() -> None:
    disk = Disk(latency=1.0)
    limits, limit = made(1000, Window(100, 3600))
    times = process(limits, disk, call(limit, 3))
    assert times == pytest.approx([1, 1, 2], abs=0.1)  # two calls are saved at a time


def test_while_nothing_can_be_saved_calls_wait_and_then_go_on() -> None:
    disk = Disk()
    disk.broken = True
    limits, limit = made(1000, Window(100, 3600))

    async def work() -> list[float]:
        asyncio.get_running_loop().call_later(30, setattr, disk, "broken", False)
        return await call(limit)

    assert process(limits, disk, work()) == pytest.approx([30], abs=2)


def test_where_saving_breaks_down_the_work_is_stopped_with_its_error() -> None:
    disk = Disk()
    limits, limit = made(1000, Window(100, 3600))

    async def broken(texts: Mapping[str, str]) -> None:
        raise ValueError("no active connection")

    disk.keep = broken  # type: ignore[method-assign]

    async def main() -> None:
        with pytest.raises(ValueError, match="no active connection"):
            async with keeping(limits, disk):
                await call(limit)  # it would wait for ever
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run_virtual(main())


def test_what_breaks_down_at_the_end_is_told_too() -> None:
    disk = Disk()
    limits, limit = made(1000, Window(100, 3600))

    async def work() -> None:
        await call(limit)
        disk.keep = broken  # type: ignore[method-assign]

    async def broken(texts: Mapping[str, str]) -> None:
        raise ValueError("no active connection")

    with pytest.raises(ValueError, match="no active connection"):
        process(limits, disk, work())


def test_what_is_not_used_is_not_saved() -> None:
    disk = Disk()
    limits, _ = made(1000, Window(5, 10), Window(100, 3600))
    process(limits, disk, asyncio.sleep(100))
    assert disk.saves == 0
    limits, limit = made(1000, Window(100, 3600))
    process(limits, disk, call(limit, 20, every=100))
    assert disk.saves < 20


def test_a_text_that_cannot_be_read_starts_short_windows_spent_and_stops_nothing() -> None:
    disk = Disk({"limit:api": '{"windows": 7}'})
    limits, limit = made(1000, Window(5, 10), Window(100, 3600))
    assert process(limits, disk, call(limit)) == pytest.approx([10.2], abs=0.1)
