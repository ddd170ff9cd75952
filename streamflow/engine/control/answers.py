"""What a run answers to those who ask through its control socket."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from streamflow.engine.control.health import Pulse
from streamflow.engine.control.messages import (
    AnyRequest,
    Diagnosis,
    Done,
    Drain,
    Health,
    Limits,
    LimitStates,
    Pause,
    Requeued,
    Resume,
    Retry,
    StageNow,
    Standing,
    Status,
)
from streamflow.engine.control.place import listening
from streamflow.engine.control.server import serve
from streamflow.engine.pool import Pool
from streamflow.engine.requeue import requeue
from streamflow.engine.run import Run
from streamflow.errors import UsageError
from streamflow.events import DRAINED, ControlUnavailable, Hook
from streamflow.limits.registry import Registry
from streamflow.observe.stats import Observer
from streamflow.storage.selection import Selection
from streamflow.storage.store import Store


@asynccontextmanager
async def controlled(workspace: Path, run: Run, store: Store, limits: Registry, hook: Hook) -> AsyncIterator[None]:
    """Answer who asks about this run for as long as the block lasts. The workspace's lock must be held.

    A run goes on without it where there can be no socket; `hook` is then told why.
    """
    answers = Answers(run, store, limits)
    with ExitStack() as stack:
        tasks = [asyncio.create_task(answers.pulse.beat(), name="streamflow pulse")]
        try:
            listener = stack.enter_context(listening(workspace))
        except OSError as error:
            hook(ControlUnavailable(str(workspace), str(error)))
        else:
            tasks.append(asyncio.create_task(serve(listener, answers), name="streamflow control socket"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # what one of them failed of is not retrieved, so asyncio tells the log


class Answers:
    """Call it with a request."""

    def __init__(self, run: Run, store: Store, limits: Registry) -> None:
        self._run = run
        self._store = store
        self._limits = limits
        self._since = time.time()
        self._started = time.monotonic()
        self._requeueing = False
        self._observer = Observer(run, limits, self._started)
        self.pulse = Pulse(run, store, lambda: self._observer.look(time.monotonic()))

    async def __call__(self, request: AnyRequest) -> msgspec.Struct:
        match request:
            case Status():
                return self._standing()
            case Health():
                return self._diagnosis()
            case Limits():
                return LimitStates(self._limit_states())
            case Pause(stage=stage):
                return self._pause(stage)
            case Resume(stage=stage):
                return self._resume(stage)
            case Drain():
                return self._drain()
            case Retry(selection=selection):
                return await self._retry(selection)

    def _standing(self) -> Standing:
        run, view = self._run, self._observer.look(time.monotonic())
        stages = {
            name: StageNow(
                workers=figures.workers,
                capacity=figures.capacity,
                active=_active(run.pools[name]),
                queued=figures.queued,
                parked=figures.parked,
                done=figures.done,
                skipped=figures.skipped,
                dead=figures.dead,
                retries=figures.retries,
                rate=view.rates[name],
                paused=figures.paused,
                shares=dict(figures.shares),
            )
            for name, figures in view.stages.items()
        }
        return Standing(
            pid=os.getpid(),
            pipeline=run.pipeline.name,
            state=run.state,
            since=self._since,
            uptime=view.seconds,
            eta=view.eta,
            more=view.more,
            stages=stages,
            limits=self._limit_states(),
            bottleneck=view.bottleneck,
        )

    def _limit_states(self) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(limit.snapshot()) for limit in self._limits]

    def _diagnosis(self) -> Diagnosis:
        if troubles := self.pulse.troubles():
            return Diagnosis(False, "; ".join(troubles))
        active = sum(_active(pool) for pool in self._run.pools.values())
        return Diagnosis(True, f"{self._run.pipeline.name} is {self._run.state}, {active} active")

    def _pause(self, stage: str) -> Done:
        pool = self._pool(stage)
        if self._run.sequential:
            raise UsageError("A sequential run works on one item at a time; no stage of it can be paused.")
        changed = not pool.channel.held
        pool.channel.hold()
        return Done(changed)

    def _resume(self, stage: str) -> Done:
        channel = self._pool(stage).channel
        changed = channel.held
        if changed:
            channel.release()
        return Done(changed)

    def _drain(self) -> Done:
        # Asked for twice it is no second signal: two who ask at the same time mean the same.
        if self._run.state == "stopping":
            return Done(False)
        self._run.stop(DRAINED)
        return Done(True)

    async def _retry(self, selection: Selection) -> Requeued:
        if selection.stage is not None:
            self._pool(selection.stage)
        self._check_running()
        if self._run.resting:
            raise UsageError(
                "The run has worked on all that it was given, and makes good what it owes: stages that are new, "
                "records that nothing emits any more, finalizers. Ask again once it has ended."
            )
        if self._requeueing:
            raise UsageError("Another `retry` is still at work in this run. Ask again later.")
        self._requeueing = True
        try:
            return Requeued(await requeue(selection, self._store, self._run.pools, self._run.tally))
        finally:
            self._requeueing = False

    def _pool(self, stage: str) -> Pool:
        """Raises UsageError where there is no such stage, or it takes nothing more or nothing yet."""
        run = self._run
        names = [each.name for each in run.pipeline.stages]
        if stage not in names:
            raise UsageError(f"The pipeline {run.pipeline.name!r} has no stage {stage!r}; it has {', '.join(names)}.")
        self._check_running()
        return run.pools[stage]

    def _check_running(self) -> None:
        if self._run.state != "running":
            raise UsageError(f"The run is {self._run.state}: it takes no requests that change it. Ask again later.")


def _active(pool: Pool) -> int:
    """Items in workers' hands that have not ended: one whose outputs wait for room has."""
    return sum(len(slot.items) for slot in pool.slots if not (slot.waiting or "").startswith("room in "))
