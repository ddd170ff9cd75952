"""The window of calls, counted by when they were sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.limits.window import Sends


def window(size: float, length: float) -> Sends:
    made = Sends()
    made.resize(size, length)
    return made


def test_a_call_that_is_not_sent_counts_for_as_long_as_that_takes() -> None:
    one = window(1, 10)
    one.take(1)
    assert one.free_at(1, now=0) == 10
    assert one.free_at(1, now=500) == 510
    one.sent(1, now=600)
    assert one.free_at(1, now=601) == 610
    assert one.free_at(1, now=610) == 610


def test_the_next_moment_is_when_enough_was_forgotten() -> None:
    some = window(10, 60)
    for now, cost in ((0, 2), (1, 5), (2, 3)):
        assert some.free_at(cost, now) == now
        some.take(cost)
        some.sent(cost, now)
    assert [some.free_at(cost, now=3) for cost in (1, 2, 3, 7, 8, 10)] == [60, 60, 61, 61, 62, 62]


def test_fractions_that_do_not_add_up_exactly_free_the_whole_window() -> None:
    some = window(1, 1)
    for _ in range(3):
        some.take(0.1)
        some.sent(0.1, now=0)
    assert some.free_at(1, now=1) == 1


def test_a_cost_above_the_size_goes_alone() -> None:
    some = window(100, 60)
    some.take(1)
    some.sent(1, now=0)
    some.resize(10, 60)  # the service lowered it after the call was declared
    assert some.free_at(50, now=1) == 60
    assert some.free_at(50, now=60) == 60


def test_calls_of_an_unlimited_time_that_are_still_to_be_sent_count_later() -> None:
    some = Sends()
    for _ in range(5):
        assert some.free_at(1, now=0) == 0
        some.take(1)
    for _ in range(3):
        some.sent(1, now=0)
    some.resize(2, 10)
    assert some.free_at(1, now=0) == 10
    some.sent(1, now=1)
    some.sent(1, now=2)
    assert some.free_at(1, now=3) == 11


@given(
    size=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.sampled_from(["grant", "send"]), st.integers(0, 11), st.floats(0, 0.7)), min_size=5, max_size=120
    ),
)
def test_whenever_granted_calls_are_sent_no_window_holds_more_than_its_size(
    size: int, steps: list[tuple[str, int, float]]
) -> None:
    """Time, the order of sending and its delay are free; a call is granted whenever there is room."""
    some, now = window(size, 1.0), 0.0
    unsent: list[int] = []
    sends: list[tuple[float, int]] = []

    def send(which: int) -> None:
        cost = unsent.pop(which % len(unsent))
        some.sent(cost, now)
        sends.append((now, cost))

    for what, number, later in steps:
        now += later
        if what == "grant":
            cost = 1 + number % size
            if some.free_at(cost, now) <= now:
                some.take(cost)
                unsent.append(cost)
        elif unsent:
            send(number)
    while unsent:
        send(0)
    for start, _ in sends:
        assert sum(cost for at, cost in sends if start <= at < start + 1.0 - 1e-9) <= size


@pytest.mark.parametrize("rate", [1000, 100_000])
def test_what_is_remembered_is_bounded_whatever_the_rate(rate: int) -> None:
    some = window(rate, 1.0)
    for number in range(rate * 2):
        now = number / rate
        if some.free_at(1, now) <= now:
            some.take(1)
            some.sent(1, now)
    assert len(some._sends) <= 1001
