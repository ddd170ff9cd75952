"""The deadline of the item that the current task works on.

One watchdog per run looks at all deadlines; arming one is an attribute write, never a timer. Code that makes an
item wait for others (a limit, a full channel) suspends the deadline, so that waiting is not counted as work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NEVER = float("inf")
Why = str | Callable[[], str]
"""What is waited for, or who can tell: it may change while one waits."""
_SUSPENDED = sys.float_info.max  # never passes either, and tells a suspended deadline from a disarmed one


class _Pause:
    """One suspension: how many parts of the work wait, and the seconds that are left when none does any more."""

    __slots__ = ("remaining", "waiters")

    def __init__(self, remaining: float) -> None:
        self.remaining = remaining
        self.waiters = 0


class Deadline:
    """When the work in hand must have ended, in seconds of the loop's clock; `NEVER` while disarmed.

    `held` counts the limits that the work in hand holds.
    """

    __slots__ = ("_pause", "_waits", "_why", "at", "clock", "held")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.at = NEVER
        self.held = 0
        self._why: Why | None = None
        self._waits = 0
        self._pause = _Pause(0.0)

    @property
    def waiting(self) -> str | None:
        """What the work in hand waits for."""
        return self._why() if callable(self._why) else self._why

    @contextmanager
    def suspended(self, why: Why) -> Iterator[None]:
        """Keep the remaining time as it is while the block waits.

        Blocks may nest and overlap, as in `gather`: the time stands still while any of them waits. A block that
        outlives its attempt, in a task that was left behind, arms nothing.
        """
        if self.at < _SUSPENDED:
            self._pause = _Pause(self.at - self.clock())
            self.at = _SUSPENDED
        pause = self._pause if self.at == _SUSPENDED else None
        if pause is not None:
            pause.waiters += 1
        self._waits += 1
        self._why = why
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._why = None
            if pause is not None:
                pause.waiters -= 1
                if not pause.waiters and pause is self._pause and self.at == _SUSPENDED:
                    self.at = self.clock() + pause.remaining


current: ContextVar[Deadline | None] = ContextVar("streamflow_deadline", default=None)


@contextmanager
def suspended(why: Why) -> Iterator[None]:
    """Suspend the current item's deadline, if there is one; `why` is shown to users as what the item waits for."""
    deadline = current.get()
    if deadline is None:
        yield
        return
    with deadline.suspended(why):
        yield
