"""What is said at the end of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamflow.engine.figures import StageFigures, Summary
from streamflow.limits.allowance import Allowance, LimitState
from streamflow.observe.summary import Bottleneck, Report, advice, as_json, bottleneck, text
from streamflow.storage.inspect import DeadLetter

LIMIT = LimitState("crossref", Allowance(), Allowance(), Allowance(10, 1, 3), 3, 5, 40, 0.0, None)


def stage(done: int = 0, dead: int = 0, **shares: float) -> StageFigures:
    told = {name.replace("_", " "): share for name, share in shares.items()}
    return StageFigures(0, 0, 0, done, 0, dead, 0, 16, 4, told)


def summary(seconds: float = 30.0, **stages: StageFigures) -> Summary:
    return Summary("papers", stages, seconds)


def letter(key: str = "a", error: str = "no good", record: str = "{}") -> DeadLetter:
    return DeadLetter("extract", key, 1, error, 0.0, None, None, record)


def report(told: Summary, **more: object) -> Report:
    return replace(Report(told, "ws", 0, "streamflow retry -w ws"), **more)


def test_the_stage_whose_workers_are_busiest_is_the_bottleneck_and_waiting_for_room_is_not_busy() -> None:
    told = summary(
        extract=stage(work=0.1, room_in_enrich=0.9),
        enrich=stage(work=0.2, limit_crossref=0.7, input=0.1),
        download=stage(work=0.3, input=0.7),
    )
    found = bottleneck(told, [LIMIT], {})
    assert found is not None
    assert (found.stage, found.at, found.limit) == ("enrich", "limit crossref", LIMIT)
    assert found.busy == pytest.approx(0.9)


def test_where_all_wait_for_input_the_source_decides() -> None:
    found = bottleneck(summary(extract=stage(work=0.1, input=0.9)), [], {})
    assert found is not None
    assert found.stage is None
    assert "the source decides the pace" in advice(found)


@pytest.mark.parametrize("told", [summary(seconds=0.4, extract=stage(work=1.0)), summary(extract=stage())])
def test_of_a_short_or_unseen_run_nothing_is_claimed(told: Summary) -> None:
    assert bottleneck(told, [], {}) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Bottleneck("enrich", 0.9, "limit crossref", LIMIT, 8), "10 calls in 1 s, 3 at once"),
        (Bottleneck("enrich", 0.9, "limit crossref", LIMIT, 8), "[services.crossref]"),
        (Bottleneck("enrich", 0.9, "work", None, 8), "--workers enrich=16"),
        (Bottleneck("extract", 0.9, "work", None, 2, "process"), "idle cores"),
        (Bottleneck("enrich", 0.9, "writer", None, 8), 'synchronous = "NORMAL"'),
    ],
)
def test_the_advice_names_what_would_move_the_bottleneck(found: Bottleneck, words: str) -> None:
    assert words in advice(found)


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
    told = summary(extract=stage(done=1, dead=1))
    found = Bottleneck("extract", 0.5, "work", None, 4)
    made = json.loads(json.dumps(as_json(report(told, code=3, dead=1, letters=[letter()], bottleneck=found))))
    assert made["outcome"] == "finished with dead letters"
    assert made["stages"]["extract"] == {"pending": 0, "done": 1, "skipped": 0, "dead": 1, "retries": 0}
    assert made["failures"] == [{"stage": "extract", "key": "a", "attempts": 1, "error": "no good"}]
    assert made["bottleneck"]["stage"] == "extract"
    assert made["retry"] == "streamflow retry -w ws"
