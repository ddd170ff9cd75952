"""What the ends of its calls say about one API, and what follows: whether it is asked at all (`breaker`), how many
calls may be in flight (`adaptive`), how soon failed ones may come again (`retry_budget`).

A failed call's error is told on its way out what follows for its item: `outage`, where the item pays no attempt for it,
and `wait`, for how long the retry is to stay away.

**One of many hosts.** Downloads go to thousands of hosts under one limit, and one that is dead says nothing of the
others. So there a refusal of a host is an answer, and a host that cannot be reached counts once, until something
is heard of any other. Five of them in a row open the breaker: then it is our own connection. An item that meets such
a host as the probe pays with an attempt, since its host may be gone for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streamflow.errors import ForbiddenAddress, ServiceError, Unreachable, told
from streamflow.events import BreakerClosed, BreakerOpened, ConcurrencyChanged, Hook
from streamflow.limits.adaptive import SLOW_START, UNCUT, Call, State, answered, is_back, overloaded, slots
from streamflow.limits.breaker import Breaker, Phase
from streamflow.limits.outcome import Outcome, outcome_of
from streamflow.limits.retry_budget import RetryBudget

_LONGEST = 300  # signs of an error that are kept
_TOLD_EVERY = 10.0  # seconds


class Begun(NamedTuple):
    """What is known of a call when it is granted: the breaker's ticket, when, and the calls in flight with it."""

    ticket: int
    granted: float
    in_flight: int


class Health:
    """See the module's text. With `by_latency` latencies steer the concurrency too. `failure` is the last error."""

    def __init__(self, name: str, *, by_latency: bool, hook: Hook, random: Callable[[], float]) -> None:
        self.breaker = Breaker(random)
        self.failure: str | None = None
        self._name = name
        self._hook = hook
        self._by_latency = by_latency
        self._concurrency = SLOW_START if by_latency else UNCUT
        self._budget = RetryBudget()
        self._silent: set[str] = set()  # hosts of many that could not be reached
        self._told_slots: float | None = None
        self._told_at = float("-inf")

    def slots(self, cap: float) -> float:
        """The calls that may be in flight."""
        return slots(self._concurrency, cap)

    def begin(self, in_flight: int, now: float) -> Begun:
        """A call is granted, one of so many in flight."""
        self._budget.called(now)
        return Begun(self.breaker.begin(), now, in_flight)

    def end(
        self,
        begun: Begun,
        error: BaseException | None,
        now: float,
        *,
        sent: float,
        cap: float,
        elsewhere: bool = False,
        host: str | None = None,
    ) -> None:
        """A call has ended. `sent` is when it left; it went `elsewhere` than to the API, or to one `host` of many where
        the API has none of its own."""
        breaker = self.breaker
        if isinstance(error, ServiceError) and error.service not in ("", self._name):
            outcome = Outcome.UNKNOWN  # another API's, called within this one's grant
        elif elsewhere:
            outcome = Outcome.UNKNOWN
        else:
            outcome = outcome_of(error) if host is None else self._outcome_of_many(error, host)
        since = breaker.since
        excused = breaker.end(begun.ticket, outcome, now)
        if outcome.failed and error is not None:
            self.failure = told(error)[:_LONGEST]
            if isinstance(error, ServiceError):
                error.outage = excused
                error.wait = 0.0 if excused else self._budget.failed(now)
        if since is None:
            if outcome is Outcome.ANSWERED:
                call = Call(begun.granted, now - sent, begun.in_flight)
                self._steer(answered(self._concurrency, call, now, cap, by_latency=self._by_latency), now, cap)
            elif outcome is Outcome.ABSENT:
                self._steer(overloaded(self._concurrency, begun.granted, begun.in_flight, now, cap), now, cap)
            if breaker.since is not None:
                self._hook(BreakerOpened(self._name, self.failure or ""))
        elif breaker.phase is Phase.CLOSED:
            self._steer(is_back(self._concurrency, now), now, cap)
            self._hook(BreakerClosed(self._name, now - since))

    def _outcome_of_many(self, error: BaseException | None, host: str) -> Outcome:
        if isinstance(error, Unreachable):
            if host in self._silent and self.breaker.phase is Phase.CLOSED:
                return Outcome.UNKNOWN
            self._silent.add(host)
            return Outcome.SPOILT
        if error is None or (isinstance(error, ServiceError) and not isinstance(error, ForbiddenAddress)):
            self._silent.clear()
            return Outcome.REFUSED
        return Outcome.UNKNOWN

    def _steer(self, state: State, now: float, cap: float) -> None:
        """Let another concurrency hold, and tell of it now and then."""
        before, self._concurrency = self.slots(cap), state
        after = self.slots(cap)
        if self._told_slots is None:
            self._told_slots = before
        if after != self._told_slots and now >= self._told_at + _TOLD_EVERY:
            self._told_at = now
            self._hook(ConcurrencyChanged(self._name, _whole(self._told_slots), _whole(after)))
            self._told_slots = after


def _whole(slots: float) -> int | None:
    return None if slots == float("inf") else int(slots)
