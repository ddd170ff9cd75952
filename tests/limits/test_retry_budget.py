"""The retry budget: what retries may add to the calls of an API; the time is passed in."""

from __future__ import annotations

import heapq

import pytest

from streamflow.limits.retry_budget import FLOOR, RESERVE, SHARE, RetryBudget


def test_a_few_retries_are_free_and_then_one_a_second() -> None:
    budget = RetryBudget()
    waits = [budget.failed(0.0) for _ in range(int(RESERVE) + 3)]
    assert waits == [0.0] * int(RESERVE) + [1.0, 2.0, 3.0]
    assert budget.failed(3.0 + RESERVE) == 0.0


def test_the_reserve_has_an_end() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.called(0.0)
    waits = [budget.failed(3600.0) for _ in range(int(RESERVE) + 1)]
    assert waits[-2] == 0.0
    assert waits[-1] > 0.0


def test_a_debt_is_paid_sooner_where_more_is_called() -> None:
    quiet, busy = RetryBudget(), RetryBudget()
    for n in range(1000):
        busy.called(n / 100)
    quiet_wait = [quiet.failed(10.0) for _ in range(30)][-1]
    busy_wait = [busy.failed(10.0) for _ in range(30)][-1]
    assert quiet_wait == pytest.approx(20.0)
    assert busy_wait < quiet_wait / 5


@pytest.mark.parametrize(("share", "waits"), [(0.1, False), (0.3, True), (0.9, True)])
def test_retries_stay_a_fifth_of_the_calls_and_the_floor(share: float, waits: bool) -> None:
    """50 new calls a second for five minutes, of all calls so many fail, and each that fails is made again."""
    budget, seconds, per_second = RetryBudget(), 300, 50
    due: list[float] = []
    calls = retries = failures = 0
    longest = 0.0
    for tick in range(seconds * per_second):
        now = tick / per_second
        made = 1
        while due and due[0] <= now:
            heapq.heappop(due)
            retries += 1
            made += 1
        for _ in range(made):
            calls += 1
            budget.called(now)
            if int(calls * share) > failures:
                failures += 1
                wait = budget.failed(now)
                longest = max(longest, wait)
                heapq.heappush(due, now + 0.01 + wait)
    assert retries <= SHARE * calls + FLOOR * seconds + RESERVE
    assert (longest > 0) is waits
    if not waits:
        assert retries >= failures - 1
    else:
        assert retries >= 0.9 * (SHARE * calls + FLOOR * seconds)  # and the budget is used
