"""One watchdog per run looks at all workers: whose deadline has passed, and what each waits for.

Looking is all it costs: an item arms its deadline with an attribute write, and what a stage waits for is counted by
looking at its workers now and then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from streamflow.deadline import NEVER
from streamflow.engine.shared import Slot
from streamflow.events import Hook, StageStuck

STUCK_AFTER = 5.0
"""Seconds that a cancelled function may take to end before it is told as stuck."""

MAX_FRAMES = 32
"""Frames of a stuck function that are told."""


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
        key = str(slot.items[0].key) if slot.items else ""
        self._hook(StageStuck(slot.stage, key, seconds, _stack(task)))


def _stack(task: asyncio.Task[None]) -> str:
    """Where a task stands, innermost last. The task itself knows only its outermost frame while it waits."""
    lines: list[str] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(lines) < MAX_FRAMES:
        frame, inner = _coroutine(awaited)
        if frame is not None:
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        awaited = inner
    return "\n".join(lines)


def _coroutine(awaited: Any) -> tuple[Any, Any]:
    """The frame of a coroutine, generator or asynchronous generator, and what it awaits; None where there is none."""
    for frame, inner in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")):
        if hasattr(awaited, frame):
            return getattr(awaited, frame), getattr(awaited, inner)
    return None, None


def _at(slot: Slot) -> str:
    if not slot.items:
        return "input"
    return slot.waiting or slot.deadline.waiting or "work"
