"""What a run does when nothing is left to do: stages catch up, records that nothing emits are retracted, and
finalizers run, if something changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import read_signature
from streamflow.engine.tally import Tally
from streamflow.events import FinalizerEnded, Hook, RecordsRetracted, StageCaughtUp
from streamflow.storage.patience import Patience
from streamflow.storage.store import Store


@dataclass(frozen=True, slots=True)
class Quiet:
    """`is_ending` tells whether somebody ends the run: then a finalizer that is cancelled is not at fault."""

    pipeline: Pipeline
    store: Store
    resources: Mapping[type[Any], Any]
    tally: Tally
    hook: Hook
    patience: Patience
    is_ending: Callable[[], bool]

    async def make_good(self, resume: Callable[[str], Awaitable[None]]) -> None:
        """Let each stage catch up, after those that feed it have; then the rest. `resume` feeds what is pending."""
        for stage in self.pipeline.downstream:
            if await self.catch_up(stage.name):
                await resume(stage.name)
                await self.tally.wait(lambda: self.tally.quiet)
        await self.finish()

    async def catch_up(self, stage: str) -> bool:
        """Let a stage catch up; whether it has more to do now."""
        caught = await self.store.catch_up(stage)
        if not caught.items and not caught.unreadable and not caught.pruned:
            return False
        self.hook(StageCaughtUp(stage, caught.items, caught.unreadable, caught.pruned))
        self.tally.changed = self.tally.changed or caught.items > 0
        return caught.items > 0

    async def finish(self) -> None:
        """Retract what nothing emits any more, and run the finalizers if something changed."""
        if records := await self.store.retract():
            self.tally.changed = True
            self.hook(RecordsRetracted(records))
        if self.tally.changed:
            self.tally.changed = False
            await self._finalize()

    async def _finalize(self) -> None:
        seen = self.store.changes
        for finalizer in self.pipeline.finalizers:
            started = time.monotonic()
            wanted = read_signature(finalizer, f"finalizer {finalizer.__name__!r}").resources
            given = {name: self.resources[kind] for name, kind in wanted.items()}
            try:
                await self.patience.persist(partial(finalizer, **given), costly=True)
            except (asyncio.CancelledError, SystemExit) as error:
                if self.is_ending():
                    raise
                raise RuntimeError(f"the finalizer {finalizer.__name__!r} raised {error!r}") from error
            self.hook(FinalizerEnded(finalizer.__name__, time.monotonic() - started))
        await self.store.finalized(seen)
