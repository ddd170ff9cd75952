"""What a service says is left of a budget, and how that is made to last.

Two kinds are told apart. One *resets*: all of it returns at one moment (GitHub's hour). Its last part is spread over
the time to that moment, so that it never runs dry and then stalls for the rest. Where so little is left that a call
would have to wait longer than anybody wants, it is used up at once. One *refills*: it returns bit by bit
(the token buckets of OpenAI and Anthropic, whose reset is the moment at which it is full), so what returns is known
too, and a call waits until there is enough.

What was said is older than what was granted since. So calls under way count as if they had not been counted yet.

Pure: the time is passed in.
"""

from __future__ import annotations

from streamflow.limits.headers import Left

_PLENTY = 0.2
"""Of a budget that resets: while more is left, it is used as fast as the other limits allow. A run that ends before it
comes to that waits for nothing."""

_ROUNDING = 1e-6  # of a cost: what sums of fractions may be off

_SAME = 2.0
"""Seconds by which two tellings of the same reset may differ: they come as whole seconds."""


class Budget:
    """One budget of one kind of cost. Nothing is known at first, and nothing held up. It is not spread by more than
    `longest` seconds from call to call."""

    __slots__ = ("_at", "_left", "_longest", "_next", "_plenty", "_refill", "limit", "until")

    def __init__(self, longest: float = float("inf")) -> None:
        self._longest = longest
        self.limit: float | None = None
        self.until = 0.0  # when it resets, or is full
        self._left = 0.0
        self._at = 0.0
        self._refill = 0.0  # a second
        self._plenty = float("inf")
        self._next = 0.0

    def tell(self, said: Left, now: float) -> None:
        """The service has said what is left."""
        until = now + said.reset
        self.limit = said.limit
        self._refill = 0.0
        if said.refills and said.limit and said.reset:
            self._refill = max(0.0, said.limit - said.remaining) / said.reset
        # Answers overtake each other, and what resets as a whole only falls until then.
        stale = not said.refills and now < self.until and abs(until - self.until) <= _SAME
        self._left = min(self._left, said.remaining) if stale else said.remaining
        self.until = max(until, self.until) if stale else until
        self._at = now
        self._plenty = said.limit * _PLENTY if said.limit else float("inf")

    def left(self, now: float) -> float | None:
        """What is left, calls under way not counted; `None` if nobody knows."""
        return self._left + self._refill * (now - self._at) if now < self.until else None

    def free_at(self, cost: float, under_way: float, now: float, *, spread: bool = True) -> float:
        """`now` if a call of this cost may be granted, else the first moment at which asking again can help. Without
        `spread`, as if what is left might be used at once.
        """
        level = self.left(now)
        if level is None:
            return now
        level -= under_way
        if cost > level + _ROUNDING:
            return min(self.until, now + (cost - level) / self._refill) if self._refill else self.until
        if not spread or self._refill or level - cost >= self._plenty:
            return now
        return max(now, self._next)

    def take(self, cost: float, under_way: float, now: float) -> None:
        """A call was granted; it is not among those under way yet."""
        level = self.left(now)
        if level is not None and level - under_way - cost < self._plenty:
            apart = (self.until - now) * cost / max(level - under_way, cost)
            self._next = now + apart if apart <= self._longest else now
