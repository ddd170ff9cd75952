"""The retry budget of one API: retries are at most a fifth of its calls, and a few more.

Retries by item know nothing of each other: when a service fails half of what it is asked, they make half as many
calls again, at the time when it can bear them least. So each API has a budget that its calls fill and its failures
draw on. What exceeds it is not given up, it comes later: a call that fails is told for how long its retry is to stay
away, until the calls of others have paid for it. It uses no attempt by waiting.

A token bucket, as Finagle's `RetryBudget` (20 % of requests and a floor a second) and the AWS SDKs' retry quota; but
it may be overdrawn, and the debt says how long to wait. Pure: the time is passed in.
"""

from __future__ import annotations

import math

SHARE = 0.2
"""Of the calls, what may be retries."""
FLOOR = 1.0
"""Retries a second beside that, so that a few items are tried again even where little is called."""
RESERVE = 10.0
"""Tokens that it holds at most, and at first: retries that may come at once."""
_MEMORY = 10.0
"""Seconds over which calls are counted, to tell when a debt will be paid."""


class RetryBudget:
    """See the module's text."""

    __slots__ = ("_at", "_calls", "_tokens")

    def __init__(self) -> None:
        self._tokens = RESERVE
        self._calls = 0.0  # of late, fading
        self._at: float | None = None

    def called(self, now: float) -> None:
        """A call was made."""
        self._advance(now)
        self._calls += 1
        self._tokens = min(RESERVE, self._tokens + SHARE)

    def failed(self, now: float) -> float:
        """A call failed and will be made again. Seconds for which its retry is to stay away; 0 within the budget."""
        self._advance(now)
        self._tokens -= 1
        if self._tokens >= 0:
            return 0.0
        return -self._tokens / (FLOOR + SHARE * self._calls / _MEMORY)

    def _advance(self, now: float) -> None:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._tokens = min(RESERVE, self._tokens + FLOOR * passed)
        self._calls *= math.exp(-passed / _MEMORY)
