"""What bounds a run, and what would move it: the decision as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from streamflow.engine.figures import StageFigures
from streamflow.limits.allowance import Allowance, LimitState
from streamflow.limits.rates import WindowState
from streamflow.observe.bottleneck import SHORTEST, Seen, Use, as_json, bottleneck, use

FREE = LimitState("crossref", Allowance(), Allowance(), Allowance(10, 1, 8), 3, 5, 40, 0.0, None, slots=8)
USED_UP = Use(FREE, 9.8, 2.0)
HALF_USED = Use(FREE, 5.0, 2.0)


def stage(shares: Mapping[str, float], workers: int = 4, runs_in: str = "loop", **more: float) -> StageFigures:
    seen = StageFigures(0, 0, 0, 0, 0, 0, 0, 16, workers, shares, runs_in=runs_in)
    return replace(seen, **more)  # type: ignore[arg-type]


def seen(stages: Mapping[str, StageFigures], *uses: Use, **more: float) -> Seen:
    return replace(Seen(30.0, stages, dict.fromkeys(stages, 2.0), uses=uses, processors=4), **more)  # type: ignore[arg-type]


def shares(**stages: Mapping[str, float]) -> Seen:
    return seen({name: stage(each) for name, each in stages.items()})


@pytest.mark.parametrize(
    ("run", "stage", "at"),
    [
        pytest.param(
            shares(
                extract={"work": 0.1, "room in enrich": 0.9},
                enrich={"work": 0.2, "limit crossref": 0.7, "input": 0.1},
                download={"work": 0.3, "input": 0.7},
            ),
            *("enrich", "limit crossref"),
            id="the stage between those that wait for room and those that wait for input",
        ),
        pytest.param(
            shares(extract={"work": 1.0}, enrich={"input": 0.9, "work": 0.1}),
            *("extract", "work"),
            id="the first stage, where all others lack input",
        ),
        pytest.param(
            shares(read={"room in write": 0.8, "work": 0.2}, write={"writer": 0.9, "work": 0.1}),
            *("write", "writer"),
            id="the writer, where a stage waits for it",
        ),
        pytest.param(
            shares(extract={"work": 0.1, "input": 0.9}, enrich={"work": 0.3, "input": 0.7}),
            *(None, "input"),
            id="the sources, where even the busiest stage has nothing to do",
        ),
        pytest.param(
            replace(shares(extract={"work": 0.3, "input": 0.7}, enrich={"limit x": 0.4, "input": 0.6}), feeding=0.1),
            *("enrich", "limit x"),
            id="not the sources, where they ended early",
        ),
        pytest.param(
            shares(
                blocks={"holding the loop": 0.25, "loop": 0.75},
                waits={"loop": 0.6, "work": 0.1, "input": 0.3},
            ),
            *("blocks", "holding the loop"),
            id="the loop, that one of four workers always holds",
        ),
        pytest.param(
            shares(blocks={"holding the loop": 0.2, "loop": 0.8}, ask={"work": 0.7, "loop": 0.2, "input": 0.1}),
            *("blocks", "holding the loop"),
            id="the loop, though the workers of another stage are busier than those that hold it",
        ),
        pytest.param(
            shares(first={"holding the loop": 0.42, "writer": 0.57}, second={"writer": 0.7, "input": 0.3}),
            *("first", "holding the loop"),
            id="the loop, over which the writer's answers come",
        ),
        pytest.param(
            shares(
                parse={"holding the loop": 0.12, "room in ask": 0.88},
                ask={"work": 0.95, "loop": 0.05},
            ),
            *("ask", "work"),
            id="not the loop, where a stage is busier than that",
        ),
        pytest.param(
            shares(parse={"holding the loop": 0.075, "input": 0.7, "loop": 0.225}),
            *(None, "input"),
            id="not the loop, where its holder mostly lacks input",
        ),
        pytest.param(
            shares(extract={"input": 1.0}, enrich={"retry": 0.8, "work": 0.2}),
            *("enrich", "retry"),
            id="the time of retries, where nothing else is left",
        ),
        pytest.param(
            shares(extract={"room in enrich": 0.9, "work": 0.1}, enrich={"paused": 1.0}),
            *("enrich", "paused"),
            id="a pause by hand",
        ),
    ],
)
def test_the_station_that_is_busiest_bounds_the_run(run: Seen, stage: str | None, at: str) -> None:
    found = bottleneck(run)
    assert found is not None
    assert (found.stage, found.at) == (stage, at)


@pytest.mark.parametrize("at", ["input", "loop", "room in ask"])
def test_of_a_time_in_which_nothing_was_done_nothing_is_said(at: str) -> None:
    """As while a finalizer takes long."""
    assert bottleneck(replace(shares(enrich={at: 1.0}), feeding=0.0)) is None


def test_of_a_short_time_nothing_is_said() -> None:
    run = shares(enrich={"work": 1.0})
    assert bottleneck(replace(run, seconds=SHORTEST)) is not None
    assert bottleneck(replace(run, seconds=SHORTEST / 2)) is None
    assert bottleneck(shares(enrich={})) is None
    assert as_json(None) is None


WINDOWS = (WindowState("points", 900, 60, 890, 10),)
WAITS = {"limit crossref": 0.82, "work": 0.18}
ASKED = replace(FREE, paused_for=40.0, paused_reason="crossref asked to wait 60 s")
AWAY = replace(FREE, breaker="open", away_for=200.0, failure="503")


@pytest.mark.parametrize(
    ("run", "why", "advice"),
    [
        pytest.param(
            seen({"enrich": stage(WAITS)}, USED_UP),
            "enrich: 82% of its 4 workers' time went to waiting for the limit of crossref (10 calls in 1 s, 9.8 used)",
            "Nothing in streamflow makes that faster. If crossref allows you more, say so: [services.crossref] rate",
            id="a rate",
        ),
        pytest.param(
            seen({"enrich": stage(WAITS)}, Use(FREE, 5.0, 7.9)),
            "(8 calls at once, 7.9 in flight)",
            "[services.crossref] concurrency = …",
            id="calls at once",
        ),
        pytest.param(
            seen({"enrich": stage(WAITS)}, Use(replace(FREE, windows=WINDOWS), 1.0, 1.0)),
            "(900 points in 60 s, 890 used)",
            "[services.crossref] windows = …",
            id="a window",
        ),
        pytest.param(
            seen({"enrich": stage(WAITS)}, Use(replace(FREE, slots=2), 3.0, 2.0)),
            "(2 calls at once, 2 in flight)",
            "crossref is overloaded, or slows down",
            id="calls at once that overload has taken",
        ),
        pytest.param(
            seen({"enrich": stage({"work": 0.8, "limit crossref": 0.2})}, USED_UP),
            "20% of its 4 workers' time went to waiting for the limit of crossref",
            "Nothing in streamflow makes that faster.",
            id="a limit that is used up, although most workers have a call in flight",
        ),
        pytest.param(
            seen({"enrich": stage({"work": 0.4, "limit crossref": 0.15, "input": 0.45})}, HALF_USED),
            "(10 calls in 1 s, 5 used)",
            "Nothing in streamflow makes that faster.",
            id="a limit that is used up while there is something to do",
        ),
        pytest.param(
            seen({"enrich": stage({"work": 0.8, "limit crossref": 0.2})}, HALF_USED),
            "80% of its 4 workers' time went to work",
            "More workers would help: [stages.enrich] workers = 8. "
            "At 2.0 times this pace the limit of crossref would be next.",
            id="work, where the limit is half used",
        ),
        pytest.param(
            seen({"enrich": stage({"work": 1.0}), "download": stage({"work": 0.8, "input": 0.2})}),
            "100% of its 4 workers' time went to work",
            "[stages.enrich] workers = 5. At 1.2 times this pace download would be next.",
            id="work, where another stage is nearly full too",
        ),
        pytest.param(
            seen({"enrich": stage({"work": 0.4, "input": 0.6})}, feeding=0.1),
            "40% of its 4 workers' time went to work",
            "More workers would not help: they had nothing to do for 60% of the time",
            id="work, of few items",
        ),
        pytest.param(
            seen({"extract": stage({"work": 1.0}, 4, "process")}),
            "went to work",
            "More workers would not help: they have 4 processors, and use them.",
            id="work in processes, as many as processors",
        ),
        pytest.param(
            seen({"extract": stage({"work": 1.0}, 3, "process")}, busy_processors=1.0),
            "went to work",
            "[stages.extract] workers = 4.",
            id="work in processes, fewer than processors",
        ),
        pytest.param(
            seen({"parse": stage({"work": 1.0}, 1)}, busy_processors=0.97),
            "parse: 100% of its worker's time went to work",
            "this process keeps a whole processor busy",
            id="work, where the processor is full",
        ),
        pytest.param(
            seen({"parse": stage({"holding the loop": 0.9, "work": 0.1}, 1)}),
            "its function blocked or computed for 90% of the time",
            'in its Stage say runs_in="thread" where it waits, "process" where it computes',
            id="a function that holds the loop",
        ),
        pytest.param(
            seen({"enrich": stage({"pause crossref": 1.0})}, Use(ASKED, 1.0, 0.1)),
            "waiting as long as crossref asks to for another 40 s: crossref asked to wait 60 s",
            "a lower [services.crossref] rate",
            id="a pause that the API asked for",
        ),
        pytest.param(
            seen({"enrich": stage({"breaker crossref": 1.0})}, Use(AWAY, 0.0, 0.0)),
            "waiting for crossref to come back, away for 3 min 20 s (503)",
            "all goes on when it answers",
            id="an API that is away",
        ),
        pytest.param(
            seen({"enrich": stage({"breaker crossref": 1.0})}, Use(FREE, 0.0, 0.0)),
            "waiting for crossref to come back",
            "the setting outage",
            id="an API that was away",
        ),
        pytest.param(
            seen({"enrich": stage({"retry": 1.0}, parked=12, retry_in=40.0)}),
            "waiting for the time of the next attempts (12 items, the first in 40 s)",
            "[stages.enrich] attempts = …",
            id="retries",
        ),
        pytest.param(
            seen({"enrich": stage({"writer": 0.5, "work": 0.4, "input": 0.1})}),
            "50% of its 4 workers' time went to waiting for the writer, 1,000 ms for each item",
            '[storage] synchronous = "NORMAL"',
            id="the writer",
        ),
        pytest.param(
            seen({"enrich": stage({"writer (disk full)": 1.0})}),
            "waiting for room: disk full",
            "Make room; it goes on by itself.",
            id="a full disk",
        ),
        pytest.param(
            seen({"enrich": stage({"writer (database locked)": 1.0})}),
            "waiting: database locked",
            "Close the other program",
            id="a locked database",
        ),
        pytest.param(
            seen({"enrich": stage({"paused": 1.0})}), "its pause", "`streamflow resume enrich`", id="a paused stage"
        ),
        pytest.param(
            shares(extract={"work": 0.1, "input": 0.9}),
            "the sources: even the busiest stage, extract, had nothing to do for 90% of the time",
            "only more, or faster, input",
            id="the sources",
        ),
    ],
)
def test_why_and_what_would_move_it_are_said_with_figures(run: Seen, why: str, advice: str) -> None:
    found = bottleneck(run)
    assert found is not None
    assert why in found.why
    assert advice in found.advice


def test_the_use_of_a_limit_is_that_since_the_look_before() -> None:
    before, now = replace(FREE, granted=40, held=10.0), replace(FREE, granted=100, held=40.0)
    assert use(now, 20.0, before) == Use(now, 3.0, 1.5)
    assert use(now, 20.0) == Use(now, 5.0, 2.0)
