"""Who holds the event loop: seen from a thread of its own, since a loop that is held cannot look by itself.

A stage on the loop that blocks or computes keeps everything else from running: other stages, deadlines, signals.
Nobody can end it. What can be done is to count it, and to name it while it lasts, with where it stands.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from streamflow.engine.shared import Slot
from streamflow.events import Hook, LoopBlocked

EVERY = 0.05
"""Seconds between two looks at a loop that is late, and by which it may be late before it is taken to be blocked."""

CALM = 0.5
"""Seconds between two looks at a loop that is on time. A look costs such a loop about 5 ms: a thread that asks for the
interpreter is woken, in vain, at each of the loop's steps, until the interpreter's switch interval has passed."""

BLOCKED_AFTER = 1.0
"""Seconds for which one task may hold the loop before it is told."""

MAX_FRAMES = 32
"""Frames of a function that are told, the innermost ones."""

_OURS = str(Path(__file__).parents[1])


class HolderWatch:
    """Looks at the running loop for as long as its block lasts."""

    def __init__(self, slots: Sequence[Slot], hook: Hook) -> None:
        self._slots = slots
        self._hook = hook
        self._held: deque[tuple[Slot, float]] = deque()
        self._due = float("inf")
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="streamflow holder watch")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def back_in(self, seconds: float) -> list[tuple[Slot, float]]:
        """To be called on the loop, which will be back in so many seconds.

        Gives for how many seconds a function was seen to hold the loop, with the worker that had called it. One look
        stands for the time since the look before it.
        """
        self._due = time.monotonic() + seconds
        return [self._held.popleft() for _ in range(len(self._held))]

    def _watch(self) -> None:
        holder: asyncio.Task[Any] | None = None
        times, pause, last = 0, CALM, time.monotonic()
        while not self._over.wait(pause):
            now = time.monotonic()
            passed, last = now - last, now
            task = asyncio.current_task(self._loop)
            frame = sys._current_frames().get(self._loop_thread)
            slot = next((slot for slot in self._slots if slot.task is task and slot.items), None)
            if slot is not None and frame is not None and not frame.f_code.co_filename.startswith(_OURS):
                self._held.append((slot, passed))
            late = now > self._due + EVERY
            pause = EVERY if late else CALM
            blocked = late and task is not None
            times = times + 1 if blocked and task is holder else int(blocked)
            holder = task
            # Counted by looks, not by the clock: they stop with the process, when that is suspended.
            if times == max(1, round(BLOCKED_AFTER / EVERY)):
                self._tell(slot, frame, times * EVERY)

    def _tell(self, slot: Slot | None, frame: FrameType | None, seconds: float) -> None:
        items = slot.items if slot is not None else ()
        key = str(items[0].key) if items else ""
        self._hook(LoopBlocked(slot.stage if slot is not None else "", key, seconds, _stack(frame)))


def _stack(frame: FrameType | None) -> str:
    """Where a thread stands, innermost last, from the step of the loop on."""
    lines: list[str] = []
    while frame is not None and len(lines) < MAX_FRAMES:
        code = frame.f_code
        if code.co_name == "_run" and code.co_filename.endswith("events.py"):
            break  # asyncio's Handle
        lines.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_name}")
        frame = frame.f_back
    return "\n".join(reversed(lines))
