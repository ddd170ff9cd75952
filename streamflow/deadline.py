"""The deadline of the item that the current task works on.

One watchdog per run looks at all deadlines; arming one is an attribute write, never a timer. Code that makes an
item wait for others (a limit, a full channel) suspends the deadline, so that waiting is not counted as work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NEVER = float("inf")


class Deadline:
    """When the work in hand must have ended, in seconds of the loop's clock; `NEVER` while disarmed.

    `held` counts the limits that the work in hand holds, `waiting` names what it waits for.
    """

    __slots__ = ("at", "clock", "held", "waiting")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.at = NEVER
        self.held = 0
        self.waiting: str | None = None

    @contextmanager
    def suspended(self, why: str) -> Iterator[None]:
        """Keep the remaining time as it is while the block waits. Nesting is allowed."""
        if self.at == NEVER:
            outer = self.waiting
            self.waiting = why
            try:
                yield
            finally:
                self.waiting = outer
            return
        remaining = self.at - self.clock()
        self.at = NEVER
        self.waiting = why
        try:
            yield
        finally:
            self.waiting = None
            self.at = self.clock() + remaining


current: ContextVar[Deadline | None] = ContextVar("streamflow_deadline", default=None)


@contextmanager
def suspended(why: str) -> Iterator[None]:
    """Suspend the current item's deadline, if there is one; `why` is shown to users as what the item waits for."""
    deadline = current.get()
    if deadline is None:
        yield
        return
    with deadline.suspended(why):
        yield
