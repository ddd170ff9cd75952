"""What brings items into a run: its sources, what an earlier run left, and retries whose time has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from streamflow.engine.following import FilesInHand, Following
from streamflow.engine.intake import Intake
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.pool import Pool
from streamflow.engine.shared import Shared
from streamflow.engine.source import Source
from streamflow.events import SourceEnded
from streamflow.sources.files import Inputs


@dataclass
class Feeding:
    """Feeds a run's pools. The tally counts what feeds as long as it does.

    `guarded` is what each task is wrapped in. A `sequential` run has one item in flight: it is fed the next once that
    has settled. With `behind` sources wait until what is pending has ended, and a new epoch has begun. With `renews`
    further epochs come (`renew`). `ended` is when the last of what feeds had, by the monotonic clock.
    """

    pipeline: Pipeline
    shared: Shared
    pools: Mapping[str, Pool]
    resources: Mapping[type[Any], Any]
    guarded: Callable[[Awaitable[None]], Coroutine[Any, Any, None]]
    sequential: bool
    limit: int | None
    behind: bool
    renews: bool
    intakes: list[Intake] = field(default_factory=list)
    following: Following | None = None
    ended: float | None = None
    _begun: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, group: asyncio.TaskGroup) -> tuple[list[asyncio.Task[None]], list[asyncio.Task[None]]]:
        """The tasks that bring what is there, and those that go on as long as the run."""
        bringing: list[asyncio.Task[None]] = []
        lasting: list[asyncio.Task[None]] = []
        for name, pool in self.pools.items():
            lasting.append(group.create_task(self.guarded(pool.feeder.retries()), name=f"streamflow {name} retries"))
            if self.shared.store.durable:
                bringing.append(self._start_one(group, self.resume(name), f"streamflow {name} resumed"))
        inputs: Inputs = self.resources[Inputs]
        filing = inputs.filing()
        if filing is not None:
            self.following = Following(filing, self.shared.store, self.shared.routes, self.shared.hook)
            lasting.append(group.create_task(self.guarded(self.following.run()), name="streamflow following"))
        for source in self.pipeline.all_sources:
            intake = self._intake(source, inputs)
            self.intakes.append(intake)
            bringing.append(self._start_one(group, self._take_in(intake), f"streamflow source {intake.name}"))
        if not self.behind:
            self._begun.set()
        else:
            bringing.append(group.create_task(self.guarded(self._begin_epoch()), name="streamflow new epoch"))
        return bringing, lasting

    def _start_one(self, group: asyncio.TaskGroup, work: Awaitable[None], name: str) -> asyncio.Task[None]:
        self.shared.tally.feeding += 1
        return group.create_task(self._feed(work), name=name)

    async def _feed(self, work: Awaitable[None]) -> None:
        try:
            await self.guarded(work)
        finally:
            self.shared.tally.feeding -= 1
            if not self.shared.tally.feeding:
                self.ended = time.monotonic()
            self.shared.tally.notify()

    def _intake(self, source: Source, inputs: Inputs) -> Intake:
        in_hand = FilesInHand(self.following) if self.following is not None else None
        if in_hand is not None:
            inputs = inputs.in_hand_of(in_hand)
        stream = source.function(inputs, **self._wanted(source.signature.resources))
        acknowledge = source.acknowledge and partial(source.acknowledge, **self._wanted(source.acknowledges_with))
        return Intake(
            source.name,
            stream,
            self.shared,
            self._begun,
            renews=self.renews,
            limit=self.limit,
            acknowledge=acknowledge,
            in_hand=in_hand,
        )

    def _wanted(self, resources: Mapping[str, type[Any]]) -> dict[str, Any]:
        return {name: self.resources[kind] for name, kind in resources.items()}

    async def _take_in(self, intake: Intake) -> None:
        await self._begun.wait()
        if self.sequential:
            await intake.run_one_by_one(self._settled)
        else:
            await intake.run()
        self.shared.hook(SourceEnded(intake.name, intake.records))

    async def _begin_epoch(self) -> None:
        """Begin a new epoch once what an earlier one left pending has ended: else what that meets with content that
        the new one brings would depend on which comes first."""
        tally = self.shared.tally
        await tally.wait(lambda: not tally.alive and tally.feeding == len(self.intakes))
        await self.shared.store.renew()
        self._begun.set()

    @property
    def owes_an_epoch(self) -> bool:
        """Whether something waits for the next epoch."""
        return any(intake.puts_off for intake in self.intakes)

    async def renew(self) -> None:
        """Begin a new epoch, in which what changes is worked on again. To be called at quiet.

        If something is on its way in, nothing happens: what is pending in one epoch must end in it.
        """
        is_quiet = not self.shared.tally.alive and not any(intake.is_admitting for intake in self.intakes)
        if not is_quiet or not self._begun.is_set():
            return
        self._begun.clear()
        await self.shared.store.renew()
        self._begun.set()
        for intake in self.intakes:
            intake.bring_again()

    async def resume(self, stage: str) -> None:
        """Feed a stage what is pending in the store."""
        await self.pools[stage].feeder.resume(self._resumed, self._settled)

    def _resumed(self, count: int) -> None:
        self.shared.tally.alive += count

    async def _settled(self) -> None:
        """In a sequential run, return when no item is in flight."""
        if self.sequential:
            await self.shared.tally.wait(lambda: not self.shared.tally.alive)
