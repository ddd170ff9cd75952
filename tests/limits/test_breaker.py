"""The circuit breaker: when it opens, how it probes, when it closes; the time is passed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.limits.breaker import LONGEST, MINIMUM, MOST, WINDOW, Breaker, Phase
from streamflow.limits.outcome import Outcome
from streamflow.limits.retry import Retry

GOOD, BAD, GARBAGE, NOTHING = Outcome.ANSWERED, Outcome.ABSENT, Outcome.SPOILT, Outcome.UNKNOWN
NEVER = float("inf")


def steady() -> float:
    return 0.5  # no jitter


def after(*ends: tuple[float, Outcome]) -> Breaker:
    """A breaker after calls that ended then and so, as far as it let them go."""
    breaker = Breaker(steady)
    for time, outcome in ends:
        if breaker.free_at(time) <= time:
            breaker.end(breaker.begin(), outcome, time)
    return breaker


def opened() -> Breaker:
    breaker = after(*((0.0, BAD) for _ in range(MINIMUM)))
    assert (breaker.phase, breaker.since) == (Phase.OPEN, 0.0)
    return breaker


@pytest.mark.parametrize(
    ("ends", "opens"),
    [
        ([(0, BAD)] * 4, False),
        ([(0, BAD)] * 5, True),
        ([(0, GARBAGE)] * 5, True),
        ([(0, Outcome.REFUSED)] * 99, False),
        ([(0, NOTHING)] * 99, False),
        # half of them
        ([(0, GOOD), (0, BAD)] * 4, False),
        ([(0, GOOD), (0, BAD)] * 5, True),
        ([(0, GOOD), (0, BAD), (0, Outcome.REFUSED)] * 99, False),
        # the last five, whatever came before and however long they took
        ([*[(0, GOOD)] * 1000, *[(1, BAD)] * 4], False),
        ([*[(0, GOOD)] * 1000, *[(1, BAD)] * 5], True),
        ([(n * 3600, BAD) for n in range(5)], True),
        ([*[(0, BAD)] * 4, (0, GOOD), *[(70, BAD)] * 4], False),
        # only of the last minute, and of the last fifty
        ([*[(0, GOOD)] * 9, *[(30, BAD), (30, BAD), (30, GOOD)] * 4], False),
        ([*[(0, GOOD)] * 9, *[(WINDOW, BAD), (WINDOW, BAD), (WINDOW, GOOD)] * 3], True),
        ([*[(0, GOOD)] * 1000, *[(1, BAD), (1, BAD), (1, GOOD)] * (MOST // 4)], False),
        ([*[(0, GOOD)] * 1000, *[(1, BAD), (1, BAD), (1, GOOD)] * (MOST // 3)], True),
    ],
)
def test_when_it_opens(ends: list[tuple[float, Outcome]], opens: bool) -> None:
    assert (after(*ends).phase is Phase.OPEN) is opens


def test_an_answer_never_opens_it() -> None:
    """Though by now half of the last minute's calls have failed: the good ones of before are forgotten."""
    failures = [call for n in range(4) for call in ((30.0 + n, BAD), (30.5 + n, GOOD))]
    ends = [*[(0.0, GOOD)] * 8, *failures, (34.0, BAD), (61.0, GOOD)]
    assert after(*ends).phase is Phase.CLOSED
    assert after(*ends, (62.0, BAD)).phase is Phase.OPEN


def test_a_lone_item_has_attempts_left_when_it_opens() -> None:
    assert Retry().attempts >= MINIMUM


def test_one_probe_goes_when_its_time_has_come_and_an_answer_closes() -> None:
    breaker = opened()
    assert breaker.free_at(0.5) == 1.0
    assert breaker.free_at(1.0) == 1.0
    probe = breaker.begin()
    assert breaker.phase is Phase.HALF_OPEN
    assert breaker.free_at(2.0) == NEVER
    breaker.end(probe, Outcome.REFUSED, 2.0)  # a 404 is an answer
    assert (breaker.phase, breaker.since, breaker.free_at(2.0)) == (Phase.CLOSED, None, 2.0)
    for _ in range(MINIMUM - 1):  # what was before is forgotten
        breaker.end(breaker.begin(), BAD, 3.0)
    assert breaker.phase is Phase.CLOSED


def test_a_failed_probe_opens_again_for_a_tenth_of_the_outage() -> None:
    breaker, waits, now = opened(), list[float](), 0.0
    while now < 900:
        asked_again = breaker.free_at(now)
        waits.append(asked_again - now)
        now = asked_again
        breaker.end(breaker.begin(), BAD, now)
        assert breaker.since == 0.0
    assert waits[:10] == [1.0] * 10
    assert waits == pytest.approx(sorted(waits))
    assert waits[-1] == pytest.approx(LONGEST)
    assert 50 < len(waits) < 80  # probes in 15 minutes


@given(st.floats(0, 1, exclude_max=True))
def test_the_open_time_is_jittered_by_a_fifth(drawn: float) -> None:
    breaker = Breaker(lambda: drawn)
    for _ in range(MINIMUM):
        breaker.end(breaker.begin(), BAD, 0.0)
    assert 0.8 <= breaker.free_at(0.0) <= 1.2


def test_a_probe_that_is_cancelled_frees_its_place_at_once() -> None:
    breaker = opened()
    breaker.end(breaker.begin(), NOTHING, 1.5)
    assert (breaker.phase, breaker.free_at(1.5), breaker.since) == (Phase.OPEN, 1.5, 0.0)


def test_calls_of_before_neither_close_it_nor_open_it_again() -> None:
    breaker = Breaker(steady)
    hung = [breaker.begin() for _ in range(2 * MINIMUM)]
    for _ in range(MINIMUM):
        breaker.end(breaker.begin(), BAD, 0.0)
    breaker.end(hung.pop(), GOOD, 0.5)
    assert breaker.phase is Phase.OPEN
    probe = breaker.begin()
    breaker.end(hung.pop(), GOOD, 1.1)
    assert breaker.phase is Phase.HALF_OPEN
    breaker.end(probe, GOOD, 1.2)
    for ticket in hung:
        breaker.end(ticket, BAD, 30.0)
    assert breaker.phase is Phase.CLOSED


def test_whose_failure_it_is() -> None:
    breaker = Breaker(steady)
    old = [breaker.begin(), breaker.begin()]
    assert [breaker.end(breaker.begin(), BAD, 0.0) for _ in range(5)] == [False] * 4 + [True]  # the fifth opens it
    assert breaker.end(old.pop(), GARBAGE, 0.1)
    assert breaker.end(breaker.begin(), BAD, 1.0)
    assert not breaker.end(breaker.begin(), GARBAGE, 2.0)  # perhaps the request's own fault
    assert breaker.phase is Phase.OPEN
    assert not breaker.end(breaker.begin(), GOOD, 3.0)
    assert breaker.end(old.pop(), BAD, 4.0)  # it hung since before
    assert not breaker.end(breaker.begin(), BAD, 4.0)


@given(st.lists(st.tuples(st.sampled_from(["begin", "good", "bad", "none", "wait"]), st.integers(0, 9)), max_size=200))
def test_it_is_never_stuck(steps: list[tuple[str, int]]) -> None:
    """Whatever happens: one probe at most, and once all calls have ended the next may go soon."""
    breaker, now, under_way, probe = Breaker(steady), 0.0, list[int](), None
    outcomes = {"good": GOOD, "bad": BAD, "none": NOTHING}
    for step, number in steps:
        if step == "wait":
            now += number
        elif step == "begin" and breaker.free_at(now) <= now:
            probing = breaker.phase is not Phase.CLOSED
            under_way.append(breaker.begin())
            if probing:
                assert probe not in under_way[:-1]
                probe = under_way[-1]
        elif step in outcomes and under_way:
            breaker.end(under_way.pop(number % len(under_way)), outcomes[step], now)
    for ticket in under_way:
        breaker.end(ticket, BAD, now)
    assert breaker.free_at(now) <= now + 1.2 * LONGEST
