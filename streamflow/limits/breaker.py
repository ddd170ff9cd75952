"""The circuit breaker of one API: whether it is asked at all.

    closed ──── too many calls failed ───▶ open ◀─────────── the probe failed
      ▲                                     │ after a while             │
      └───── the probe was answered ─── half-open: one probe at a time ─┘

It opens when half of the calls of the last minute failed (of the last 50, where there were more), and not fewer than
5; or when the last 5 all failed, however long they took: of calls that each time out there are few in a minute, and a
lone item whose service goes away after a good minute must not use up its attempts on it. 5 is not above the attempts
that an item has by default.

It stays open for a tenth of the time for which the service has been away, at least a second and at most 30. So a
probe comes soon after the service is back, and what is lost by waiting is a tenth of what the outage cost anyway. The
time is jittered, so that programs which lost the same service do not come back together.

Pure: the time is passed in. After Nygard, "Release It!", 2nd ed., 2018, chapter 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from streamflow.limits.outcome import Outcome

MINIMUM = 5
"""Failed calls below which it never opens."""
SHARE = 0.5
WINDOW = 60.0
"""Seconds for which a call counts."""
MOST = 50
"""Calls that count: the minute before an outage must not hide it behind thousands of good ones."""
SHORTEST, LONGEST = 1.0, 30.0
"""Seconds for which it stays open before a probe."""
OF_THE_OUTAGE = 0.1
_JITTER = 0.2


class Phase(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class _Call(NamedTuple):
    ended: float
    failed: bool


class Breaker:
    """See the module's text. `phase` is where it stands, and `since` when it opened, `None` while closed.

    Ask `free_at` before a call, take a ticket with `begin` when it goes, and give that back with `end`, whatever
    became of the call. A ticket of an earlier phase moves nothing.
    """

    __slots__ = ("_calls", "_failures", "_random", "_streak", "_ticket", "_until", "phase", "since")

    def __init__(self, random: Callable[[], float]) -> None:
        self.phase = Phase.CLOSED
        self.since: float | None = None
        self._random = random
        self._until = 0.0
        self._ticket = 0  # one for each phase
        self._calls: deque[_Call] = deque()
        self._failures = 0  # among them
        self._streak = 0  # failures since the last success

    def free_at(self, now: float) -> float:
        """`now` if a call may go, else when to ask again; infinite while a probe is under way."""
        if self.phase is Phase.CLOSED:
            return now
        return max(now, self._until) if self.phase is Phase.OPEN else float("inf")

    def begin(self) -> int:
        """A call goes. While the breaker is open, it is the probe."""
        if self.phase is Phase.OPEN:
            self._enter(Phase.HALF_OPEN)
        return self._ticket

    def end(self, ticket: int, outcome: Outcome, now: float) -> bool:
        """A call has ended. Returns whether its failure is the outage's, so that its item pays no attempt for it."""
        if ticket != self._ticket:
            return outcome.failed  # it was under way when the service went
        if self.phase is Phase.HALF_OPEN:
            self._judge_probe(outcome, now)
            return outcome is Outcome.ABSENT
        if outcome is not Outcome.UNKNOWN:
            self._count(outcome.failed, now)
            if outcome.failed and self._too_many():  # the failures of a minute may grow in share by mere time
                self.since = now
                self._open(now)
        return outcome.failed and self.phase is not Phase.CLOSED

    def _judge_probe(self, outcome: Outcome, now: float) -> None:
        if outcome is Outcome.UNKNOWN:  # cancelled, say: the next one probes at once
            self._enter(Phase.OPEN)
        elif outcome.failed:
            self._open(now)
        else:
            self._enter(Phase.CLOSED)
            self.since = None

    def _count(self, failed: bool, now: float) -> None:
        calls = self._calls
        calls.append(_Call(now, failed))
        self._failures += failed
        self._streak = self._streak + 1 if failed else 0
        while len(calls) > MOST or calls[0].ended <= now - WINDOW:
            self._failures -= calls.popleft().failed

    def _too_many(self) -> bool:
        half = self._failures >= MINIMUM and self._failures >= SHARE * len(self._calls)
        return half or self._streak >= MINIMUM

    def _open(self, now: float) -> None:
        self._enter(Phase.OPEN)
        away = now - (self.since if self.since is not None else now)
        seconds = min(LONGEST, max(SHORTEST, OF_THE_OUTAGE * away))
        self._until = now + seconds * (1 + _JITTER * (2 * self._random() - 1))

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._ticket += 1
        self._calls.clear()
        self._failures = self._streak = 0
