from __future__ import annotations

import pytest

from benchmarks.measure import Result, side_by_side


def test_contenders_run_in_turns_after_a_warm_up() -> None:
    ran: list[str] = []

    def contender(name: str) -> float:
        ran.append(name)
        return 1.0

    side_by_side({name: lambda name=name: contender(name) for name in "ab"}, "a", 3)  # type: ignore[misc]

    assert "".join(ran) == "ab" + "ab" + "ba" + "ab"


def test_a_ratio_is_the_median_of_ratios_within_a_round() -> None:
    # The machine is ten times slower in the second round: the ratio does not see it.
    base, own = iter([1.0, 10.0, 2.0]), iter([2.0, 20.0, 8.0])

    measured = side_by_side({"base": lambda: next(base), "own": lambda: next(own)}, "base", 3, warm_up=False)

    assert measured["own"].ratio == 2.0
    assert (measured["own"].value, measured["own"].baseline) == (8.0, 2.0)


@pytest.mark.parametrize(
    ("ratio", "floor", "met"), [(1.1, False, True), (1.3, False, False), (1.1, True, False), (1.3, True, True)]
)
def test_a_budget_bounds_the_ratio_from_above_or_below(ratio: float, floor: bool, met: bool) -> None:
    assert Result("x", 5.0, "s", 4.0, ratio, 1.2, floor=floor).met is met


def test_a_budget_may_bound_the_value() -> None:
    assert Result("x", 6.0, "MB more", 40.0, 1.1, 5.0, bounds="value").met is False


def test_a_line_without_budget_is_neither_met_nor_missed() -> None:
    assert Result("peer", 6.0, "s", 1.0, 6.0).met is None
