"""Moments as people read them."""

from __future__ import annotations

import pytest

from streamflow.limits.outage import local_time


@pytest.mark.parametrize("moment", [1e300, -1e300, 1e18, float("inf"), float("nan")])
def test_a_moment_that_no_calendar_holds_is_told_all_the_same(moment: float) -> None:
    assert local_time(moment).endswith("s after 1970")


def test_any_other_is_a_local_time() -> None:
    assert local_time(1.8e9).startswith("2027-01-1")
