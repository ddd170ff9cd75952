"""The time to go, from what is known of a run; and what a run shows of itself while it goes on, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from streamflow.engine.figures import StageFigures
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.errors import TransientError
from streamflow.limits.registry import Registry
from streamflow.limits.retry import Retry
from streamflow.observe.stats import Observer, View, eta
from streamflow.record import record
from streamflow.sources.files import Inputs
from tests.engine.flows import Middle, Number, Result, flow, play_virtual


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


def looked_at(pipeline: Pipeline, limits: Registry | None = None, *, seconds: float = 30.0, pause: str = "") -> View:
    """A run as it is seen after so many seconds by one who looks every second."""
    views: list[View] = []

    async def look(run: Run) -> None:
        observer = Observer(run, limits if limits is not None else Registry(), 0.0)
        for second in range(1, int(seconds) + 1):
            await asyncio.sleep(second - asyncio.get_running_loop().time())
            if pause and second == 1:
                run.pools[pause].channel.hold()
            views.append(observer.look(asyncio.get_running_loop().time()))
        run.stop("enough")
        run.stop("enough")

    play_virtual(pipeline, watch=look, daemon=True)
    return views[-1]


async def middle(number: Number) -> Middle:
    await asyncio.sleep(0.1)
    return Middle(number.n)


async def result(middle: Middle) -> Result:
    await asyncio.sleep(0.1)
    return Result(middle.n)


def test_a_limit_that_is_used_up_is_the_bottleneck_and_the_others_wait_for_its_stage() -> None:
    limits = Registry()
    service = limits.limit("shop", rate=5.0, concurrency=4)

    async def ask(middle: Middle) -> Result:
        async with service() as grant:
            grant.sent()
            await asyncio.sleep(0.1)
        return Result(middle.n)

    view = looked_at(flow(Stage(middle, workers=2), Stage(ask, workers=3), count=1000), limits)
    found = view.bottleneck
    assert found is not None
    assert (found.stage, found.at) == ("ask", "limit shop")
    assert found.busy == pytest.approx(1.0, abs=0.05)
    assert "(5 calls in 1 s, 4.9 used)" in found.why
    assert view.stages["middle"].shares["room in ask"] > 0.7


def test_the_slowest_stage_is_the_bottleneck() -> None:
    found = looked_at(flow(Stage(middle, workers=4), Stage(result, workers=1), count=1000)).bottleneck
    assert found is not None
    assert (found.stage, found.at) == ("result", "work")
    assert "At 4.0 times this pace middle would be next" in found.advice


def test_retries_are_waited_for_where_nothing_else_is_left() -> None:
    async def fails(number: Number) -> Result:
        raise TransientError("not yet")

    retry = Retry(attempts=10, base=1000.0, cap=1000.0)
    view = looked_at(flow(Stage(fails, workers=2, retry=retry), count=3))
    assert view.stages["fails"].parked == 3
    assert view.bottleneck is not None
    assert view.bottleneck.at == "retry"
    assert "(3 items, the first in " in view.bottleneck.why


async def trickle(inputs: Inputs) -> AsyncIterator[Number]:
    for n in range(1000):
        await asyncio.sleep(1)
        yield Number(n)


def test_retries_are_not_waited_for_while_another_stage_works() -> None:
    async def slow(number: Number) -> Middle:
        await asyncio.sleep(0.7)
        return Middle(number.n)

    async def fails(middle: Middle) -> Result:
        raise TransientError("not yet")

    retry = Retry(attempts=10, base=1000.0, cap=1000.0)
    found = looked_at(flow(Stage(slow), Stage(fails, retry=retry), sources=[trickle])).bottleneck
    assert found is not None
    assert (found.stage, found.at) == ("slow", "work")


def test_a_paused_stage_is_the_bottleneck() -> None:
    found = looked_at(flow(Stage(middle), Stage(result), count=1000), pause="result").bottleneck
    assert found is not None
    assert (found.stage, found.at) == ("result", "paused")


def test_slow_sources_are_the_bottleneck() -> None:
    found = looked_at(flow(Stage(middle), Stage(result), sources=[trickle])).bottleneck
    assert found is not None
    assert (found.stage, found.at) == (None, "input")
