"""A run: one execution of a pipeline.

Start: open the store, make channels and pools, run alone what was in flight at two unclean ends, feed what an earlier
run left, start the sources.
Drain: when sources and feeders have ended and nothing is in flight, finalizers run if something changed. A batch run
then ends; a daemon goes on, and is quiet after `QUIET` seconds of nothing to do. It then begins a new epoch, in which
what has changed is worked on again.
Stop, at the first signal: sources are cancelled, channels refuse, idle workers end, active ones finish what they have
in hand within the grace period; the rest stays pending. At the second: everything is cancelled at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any, Literal

from streamflow.engine.channel import Channel
from streamflow.engine.executors import executor
from streamflow.engine.feeder import Feeder
from streamflow.engine.feeding import Feeding
from streamflow.engine.figures import StageFigures, Summary, shares
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.pool import Pool
from streamflow.engine.quiet import Quiet
from streamflow.engine.retention import prune_regularly
from streamflow.engine.shared import Route, Shared, Slot
from streamflow.engine.tally import Tally
from streamflow.engine.trace import Span, traced
from streamflow.engine.watchdog import Watchdog
from streamflow.errors import DatabaseGone
from streamflow.events import (
    Abandoned,
    ContentsDiffer,
    DeadLettersRequeued,
    Draining,
    Hook,
    ItemDied,
    RunEnded,
    RunStarted,
    StageLacksRecords,
    UncleanEnd,
)
from streamflow.record import record_type
from streamflow.sources.files import Inputs
from streamflow.storage.patience import Patience
from streamflow.storage.selection import Selection
from streamflow.storage.store import Item, Opened, Plan, Store

QUIET = 5.0
"""Seconds without anything to do after which a daemon runs its finalizers."""

SYNC_EVERY = 1.0
"""Seconds between two moments at which the disk is told what is in flight, and the database looked for."""


class Run:
    """One execution. `resources` are open and belong to the caller; the store is opened and closed here.

    `sequential` keeps one item in flight overall, depth first. `daemon` goes on at quiet. `limit` bounds the records
    taken from each source. `grace` is in seconds. `hook` is told of events. With `refresh` what sources bring is worked
    on again; with `stale` so are the items that another version of their stage worked on. Dead letters that
    `requeue` fits are tried again. `beside` is entered once the
    store is open, and left before it is closed. A daemon forgets the records of items that ended well `retention`
    seconds ago.
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
        requeue: Selection | None = None,
        grace: float = 30.0,
        trace: bool = False,
        beside: AbstractAsyncContextManager[None] | None = None,
        storage_patience: Patience | None = None,
        retention: float | None = None,
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
        self._requeue = requeue
        self.grace = grace
        self._trace = trace
        self._beside = beside or nullcontext()
        self._retention = retention
        self._patience = storage_patience if storage_patience is not None else Patience(workspace, hook)
        self._quiet = Quiet(pipeline, store, resources, self.tally, hook, self._patience, self._is_ending)
        self._spans: list[Span] = []
        # Whether one worker serves all stages now, one item at a time.
        self._lone = sequential
        self._stop = asyncio.Event()
        self._halt = asyncio.Event()
        # Whether a run at rest makes good what it owes. No dead letters may be called back into it then: what it
        # resumes must be none of them. While they are called back it is not at rest.
        self.resting = False
        self._stopped_by: str | None = None
        self._error: Exception | None = None
        self._started = 0.0
        self._state: Literal["starting", "running", "stopping"] = "starting"

    async def __call__(self) -> Summary:
        """Run to the end. Raises what a source, a finalizer or the store raised; stage failures are items' ends."""
        self._started, processor = time.monotonic(), time.process_time()
        plan = self._plan()
        opened = await self._store.open(plan, refresh=self._refresh, stale=self._stale, requeue=self._requeue)
        try:
            if opened.requeued:
                self._hook(DeadLettersRequeued(opened.requeued))
            self.tally.changed = opened.changed
            resumed = sum(opened.pending.values())
            if self._daemon:
                # It is never at rest: what new stages owe is fed with what an earlier run left, beside live items.
                for stage in self.pipeline.downstream:
                    await self._quiet.catch_up(stage.name)
            async with self._beside, AsyncExitStack() as stack:
                await self._make_pools(stack)
                self._feeding = Feeding(
                    self.pipeline,
                    self._shared,
                    self.pools,
                    self._resources,
                    self._guarded,
                    self._sequential,
                    self._limit,
                    opened.behind,
                    renews=self._daemon,
                )
                self._hook(RunStarted(self.pipeline.name, str(self._workspace), resumed))
                if not self._refresh:
                    for name in opened.lacking:
                        self._hook(StageLacksRecords(name, plan.stages[name][0].name))
                self._tell_of_unclean_end(opened)
                await self._flow(opened.suspects)
                self._check_presence()
        except BaseException as error:
            self._end(f"failed: {type(error).__name__}: {error}")
            if isinstance(error, Exception) and not isinstance(error, DatabaseGone):
                self._check_presence()  # then all else comes of it
            raise
        finally:
            self._tell_what_differs()
            await self._store.close()
        seconds = self._end(f"stopped: {self._error}" if self._error else self._stopped_by or "done")
        refused = sum(intake.refused for intake in self._feeding.intakes)
        return Summary(
            self.pipeline.name,
            self.figures(),
            seconds,
            self._error,
            self._stopped_by,
            self._spans,
            refused,
            seconds if self._feeding.ended is None else self._feeding.ended - self._started,
            time.process_time() - processor,
        )

    def _end(self, reason: str) -> float:
        seconds = time.monotonic() - self._started
        self._hook(RunEnded(self.pipeline.name, reason, seconds))
        return seconds

    @property
    def inputs(self) -> Inputs:
        """What the sources read."""
        inputs: Inputs = self._resources[Inputs]
        return inputs

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

    @property
    def state(self) -> Literal["starting", "running", "stopping"]:
        """Stopping is also a batch run that has drained: nothing more comes into it."""
        if self._stop.is_set():
            return "stopping"
        return self._state

    @property
    def patience(self) -> Patience:
        """What it has for its storage."""
        return self._patience

    @property
    def sequential(self) -> bool:
        return self._sequential

    @property
    def looks(self) -> Mapping[str, Mapping[str, float]]:
        """For how many seconds the workers of each stage were seen at what, since the run began."""
        return self._watchdog.looks if self._state != "starting" else {}

    def active(self) -> dict[str, int]:
        """Items in workers' hands, by stage; stages that have none are left out."""
        return {name: pool.active for name, pool in self.pools.items() if pool.active}

    def figures(self) -> dict[str, StageFigures]:
        """Live figures of each stage."""
        return {name: self._stage_figures(pool) for name, pool in self.pools.items()}

    def at(self, slot: Slot) -> str:
        """What a worker is at: `input`, `work`, or what it waits for. One that has no item waits for the time of a
        retry where all that is left are items of that kind, and some of them its stage's.
        """
        if slot.items:
            return self._shared.at(slot)
        pool = self.pools[slot.stage]
        if pool.channel.held:
            return "paused"
        parked = pool.feeder.parked and self.tally.alive == sum(each.feeder.parked for each in self.pools.values())
        return "retry" if parked else "input"

    def _stage_figures(self, pool: Pool) -> StageFigures:
        due = pool.feeder.next_due
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
            shares=shares(self.looks.get(pool.stage.name, {})),
            paused=pool.channel.held,
            runs_in=pool.stage.runs_in,
            retry_in=due - self._shared.clock() if due < float("inf") else None,
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
        place, places = 0, sum(stage.workers * stage.in_hand for stage in stages)
        self._in_flight = self._store.in_flight(places)
        self._shared = Shared(
            self._store,
            channels,
            routes,
            self.tally,
            self._hook,
            self._abort,
            clock,
            self._in_flight.places,
            self._patience,
        )
        for stage in stages:
            call = await stack.enter_async_context(executor(stage, self._resources, self._workspace))
            if self._trace:
                call = traced(stage, call, self._spans, self._started)
            feeder = Feeder(stage.name, self._store, channels[stage.name], stage.room)
            self.pools[stage.name] = Pool(stage, call, feeder, self._shared, place)
            place += stage.workers * stage.in_hand
        slots = [slot for pool in self.pools.values() for slot in pool.slots]
        tick = min(0.1, *(stage.timeout / 10 for stage in stages)) if stages else 0.1
        self._watchdog = Watchdog(slots, self._hook, self.at, tick=max(0.01, tick))

    def _tell_of_unclean_end(self, opened: Opened) -> None:
        if opened.in_flight:
            alone = tuple(f"{item.stage} {item.key}" for item in opened.suspects)
            self._hook(UncleanEnd(tuple(map(str, opened.in_flight)), alone))
        for suspect in opened.set_aside:
            if suspect.stage in self.pools:
                self.pools[suspect.stage].dead += 1
            self._hook(ItemDied(suspect.stage, suspect.key, suspect.attempts, suspect.reason))

    async def _flow(self, suspects: Sequence[Item]) -> None:
        """Start everything, wait for quiet or a stop, end everything."""
        try:
            if not suspects or await self._flow_alone(suspects):
                await self._flow_in_group()
        except BaseExceptionGroup as group:
            # The first failure ended the others; they tell nothing more.
            raise _first(group) from None

    async def _flow_alone(self, suspects: Sequence[Item]) -> bool:
        """Run items that may end the process, one at a time; whether the run goes on after them.

        What comes of them is resumed with all else that is pending: no other worker is there to take it.
        """
        shared = self._shared
        self._lone = shared.alone = True
        self._in_flight.run_alone(True)
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(self._guarded(self._work_on(suspects)), name="streamflow worker")
            helpers = self._start_watching(group)
            goes_on = await self._until(worker, [], [worker], helpers)
        self._in_flight.run_alone(False)
        self._store.resume_from_here()
        self.tally.alive = 0
        self._lone, shared.alone = self._sequential, False
        return goes_on

    async def _look_after_storage(self) -> None:
        """Have the disk know what is in flight, for a power cut: not exactly, but without holding anybody up. And end
        the run where the database is gone: SQLite goes on without a word."""
        while True:
            await asyncio.sleep(SYNC_EVERY)
            await asyncio.to_thread(self._in_flight.sync)
            try:
                await asyncio.to_thread(self._check_presence)
            except DatabaseGone:
                self._shared.halt()  # as in `_guarded`
                raise

    def _check_presence(self) -> None:
        if (why := self._store.lost()) is not None:
            raise DatabaseGone(why)

    async def _work_on(self, suspects: Sequence[Item]) -> None:
        for item in suspects:
            if not self._stop.is_set():
                self.tally.alive += 1
                pool = self.pools[item.stage]
                await pool.work(pool.slots[0], item)

    async def _flow_in_group(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._state = "running"
            workers = self._start_workers(group)
            helpers = self._start_watching(group)
            bringing, lasting = self._feeding.start(group)
            control = asyncio.create_task(self._control(), name="streamflow control")
            await self._until(control, [*bringing, control], workers, [*helpers, *lasting])

    async def _until(
        self,
        end: asyncio.Task[None],
        bringing: Sequence[asyncio.Task[Any]],
        workers: Sequence[asyncio.Task[None]],
        helpers: Sequence[asyncio.Task[None]],
    ) -> bool:
        """Wait for the end, or drain at a stop; then nothing runs any more. Whether it came to its end."""
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((end, stop), return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                await self._drain(bringing, workers)
                return False
            await end
            return True
        finally:
            if not all(worker.done() for worker in workers):
                self._shared.halt()
            for task in (end, stop, *helpers, *bringing, *workers):
                task.cancel()
            await asyncio.gather(end, stop, return_exceptions=True)

    def _start_watching(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        helpers = [
            group.create_task(self._watchdog.watch(), name="streamflow watchdog"),
            group.create_task(self._tell_differences(), name="streamflow differences"),
        ]
        if self._store.durable:
            helpers.append(group.create_task(self._look_after_storage(), name="streamflow storage"))
        if self._daemon and self._retention is not None:
            pruning = prune_regularly(self._store, self._retention, self._hook)
            helpers.append(group.create_task(self._guarded(pruning), name="streamflow retention"))
        return helpers

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

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Say that the run is over before the task group cancels the others because this failed.

        A task that is cancelled while nobody ends the run is a failure too: its part of the work would never be done.
        """
        try:
            await work
        except Exception:
            self._shared.halt()
            raise
        except asyncio.CancelledError as error:
            if self._is_ending():
                raise
            self._shared.halt()
            task = asyncio.current_task()
            raise RuntimeError(
                f"the task {task.get_name() if task else ''!r} was cancelled, and not by its run: look for a timer or "
                "a scope that cancels the task it was made in after that went on, or for a raise of CancelledError"
            ) from error

    def _is_ending(self) -> bool:
        return self._shared.halted or self._stop.is_set()

    # --- drain -----------------------------------------------------------------------------------------------------

    async def _control(self) -> None:
        """Run finalizers at quiet; return when a batch run has drained. From then on nothing comes into it."""
        tally = self.tally
        if not self._daemon:
            await tally.wait(lambda: tally.quiet)
            self.resting = True
            await self._quiet.make_good(self._feeding.resume)
            self._state = "stopping"
            return
        loop = asyncio.get_running_loop()
        tally.emptied = loop.time()  # what an earlier run left is fed first
        while True:
            await tally.wait(lambda: (tally.changed or self._feeding.owes_an_epoch) and not tally.alive)
            await asyncio.sleep(tally.emptied + QUIET - loop.time())
            if not tally.alive and loop.time() >= tally.emptied + QUIET:
                await self._quiet.finish()
                await self._feeding.renew()

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
        active = self.active()
        if not self._lone:
            for pool in self.pools.values():
                pool.stop()
        elif not active:
            workers[0].cancel()
        self._hook(Draining(self._stopped_by or str(self._error), active, self.grace))
        halt = asyncio.create_task(self._halt.wait())
        try:
            ended = asyncio.gather(*workers, return_exceptions=True)
            await asyncio.wait((halt, ended), timeout=self.grace, return_when=asyncio.FIRST_COMPLETED)
            if left := self.active():
                self._hook(Abandoned(left))
            if self._feeding.following is not None and not self._halt.is_set():
                await self._feeding.following.look()
        finally:
            self._shared.halt()  # before the workers are cancelled: else each would take it for its function's
            halt.cancel()
            ended.cancel()
            await asyncio.gather(halt, ended, return_exceptions=True)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
