"""What a service allows: by its publications, by the user, by its own answers, and what of it holds."""

from __future__ import annotations

from dataclasses import dataclass

from streamflow.limits.headers import Told
from streamflow.limits.rates import WindowState
from streamflow.limits.window import Window


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one party says a service allows; `None` where it says nothing.

    `rate` calls in `per` seconds, evenly spaced, `burst` of them at once after a silence; `concurrency` calls in
    flight; and further `windows`, which may be used up at once.
    """

    rate: float | None = None
    per: float | None = None
    concurrency: int | None = None
    burst: int | None = None
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rate", "per", "concurrency", "burst"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, not {value!r}")


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit at one moment. `configured` is what we were given, `learnt` what the service's headers named,
    `effective` what holds; of its concurrency only `slots` may be used at present (None: any number). `paused_for` is
    in seconds, 0 while not paused; `granted` counts calls since the start, `unchanged` those of them that were told
    that an earlier answer still holds, `held` is the sum of the seconds for which each of them held its grant.
    `breaker` is closed, open or half-open; `away_for` are the seconds since it opened, 0 while it is closed, and
    `failure` is what the last call met then."""

    name: str
    configured: Allowance
    learnt: Allowance
    effective: Allowance
    in_use: int
    waiting: int
    granted: int
    paused_for: float
    paused_reason: str | None
    held: float = 0.0
    windows: tuple[WindowState, ...] = ()
    slots: int | None = None
    breaker: str = "closed"
    away_for: float = 0.0
    failure: str | None = None
    unchanged: int = 0


def given(published: Allowance, user: Allowance) -> Allowance:
    """What we were given: the user's word replaces what is published, a window that of the same kind and seconds."""
    windows = {(window.kind, window.per): window for window in (*published.windows, *user.windows)}
    return Allowance(
        user.rate or published.rate,
        user.per or published.per,
        user.concurrency or published.concurrency,
        user.burst or published.burst,
        tuple(windows.values()),
    )


def effective(published: Allowance, user: Allowance, told: Told) -> Allowance:
    """What holds: what the service told replaces what it published, in both directions, but never exceeds the user's
    word."""
    holds = given(published, user)
    rate, per, concurrency = holds.rate, holds.per, holds.concurrency
    if told.rate and told.per:
        cap = rate / (per or 1.0) if rate and (user.rate or user.per) else float("inf")
        if told.rate / told.per <= cap:
            rate, per = told.rate, told.per
    if told.concurrency:
        concurrency = min(told.concurrency, user.concurrency or told.concurrency)
    return Allowance(rate, per, concurrency, holds.burst, holds.windows)
