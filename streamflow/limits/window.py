"""The calls of a trailing window, counted by the time at which they were sent.

A service counts what reaches it, and a call may be sent long after it was granted: the first ones open their
connections. So a call takes its place when it is granted, and keeps it until `length` seconds after it was sent.
Then no window of that length ever holds more than `size`. For, of the calls sent in it, take the one that was
granted last: at that moment each of the others was either not sent yet, or sent within the window. So all were
counted, and it was granted only because there was room for it too.

Pure: the time is passed in.
"""

from __future__ import annotations

from collections import deque

_GRAINS = 1000
"""Sends of one thousandth of the window are kept as one, sent at the last one's time, so that memory is bounded
whatever the rate. That forgets a call late, never early."""

_ROUNDING = 1e-6  # of a cost: what sums of fractions may be off


class Window:
    """At most `size` in any `length` seconds; unlimited at first. Sizes and costs are in calls, or points."""

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
        sends = self._sends
        gone = now - self._length
        while sends and sends[0][0] <= gone:
            self._used -= sends.popleft()[1]
        excess = self._used + min(cost, self._size) - self._size - _ROUNDING
        if excess <= 0:
            return now
        for time, sent in sends:
            excess -= sent
            if excess <= 0:
                return time + self._length
        return now + self._length  # the calls not sent yet are sent now at the earliest

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
