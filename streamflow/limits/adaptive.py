"""How many calls of one API may be in flight: a pure decision from (state, call) to state, between 1 and the cap.

**Overload** (429, 503, no answer in time) takes three tenths away, as CUBIC does (RFC 9438 §4.6): once for all calls
that were in flight together, and once in the time that an answer takes. For a refusal is quick, and where each counted,
a service whose answers take seconds would lose everything before one of them could show that less is enough. Answers
give it back, by 1, 2, 4, … calls after each round of them that used up what there was. What nobody needs does not grow.

**An outage** is another matter: a service that was gone says nothing about how much it bears when it is back. So after
it each answer lets one more call go, up to what there was before the overloads that led to it (slow start up to a
threshold, RFC 5681 §3.1). If it is overloaded on the way, its load had ended it, and what there was before is
forgotten.

**Latency**, where it steers, tells before anything is refused that calls only queue at the other side. By Little's
law a service that works on `c` calls at once answers `n` of them in `n / c` times the latency that it has when idle. So
of `n` calls, `n * (1 - idle / now)` wait; it is the estimate of TCP Vegas and of Netflix's concurrency-limits. One
call that waits, or a twelfth of them, keeps the service busy. While there are fewer, the limit grows; when there are
more, it shrinks to what is worked on. At first it doubles until calls wait (slow start).

Latencies are noisy, and a slow hour is no queue. Hence:

- They are averaged as logarithms, over a few rounds of calls, and on until the mean is known to 3 % (or over 1,000
  calls). A change counts only where it is larger than the doubt that is left. Noise makes the decision slow, not wrong.
- A queue must be seen twice, and the same: what is measured while the service changes is of no use.
- A decrease must pay. Where latency did not move by half of what a queue would have made it, there was none: the
  service is slower than it was. That is then how it is when idle, and the decrease is taken back.
- A limit that has held for 20 decisions dips by a quarter for one, to measure anew how the service is without a queue:
  what was mistaken is not mistaken for ever (as BBR's ProbeRTT).
"""

from __future__ import annotations

import math
from typing import NamedTuple

DECREASE = 0.7
USED_UP = 0.8
"""Share of the limit that must be in flight on average for anything to be learnt from it."""
WAITING = 0.08
"""Of the calls in flight, what may wait at the other side; one call may always."""
ROUND = 5
"""Answers after which an overload is followed by growth, at least."""
_ROUNDS = 4  # the first answers are the quick ones, so one round alone tells of a better service than there is
_FEWEST = 10
_PRECISE = 0.03
_ENOUGH = 1000
_SHRINK_DOUBTS = 2.0  # standard errors by which there must be a queue before the limit shrinks
_GROW_DOUBTS = 0.5  # and by which there may seem to be one while it grows
_STEADY = 0.1  # difference of two log latencies that are taken for the same
_HELD, _DIP = 20, 0.75
_SMOOTHING = 0.125  # of the mean latency, as of a round-trip time (RFC 6298)
_NO_LIMIT = _NOTHING = float("inf")


class Call(NamedTuple):
    """A call that was answered: when it was granted, how long the answer took once it was sent (seconds), and how
    many calls were in flight when it was granted, itself included."""

    granted: float
    latency: float
    in_flight: int


class Seen(NamedTuple):
    """The answers since the last decision: their number, and the sums of their log latencies, of the squares of
    these, and of the calls in flight."""

    calls: int = 0
    latency: float = 0.0
    squares: float = 0.0
    in_flight: float = 0.0

    def and_(self, call: Call) -> Seen:
        log = math.log(max(call.latency, 1e-6))
        return Seen(self.calls + 1, self.latency + log, self.squares + log * log, self.in_flight + call.in_flight)

    @property
    def mean(self) -> float:
        return self.latency / self.calls

    @property
    def doubt(self) -> float:
        """The standard error of the mean."""
        if self.calls < 2:
            return float("inf")
        variance = max(0.0, self.squares / self.calls - self.mean**2)
        return math.sqrt(variance / (self.calls - 1))


class State(NamedTuple):
    """`limit` is what may be in flight, in fractions of calls; infinite: whatever the cap allows.

    `since` is when it last changed; calls granted before say nothing about it. `latency` is the mean of answers, 0
    before the first, and `overloaded_at` when an overload last took something away. `fell_from` is the limit before the
    overloads since it last grew, 0 if there were none; `returning`: after an outage it goes back to that. `step` is by
    how much it grows next. `idle` is the log latency of the service without a queue, with its doubt. `settled`: a queue
    was seen, so slow start is over. `suspected` is the log latency that looked like a queue the last time. `before` is
    limit and log latency before the last decrease by latency, until that has paid. `held` counts decisions that changed
    nothing, and `dipped_from` is the limit from before it is lowered to measure `idle` anew.
    """

    limit: float = _NO_LIMIT
    since: float = float("-inf")
    latency: float = 0.0
    overloaded_at: float = float("-inf")
    fell_from: float = 0.0
    returning: bool = False
    step: float = 1.0
    idle: tuple[float, float] = (float("inf"), 0.0)
    settled: bool = False
    before: tuple[float, float] | None = None
    suspected: float = _NOTHING
    held: int = 0
    dipped_from: float = 0.0
    seen: Seen = Seen()


UNCUT = State()
"""The beginning where the cap is known to be allowed."""
SLOW_START = State(limit=1.0)
"""The beginning where latency is to find out what is good."""


def slots(state: State, cap: float) -> float:
    """The calls that may be in flight: a whole number from 1 to the cap, or infinite."""
    limit = min(state.limit, cap)
    return limit if limit == _NO_LIMIT else float(max(1, int(limit + 1e-9)))


def overloaded(state: State, granted: float, in_flight: int, now: float, cap: float) -> State:
    """A call met an overload. `granted` and `in_flight` are as in `Call`."""
    if granted < state.since or now < state.overloaded_at + state.latency:
        return state  # it was in flight with one that has told already, or what that changed cannot show yet
    limit = min(state.limit, cap)
    if limit == _NO_LIMIT:
        limit = float(in_flight)
    fell_from = limit if state.returning else max(limit, state.fell_from)
    return _changed(state, max(1.0, limit * DECREASE), now)._replace(overloaded_at=now, fell_from=fell_from)


def is_back(state: State, now: float) -> State:
    """The service was away, and has answered again."""
    if state.fell_from <= state.limit:
        return state
    return _changed(state, state.limit, now)._replace(fell_from=state.fell_from, returning=True)


def answered(state: State, call: Call, now: float, cap: float, *, by_latency: bool) -> State:
    """A call was answered. Without `by_latency` only overloads shrink the limit, and answers give it back."""
    if call.granted < state.since:
        return state
    latency = state.latency + (call.latency - state.latency) * _SMOOTHING if state.latency else call.latency
    state = state._replace(latency=latency)
    if state.limit == _NO_LIMIT and not by_latency:
        return state
    if state.returning:
        return _returned(state, now, cap)
    seen = state.seen.and_(call)
    state = state._replace(seen=seen)
    limit = slots(state, cap)
    if seen.calls < (max(_FEWEST, _ROUNDS * limit) if by_latency else max(ROUND, limit)):
        return state
    used_up = seen.in_flight >= USED_UP * limit * seen.calls
    if by_latency:
        if state.settled and seen.doubt > _PRECISE and seen.calls < _ENOUGH:
            return state
        state = state._replace(idle=_idle(state, seen))
        if used_up:
            return _by_latency(state, limit, now, cap)
    elif used_up:
        return _grown(state, now, cap)
    return state._replace(seen=Seen())


def _idle(state: State, seen: Seen) -> tuple[float, float]:
    """What is known of the latency without a queue, after some rounds."""
    known, doubt = state.idle
    if state.settled:  # the lowest of many means would be too low
        surely_quicker = seen.mean < known - _SHRINK_DOUBTS * math.hypot(seen.doubt, doubt)
    else:  # by what it is at most: a few quick answers must not pass for an idle service
        surely_quicker = seen.mean + _SHRINK_DOUBTS * seen.doubt < known + _SHRINK_DOUBTS * doubt
    return (seen.mean, seen.doubt) if surely_quicker else state.idle


def _by_latency(state: State, limit: float, now: float, cap: float) -> State:
    """The decision at the end of some rounds that used up `limit`."""
    seen, (idle, idle_doubt) = state.seen, state.idle
    if state.dipped_from:
        return _changed(state, state.dipped_from, now)._replace(idle=(seen.mean, seen.doubt))
    if state.before is not None:
        limit_before, latency_before = state.before
        if abs(latency_before - seen.mean) < 0.5 * math.log(limit_before / limit):
            return _changed(state, limit_before, now)._replace(idle=(seen.mean, seen.doubt))
    excess, doubt = seen.mean - idle, math.hypot(seen.doubt, idle_doubt)
    may_wait = max(1.0, WAITING * limit)
    if _queue(limit, excess - _SHRINK_DOUBTS * doubt) > may_wait:
        if state.settled and not abs(seen.mean - state.suspected) < _STEADY:
            return state._replace(suspected=seen.mean, seen=Seen(), before=None)
        worked_on = limit * math.exp(-excess)
        shrunk = _changed(state, max(1.0, limit / 2, worked_on), now)
        return shrunk._replace(settled=True, before=(limit, seen.mean))
    if not state.settled or _queue(limit, excess - _GROW_DOUBTS * doubt) < may_wait / 2:
        return _grown(state, now, cap)
    if state.held >= _HELD:
        return _changed(state, limit * _DIP, now)._replace(dipped_from=state.limit)
    return state._replace(seen=Seen(), before=None, suspected=_NOTHING, held=state.held + 1)


def _queue(limit: float, excess: float) -> float:
    """How many of `limit` calls wait where the log latency exceeds that of an idle service by `excess`."""
    return limit * -math.expm1(-excess)


def _grown(state: State, now: float, cap: float) -> State:
    step = min(state.step, max(1.0, WAITING * state.limit)) if state.settled else state.step
    limit = min(state.limit, cap) + step
    return _changed(state, limit if limit < cap else _NO_LIMIT, now)._replace(step=state.step * 2)


def _returned(state: State, now: float, cap: float) -> State:
    limit = min(state.limit + 1, cap)
    if limit < min(state.fell_from, cap):
        return state._replace(limit=limit)
    limit = min(state.fell_from, cap)
    return _changed(state, limit if limit < cap else _NO_LIMIT, now)


def _changed(state: State, limit: float, now: float) -> State:
    return State(limit, now, state.latency, state.overloaded_at, idle=state.idle, settled=state.settled)
