"""What a service allows its callers, and the count of what they do.

The count is a sliding window: a call is refused when as many were accepted in the `per` seconds before it.
That is the strictest way a service can count, so a client that passes here passes everywhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most `requests` in any `per` seconds, and `concurrency` under way; None where there is no such limit.
    Callers with the same `name` share it."""

    name: str
    requests: int | None = None
    per: float = 1.0
    concurrency: int | None = None

    def scaled(self, factor: float) -> Allowance:
        """The same with `factor` times the rate; below one request a window, the window grows instead."""
        if factor == 1.0 or self.requests is None:
            return self
        requests = self.requests * factor
        if requests >= 1:
            return replace(self, requests=int(requests))
        return replace(self, requests=1, per=self.per / requests)


@dataclass(slots=True)
class Gauge:
    """The calls of those who share one allowance. Each `enter` that returns None needs one `leave`."""

    accepted: deque[float] = field(default_factory=deque)
    under_way: int = 0

    def enter(self, allowance: Allowance, now: float) -> tuple[str, float] | None:
        """Accepts a call (None), or says why not and in how many seconds one would be accepted."""
        if allowance.concurrency is not None and self.under_way >= allowance.concurrency:
            return "concurrency", 1.0
        if allowance.requests is not None:
            while self.accepted and self.accepted[0] <= now - allowance.per:
                self.accepted.popleft()
            if len(self.accepted) >= allowance.requests:
                return "rate", self.accepted[-allowance.requests] + allowance.per - now
            self.accepted.append(now)
        self.under_way += 1
        return None

    def leave(self) -> None:
        self.under_way -= 1
