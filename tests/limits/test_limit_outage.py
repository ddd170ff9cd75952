"""The line of an API that is away: it waits, probes, goes on, gives up; in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from streamflow import deadline
from streamflow.errors import NotFound, Overloaded, ServiceError, Unavailable
from streamflow.events import BreakerClosed, BreakerOpened, Event
from streamflow.limits.breaker import MINIMUM
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window
from streamflow.testing.clock import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def steady() -> float:
    return 0.5


class Shop:
    """A service that is away at times. `calls` are the times at which it was called."""

    def __init__(self, away: Callable[[float], bool], latency: float = 0.0) -> None:
        self.away = away
        self.latency = latency
        self.calls: list[float] = []

    async def answer(self) -> None:
        self.calls.append(now())
        await asyncio.sleep(self.latency)
        if self.away(now()):
            raise Overloaded("shop answered 503", service="shop", status=503)


async def buy(limit: Limit, shop: Shop) -> ServiceError | None:
    """One call, and how it failed."""
    try:
        async with limit() as grant:
            grant.sent()
            await shop.answer()
    except ServiceError as error:
        return error
    return None


async def breaks(limit: Limit) -> None:
    """Let calls fail until the breaker is open."""
    for _ in range(MINIMUM):
        await buy(limit, Shop(lambda time: True))
    assert limit.snapshot().breaker == "open"


def test_while_it_is_away_one_call_probes_and_the_others_wait_in_their_order() -> None:
    async def main() -> None:
        told: list[Event] = []
        limit = Limit("shop", rate=10, concurrency=5, random=steady, hook=told.append)
        shop, bought = Shop(lambda time: time < 20), list[int]()

        async def work(number: int) -> None:
            while await buy(limit, shop) is not None:
                pass
            bought.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(work(number))
            await asyncio.sleep(15)
            state = limit.snapshot()
            assert (state.breaker, state.in_use, state.waiting) == ("open", 0, 30)
            assert 14 < state.away_for < 15
            assert state.failure == "Overloaded: shop answered 503"
        assert len(bought) == 30
        probes = [time for time in shop.calls if 1 < time < 20]
        assert all(later - earlier >= 0.99 for earlier, later in pairwise(probes))
        assert 12 <= len(probes) <= 20
        back = next(time for time in shop.calls if time >= 20)
        assert back <= 22.5  # a tenth of the outage
        assert now() <= back + 30 / 9.8 + 0.2  # all of the rate, at once
        assert [type(event) for event in told if isinstance(event, BreakerOpened | BreakerClosed)] == [
            BreakerOpened,
            BreakerClosed,
        ]

    run_virtual(main())


def test_a_failed_call_tells_whether_the_outage_is_to_blame() -> None:
    async def main() -> list[bool]:
        limit, shop = Limit("shop", random=steady), Shop(lambda time: True)
        errors = [await buy(limit, shop) for _ in range(8)]
        return [error is not None and error.outage for error in errors]

    assert run_virtual(main()) == [False] * 4 + [True] * 4


@pytest.mark.parametrize("turns", range(6))
def test_a_probe_that_is_cancelled_frees_its_place(turns: int) -> None:
    async def main() -> float:
        limit = Limit("shop", concurrency=3, random=steady)
        await breaks(limit)
        shop = Shop(lambda time: False, latency=100.0)
        probe = asyncio.create_task(buy(limit, shop))
        others = [asyncio.create_task(buy(limit, Shop(lambda time: False))) for _ in range(5)]
        await asyncio.sleep(0.999_999)
        if turns:
            await asyncio.sleep(0.000_002)
        for _ in range(turns):
            await asyncio.sleep(0)
        probe.cancel()
        assert await asyncio.gather(*others) == [None] * 5
        assert limit.snapshot().breaker == "closed"
        return now()

    assert run_virtual(main()) == pytest.approx(1.0, abs=0.01)


def test_what_is_waited_for_is_named_and_no_deadline_runs_meanwhile() -> None:
    async def main() -> None:
        item = deadline.Deadline(asyncio.get_running_loop().time)
        item.at = 5.0
        limit = Limit("shop", concurrency=5, random=steady)

        async def work() -> None:
            deadline.current.set(item)
            async with limit():
                await asyncio.sleep(3)

        under_way = [asyncio.create_task(buy(limit, Shop(lambda time: True, latency=20))) for _ in range(5)]
        await settle()
        task = asyncio.create_task(work())
        await settle()
        assert item.waiting == "limit shop"
        limit.pause(10, "asked to")
        assert item.waiting == "pause shop"
        await asyncio.sleep(15)
        assert item.waiting == "limit shop"
        await asyncio.wait(under_way)
        assert item.waiting == "breaker shop"
        await task
        assert (item.waiting, now()) == (None, pytest.approx(24, abs=0.1))
        assert item.at == pytest.approx(now() + 2, abs=0.1)

    run_virtual(main())


def test_a_pause_and_a_breaker_are_waited_for_both() -> None:
    async def main() -> float:
        limit = Limit("shop", rate=1, concurrency=1, random=steady)
        limit.refused({"retry-after": "1"})
        await breaks(limit)
        opened = now()
        limit.refused({"retry-after": "7"})
        assert await buy(limit, Shop(lambda time: False)) is None
        return now() - opened

    assert run_virtual(main()) == pytest.approx(7, abs=0.01)


def test_beyond_the_outage_everyone_in_the_line_is_told_and_nobody_before() -> None:
    async def main() -> None:
        limit = Limit("shop", rate=10, concurrency=3, outage=900, random=steady, wall_clock=lambda: 1.8e9 + now())
        shop, errors = Shop(lambda time: True), list[tuple[float, ServiceError]]()

        async def work() -> None:
            while True:
                error = await buy(limit, shop)
                assert error is not None
                errors.append((now(), error))
                if isinstance(error, Unavailable):
                    return
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(work())
        ends = [time for time, error in errors if isinstance(error, Unavailable)]
        assert len(ends) == 20
        assert min(ends) == pytest.approx(900, abs=2)
        assert max(ends) <= min(ends) + 1
        assert len(shop.calls) < 100
        assert "shop has not been available since 20" in str(errors[-1][1])
        assert "Overloaded: shop answered 503" in str(errors[-1][1])
        assert errors[-1][1].service == "shop"

    run_virtual(main())


def test_a_probe_under_way_is_waited_for_before_giving_up() -> None:
    async def main() -> None:
        limit = Limit("shop", concurrency=3, outage=60, random=steady)
        await breaks(limit)
        await asyncio.sleep(59)
        slow = asyncio.create_task(buy(limit, Shop(lambda time: False, latency=30)))
        await settle()
        other = asyncio.create_task(buy(limit, Shop(lambda time: False)))
        assert await asyncio.gather(slow, other) == [None, None]
        assert now() == pytest.approx(89, abs=0.1)

    run_virtual(main())


def test_whoever_comes_long_after_it_went_away_may_probe() -> None:
    async def main() -> None:
        limit = Limit("shop", outage=60, random=steady)
        await breaks(limit)
        await asyncio.sleep(3600)
        assert await buy(limit, Shop(lambda time: False)) is None

    run_virtual(main())


def test_a_pause_longer_than_the_outage_is_one() -> None:
    async def main() -> None:
        limit = Limit("shop", outage=900, random=steady, wall_clock=lambda: 1.8e9 + now())
        limit.refused({"retry-after": "7200"})
        error = await buy(limit, Shop(lambda time: False))
        assert isinstance(error, Unavailable)
        assert "shop asked to wait 7200 s, until 20" in str(error)
        assert now() == pytest.approx(0, abs=0.1)  # it is known at once

    run_virtual(main())


def test_whoever_comes_near_the_end_of_a_long_pause_waits_for_it() -> None:
    async def main() -> float:
        limit = Limit("shop", outage=900)
        limit.refused({"retry-after": "7200"})
        await asyncio.sleep(7199)
        assert await buy(limit, Shop(lambda time: False)) is None
        return now()

    assert run_virtual(main()) == pytest.approx(7200, abs=0.1)


def test_a_pause_that_comes_late_in_a_long_wait_for_others_is_no_outage() -> None:
    async def main() -> None:
        limit = Limit("shop", concurrency=1, outage=900)
        slow = asyncio.create_task(buy(limit, Shop(lambda time: False, latency=1000)))
        await settle()
        other = asyncio.create_task(buy(limit, Shop(lambda time: False)))
        await asyncio.sleep(999)
        limit.pause(600, "asked to")
        assert await asyncio.gather(slow, other) == [None, None]

    run_virtual(main())


def test_a_budget_that_is_used_up_for_longer_than_the_outage_is_one() -> None:
    async def main() -> None:
        limit = Limit("shop", windows=(Window(3, 86_400),), outage=900, wall_clock=lambda: 1.8e9 + now())
        errors = [await buy(limit, Shop(lambda time: False)) for _ in range(4)]
        assert errors[:3] == [None] * 3
        assert isinstance(errors[3], Unavailable)
        assert "its budget is used up, until 20" in str(errors[3])
        assert now() == pytest.approx(0, abs=0.1)

    run_virtual(main())


def test_what_calls_under_way_may_give_back_is_waited_for() -> None:
    async def main() -> None:
        limit = Limit("shop", windows=(Window(1000, 86_400, "tokens"),), outage=900)

        async def call() -> None:
            async with limit(tokens=600) as grant:
                grant.sent()
                await asyncio.sleep(20)
                grant.cost(tokens=200)

        await asyncio.gather(*(call() for _ in range(3)))
        assert now() == pytest.approx(60, abs=0.1)

    run_virtual(main())


async def hourly(left: int) -> list[float]:
    """When calls go with so many left of GitHub's 60, which return in 55 minutes; the run's `outage` is 15."""
    limit, times = Limit("github", concurrency=1, outage=900), list[float]()
    for remaining in range(left, -1, -1):
        reset = {"x-ratelimit-limit": "60", "x-ratelimit-reset": f"{max(0.0, 3300 - now()):.0f}"}
        limit.learn({**reset, "x-ratelimit-remaining": str(remaining)})
        try:
            async with limit() as grant:
                grant.sent()
                times.append(now())
        except Unavailable:
            times.append(-1)
    return times


def test_what_is_left_of_a_small_budget_is_used_whether_it_lasts_or_not() -> None:
    assert run_virtual(hourly(4)) == pytest.approx([0, 825, 1650, 2475, 3300], abs=5)
    assert run_virtual(hourly(3)) == pytest.approx([0, 0, 0, -1], abs=0.1)  # else they would be 1,100 s apart


def test_what_is_merely_slow_or_short_is_no_outage() -> None:
    async def main() -> None:
        slow = Limit("slow", concurrency=1, outage=900)
        rare = Limit("rare", rate=1, per=3600, outage=900)
        pause = Limit("pause", outage=900)

        async def short_pauses() -> None:
            for _ in range(5):
                pause.pause(600, "asked to")
                assert await buy(pause, Shop(lambda time: False)) is None

        calls = [buy(slow, Shop(lambda time: False, latency=1000)) for _ in range(3)]
        calls += [buy(rare, Shop(lambda time: False)) for _ in range(3)]
        assert await asyncio.gather(*calls) == [None] * 6
        await short_pauses()

    run_virtual(main())


def test_no_rate_that_a_service_tells_holds_a_run_for_longer_than_a_minute_a_call() -> None:
    async def main() -> None:
        limit, shop = Limit("shop", rate=1, per=1, outage=900, margin=0.0), Shop(lambda time: False)
        for interval in ("60s", "999999999999"):
            limit.learn({"x-rate-limit-limit": "1", "x-rate-limit-interval": interval})
            assert await buy(limit, shop) is None
            assert await buy(limit, shop) is None
        assert shop.calls == pytest.approx([0, 60, 120, 180], abs=0.1)

    run_virtual(main())


def test_without_an_outage_the_line_waits_for_ever() -> None:
    async def main() -> float:
        limit, shop = Limit("shop", random=steady), Shop(lambda time: time < 1e6)
        while await buy(limit, shop) is not None:
            pass
        return now()

    assert run_virtual(main()) == pytest.approx(1e6, abs=40)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_line_goes_on(seed: int) -> None:
    """Breaker, pauses, slots, windows, overloads and cancellations, at random."""
    draw = random.Random(seed)

    async def main() -> None:
        limit = Limit(
            "shop",
            rate=draw.choice([None, 5]),
            concurrency=draw.choice([None, 1, 3]),
            windows=draw.choice([(), (Window(50, 10),)]),
            adaptive=draw.random() < 0.3,
            random=draw.random,
        )
        bad = [(start, start + draw.expovariate(0.2)) for start in (draw.uniform(0, 60) for _ in range(5))]
        shop = Shop(lambda time: any(begin <= time < end for begin, end in bad), latency=0.2)

        async def work() -> None:
            for _ in range(10):
                if draw.random() < 0.2:
                    raise NotFound("404", service="shop", status=404)
                await buy(limit, shop)
                await asyncio.sleep(draw.uniform(0, 2))

        tasks = [asyncio.create_task(work()) for _ in range(15)]
        for _ in range(30):
            await asyncio.sleep(draw.uniform(0, 3))
            if draw.random() < 0.3:
                limit.pause(draw.uniform(0, 5), "asked to")
            if draw.random() < 0.3:
                draw.choice(tasks).cancel()
        await asyncio.wait(tasks)
        state = limit.snapshot()
        assert (state.in_use, state.waiting) == (0, 0)
        while await buy(limit, shop) is not None:
            pass
        assert limit.snapshot().breaker == "closed"

    run_virtual(main(), latest=1000)
