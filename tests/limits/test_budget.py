"""Budgets that a service tells of: made to last, waited for, never guessed at."""

from __future__ import annotations

import itertools

import pytest

from streamflow.limits.budget import Budget
from streamflow.limits.headers import Left


def told(left: Left, now: float = 0.0) -> Budget:
    budget = Budget()
    budget.tell(left, now)
    return budget


def spend(budget: Budget, calls: int, now: float = 0.0) -> list[float]:
    """When so many calls of cost one go, each with its answer at once."""
    times = []
    for _ in range(calls):
        now = budget.free_at(1, 0, now)
        budget.take(1, 0, now)
        times.append(now)
        left = budget.left(now)
        assert left is not None
        budget.tell(Left("requests", left - 1, budget.until - now, budget.limit), now)
    return times


def test_nothing_is_held_up_while_nothing_is_known() -> None:
    budget = Budget()
    budget.take(5, 0, now=3)
    assert budget.free_at(1000, 50, now=3) == 3


def test_while_plenty_is_left_nobody_waits() -> None:
    assert spend(told(Left("requests", 5000, 3600, 5000)), calls=4000) == [0.0] * 4000


def test_the_last_part_is_spread_over_the_time_to_the_reset() -> None:
    times = spend(told(Left("requests", 11, 100, 50)), calls=11)
    assert times[:2] == [0.0, 0.0]  # the fifth that is spread begins with ten of fifty
    assert [late - early for early, late in itertools.pairwise(times[1:])] == pytest.approx([10.0] * 9)
    assert told(Left("requests", 0, 100, 50)).free_at(1, 0, now=99) == 100


def test_after_the_reset_nothing_is_known_again() -> None:
    assert told(Left("requests", 0, 100, 50)).free_at(1, 0, now=100) == 100
    assert told(Left("requests", 0, 100, 50)).left(100) is None


def test_calls_under_way_may_not_have_been_counted_yet() -> None:
    budget = told(Left("requests", 5, 100, 50))
    assert budget.free_at(1, 4, now=0) == 0
    assert budget.free_at(1, 5, now=0) == 100


def test_a_cost_above_what_is_left_waits_for_the_reset() -> None:
    budget = told(Left("points", 4, 60, 900))
    assert budget.free_at(5, 0, now=1) == 60
    assert budget.free_at(4, 0, now=1) == 1


def test_an_answer_that_was_overtaken_gives_nothing_back() -> None:
    budget = told(Left("requests", 40, 100, 50))
    budget.tell(Left("requests", 44, 98.5, 50), now=1)
    assert budget.left(2) == 40
    budget.tell(Left("requests", 50, 3600, 50), now=99.9)  # another hour
    assert budget.left(100) == 50


def test_a_budget_that_refills_is_waited_for_bit_by_bit() -> None:
    budget = told(Left("tokens", 10_000, 40, 30_000, refills=True))  # 500 a second
    assert budget.free_at(10_000, 0, now=0) == 0
    assert budget.free_at(12_000, 0, now=0) == pytest.approx(4)
    assert budget.free_at(12_000, 0, now=3) == pytest.approx(4)
    assert budget.free_at(12_000, 0, now=4) == 4
    assert budget.free_at(50_000, 0, now=4) == 40  # full, it can hold no more
