"""The grant line: order, spacing, pauses, cancellation; in virtual time."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from streamflow import deadline
from streamflow.errors import CostTooLarge
from streamflow.limits.allowance import Allowance
from streamflow.limits.limit import Limit
from streamflow.testing.clock import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def grants(limit: Limit, waiters: int, calls: int, hold: float = 0.0) -> list[float]:
    """The times at which `waiters` tasks that make `calls` calls each were granted."""
    times: list[float] = []

    async def work() -> None:
        for _ in range(calls):
            async with limit():
                times.append(now())
                if hold:
                    await asyncio.sleep(hold)

    async with asyncio.TaskGroup() as group:
        for _ in range(waiters):
            group.create_task(work())
    return times


def busiest(times: Sequence[float], window: float) -> int:
    """The most events in any half-open window of that length."""
    return max(bisect.bisect_left(times, start + window - 1e-9) - i for i, start in enumerate(times))


@pytest.mark.parametrize(("rate", "per"), [(1, 1.0), (5, 1.0), (50, 1.0), (100, 1.0), (2000, 1.0), (900, 60.0)])
def test_under_200_waiters_the_rate_is_used_and_no_window_exceeds_it(rate: int, per: float) -> None:
    limit = Limit("api", rate=rate, per=per)
    calls = max(1, rate // 40)
    times = run_virtual(grants(limit, waiters=200, calls=calls))
    assert len(times) == 200 * calls
    achieved = (len(times) - 1) / (times[-1] - times[0])
    assert achieved == pytest.approx(rate / per * 0.98, rel=0.01)
    assert busiest(times, per) <= rate


def test_late_wake_ups_are_made_up_for_without_exceeding_a_window() -> None:
    """Real timers fire late; a millisecond lost at every grant would be a tenth of a rate of 100."""

    async def main() -> list[float]:
        limit, times = Limit("api", rate=100), list[float]()
        for number in range(400):
            async with limit():
                times.append(now())
            await asyncio.sleep(0.0087 if number % 2 else 0.0117)  # a place is due every 0.0102 s
        return times

    times = run_virtual(main())
    assert (len(times) - 1) / (times[-1] - times[0]) == pytest.approx(98, rel=0.01)
    assert busiest(times, 1.0) <= 100


async def arrivals(
    limit: Limit, *, callers: int, calls: int, latency: float, opening: Callable[[int], float]
) -> list[float]:
    """When the calls of `callers` tasks reach the service. Each takes an idle connection, or opens one, the n-th in
    `opening(n)` seconds; `latency` after it is sent, it has its answer."""
    times: list[float] = []
    idle: list[object] = []
    opened = 0

    async def call() -> None:
        nonlocal opened
        async with limit() as grant:
            if idle:
                idle.pop()
            else:
                opened += 1
                await asyncio.sleep(opening(opened - 1))
            grant.sent()
            times.append(now())
            await asyncio.sleep(latency)
            idle.append(object())

    async def work() -> None:
        for _ in range(calls):
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(work())
    return sorted(times)


@pytest.mark.parametrize(
    "opening",
    [
        lambda number: 0.15,
        lambda number: 0.15 if number == 0 else 0.0,
        lambda number: 0.9 - 0.1 * number if number < 9 else 0.0,  # all of them at once
        lambda number: 5.0 if number % 2 else 0.0,
    ],
)
@pytest.mark.parametrize("latency", [0.01, 0.5, 2.0])
@pytest.mark.parametrize(("rate", "concurrency", "burst"), [(10, 3, 1), (10, None, 1), (10, None, 4), (1, None, 1)])
def test_calls_that_leave_late_fill_no_window(
    rate: int, concurrency: int | None, burst: int, latency: float, opening: Callable[[int], float]
) -> None:
    """The first calls open connections: granted evenly, they would arrive within one window with those after them."""
    limit = Limit("api", rate=rate, concurrency=concurrency, burst=burst)
    times = run_virtual(arrivals(limit, callers=20, calls=3, latency=latency, opening=opening))
    assert len(times) == 60
    assert busiest(times, 1.0) <= rate + burst - 1


def test_while_nothing_is_sent_no_more_than_a_window_is_granted() -> None:
    async def main() -> None:
        limit, connected = Limit("api", rate=10), asyncio.Event()
        times: list[float] = []

        async def call() -> None:
            async with limit() as grant:
                await connected.wait()
                grant.sent()
                times.append(now())

        async with asyncio.TaskGroup() as group:
            for _ in range(15):
                group.create_task(call())
            await asyncio.sleep(3600)
            assert limit.snapshot().granted == 10
            connected.set()
        assert busiest(times, 1.0) == 10

    run_virtual(main())


def test_a_call_that_does_not_tell_counts_when_it_ends() -> None:
    async def main() -> list[float]:
        limit, times = Limit("api", rate=1, margin=0.0), list[float]()

        async def call() -> None:
            async with limit():
                times.append(now())
                await asyncio.sleep(5)  # it may be sent at any time of these

        await asyncio.gather(call(), call())
        return times

    assert run_virtual(main()) == pytest.approx([0.0, 6.0], abs=1e-3)


def test_a_request_that_is_repeated_counts_twice() -> None:
    async def main() -> list[float]:
        limit, times = Limit("api", rate=3, margin=0.0), list[float]()
        for again in (True, False, False):
            async with limit() as grant:
                grant.sent()
                times.append(now())
                if again:
                    grant.sent()
        return times

    assert run_virtual(main()) == pytest.approx([0.0, 1 / 3, 1.0], abs=1e-3)


@pytest.mark.parametrize("latency", [0.05, 0.5])
@pytest.mark.parametrize(("rate", "per"), [(5, 1.0), (50, 1.0), (200, 1.0), (5, 0.1), (300, 60.0)])
def test_long_calls_on_open_connections_use_the_rate(rate: int, per: float, latency: float) -> None:
    limit = Limit("api", rate=rate, per=per)
    # A loop is never quite prompt: between the grant and the sending pass a few tenths of a millisecond.
    prompt = run_virtual(arrivals(limit, callers=200, calls=3, latency=latency, opening=lambda number: 0.0003))
    assert (len(prompt) - 1) / (prompt[-1] - prompt[0]) == pytest.approx(rate / per * 0.98, rel=0.01)
    assert busiest(prompt, per) <= rate


def test_the_time_that_grants_were_held_is_added_up() -> None:
    async def main() -> None:
        limit = Limit("api", concurrency=2)
        await grants(limit, waiters=3, calls=2, hold=5)
        assert limit.snapshot().held == pytest.approx(30)
        async with limit():
            await asyncio.sleep(7)
            assert limit.snapshot().held == pytest.approx(37)  # those under way so far

    run_virtual(main())


def test_an_idle_limit_lets_only_its_burst_through_at_once() -> None:
    async def main(burst: int) -> int:
        limit = Limit("api", rate=10, burst=burst)
        await grants(limit, waiters=1, calls=3)
        await asyncio.sleep(3600)
        start = now()
        times = await grants(limit, waiters=20, calls=1)
        assert busiest(times, 1.0) <= 10 + burst
        return sum(at - start < 0.01 for at in times)

    assert run_virtual(main(1)) == 1
    assert run_virtual(main(4)) == 4


def test_at_most_the_concurrency_is_in_flight_and_all_of_it_is_used() -> None:
    async def main() -> tuple[int, float]:
        limit, most, inside = Limit("api", concurrency=3), 0, 0

        async def work() -> None:
            nonlocal most, inside
            async with limit():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(1)
                inside -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(work())
        assert limit.snapshot().in_use == 0
        return most, now()

    most, took = run_virtual(main())
    assert most == 3
    assert took == pytest.approx(10)


def test_grants_are_given_in_order_of_arrival() -> None:
    async def main() -> list[int]:
        limit, order = Limit("api", rate=10, concurrency=2), list[int]()

        async def work(number: int) -> None:
            await asyncio.sleep(number / 1000)
            async with limit(1 + number % 3):
                order.append(number)
                await asyncio.sleep(0.25 if number % 2 else 0.01)

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(work(number))
        return order

    assert run_virtual(main()) == list(range(40))


def test_a_free_place_is_not_given_past_those_who_wait() -> None:
    async def main() -> list[str]:
        limit, order = Limit("api", concurrency=1), list[str]()

        async def call(name: str) -> None:
            async with limit():
                order.append(name)

        async with asyncio.TaskGroup() as group:
            async with limit():
                group.create_task(call("first"))
                await settle()
            await call("second")  # asks when the slot is free, but "first" was not yet woken
        return order

    assert run_virtual(main()) == ["first", "second"]


def test_a_dear_call_makes_those_after_it_wait_for_what_it_cost() -> None:
    async def main() -> list[float]:
        limit, times = Limit("api", rate=10, margin=0.0), list[float]()
        for cost in (1, 5, 1, 0, 1):
            async with limit(cost):
                times.append(now())
        return times

    assert run_virtual(main()) == pytest.approx([0.0, 0.1, 0.6, 0.6, 0.7], abs=1e-5)


def test_what_a_dear_call_owes_is_paid_by_time_that_passes() -> None:
    async def main() -> list[float]:
        limit, times = Limit("api", rate=10, margin=0.0, burst=2), list[float]()
        for cost, pause in ((5, 0.3), (1, 3600), (1, 0), (2, 0), (1, 0)):
            async with limit(cost):
                times.append(now())
            await asyncio.sleep(pause)
        return times

    assert run_virtual(main()) == pytest.approx([0.0, 0.5, 3600.5, 3600.6, 3600.7], abs=1e-3)


def test_a_cost_above_the_window_is_refused_when_declared() -> None:
    limit = Limit("api", rate=10, per=60)
    with pytest.raises(CostTooLarge, match="whole window is 10 requests in 60 s"):
        limit(11)
    with pytest.raises(CostTooLarge, match="at least 0"):
        limit(-1)
    limit.check(10)
    Limit("unlimited").check(1e9)


Hold = Callable[[Limit], Awaitable[object]]


async def by_slot(limit: Limit) -> object:
    """Keep the line waiting for a slot for a second."""

    async def hold() -> None:
        async with limit() as grant:
            grant.sent()
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(hold()) for _ in range(2)]
    await settle()
    return tasks


async def by_rate(limit: Limit) -> None:
    async with limit():
        pass


async def by_pause(limit: Limit) -> None:
    limit.pause(1, "test")


@pytest.mark.parametrize("hold", [by_slot, by_rate, by_pause])
@pytest.mark.parametrize("who", [0, 1, 2])
@pytest.mark.parametrize("turns", range(6))
def test_a_cancelled_waiter_takes_nothing(hold: Hold, who: int, turns: int) -> None:
    """Cancelled while it waits for anything, or at any step of being woken."""

    async def main() -> tuple[list[int], float]:
        limit, done = Limit("api", rate=1, margin=0.0, concurrency=2), list[int]()

        async def work(number: int) -> None:
            async with limit():
                done.append(number)

        held = await hold(limit)
        tasks = [asyncio.create_task(work(number)) for number in range(4)]
        await asyncio.sleep(0.999_999)
        if turns:
            await asyncio.sleep(0.000_001)
        for _ in range(turns - 1):
            await asyncio.sleep(0)
        tasks[who].cancel()
        await asyncio.wait(tasks)
        state = limit.snapshot()
        assert (state.waiting, state.in_use) == (0, 0)
        del held
        return done, now()

    done, took = run_virtual(main())
    assert set(done) >= {0, 1, 2, 3} - {who}
    assert done == sorted(done)
    first = 2.0 if hold is by_slot else 1.0
    assert took <= first + len(done) - 1 + 0.01


def test_a_pause_holds_every_caller_and_the_line_goes_on_evenly_after_it() -> None:
    async def main() -> list[float]:
        limit = Limit("api", rate=10, margin=0.0)
        limit.pause(30, "asked to")
        limit.pause(5, "a shorter one changes nothing")
        state = limit.snapshot()
        assert (state.paused_for, state.paused_reason) == (30, "asked to")
        times = await grants(limit, waiters=3, calls=1)
        assert limit.snapshot().paused_reason is None
        return times

    assert run_virtual(main()) == pytest.approx([30.0, 30.1, 30.2], abs=0.003)


def test_a_pause_that_begins_while_the_head_waits_for_the_rate_holds_it_too() -> None:
    async def main() -> list[float]:
        limit = Limit("api", rate=1, margin=0.0)
        task = asyncio.create_task(grants(limit, waiters=3, calls=1))
        await asyncio.sleep(0.5)
        limit.pause(10, "late")
        await asyncio.sleep(5)
        limit.pause(10, "longer")
        return await task

    times = run_virtual(main())
    assert times[0] < 0.001
    assert times[1] >= 15.5
    assert times[2] - times[1] >= 0.99


@pytest.mark.parametrize(
    ("headers", "too_fast", "told", "paused"),
    [
        ({"retry-after": "7"}, True, 7.0, 7.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9"}, False, 0.0, 9.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9"}, True, 0.0, 9.0),
        ({}, True, None, 2.0),
        ({}, False, None, 0.0),
    ],
)
def test_a_refusal_pauses_for_what_it_says_or_for_one_window(
    headers: dict[str, str], too_fast: bool, told: float | None, paused: float
) -> None:
    async def main() -> None:
        limit = Limit("api", rate=10, per=2)
        assert limit.refused(headers, too_fast=too_fast) == told
        async with limit():
            assert now() == pytest.approx(paused, abs=1e-3)

    run_virtual(main())


def test_retry_after_in_a_response_pauses_and_clock_skew_does_not_matter() -> None:
    async def main() -> float:
        limit = Limit("api", wall_clock=lambda: 0.0)  # our clock believes it is 1970
        sent = datetime(2026, 11, 22, 12, tzinfo=UTC)
        until = format_datetime(sent.replace(minute=2), usegmt=True)
        limit.refused({"date": format_datetime(sent, usegmt=True), "retry-after": until})
        async with limit():
            return now()

    assert run_virtual(main()) == pytest.approx(120)


def test_a_used_up_budget_is_waited_for_until_its_reset() -> None:
    async def main() -> float:
        limit = Limit("api")
        limit.learn({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "40"})
        async with limit():
            return now()

    assert run_virtual(main()) == pytest.approx(40)


POLITE = {"x-rate-limit-limit": "10", "x-rate-limit-interval": "1s", "x-concurrency-limit": "3"}
PUBLIC = {"x-rate-limit-limit": "5", "x-rate-limit-interval": "1s", "x-concurrency-limit": "1"}


@pytest.mark.parametrize(
    ("configured", "headers", "effective"),
    [
        (Allowance(), {}, Allowance(10, 1, 3, 1)),
        (Allowance(), PUBLIC, Allowance(5, 1, 1, 1)),
        (Allowance(), {"x-rate-limit-limit": "50", "x-rate-limit-interval": "2s"}, Allowance(50, 2, 3, 1)),
        (Allowance(rate=2), POLITE, Allowance(2, 1, 3, 1)),
        (Allowance(rate=8, concurrency=2), PUBLIC, Allowance(5, 1, 1, 1)),
        (Allowance(concurrency=2), POLITE, Allowance(10, 1, 2, 1)),
        (Allowance(rate=200, concurrency=9), {}, Allowance(200, 1, 9, 1)),
    ],
)
def test_told_limits_replace_the_published_but_never_exceed_the_users(
    configured: Allowance, headers: dict[str, str], effective: Allowance
) -> None:
    async def main() -> Allowance:
        limit = Limit("crossref", rate=10, concurrency=3, configured=configured)
        limit.learn(headers)
        limit.learn({})  # a response that tells nothing takes nothing back
        return limit.snapshot().effective

    assert run_virtual(main()) == effective


def test_a_rate_learnt_on_the_way_holds_at_once_and_counts_the_calls_before_it() -> None:
    async def main() -> list[float]:
        limit, times = Limit("crossref", rate=10, margin=0.0), list[float]()

        async def work() -> None:
            async with limit():
                times.append(now())

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(work())
            await asyncio.sleep(0.25)  # the fourth waits for its place by the old rate now
            limit.learn({"x-rate-limit-limit": "1", "x-rate-limit-interval": "1s"})
        return times

    times = run_virtual(main())
    assert times[:3] == pytest.approx([0.0, 0.1, 0.2], abs=0.003)
    assert busiest(times[2:], 1.0) == 1


def test_slots_learnt_on_the_way_are_used_at_once() -> None:
    async def main() -> float:
        limit = Limit("crossref", concurrency=1)
        task = asyncio.create_task(grants(limit, waiters=3, calls=1, hold=10))
        await asyncio.sleep(1)
        limit.learn({"x-concurrency-limit": "3"})
        await task
        return now()

    assert run_virtual(main()) == pytest.approx(11)


def test_waiting_suspends_the_deadline_and_holding_is_counted() -> None:
    async def main() -> None:
        item = deadline.Deadline(asyncio.get_running_loop().time)
        item.at = now() + 5
        limit = Limit("crossref", concurrency=1)

        async def work() -> None:
            deadline.current.set(item)
            async with limit():
                assert item.held == 1
                assert item.at == pytest.approx(now() + 5)
                async with Limit("another")():
                    assert item.held == 2
            assert item.held == 0

        async with limit():
            task = asyncio.create_task(work())
            await asyncio.sleep(100)
            assert item.at > now() + 1e9
            assert (item.waiting, item.held) == ("limit crossref", 0)
        await task
        assert item.waiting is None

    run_virtual(main())


def test_a_call_that_fails_gives_its_slot_back() -> None:
    async def main() -> None:
        limit = Limit("api", concurrency=1)
        for _ in range(3):
            with pytest.raises(OSError, match="reset"):
                async with limit():
                    raise OSError("reset")
        async with limit():
            assert limit.snapshot().in_use == 1

    run_virtual(main())


@pytest.mark.parametrize(
    "wrong", [{"rate": 0}, {"rate": -1}, {"per": 0}, {"concurrency": 0}, {"burst": 0}, {"margin": 1}]
)
def test_senseless_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be a positive|is a share"):
        Limit("api", **wrong)  # type: ignore[arg-type]
