"""One watchdog per run looks at all workers: whose deadline has passed, and what each waits for.

Looking is all it costs: an item arms its deadline with an attribute write, and what a stage waits for is counted by
looking at its workers now and then.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Sequence

from streamflow.deadline import NEVER
from streamflow.engine.pool import Slot
from streamflow.events import Hook, StageStuck

STUCK_AFTER = 5.0
"""Seconds that a cancelled function may take to end before it is told as stuck."""


class Watchdog:
    """Cancels work that is past its deadline. `looks[stage]` counts what its workers were seen to be at."""

    def __init__(self, slots: Sequence[Slot], hook: Hook, *, tick: float) -> None:
        self._slots = slots
        self._hook = hook
        self._tick = tick
        self._expired_at: dict[Slot, float] = {}
        self.looks: dict[str, Counter[str]] = {slot.stage: Counter() for slot in slots}

    async def watch(self) -> None:
        """Look at all workers every tick, for as long as the run is on."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._tick)
            now = loop.time()
            for slot in self._slots:
                self._look(slot, now)

    def _look(self, slot: Slot, now: float) -> None:
        self.looks[slot.stage][_at(slot)] += 1
        if slot.task is None:
            return
        if slot.expired:
            if not slot.told_stuck and now > self._expired_at[slot] + STUCK_AFTER:
                slot.told_stuck = True
                self._tell_stuck(slot, slot.task, now - self._expired_at[slot])
        elif slot.deadline.at < now:
            slot.deadline.at = NEVER
            slot.expired = True
            self._expired_at[slot] = now
            slot.task.cancel()

    def _tell_stuck(self, slot: Slot, task: asyncio.Task[None], seconds: float) -> None:
        stack = io.StringIO()
        task.print_stack(limit=8, file=stack)
        key = slot.items[0].key if slot.items else ""
        self._hook(StageStuck(slot.stage, key, seconds, stack.getvalue()))


def _at(slot: Slot) -> str:
    if not slot.items:
        return "input"
    return slot.waiting or slot.deadline.waiting or "work"
