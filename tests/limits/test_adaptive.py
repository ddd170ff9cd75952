"""How many calls may be in flight: the decisions as tables, and a simulated service whose capacity changes."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

import pytest

from streamflow.limits.adaptive import (
    SLOW_START,
    UNCUT,
    Call,
    State,
    answered,
    is_back,
    overloaded,
    slots,
)

NO_CAP = float("inf")


def rounds(
    state: State, count: int, *, latency: float, now: float = 0.0, cap: float = NO_CAP, used: float = 1.0
) -> State:
    """The state after `count` decisions on calls of equal latency, which were in flight to that share of the limit."""
    for _ in range(count):
        calls = -1
        while state.seen.calls > calls:
            calls = state.seen.calls
            in_flight = max(1, int(slots(state, cap) * used))
            state = answered(state, Call(now, latency, in_flight), now, cap, by_latency=True)
    return state


@pytest.mark.parametrize(
    ("limit", "cap", "allowed"),
    [(NO_CAP, NO_CAP, NO_CAP), (NO_CAP, 3, 3), (2.1, 3, 2), (0.4, 3, 1), (7.999_999_999_9, 16, 8), (20.0, 3, 3)],
)
def test_slots_are_whole_and_between_one_and_the_cap(limit: float, cap: float, allowed: float) -> None:
    assert slots(State(limit=limit), cap) == allowed


@pytest.mark.parametrize(
    ("limit", "cap", "in_flight", "left"),
    [
        (NO_CAP, 10, 10, 7.0),
        (NO_CAP, 10, 2, 7.0),
        (NO_CAP, NO_CAP, 10, 7.0),
        (7.0, 10, 7, 4.9),
        (7.0, 3, 3, 2.1),
        (1.2, 10, 1, 1.0),
        (1.0, 10, 1, 1.0),
    ],
)
def test_an_overload_takes_three_tenths_away(limit: float, cap: float, in_flight: int, left: float) -> None:
    assert overloaded(State(limit=limit), 0.0, in_flight, 1.0, cap).limit == pytest.approx(left)


def test_calls_that_were_in_flight_together_count_once() -> None:
    state = overloaded(UNCUT, 0.0, 10, 1.0, 10)
    assert overloaded(state, 0.9, 10, 1.5, 10) is state
    assert overloaded(state, 1.0, 7, 2.0, 10).limit == pytest.approx(4.9)


def test_quick_refusals_count_once_in_the_time_of_an_answer() -> None:
    state = answered(UNCUT, Call(0.0, 3.0, 100), 3.0, 100, by_latency=False)
    state = overloaded(state, 3.0, 100, 3.1, 100)
    for n in range(29):
        state = overloaded(state, 3.2 + n / 10, 70, 3.2 + n / 10, 100)
    assert state.limit == pytest.approx(70)
    assert overloaded(state, 6.2, 70, 6.2, 100).limit == pytest.approx(49)


def after_outage(*, cap: float = 100) -> State:
    """The slots have fallen from 100 to 49, and the service is back at 10 s."""
    state = overloaded(overloaded(UNCUT, 0.0, 100, 0.0, cap), 0.0, 100, 0.1, cap)
    return is_back(state, 10.0)


def test_after_an_outage_each_answer_lets_one_more_go_until_all_is_as_before() -> None:
    state, seen = after_outage(), list[float]()
    for _ in range(60):
        state = answered(state, Call(10.0, 3.0, 49), 13.0, 100, by_latency=False)
        seen.append(slots(state, 100))
    assert seen[:3] == [50, 51, 52]
    assert seen.index(100) == 50  # so a round of answers doubles them
    assert seen[-1] == 100
    assert not state.returning


def test_after_an_outage_what_was_called_before_it_gives_nothing_back() -> None:
    state = after_outage()
    assert answered(state, Call(9.9, 3.0, 49), 13.0, 100, by_latency=False) is state


def test_where_the_load_ends_a_service_again_its_old_place_is_forgotten() -> None:
    state = after_outage()
    for _ in range(11):
        state = answered(state, Call(10.0, 3.0, 49), 13.0, 100, by_latency=False)
    assert slots(state, 100) == 60
    state = is_back(overloaded(state, 13.0, 60, 14.0, 100), 20.0)
    for _ in range(100):
        if state.returning:
            state = answered(state, Call(20.0, 3.0, 42), 23.0, 100, by_latency=False)
    assert slots(state, 100) == 60


def test_an_outage_that_took_nothing_gives_nothing() -> None:
    assert is_back(UNCUT, 1.0) is UNCUT
    grown = State(limit=20.0)
    assert is_back(grown, 1.0) is grown


def after_overloads(count: int, cap: float) -> State:
    state = UNCUT
    for n in range(count):
        state = overloaded(state, float(n), int(slots(state, cap)), float(n), cap)
    return state


def give_back(state: State, cap: float, *, share: float = 1.0, calls: int = 1000) -> list[float]:
    """The slots after each answer."""
    seen = []
    for n in range(calls):
        now = 100.0 + n
        in_flight = max(1, math.ceil(slots(state, cap) * share))
        state = answered(state, Call(now, 0.1, in_flight), now, cap, by_latency=False)
        seen.append(slots(state, cap))
    return seen


def test_answers_give_back_what_overloads_took() -> None:
    seen = give_back(after_overloads(20, 16), 16)
    assert seen[0] == 1
    assert seen == sorted(seen)
    assert seen.index(16) < 30
    assert give_back(after_overloads(20, 3), 3).index(3) < 12
    assert give_back(UNCUT, 16) == [16] * 1000


def test_nothing_is_given_back_while_it_is_not_used() -> None:
    state = after_overloads(2, 16)
    assert give_back(state, 16, share=0.5)[-1] == slots(state, 16)


def test_where_latency_does_not_steer_it_changes_nothing() -> None:
    state = UNCUT
    for n in range(1000):
        now = float(n)
        state = answered(state, Call(now, 0.01 * 1.1 ** (n % 50), 16), now, 16, by_latency=False)
    assert slots(state, 16) == 16


def test_slow_start_doubles_up_to_the_cap() -> None:
    seen = [slots(rounds(SLOW_START, count, latency=0.1, cap=20), 20) for count in range(6)]
    assert seen == [1, 2, 4, 8, 16, 20]


SETTLED = State(limit=20.0, idle=(math.log(0.1), 0.0), settled=True)


def suspicious(latency: float) -> State:
    """It looked like a queue the last time too."""
    return SETTLED._replace(suspected=math.log(latency))


@pytest.mark.parametrize(
    ("latency", "used", "limit"),
    [
        (0.1, 1.0, 21.0),  # none waits: grow
        (0.104, 1.0, 21.0),  # not one
        (0.107, 1.0, 20.0),  # one or two: good
        (0.12, 1.0, 20 / 1.2),  # three: down to what is worked on
        (0.15, 1.0, 20 / 1.5),
        (0.9, 1.0, 10.0),  # half at most
        (0.05, 1.0, 21.0),
        (0.1, 0.5, 20.0),  # not used up: nothing is known
        (0.9, 0.5, 20.0),
    ],
)
def test_latency_says_how_many_wait(latency: float, used: float, limit: float) -> None:
    assert rounds(suspicious(latency), 1, latency=latency, used=used).limit == pytest.approx(limit)


def test_a_queue_must_be_seen_twice_and_the_same() -> None:
    state = rounds(SETTLED, 1, latency=0.2)
    assert state.limit == 20
    state = rounds(state, 1, latency=0.3)  # still changing
    assert state.limit == 20
    assert rounds(state, 1, latency=0.2).limit == 20
    assert rounds(state, 1, latency=0.3).limit == pytest.approx(20 / 1.5 * 0.5 * 1.5)


def test_a_limit_that_holds_is_measured_anew_now_and_then() -> None:
    """What is known of the latency without a queue must not be a mistake for ever."""
    state, limits = SETTLED, list[float]()
    for _ in range(50):
        state = rounds(state, 1, latency=0.107 if slots(state, NO_CAP) >= 20 else 0.1)
        limits.append(state.limit)
    assert limits.count(15.0) == 2
    assert set(limits) == {20.0, 15.0}


def test_growth_speeds_up_to_a_twelfth_a_time() -> None:
    state, limits = SETTLED._replace(limit=100.0), [100.0]
    for _ in range(6):
        state = rounds(state, 1, latency=0.1)
        limits.append(state.limit)
    assert limits == pytest.approx([100, 101, 103, 107, 115, 115 * 1.08, 115 * 1.08**2])


def test_a_decrease_that_does_not_pay_is_taken_back() -> None:
    """The service takes three times as long as before, whatever is in flight."""
    state = rounds(suspicious(0.3), 1, latency=0.3)
    assert state.limit == 10
    state = rounds(state, 1, latency=0.3)
    assert state.limit == 20
    assert math.exp(state.idle[0]) == pytest.approx(0.3)
    assert rounds(state, 1, latency=0.3).limit == 21


def test_calls_of_before_a_change_say_nothing_about_it() -> None:
    state = SETTLED._replace(since=10.0)
    assert answered(state, Call(9.9, 5.0, 20), 11.0, NO_CAP, by_latency=True) is state


class Run(NamedTuple):
    """A simulated run: when the slots changed and to what, and the calls that were answered."""

    changes: list[tuple[float, int]]
    answered: int

    def at(self, time: float) -> int:
        return [to for when, to in self.changes if when <= time][-1]

    def settled(self, begin: float, capacity: int) -> float:
        """Seconds from `begin` until it is for the first time within a tenth, or one call, of the capacity."""
        near = (when for when, to in self.changes if when >= begin and abs(to - capacity) <= max(1, capacity / 10))
        return next(near, NO_CAP) - begin

    def slots(self, begin: float, end: float) -> list[int]:
        """Ten times a second."""
        return [self.at(begin + n / 10) for n in range(int((end - begin) * 10))]


def holds(slots: list[int], capacity: int) -> bool:
    """On average within a tenth, or one call, of the capacity; and never further from it than a third."""
    near = abs(fmean(slots) - capacity) <= max(1, capacity / 10) + 0.1
    return near and all(abs(n - capacity) <= max(1, capacity / 3) for n in slots)


def simulate(
    capacity: Callable[[float], float],
    *,
    seconds: float,
    noise: float,
    seed: int,
    takes: Callable[[float], float] = lambda now: 0.1,
    cap: float = NO_CAP,
    start: State = SLOW_START,
) -> Run:
    """A service works on `capacity` calls at once, the others queue there; each takes `takes` seconds, log-normal with
    that noise. The caller always has as many calls in flight as it may."""
    draw, now, state = random.Random(seed), 0.0, start
    waiting: deque[tuple[float, int]] = deque()
    worked_on: list[tuple[float, int, float, int]] = []
    in_flight = number = 0
    changes = [(0.0, int(slots(state, cap)))]
    while now < seconds:
        while in_flight < slots(state, cap):
            in_flight += 1
            waiting.append((now, in_flight))
        while waiting and len(worked_on) < capacity(now):
            number += 1
            ends = now + takes(now) * math.exp(draw.gauss(0, noise))
            heapq.heappush(worked_on, (ends, number, *waiting.popleft()))
        now, _, granted, others = heapq.heappop(worked_on)
        in_flight -= 1
        state = answered(state, Call(granted, now - granted, others), now, cap, by_latency=True)
        if int(slots(state, cap)) != changes[-1][1]:
            changes.append((now, int(slots(state, cap))))
    return Run(changes, number)


def tides(now: float) -> float:
    return 20 if now < 20 else 10 if now < 40 else 40


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_capacity_of_a_service_and_follows_it(seed: int) -> None:
    """Calls take a tenth of a second, with a tenth of noise. From nothing it is within a tenth of a capacity of 20 in 4
    seconds, of the half of that in 4, of four times that in 12; and there it holds.
    """
    run = simulate(tides, seconds=60, noise=0.1, seed=seed)
    assert run.settled(0, 20) <= 4
    assert run.settled(20, 10) <= 4
    assert run.settled(40, 40) <= 12
    assert holds(run.slots(5, 20), 20)
    assert holds(run.slots(26, 40), 10)
    assert holds(run.slots(53, 60), 40)
    # What lacks is mostly the growth to 40, a twelfth at a time.
    assert run.answered >= 0.8 * 10 * (20 * 20 + 20 * 10 + 20 * 40)


@pytest.mark.parametrize("capacity", [1, 2, 5, 50])
def test_it_settles_whatever_the_capacity(capacity: int) -> None:
    run = simulate(lambda now: capacity, seconds=40, noise=0.1, seed=1)
    assert holds(run.slots(10, 40), capacity)
    assert len([when for when, _ in run.changes if when >= 10]) <= 40  # while 300 calls end for each of the capacity


@pytest.mark.parametrize("seed", range(3))
def test_a_service_that_becomes_slower_is_not_taken_for_a_full_one(seed: int) -> None:
    run = simulate(lambda now: 20, takes=lambda now: 0.1 if now < 20 else 0.3, seconds=50, noise=0.1, seed=seed)
    assert holds(run.slots(30, 50), 20)


@pytest.mark.parametrize(("noise", "share"), [(0.1, 0.995), (0.25, 0.99), (1.0, 0.8)])
def test_noise_alone_takes_little_away(noise: float, share: float) -> None:
    """A service that never queues, up to a cap of 16, whose latencies vary: by a factor of 2.7, at a noise of 1."""
    run = simulate(lambda now: NO_CAP, seconds=60, noise=noise, seed=1, cap=16)
    assert fmean(run.slots(4, 60)) >= 16 * share
