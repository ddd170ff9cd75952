"""What is said at the end of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamflow.engine.figures import StageFigures, Summary
from streamflow.limits.allowance import Allowance, LimitState
from streamflow.observe.bottleneck import Bottleneck
from streamflow.observe.summary import Report, as_json, text, whole
from streamflow.storage.inspect import DeadLetter

LIMIT = LimitState("crossref", Allowance(), Allowance(), Allowance(10, 1, 3), 3, 5, 40, 0.0, None)

FOUND = Bottleneck("enrich", 0.75, "work", 2 / 3, "enrich: it works", "More workers.")


def stage(done: int = 0, dead: int = 0, **shares: float) -> StageFigures:
    told = {name.replace("_", " "): share for name, share in shares.items()}
    return StageFigures(0, 0, 0, done, 0, dead, 0, 16, 4, told)


def summary(seconds: float = 30.0, **stages: StageFigures) -> Summary:
    return Summary("papers", stages, seconds)


def letter(key: str = "a", error: str = "no good", record: str = "{}") -> DeadLetter:
    return DeadLetter("extract", key, 1, error, 0.0, None, None, record)


def report(told: Summary, **more: object) -> Report:
    return replace(Report(told, "ws", 0, "streamflow retry -w ws"), **more)


def test_a_run_is_seen_whole() -> None:
    told = replace(summary(20.0, enrich=stage(done=6, dead=4)), fed=5.0, processor=10.0)
    seen = whole(told, [replace(LIMIT, granted=40, held=30.0)])
    assert (seen.rates, seen.feeding, seen.busy_processors) == ({"enrich": 0.5}, 0.25, 0.5)
    assert [(use.calls, use.in_flight) for use in seen.uses] == [(2.0, 1.5)]


def test_the_bottleneck_is_told_beside_what_time_went_to() -> None:
    told = text(report(summary(enrich=stage(done=1, work=0.7, input=0.26, writer=0.04)), bottleneck=FOUND))
    assert "   done  skipped  failed  tried again  time went to" in told
    assert "work 70%, input 26%\n" in told
    assert told.endswith("\n\nBottleneck: enrich: it works.\nMore workers.")


def test_failures_are_named_with_their_reasons_and_the_command_that_retries_them() -> None:
    letters = [letter(key=f"key{number}", error=f"reason {number}") for number in range(7)]
    told = text(report(summary(extract=stage(done=1, dead=7)), dead=7, letters=letters))
    assert "7 items failed for good:" in told
    assert "extract  key0  reason 0" in told
    assert "key6" not in told
    assert "streamflow dead list -w ws" in told
    assert "streamflow retry -w ws" in told


def test_failures_of_earlier_runs_are_told_apart() -> None:
    told = text(report(summary(extract=stage(dead=1)), dead=3, letters=[letter()]))
    assert "3 items failed for good, 2 of them in earlier runs:" in told


def test_an_item_with_an_opaque_key_goes_by_a_name() -> None:
    hashed = letter(key="ab" * 32, record=json.dumps({"paper": "ab" * 32, "paper_file": "smith.pdf"}))
    assert "smith.pdf (abababababab…)" in text(report(summary(extract=stage(dead=1)), dead=1, letters=[hashed]))


@pytest.mark.parametrize(
    ("told", "more", "words"),
    [
        (summary(extract=stage()), {}, "there was nothing new to do"),
        (summary(extract=stage(done=1)), {}, "papers finished in 30 s"),
        (
            replace(summary(), stopped_by="SIGTERM"),
            {"pending": {"extract": 4}},
            "stopped by SIGTERM after 30 s; left to do: 4",
        ),
        (summary(), {"error": "the key was refused"}, "stopped after 30 s: the key was refused"),
    ],
)
def test_the_heading_says_how_it_ended(told: Summary, more: dict[str, object], words: str) -> None:
    assert words in text(report(told, **more)).splitlines()[0]


def test_the_json_has_the_same_and_is_plain() -> None:
    told = summary(extract=stage(done=1, dead=1, work=1.0))
    made = json.loads(json.dumps(as_json(report(told, code=3, dead=1, letters=[letter()], bottleneck=FOUND))))
    assert made["outcome"] == "finished with dead letters"
    assert made["stages"]["extract"] == {
        "pending": 0,
        "done": 1,
        "skipped": 0,
        "dead": 1,
        "retries": 0,
        "shares": {"work": 1.0},
    }
    assert made["failures"] == [{"stage": "extract", "key": "a", "attempts": 1, "error": "no good"}]
    assert made["bottleneck"] == {
        **{"stage": "enrich", "busy": 0.75, "at": "work", "share": 0.667},
        **{"why": "enrich: it works", "advice": "More workers."},
    }
    assert made["retry"] == "streamflow retry -w ws"
