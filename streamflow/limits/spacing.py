"""Calls spaced evenly, because services count in sliding windows: a bucket that may run full lets twice its limit
through in one window.

The rate is lowered by a margin, since calls that leave evenly do not arrive evenly. And grants that are spaced are
not yet calls that are spaced: one that opens a connection leaves later than those after it. So the calls of one window
are also counted by when they were sent.
"""

from __future__ import annotations

import math

from aiolimiter import AsyncLimiter

from streamflow.limits.window import Sends, Window

_LATE = 0.005
"""Seconds that late wake-ups may be made up for. Timers of the selector loop fire up to a millisecond late, on a busy
machine more; lost at every grant, that would cost a tenth of 100 calls a second."""


class Spacing:
    """The even spacing of one limit; none at first. `margin` is the share of the rate that is kept free."""

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self.window: Window | None = None
        self._bucket: AsyncLimiter | None = None
        self._each = 0.0  # seconds between calls of cost one
        self._burst = 1
        self._owed_until = 0.0  # until then a dear call keeps the rate for itself
        self.sends = Sends()

    def tune(self, rate: float | None, per: float | None, burst: int | None) -> None:
        """Let `rate` calls go in `per` seconds, `burst` of them at once after a silence; `None` spaces nothing."""
        if rate is None or per is None:
            self.window = self._bucket = None
            self.sends.resize(float("inf"), 0.0)
            return
        window, burst = Window(rate, per), burst or 1
        if (self.window, self._burst) == (window, burst):
            return
        self.window, self._burst = window, burst
        self._each = per / (rate * (1 - self._margin))
        # Time that late wake-ups may be made up for: never more than a quarter of what the margin keeps free.
        late = min(_LATE, per * self._margin / 4)
        size = burst + late / self._each
        # A bucket for a new rate starts empty: the calls of the old one are counted by when they were sent.
        self._bucket = AsyncLimiter(size, size * self._each)
        # As the spacing has it, `calls` and a burst take `calls` spacings; the first of them is no extra.
        calls = math.ceil(rate)
        self.sends.resize(calls + burst - 1, calls * self._each - late)

    def spend(self, at: float) -> None:
        """Count as if as many calls as a window holds had been sent at that moment."""
        if self.window is not None:
            self.sends.add([(at, math.ceil(self.window.size) + self._burst - 1)])

    def free_at(self, cost: float, now: float) -> float:
        """When the bucket may be asked at the earliest. While nobody else is granted, that moment stays free."""
        return max(self._owed_until, self.sends.free_at(cost, now)) if self._bucket is not None else now

    def has_room(self, cost: float) -> bool:
        """Whether `pay` would not wait."""
        return self._bucket is None or self._bucket.has_capacity(self._share(cost))

    async def pay(self, cost: float) -> bool:
        """Wait for the bucket and take a place, in the step in which this returns. False if the rate was changed
        meanwhile: that place is worth nothing.
        """
        bucket = self._bucket
        if bucket is None:
            return True
        await bucket.acquire(self._share(cost))
        return bucket is self._bucket

    def take(self, cost: float, now: float) -> None:
        """A call was granted."""
        self.sends.take(cost)
        if self._bucket is not None and cost > self._share(cost):
            self._owed_until = now + cost * self._each

    def _share(self, cost: float) -> float:
        """What a call takes out of the bucket, which holds a burst. The calls after it wait out the rest."""
        return min(cost, float(self._burst))
