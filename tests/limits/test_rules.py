"""Limits against services that count strictly: the rules of real APIs, in virtual time."""

from __future__ import annotations

import pytest

from benchmarks.limits import BACK, CASES, STEADY, TROUBLED, Case, Trouble, simulate


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_steady_state_nothing_is_refused_and_the_allowance_is_used(case: Case) -> None:
    outcome = simulate(case, seed=7)
    assert outcome.refused == 0
    assert outcome.share >= STEADY


@pytest.mark.parametrize("trouble", ["storm", "restart"])
@pytest.mark.parametrize("case", TROUBLED, ids=lambda case: case.name)
def test_ten_seconds_after_a_trouble_the_allowance_is_used_again(case: Case, trouble: Trouble) -> None:
    outcome = simulate(case, trouble, seed=7)
    assert (outcome.refused, outcome.lost) == (0, 0)
    assert outcome.in_vain >= 4  # which is what tells of it
    assert outcome.share >= BACK
