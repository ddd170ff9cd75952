"""The time to go, from what is known of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from streamflow.engine.figures import StageFigures
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.observe.stats import eta
from streamflow.record import record
from streamflow.sources.files import Inputs


@record(key="n")
class Paper:
    n: int


@record(key="n")
class Reference:
    n: int


async def papers(inputs: Inputs) -> AsyncIterator[Paper]:
    yield Paper(1)


async def extract(paper: Paper) -> list[Reference]:
    return []


async def enrich(reference: Reference) -> None:
    return None


PIPELINE = Pipeline("papers", sources=[papers], stages=[Stage(enrich), Stage(extract)])
NOTHING = StageFigures(queued=0, active=0, parked=0, done=0, skipped=0, dead=0, retries=0, capacity=16, workers=4)


def figures(**changes: int) -> StageFigures:
    return replace(NOTHING, **changes)


def test_the_slowest_stage_decides() -> None:
    stages = {"extract": figures(done=5), "enrich": figures(done=50, queued=10, active=5, skipped=10)}
    # 60 ended in 30 s, 15 are left.
    assert eta(PIPELINE, stages, 30.0) == pytest.approx(7.5)


def test_what_a_stage_will_bring_forth_counts() -> None:
    stages = {"extract": figures(done=4, queued=4), "enrich": figures(done=40)}
    # 10 references for each paper: 40 more, at 4 a second.
    assert eta(PIPELINE, stages, 10.0) == pytest.approx(10.0)


def test_items_in_the_hands_of_a_source_are_papers() -> None:
    stages = {"extract": figures(done=4), "enrich": figures(done=40)}
    assert eta(PIPELINE, stages, 10.0, unseen=4) == pytest.approx(10.0)


def test_items_in_the_hands_of_blocked_workers_are_references() -> None:
    stages = {"extract": figures(done=3, active=1), "enrich": figures(done=36)}
    # The blocked worker has done its work: its paper brings no more than the 9 that are unseen.
    assert eta(PIPELINE, stages, 9.0, unseen=9, blocked={("extract", "enrich"): 1}) == pytest.approx(9.0 * 9 / 36)


@pytest.mark.parametrize(
    "stages",
    [
        {"extract": figures(queued=3), "enrich": figures()},
        {"extract": figures(done=1, queued=1), "enrich": figures(queued=9)},
        {},
    ],
)
def test_without_a_pace_nothing_is_promised(stages: dict[str, StageFigures]) -> None:
    assert eta(PIPELINE, stages, 5.0) is None


def test_nothing_left_takes_no_time() -> None:
    assert eta(PIPELINE, {"extract": figures(done=1), "enrich": figures(done=9)}, 5.0) == 0
