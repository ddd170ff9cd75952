"""The fault campaign, each row small. The long one is `python -m benchmarks.faults`."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from benchmarks.faults import __main__ as campaign
from benchmarks.faults.campaign import Campaign, Row, must
from benchmarks.faults.engine import Difference, State
from tests.cli.harness import environment


@pytest.mark.parametrize("row", campaign.ROWS)
def test_nothing_is_lost_or_doubled_or_left_undone(row: str, pytestconfig: pytest.Config) -> None:
    """In a process of its own, because it forks: the seed is in its output, `--seed` gives it again."""
    played = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "--quick", row],
        cwd=pytestconfig.rootpath,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr


def _plays(row: Row) -> Callable[[Campaign], Row]:
    return lambda campaign: row


def _does_not_fire(campaign: Campaign) -> Row:
    must(False, "the fault did not fire")
    return Row(1, Difference())


@pytest.mark.parametrize(
    "play",
    [
        _plays(Row(0, Difference())),
        _plays(Row(1, Difference(lost=1))),
        _plays(Row(1, Difference(doubled=1))),
        _plays(Row(1, Difference(unended=1))),
        _does_not_fire,
    ],
    ids=["fired never", "lost", "doubled", "not ended", "did not fire"],
)
def test_the_campaign_fails(
    play: Callable[[Campaign], Row], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(campaign.ROWS, "row", ("a row", play))
    assert campaign.main(["row", "--seed", "1"]) == 1
    assert capsys.readouterr().out.startswith("seed 1\n")


def test_a_difference_where_nothing_is_promised_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(campaign.ROWS, "row", ("a row", _plays(Row(9, Difference(lost=7), is_promised=False))))
    assert campaign.main(["row"]) == 0
    assert "| a row | 9 | 7 | 0 |" in capsys.readouterr().out


def test_what_differs_from_an_undisturbed_run_is_counted() -> None:
    calm = State(rows=Counter({"a": 1, "b": 1}), unended=0, calls=Counter({"1": 1, "2": 1}))
    found = State(rows=Counter({"b": 2, "c": 1}), unended=3, calls=Counter({"1": 4}))
    difference = Difference()
    difference.add(calm, found)
    counted = (difference.lost, difference.doubled, difference.unended, difference.repeated)
    assert counted == (2, 2, 3, 3), "a row and a call are lost, b and c are more than they should be"
