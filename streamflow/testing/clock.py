"""Virtual time: an event loop whose clock jumps to the next timer as soon as nothing else is ready.

An hour of waiting takes as long as the work in it, and the order of events is the same at every run. It is
for code that waits for timers, locks and queues only. A thread, a process or a socket works in real time,
which this loop does not see: while one of them is awaited, time would jump past every timeout.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_TURN = 1e-8
"""Seconds that one turn of the loop takes. Without it, code that sleeps until a moment which rounding puts
a hair's breadth away would turn for ever: in real time, time goes on by itself."""


class Stuck(RuntimeError):
    """Every task waits, and no timer is set that could wake one: in real time this would hang for ever."""


class _Jumping(selectors.DefaultSelector):
    """Never blocks: the time for which it was asked to wait passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda seconds: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if timeout is None and not ready:
            raise Stuck("every task waits, and no timer is set")
        self.jump(0.0 if ready else timeout or 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at time 0 and never sleeps.

    `latest` is the virtual time in seconds after which it gives up, so that a loop of sleeps cannot run for
    ever.
    """

    def __init__(self, latest: float = 1e7) -> None:
        self._now = 0.0
        self._latest = latest
        selector = _Jumping()
        selector.jump = self._jump
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += max(_TURN, seconds)
        if self._now > self._latest:
            latest, self._latest = self._latest, float("inf")  # said once: what is cancelled now may still tidy up
            raise Stuck(f"virtual time passed {latest:g} s")


def run_virtual(main: Coroutine[Any, Any, T], *, latest: float = 1e7) -> T:
    """Run `main` to its end in virtual time, as `asyncio.run` would in real time.

    Raises `Stuck` where real time would hang: every task waits without a timer, or `latest` seconds have
    passed.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(latest)) as runner:
        return runner.run(main)
