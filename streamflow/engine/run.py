"""A run: one execution of a pipeline.

Start: open the store, make channels and pools, feed what an earlier run left, start the sources.
Drain: when sources and feeders have ended and nothing is in flight, finalizers run if something changed. A batch run
then ends; a daemon goes on, and is quiet after `QUIET` seconds of nothing to do.
Stop, at the first signal: sources are cancelled, channels refuse, idle workers end, active ones finish what they have
in hand within the grace period; the rest stays pending. At the second: everything is cancelled at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from streamflow.engine.channel import Channel
from streamflow.engine.executors import Call, executor
from streamflow.engine.feeder import Feeder
from streamflow.engine.intake import Intake
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.pool import Pool
from streamflow.engine.shared import Route, Shared
from streamflow.engine.stage import Stage, read_signature
from streamflow.engine.tally import Tally
from streamflow.engine.watchdog import Watchdog
from streamflow.events import (
    ContentsDiffer,
    Draining,
    FinalizerEnded,
    Hook,
    RecordsRetracted,
    RunEnded,
    RunStarted,
    SourceEnded,
    StageCaughtUp,
    StageLacksRecords,
)
from streamflow.record import record_type
from streamflow.sources.files import Inputs
from streamflow.storage.store import Item, Plan, Store

QUIET = 5.0
"""Seconds without anything to do after which a daemon runs its finalizers."""


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage at a moment: items by state since the run began, and shares of its workers' time by what they did."""

    queued: int
    active: int
    parked: int
    done: int
    skipped: int
    dead: int
    retries: int
    capacity: int
    workers: int
    shares: Mapping[str, float] = field(default_factory=dict)


class Span(NamedTuple):
    """One call of a stage's function: by which worker, from when to when in seconds since the run's start."""

    stage: str
    worker: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended. `error` is what stopped it; `stopped_by` names the signal. `seconds` is wall time.

    `refused` counts records of sources that cannot be stored.
    """

    pipeline: str
    stages: Mapping[str, StageFigures]
    seconds: float
    error: Exception | None = None
    stopped_by: str | None = None
    spans: Sequence[Span] = ()
    refused: int = 0

    @property
    def dead(self) -> int:
        return sum(figures.dead for figures in self.stages.values())

    @property
    def retries(self) -> int:
        return sum(figures.retries for figures in self.stages.values())


class Run:
    """One execution. `resources` are open and belong to the caller; the store is opened and closed here.

    `sequential` keeps one item in flight overall, depth first. `daemon` goes on at quiet. `limit` bounds the records
    taken from each source. `grace` is in seconds. `hook` is told of events. With `refresh` what sources bring is worked
    on again; with `stale` so are the items that another version of their stage worked on. `beside` is entered once the
    store is open, and left before it is closed.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        *,
        resources: Mapping[type[Any], Any],
        workspace: Path,
        hook: Hook = lambda event: None,
        sequential: bool = False,
        daemon: bool = False,
        limit: int | None = None,
        refresh: bool = False,
        stale: bool = False,
        grace: float = 30.0,
        trace: bool = False,
        beside: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.tally = Tally()
        self.pools: dict[str, Pool] = {}
        self._store = store
        self._resources = resources
        self._workspace = workspace
        self._hook = hook
        self._sequential = sequential
        self._daemon = daemon
        self._limit = limit
        self._refresh = refresh
        self._stale = stale
        self._grace = grace
        self._trace = trace
        self._beside = beside or nullcontext()
        self._spans: list[Span] = []
        self._intakes: list[Intake] = []
        self._stop = asyncio.Event()
        self._halt = asyncio.Event()
        self._renewed = asyncio.Event()
        self._stopped_by: str | None = None
        self._error: Exception | None = None
        self._started = 0.0

    async def __call__(self) -> Summary:
        """Run to the end. Raises what a source, a finalizer or the store raised; stage failures are items' ends."""
        self._started = time.monotonic()
        plan = self._plan()
        opened = await self._store.open(plan, refresh=self._refresh, stale=self._stale)
        try:
            self.tally.changed = opened.changed
            resumed = sum(opened.pending.values())
            self._hook(RunStarted(self.pipeline.name, str(self._workspace), resumed))
            if not self._refresh:
                for name in opened.lacking:
                    self._hook(StageLacksRecords(name, plan.stages[name][0].name))
            if not opened.behind:
                self._renewed.set()
            if self._daemon:
                # It is never at rest: what new stages owe is fed with what an earlier run left, beside live items.
                for stage in self.pipeline.downstream:
                    await self._catch_up(stage.name)
            async with self._beside, AsyncExitStack() as stack:
                await self._make_pools(stack)
                await self._flow()
        except BaseException as error:
            self._end(f"failed: {type(error).__name__}: {error}")
            raise
        finally:
            self._tell_what_differs()
            await self._store.close()
        seconds = self._end(f"stopped: {self._error}" if self._error else self._stopped_by or "done")
        refused = sum(intake.refused for intake in self._intakes)
        return Summary(self.pipeline.name, self.figures(), seconds, self._error, self._stopped_by, self._spans, refused)

    def _end(self, reason: str) -> float:
        seconds = time.monotonic() - self._started
        self._hook(RunEnded(self.pipeline.name, reason, seconds))
        return seconds

    @property
    def error(self) -> Exception | None:
        """What stopped the run, if something did."""
        return self._error

    def stop(self, reason: str) -> None:
        """The first call drains, the second stops at once."""
        if self._stop.is_set():
            self._halt.set()
        self._stopped_by = reason
        self._stop.set()

    def figures(self) -> dict[str, StageFigures]:
        """Live figures of each stage."""
        return {name: self._stage_figures(pool) for name, pool in self.pools.items()}

    def _stage_figures(self, pool: Pool) -> StageFigures:
        looks = self._watchdog.looks[pool.stage.name]
        total = sum(looks.values())
        return StageFigures(
            queued=0 if self._sequential else len(pool.channel),
            active=pool.active,
            parked=pool.feeder.parked,
            done=pool.done,
            skipped=pool.skipped,
            dead=pool.dead,
            retries=pool.retries,
            capacity=pool.channel.capacity,
            workers=pool.stage.workers,
            shares={what: count / total for what, count in looks.most_common()} if total else {},
        )

    def _plan(self) -> Plan:
        stages = {}
        for stage in self.pipeline.stages:
            assert stage.signature.takes is not None  # noqa: S101 - a stage without input cannot be built
            stages[stage.name] = (record_type(stage.signature.takes), stage.version)
        produced = {kind.__name__ for stage in self.pipeline.stages for kind in stage.signature.produces}
        return Plan(self.pipeline.name, stages, self.pipeline.tables, produced)

    # --- start -----------------------------------------------------------------------------------------------------

    async def _make_pools(self, stack: AsyncExitStack) -> None:
        stages = self.pipeline.stages
        if self._sequential:
            shared_channel: Channel[Item] = Channel(0, newest_first=True)
            channels = {stage.name: shared_channel for stage in stages}
        else:
            channels = {stage.name: Channel(stage.room, newest_first=stage.newest_first) for stage in stages}
        routes = {}
        for kind, takers in self.pipeline.routes.items():
            described = record_type(kind)
            routes[kind] = Route(described.key_of, takers, is_row=described.table is not None)
        loop = asyncio.get_running_loop()
        # The stock loop's clock is `time.monotonic`, which is read for every item: half the price without its wrapper.
        clock = time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time
        self._shared = Shared(self._store, channels, routes, self.tally, self._hook, self._abort, clock)
        for stage in stages:
            call = await stack.enter_async_context(executor(stage, self._resources, self._workspace))
            if self._trace:
                call = self._traced(stage, call)
            feeder = Feeder(stage.name, self._store, channels[stage.name], stage.room)
            self.pools[stage.name] = Pool(stage, call, feeder, self._shared)
        slots = [slot for pool in self.pools.values() for slot in pool.slots]
        tick = min(0.1, *(stage.timeout / 10 for stage in stages)) if stages else 0.1
        self._watchdog = Watchdog(slots, self._hook, tick=max(0.01, tick))

    def _traced(self, stage: Stage, call: Call) -> Call:
        if stage.signature.streams:
            return call

        async def traced(argument: Any) -> Any:
            start = time.monotonic() - self._started
            try:
                return await call(argument)
            finally:
                task = asyncio.current_task()
                worker = task.get_name() if task is not None else ""
                self._spans.append(Span(stage.name, worker, start, time.monotonic() - self._started))

        return traced

    async def _flow(self) -> None:
        """Start everything, wait for quiet or a stop, end everything."""
        try:
            await self._flow_in_group()
        except BaseExceptionGroup as group:
            # The first failure ended the others; they tell nothing more.
            raise _first(group) from None

    async def _flow_in_group(self) -> None:
        async with asyncio.TaskGroup() as group:
            workers = self._start_workers(group)
            helpers = [group.create_task(self._watchdog.watch(), name="streamflow watchdog")]
            helpers.append(group.create_task(self._tell_differences(), name="streamflow differences"))
            feeding = self._start_feeding(group, helpers)
            control = asyncio.create_task(self._control(), name="streamflow control")
            stop = asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait((control, stop), return_when=asyncio.FIRST_COMPLETED)
                if self._stop.is_set():
                    await self._drain([*feeding, control], workers)
                else:
                    await control
            finally:
                self._shared.halt()
                for task in (control, stop, *helpers, *feeding, *workers):
                    task.cancel()
                await asyncio.gather(control, stop, return_exceptions=True)

    def _start_workers(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        if self._sequential:
            return [group.create_task(self._guarded(self._work_alone()), name="streamflow worker")]
        return [
            group.create_task(self._guarded(pool.work(slot)), name=f"streamflow {pool.stage.name} {slot.number}")
            for pool in self.pools.values()
            for slot in pool.slots
        ]

    async def _work_alone(self) -> None:
        """The lone worker of a sequential run: the item put last, of whatever stage, comes first."""
        channel = next(iter(self._shared.channels.values()))
        while not self._stop.is_set():
            item = await channel.get()
            pool = self.pools[item.stage]
            await pool.work(pool.slots[0], item)

    def _start_feeding(self, group: asyncio.TaskGroup, helpers: list[asyncio.Task[None]]) -> list[asyncio.Task[None]]:
        feeding = []
        for pool in self.pools.values():
            helpers.append(
                group.create_task(self._guarded(pool.feeder.retries()), name=f"streamflow {pool.stage.name} retries")
            )
            if self._store.durable:
                self.tally.feeding += 1
                feeding.append(group.create_task(self._feed(pool.feeder.resume(self._resumed, self._settled))))
        for source, signature in zip(self.pipeline.sources, self.pipeline.source_signatures, strict=True):
            wanted = {name: self._resources[kind] for name, kind in signature.resources.items()}
            stream = source(self._resources[Inputs], **wanted)
            intake = Intake(source.__name__, stream, self._shared, limit=self._limit)
            self._intakes.append(intake)
            self.tally.feeding += 1
            feeding.append(group.create_task(self._feed(self._take_in(intake))))
        if not self._renewed.is_set():
            feeding.append(group.create_task(self._guarded(self._renew(len(self._intakes)))))
        return feeding

    async def _renew(self, sources: int) -> None:
        """Begin a new epoch once what an earlier one left pending has ended: else what that meets with content that
        the new one brings would depend on which comes first. The sources wait for it."""
        await self.tally.wait(lambda: not self.tally.alive and self.tally.feeding == sources)
        await self._store.renew()
        self._renewed.set()

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Say that the run is over before the task group cancels the others because this failed."""
        try:
            await work
        except Exception:
            self._shared.halt()
            raise

    async def _feed(self, work: Awaitable[None]) -> None:
        try:
            await self._guarded(work)
        finally:
            self.tally.feeding -= 1
            self.tally.notify()

    def _resumed(self, count: int) -> None:
        self.tally.alive += count

    async def _settled(self) -> None:
        """In a sequential run, return when no item is in flight."""
        if self._sequential:
            await self.tally.wait(lambda: not self.tally.alive)

    async def _take_in(self, intake: Intake) -> None:
        await self._renewed.wait()
        if self._sequential:
            await intake.run_one_by_one(self._settled)
        else:
            await intake.run()
        self._hook(SourceEnded(intake.name, intake.records))

    # --- drain -----------------------------------------------------------------------------------------------------

    async def _control(self) -> None:
        """Run finalizers at quiet; return when a batch run has drained."""
        tally = self.tally
        if not self._daemon:
            await tally.wait(lambda: tally.quiet)
            for stage in self.pipeline.downstream:
                if await self._catch_up(stage.name):
                    await self.pools[stage.name].feeder.resume(self._resumed, self._settled)
                    await tally.wait(lambda: tally.quiet)
            await self._retract()
            await self._finalize()
            return
        loop = asyncio.get_running_loop()
        tally.emptied = loop.time()  # what an earlier run left is fed first
        while True:
            await tally.wait(lambda: tally.changed and not tally.alive)
            await asyncio.sleep(tally.emptied + QUIET - loop.time())
            if not tally.alive and loop.time() >= tally.emptied + QUIET:
                await self._retract()
                await self._finalize()

    async def _catch_up(self, stage: str) -> bool:
        """Let a stage catch up, after those that feed it have; whether it has more to do now."""
        caught = await self._store.catch_up(stage)
        if not caught.items and not caught.unreadable:
            return False
        self._hook(StageCaughtUp(stage, caught.items, caught.unreadable))
        self.tally.changed = self.tally.changed or caught.items > 0
        return caught.items > 0

    async def _retract(self) -> None:
        if records := await self._store.retract():
            self.tally.changed = True
            self._hook(RecordsRetracted(records))

    async def _finalize(self) -> None:
        if not self.tally.changed:
            return
        self.tally.changed = False
        seen = self._store.changes
        for finalizer in self.pipeline.finalizers:
            started = time.monotonic()
            signature = read_finalizer(finalizer)
            await finalizer(**{name: self._resources[kind] for name, kind in signature.items()})
            self._hook(FinalizerEnded(finalizer.__name__, time.monotonic() - started))
        await self._store.finalized(seen)

    async def _tell_differences(self) -> None:
        """Tell now and then which contents were at odds, so that they do not pile up."""
        while True:
            await asyncio.sleep(1.0)
            self._tell_what_differs()

    def _tell_what_differs(self) -> None:
        for difference in self._store.differences():
            self._hook(ContentsDiffer(difference.record, difference.key, difference.fields))

    # --- stop ------------------------------------------------------------------------------------------------------

    def _abort(self, error: Exception) -> None:
        """A stage met something that no item would fare better with: stop, and keep the items pending."""
        if self._error is None:
            self._error = error
        for pool in self.pools.values():
            pool.stopping = True  # no worker takes one more item before the run drains
        self._stop.set()

    async def _drain(self, bringing: Sequence[asyncio.Task[Any]], workers: Sequence[asyncio.Task[None]]) -> None:
        for task in bringing:
            task.cancel()
        for channel in self._shared.channels.values():
            channel.close()
        active = sum(pool.active for pool in self.pools.values())
        if not self._sequential:
            for pool in self.pools.values():
                pool.stop()
        elif not active:
            workers[0].cancel()
        self._hook(Draining(self._stopped_by or str(self._error), active, self._grace))
        halt = asyncio.create_task(self._halt.wait())
        try:
            ended = asyncio.gather(*workers, return_exceptions=True)
            await asyncio.wait((halt, ended), timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._shared.halt()  # before the workers are cancelled: else each would take it for its function's
            halt.cancel()
            ended.cancel()
            await asyncio.gather(halt, ended, return_exceptions=True)


def read_finalizer(finalizer: Callable[..., Any]) -> Mapping[str, type[Any]]:
    """The resources that a finalizer asks for, by name."""
    return read_signature(finalizer, f"finalizer {finalizer.__name__!r}").resources


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
