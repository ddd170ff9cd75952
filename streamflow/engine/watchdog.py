"""One watchdog per run looks at all workers: whose deadline has passed, and what each waits for.

Looking is all it costs: an item arms its deadline with an attribute write, and what a stage waits for is counted by
looking at its workers now and then.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from streamflow.deadline import NEVER
from streamflow.engine.holder import CALM, MAX_FRAMES, HolderWatch
from streamflow.engine.shared import Slot
from streamflow.events import Hook, StageStuck

STUCK_AFTER = 5.0
"""Seconds that a cancelled function may take to end before it is told as stuck."""


class Watchdog:
    """Cancels work that is past its deadline.

    `looks[stage]` are the seconds for which its workers were seen to be at something: `input` where they wait for an
    item, `work` in the stage's function, else what they wait for; `holding the loop` where the function kept all
    others from running, and `loop` where another stage's did.
    """

    def __init__(self, slots: Sequence[Slot], hook: Hook, at: Callable[[Slot], str], *, tick: float) -> None:
        self._slots = slots
        self._hook = hook
        self._at = at
        self._tick = tick
        self._expired_at: dict[Slot, float] = {}
        self._held: defaultdict[Slot, float] = defaultdict(float)
        self.looks: dict[str, dict[str, float]] = {slot.stage: defaultdict(float) for slot in slots}

    async def watch(self) -> None:
        """Look at all workers every tick, for as long as the run is on."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        with HolderWatch(self._slots, self._hook) as holders:
            holders.back_in(self._tick)
            while True:
                await asyncio.sleep(self._tick)
                now = loop.time()
                self._count(now - last, holders.back_in(self._tick))
                last = now
                for slot in self._slots:
                    self._look(slot, now)

    def _count(self, seconds: float, seen: Iterable[tuple[Slot, float]]) -> None:
        """Count the time since the last look. What `seen` holds was seen by another thread meanwhile.

        A single look of that thread may stand for more than this time: the rest is counted the next times.
        """
        for slot, more in seen:
            self._held[slot] += more
        held = sum(self._held.values())
        late = max(0.0, seconds - self._tick) if held else 0.0
        for slot in self._slots:
            at, looks = self._at(slot), self.looks[slot.stage]
            if not held:
                looks[at] += seconds
                continue
            own = min(seconds, self._held[slot])
            others = min(seconds - own, late * (held - self._held[slot]) / held)
            self._held[slot] = min(CALM, self._held[slot] - own)
            slot.deadline.at += others  # it could not run; neither could what it waits for be seen to end
            looks["holding the loop"] += own
            looks["loop" if slot.items else at] += others
            looks[at] += seconds - own - others

    def _look(self, slot: Slot, now: float) -> None:
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
