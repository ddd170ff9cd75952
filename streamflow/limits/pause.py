"""For how long a service asked to be left alone. Pure: the time is passed in."""

from __future__ import annotations

from streamflow.limits.headers import MAX_PAUSE

_WORTH_TELLING = 1.0
"""Seconds by which a pause must grow to be told again: calls in flight are refused one after the other."""


class Pause:
    """`until` when, and the `reason`; over at first."""

    __slots__ = ("reason", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.reason = ""

    def left(self, now: float) -> float:
        """Seconds, 0 when it is over."""
        return max(0.0, self.until - now)

    def extend(self, seconds: float, reason: str, now: float) -> bool:
        """Let it last for so many seconds from now, at most a day. A shorter one than the present changes nothing.
        Returns whether that is worth telling.
        """
        until, before = now + min(seconds, MAX_PAUSE), self.until
        if not seconds > 0 or until <= before:
            return False
        self.until, self.reason = until, reason
        return before <= now or until >= before + _WORTH_TELLING
