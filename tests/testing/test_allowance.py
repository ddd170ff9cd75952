"""The count of what a simulated service allows."""

from __future__ import annotations

from streamflow.testing.allowance import Allowance, Gauge, Rule

POINTS = Rule("points", 10, 60)
BOTH = Allowance("github", requests=3, per=1.0, rules=(POINTS,))


def test_a_call_is_accepted_when_every_rule_has_room_for_its_cost() -> None:
    gauge = Gauge()
    write = {"requests": 1, "points": 5}
    assert gauge.enter(BOTH, 0.0, write) is None
    assert gauge.enter(BOTH, 0.5, write) is None
    assert gauge.enter(BOTH, 0.6, write) == ("points", 59.4)
    assert gauge.enter(BOTH, 0.6) is None
    assert gauge.enter(BOTH, 0.7) == ("rate", 1.0 - 0.7)
    assert gauge.used(POINTS, 0.7) == 10
    assert gauge.enter(BOTH, 60.4, write) is None
    assert gauge.under_way == 4


def test_scaling_concerns_every_rule() -> None:
    assert BOTH.scaled(2) == Allowance("github", requests=6, per=1.0, rules=(Rule("points", 20, 60),))
