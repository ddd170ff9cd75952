"""What a run answers, and what pausing and draining do to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.control.answers import Answers, controlled
from streamflow.engine.control.client import ask
from streamflow.engine.control.messages import (
    AnyRequest,
    Done,
    Drain,
    Limits,
    LimitStates,
    Pause,
    Resume,
    Standing,
    Status,
)
from streamflow.engine.control.place import NAME
from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import UsageError
from streamflow.events import DRAINED, ControlUnavailable, Event
from streamflow.limits.registry import Registry
from streamflow.storage.memory import MemoryStore
from tests.engine.flows import Middle, Number, Played, Result, flow, play, until, values

pytestmark = pytest.mark.asyncio

Ask = Callable[[AnyRequest], Coroutine[Any, Any, Any]]


class Gate:
    """A stage's function whose calls wait until they are let through."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.calls: list[int] = []

    async def __call__(self, number: Number) -> Result:
        self.calls.append(number.n)
        await self.open.wait()
        return Result(number.n)


def passing(gate: Gate) -> Callable[[Number], Coroutine[Any, Any, Result]]:
    async def through(number: Number) -> Result:
        return await gate(number)

    return through


async def play_and_ask(
    scenario: Callable[[Run, Ask], Coroutine[Any, Any, None]], *stages: Stage, **options: Any
) -> Played:
    """Run a pipeline of ten numbers, and ask it meanwhile. The run must end by itself."""
    store = MemoryStore()
    told: list[str] = []

    async def beside(run: Run) -> None:
        await until(lambda: run.state == "running")
        await scenario(run, Answers(run, store, Registry()))
        told.append("all")

    played = await play(flow(*stages), store, watch=beside, **options)
    assert told == ["all"]
    return played


async def test_a_paused_stage_takes_nothing_and_its_run_goes_on_when_it_does() -> None:
    gate = Gate()

    async def scenario(run: Run, asked: Ask) -> None:
        await until(lambda: len(gate.calls) == 2)
        assert await asked(Pause(stage="through")) == Done(True)
        gate.open.set()
        await until(lambda: run.pools["through"].done == 2)
        now: Standing = await asked(Status())
        assert (now.stages["through"].paused, now.stages["through"].active) == (True, 0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(gate.calls) == 2
        assert await asked(Resume(stage="through")) == Done(True)

    played = await play_and_ask(scenario, Stage(passing(gate), workers=2, capacity=4))
    assert values(played) == list(range(10))
    assert sorted(gate.calls) == list(range(10))


async def test_a_stage_paused_before_it_has_anything_to_do_takes_nothing() -> None:
    """Its workers wait in the channel already when the pause comes."""
    first, second = asyncio.Event(), []

    async def middle(number: Number) -> Middle:
        await first.wait()
        return Middle(number.n)

    async def result(middle: Middle) -> Result:
        second.append(middle.n)
        return Result(middle.n)

    async def scenario(run: Run, asked: Ask) -> None:
        await until(lambda: run.pools["middle"].active == 1)
        await asked(Pause(stage="result"))
        first.set()
        await until(lambda: run.pools["result"].channel.producers_waiting == 1)
        for _ in range(100):
            await asyncio.sleep(0)
        # The stage before it works on as long as there is room, and no longer.
        assert (second, run.pools["middle"].done, run.pools["middle"].active) == ([], 3, 1)
        await asked(Resume(stage="result"))

    stages = Stage(middle, workers=1, capacity=20), Stage(result, workers=3, capacity=2)
    assert values(await play_and_ask(scenario, *stages)) == list(range(10))
    assert sorted(second) == list(range(10))


async def test_a_paused_batch_stage_gathers_no_more() -> None:
    batches: list[int] = []

    async def together(numbers: list[Number]) -> list[Result]:
        batches.append(len(numbers))
        return [Result(number.n) for number in numbers]

    async def scenario(run: Run, asked: Ask) -> None:
        await asked(Pause(stage="together"))
        await until(lambda: len(run.pools["together"].channel) == 10)
        assert batches == []
        await asked(Resume(stage="together"))

    stage = Stage(together, workers=1, capacity=20, batch=Batch(max_size=5, max_wait=0.01))
    assert values(await play_and_ask(scenario, stage)) == list(range(10))
    assert batches == [5, 5]


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_paused_run_stops_as_any_other(signals: int) -> None:
    gate = Gate()

    async def scenario(run: Run, asked: Ask) -> None:
        await until(lambda: len(gate.calls) == 1)
        await asked(Pause(stage="through"))
        await until(lambda: len(run.pools["through"].channel) == 2)
        for _ in range(signals):
            run.stop("SIGTERM")
        gate.open.set()

    played = await play_and_ask(scenario, Stage(passing(gate), workers=1, capacity=2))
    assert played.summary.stopped_by == "SIGTERM"
    assert len(gate.calls) == 1


async def test_pausing_and_resuming_again_change_nothing() -> None:
    gate = Gate()

    async def scenario(run: Run, asked: Ask) -> None:
        assert await asked(Resume(stage="through")) == Done(False)
        assert await asked(Pause(stage="through")) == Done(True)
        assert await asked(Pause(stage="through")) == Done(False)
        assert await asked(Resume(stage="through")) == Done(True)
        gate.open.set()

    assert values(await play_and_ask(scenario, Stage(passing(gate)))) == list(range(10))


async def test_what_cannot_be_paused_is_refused_in_words() -> None:
    gate = Gate()

    async def scenario(run: Run, asked: Ask) -> None:
        with pytest.raises(UsageError, match="no stage 'thorough'; it has through"):
            await asked(Pause(stage="thorough"))
        run.stop("SIGTERM")
        with pytest.raises(UsageError, match="stopping"):
            await asked(Pause(stage="through"))
        gate.open.set()

    await play_and_ask(scenario, Stage(passing(gate)))

    async def in_sequence(run: Run, asked: Ask) -> None:
        with pytest.raises(UsageError, match="sequential"):
            await asked(Pause(stage="through"))
        assert await asked(Resume(stage="through")) == Done(False)

    assert values(await play_and_ask(in_sequence, Stage(passing(gate)), sequential=True)) == list(range(10))


async def test_draining_is_the_first_signal_and_never_the_second() -> None:
    gate = Gate()

    async def scenario(run: Run, asked: Ask) -> None:
        await until(lambda: len(gate.calls) == 2)
        assert await asked(Drain()) == Done(True)
        assert await asked(Drain()) == Done(False)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await asked(Status())).state == "stopping"
        gate.open.set()

    played = await play_and_ask(scenario, Stage(passing(gate), workers=2, capacity=1))
    assert played.summary.stopped_by == DRAINED
    assert played.summary.stages["through"].done == 2


async def test_status_says_who_has_what_in_hand() -> None:
    gate = Gate()

    async def scenario(run: Run, asked: Ask) -> None:
        await until(lambda: len(gate.calls) == 3)
        await until(lambda: len(run.pools["through"].channel) == 4)
        now: Standing = await asked(Status())
        assert (now.pipeline, now.state, now.more) == ("test", "running", True)
        stage = now.stages["through"]
        assert (stage.workers, stage.capacity, stage.active, stage.queued) == (3, 4, 3, 4)
        gate.open.set()

    await play_and_ask(scenario, Stage(passing(gate), workers=3, capacity=4))


async def test_limits_are_told_with_all_their_fields() -> None:
    limits = Registry()
    limits.limit("crossref", rate=10, concurrency=3)
    answers = Answers(Run(flow(), MemoryStore(), resources={}, workspace=Path()), MemoryStore(), limits)
    found = await answers(Limits())
    assert isinstance(found, LimitStates)
    (limit,) = found.limits
    assert limit["name"] == "crossref"
    assert (limit["effective"]["rate"], limit["effective"]["concurrency"]) == (10, 3)
    standing = await answers(Status())
    assert isinstance(standing, Standing)
    assert (standing.state, standing.stages, standing.limits) == ("starting", {}, [limit])


async def test_a_run_goes_on_without_a_socket_where_there_can_be_none(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    heard: list[Event] = []
    run = Run(flow(), MemoryStore(), resources={}, workspace=tmp_path)
    async with controlled(tmp_path, run, MemoryStore(), Registry(), heard.append):
        pass
    (event,) = heard
    assert isinstance(event, ControlUnavailable)
    assert "directory" in event.reason.lower()
    assert os.listdir(tmp_path) == [NAME]


async def test_a_run_is_asked_through_its_socket(tmp_path: Path) -> None:
    run = Run(flow(), MemoryStore(), resources={}, workspace=tmp_path)
    async with controlled(tmp_path, run, MemoryStore(), Registry(), lambda event: None):
        now = await asyncio.to_thread(ask, tmp_path, Status(), Standing, timeout=20.0)
        assert now is not None
        assert now.state == "starting"
    assert await asyncio.to_thread(ask, tmp_path, Status(), Standing) is None
