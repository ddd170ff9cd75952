"""Windows: so much of one kind of cost in any so many seconds, counted by the time at which calls were sent.

A service counts what reaches it, and a call may be sent long after it was granted: the first ones open their
connections. So a call takes its place when it is granted, and keeps it until `length` seconds after it was sent.
Then no window of that length ever holds more than `size`. For, of the calls sent in it, take the one that was
granted last: at that moment each of the others was either not sent yet, or sent within the window. So all were
counted, and it was granted only because there was room for it too.

Pure: the time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

REQUESTS = "requests"
"""The kind of cost of which every call has one, unless it says otherwise."""

_GRAINS = 1000
"""Sends of one thousandth of the window are kept as one, sent at the last one's time, so that memory is bounded
whatever the rate. That forgets a call late, never early."""

_ROUNDING = 1e-6  # of a cost: what sums of fractions may be off


@dataclass(frozen=True, slots=True)
class Window:
    """What a service allows: at most `size` of the cost `kind` in any `per` seconds."""

    size: float
    per: float
    kind: str = REQUESTS

    def __post_init__(self) -> None:
        if not (0 < self.size < float("inf") and 0 < self.per < float("inf")):
            raise ValueError(f"size and per of a window must be positive numbers, not {self.size!r} and {self.per!r}")
        if not self.kind.isidentifier():
            raise ValueError(f"a kind of cost is named as a variable is, such as tokens, not {self.kind!r}")

    def __str__(self) -> str:
        return f"{self.size:,g} {self.kind} in {self.per:g} s"


class Sends:
    """The count of one window: at most `size` in any `length` seconds; unlimited at first."""

    __slots__ = ("_grain_ends", "_length", "_sends", "_size", "_used")

    def __init__(self) -> None:
        self._size = float("inf")
        self._length = 0.0
        self._used = 0.0  # by calls not sent yet, and by those in `_sends`
        self._sends: deque[tuple[float, float]] = deque()  # (time, cost), ascending
        self._grain_ends = 0.0

    def resize(self, size: float, length: float) -> None:
        """Another limit holds from now on. What is known of the calls before counts for it."""
        self._size = size
        self._length = length

    def free_at(self, cost: float, now: float) -> float:
        """`now` if a call of this cost may be granted, else the first moment at which asking again can help.

        A cost above the whole size is granted when nothing else is in the window.
        """
        self._forget(now)
        excess = self._used + min(cost, self._size) - self._size - _ROUNDING
        if excess <= 0:
            return now
        for time, sent in self._sends:
            excess -= sent
            if excess <= 0:
                return time + self._length
        return now + self._length  # the calls not sent yet are sent now at the earliest

    def used(self, now: float) -> float:
        """What the window holds, calls not sent yet included."""
        self._forget(now)
        return max(0.0, self._used)

    def take(self, cost: float) -> None:
        """A call was granted."""
        self._used += cost

    def sent(self, cost: float, now: float) -> None:
        """A call that had taken its place was sent."""
        sends = self._sends
        if not self._length:
            self._used -= cost
        elif sends and now < self._grain_ends:
            sends[-1] = (now, sends[-1][1] + cost)
        else:
            sends.append((now, cost))
            self._grain_ends = now + self._length / _GRAINS

    def give_back(self, cost: float, sent: float | None, now: float) -> None:
        """A call that was sent at that moment, or not yet, has cost so much less than it took."""
        if sent is None:
            self._used -= cost
            return
        if sent <= now - self._length:
            return
        for place, (time, held) in enumerate(self._sends):
            if time >= sent:  # its grain; one that was forgotten gives nothing back
                back = min(cost, held)
                self._sends[place] = (time, held - back)
                self._used -= back
                return

    def grains(self, now: float, most: int) -> list[tuple[float, float]]:
        """What was sent, as at most `most` pairs (time, cost); none is told earlier than it was."""
        self._forget(now)
        grains: list[tuple[float, float]] = []
        start = 0.0
        for time, cost in self._sends:
            if grains and time - start < self._length / most:
                grains[-1] = (time, grains[-1][1] + cost)
            else:
                grains.append((time, cost))
                start = time
        return grains

    def add(self, earlier: Iterable[tuple[float, float]]) -> None:
        """Count what somebody else sent, as (time, cost)."""
        added = list(earlier)
        self._used += sum(cost for _, cost in added)
        self._sends = deque(sorted([*self._sends, *added]))
        self._grain_ends = 0.0

    def _forget(self, now: float) -> None:
        sends, gone = self._sends, now - self._length
        while sends and sends[0][0] <= gone:
            self._used -= sends.popleft()[1]
