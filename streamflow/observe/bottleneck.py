"""What bounds a run's throughput, and what would move it: a pure decision from what was seen of the run.

A run is a line of stations: the sources, the workers of each stage, and the event loop that all of them share. By the
utilisation law (Denning and Buzen, The operational analysis of queueing network models, 1978) the stations are busy in
proportion to the throughput, so the one that is busiest is full first: it is the bottleneck. What a stage's workers
wait for outside of the line is part of their business: a limit, the writer, the time of a retry. Without input, without
room further on and while another stage holds the loop they wait for other stations, and are not busy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from streamflow.engine.figures import StageFigures
from streamflow.limits.allowance import LimitState
from streamflow.observe.words import duration
from streamflow.storage.trouble import Trouble

SHORTEST = 1.0
"""Seconds; of a shorter time nothing sound can be said."""
_FULL = 0.9
"""The share of its bound from which on a limit, or a processor, counts as used up: the rest is what its users leave by
chance, and a limit's margin."""
_IN_VAIN = 0.05
"""The share of a stage's time for which its workers must wait for a limit that is used up, to be held up by it."""
SATURATED = 0.8
"""The share of the time for which functions hold the loop from which on it bounds the run, whatever else workers seem
to wait for: the writer's answers too come over the loop."""


@dataclass(frozen=True, slots=True)
class Use:
    """A limit, with the calls in a second and the calls in flight, on average over the time that was looked at."""

    limit: LimitState
    calls: float
    in_flight: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A run over some time: its stages with the shares of that time, the items that each ended in a second, the share
    of the time for which sources were bringing more, the limits' use, and the processors that its own process kept
    busy, of those that there are."""

    seconds: float
    stages: Mapping[str, StageFigures]
    rates: Mapping[str, float]
    feeding: float = 1.0
    uses: Sequence[Use] = ()
    busy_processors: float = 0.0
    processors: int = 1


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The stage that bounds the throughput (None: the sources), and the share of its workers' time for which it was
    busy; what most of that went `at`, and its share. `why` and `advice` say it in words."""

    stage: str | None
    busy: float
    at: str
    share: float
    why: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Bound:
    """One thing that a limit allows: the share of it that was used, both in words, and the setting that raises it."""

    used: float
    words: str
    setting: str


def as_json(found: Bottleneck | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "busy": round(found.busy, 3), "share": round(found.share, 3)}


def use(now: LimitState, seconds: float, before: LimitState | None = None) -> Use:
    """The use of a limit in the `seconds` since `before`; None: since it was made."""
    granted, held = (before.granted, before.held) if before is not None else (0, 0.0)
    return Use(now, (now.granted - granted) / seconds, (now.held - held) / seconds)


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bottleneck(seen: Seen) -> Bottleneck | None:
    """What bounds the throughput; None where the time was too short to tell, or nothing was done in it."""
    stages = {name: stage for name, stage in seen.stages.items() if stage.shares}
    if seen.seconds < SHORTEST or not stages:
        return None
    busy = {name: sum(_own(stage).values()) for name, stage in stages.items()}
    holding = {name: stage.shares.get("holding the loop", 0.0) * stage.workers for name, stage in stages.items()}
    busiest, held = max(busy, key=busy.__getitem__), sum(holding.values())
    if min(seen.feeding, _lack(stages[busiest])) > max(busy[busiest], held):
        return _sources(busiest, busy[busiest], _lack(stages[busiest]))
    if not busy[busiest]:
        return None
    holder = max(holding, key=holding.__getitem__)
    if held >= min(busy[busiest], SATURATED):
        return _loop(holder, busy[holder], held)
    return _stage(busiest, busy, seen)


def _own(stage: StageFigures) -> dict[str, float]:
    """What the workers were at, but for waits for other stations."""
    return {at: part for at, part in stage.shares.items() if at not in ("input", "loop") and not at.startswith("room")}


def _lack(stage: StageFigures) -> float:
    """The share of its workers' time in which they had nothing to do."""
    return stage.shares.get("input", 0.0)


def _sources(stage: str, busy: float, share: float) -> Bottleneck:
    return Bottleneck(
        *(None, busy, "input", share),
        f"the sources: even the busiest stage, {stage}, had nothing to do for {share:.0%} of the time",
        "More workers would not help: only more, or faster, input.",
    )


def _loop(stage: str, busy: float, held: float) -> Bottleneck:
    return Bottleneck(
        *(stage, busy, "holding the loop", held),
        f"{stage}: its function blocked or computed for {held:.0%} of the time, and nothing else could run meanwhile",
        'More workers would not help: in its Stage say runs_in="thread" where it waits, "process" where it computes.',
    )


def _stage(name: str, busy: Mapping[str, float], seen: Seen) -> Bottleneck:
    stage = seen.stages[name]
    own = _own(stage)
    at = max(own, key=own.__getitem__)
    kind, _, what = at.partition(" ")
    if at == "work":
        at, kind, what = _held_up_at_work(own, busy[name], seen.uses)
    share = own[at]
    limit = next((use for use in seen.uses if use.limit.name == what), None)
    match kind:
        case "holding":
            return _loop(name, busy[name], share * stage.workers)
        case "limit" if limit is not None:
            doing, advice = _limit(limit, busy[name])
        case "pause" if limit is not None:
            doing, advice = _pause(limit.limit)
        case "breaker" if limit is not None:
            doing, advice = _breaker(limit.limit)
        case "retry":
            doing, advice = _retry(name, stage)
        case "paused":
            doing, advice = "its pause", f"`streamflow resume {name}` lets it go on."
        case "work" | "writer" if at in ("work", "writer") and stage.runs_in != "process" and _is_full(seen):
            doing = "work" if at == "work" else "waiting for the writer"
            advice = (
                "More workers would not help: this process keeps a whole processor busy. What computes goes into a "
                'stage with runs_in="process".'
            )
        case "work":
            doing, advice = "work", _more_workers(name, stage, busy, seen)
        case "writer" if at == "writer":
            doing, advice = _writer(name, stage, share, seen.rates.get(name, 0.0))
        case _:
            doing, advice = _storage(at)
    whose = f"its {stage.workers} workers'" if stage.workers > 1 else "its worker's"
    return Bottleneck(name, busy[name], at, share, f"{name}: {share:.0%} of {whose} time went to {doing}", advice)


def _held_up_at_work(own: Mapping[str, float], busy: float, uses: Sequence[Use]) -> tuple[str, str, str]:
    """What holds workers up that mostly work: a limit that is used up does, however few of them wait for it. More
    workers would only wait too."""
    for each in uses:
        at = f"limit {each.limit.name}"
        bound = _tightest(each, busy)
        if own.get(at, 0.0) >= _IN_VAIN and bound is not None and bound.used >= _FULL:
            return at, "limit", each.limit.name
    return "work", "work", ""


def _is_full(seen: Seen) -> bool:
    return seen.busy_processors >= _FULL


def _tightest(each: Use, busy: float) -> _Bound | None:
    """What of a limit is used most, while the stage is busy that waits for it."""
    holds, busy = each.limit.effective, max(busy, 0.01)
    bounds = []
    if holds.rate is not None:
        per = holds.per or 1.0
        used = each.calls * per
        words = f"{holds.rate:g} calls in {per:g} s, {used:.2g} used"
        bounds.append(_Bound(used / holds.rate / busy, words, "rate"))
    cap = each.limit.slots if each.limit.slots is not None else holds.concurrency
    if cap is not None:
        words = f"{cap:g} {'call' if cap == 1 else 'calls'} at once, {each.in_flight:.2g} in flight"
        bounds.append(_Bound(each.in_flight / max(cap, 1) / busy, words, "concurrency"))
    for window in each.limit.windows:
        if window.size and window.used is not None:
            span = f" in {window.per:g} s" if window.per is not None and not window.learnt else ""
            words = f"{window.size:,g} {window.kind}{span}, {window.used:,.0f} used"
            bounds.append(_Bound(window.used / window.size, words, "windows"))
    return max(bounds, key=lambda bound: bound.used, default=None)


def _limit(each: Use, busy: float) -> tuple[str, str]:
    name, slots, cap = each.limit.name, each.limit.slots, each.limit.effective.concurrency
    bound = _tightest(each, busy)
    if bound is None:
        return f"waiting for the limit of {name}", "More workers would not help."
    doing = f"waiting for the limit of {name} ({bound.words})"
    if bound.setting == "concurrency" and slots is not None and slots != cap:
        return doing, (
            f"More workers would not help: by more calls at once {name} is overloaded, or slows down. More are tried "
            "as soon as it recovers."
        )
    return doing, (
        f"Nothing in streamflow makes that faster. If {name} allows you more, say so: "
        f"[services.{name}] {bound.setting} = …"
    )


def _pause(limit: LimitState) -> tuple[str, str]:
    left = f" for another {duration(limit.paused_for)}" if limit.paused_for else ""
    why = f": {limit.paused_reason}" if limit.paused_reason else ""
    return f"waiting as long as {limit.name} asks to{left}{why}", (
        f"It goes on by itself. Where that happens often, a lower [services.{limit.name}] rate = … wastes less."
    )


def _breaker(limit: LimitState) -> tuple[str, str]:
    away = f", away for {duration(limit.away_for)} ({limit.failure})" if limit.away_for else ""
    return f"waiting for {limit.name} to come back{away}", (
        "One call at a time tries it, and all goes on when it answers. How long `run` waits is the setting outage."
    )


def _retry(name: str, stage: StageFigures) -> tuple[str, str]:
    parked = f"{stage.parked:,} {'item' if stage.parked == 1 else 'items'}"
    first = f", the first in {duration(max(0.0, stage.retry_in))}" if stage.retry_in is not None else ""
    left = f" ({parked}{first})" if stage.parked else ""
    return f"waiting for the time of the next attempts{left}", (
        "Nothing else is there to do; the log says what the last ones met. "
        f"To give up sooner: [stages.{name}] attempts = …"
    )


def _writer(name: str, stage: StageFigures, share: float, rate: float) -> tuple[str, str]:
    each = f", {share * stage.workers / rate * 1000:,.0f} ms for each item" if rate else ""
    return f"waiting for the writer{each}", (
        f"More workers share a commit: [stages.{name}] workers = {stage.workers * 2}. A faster disk makes it shorter, "
        'and so does [storage] synchronous = "NORMAL".'
    )


def _storage(at: str) -> tuple[str, str]:
    """What else there is: storage that is not to be had."""
    if Trouble.FULL in at:
        return f"waiting for room: {Trouble.FULL}", "Make room; it goes on by itself."
    if Trouble.LOCKED in at:
        return f"waiting: {Trouble.LOCKED}", "Close the other program, or its transaction; it goes on by itself."
    return f"waiting for {at}", "More workers would not help."


def _more_workers(name: str, stage: StageFigures, busy: Mapping[str, float], seen: Seen) -> str:
    """As many more as help: until the next station is full, and as there are processors."""
    if (lack := _lack(stage)) > busy[name]:
        return (
            f"More workers would not help: they had nothing to do for {lack:.0%} of the time, as there were few items."
        )
    following = {other: share for other, share in busy.items() if other != name}
    for each in seen.uses:
        if (bound := _tightest(each, 1.0)) is not None:
            following[f"the limit of {each.limit.name}"] = bound.used
    station = max(following, key=following.__getitem__, default="")
    pace = 1 / max(following.get(station, 0.0), 0.01)
    workers = max(stage.workers + 1, min(2 * stage.workers, math.ceil(stage.workers * pace)))
    if stage.runs_in == "process":
        if stage.workers >= seen.processors:
            return (
                f"More workers would not help: they have {seen.processors} processors, and use them. More processors, "
                "or less to do for an item, would."
            )
        workers = min(workers, seen.processors)
    then = f" At {pace:.1f} times this pace {station} would be next." if pace < 10 else ""
    return f"More workers would help: [stages.{name}] workers = {workers}.{then}"
