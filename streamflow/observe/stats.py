"""What a run's figures say while it goes on: rates, what stages wait for, and when it will be done."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streamflow.engine.figures import StageFigures, shares
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.limits.allowance import LimitState
from streamflow.limits.registry import Registry
from streamflow.observe.bottleneck import Bottleneck, Seen, bottleneck, processors, use

WINDOW = 10.0
"""Seconds over which rates are counted."""


@dataclass(frozen=True, slots=True)
class View:
    """A run at one moment. `seconds` since its start; the stages' shares of time and the `bottleneck` are those of the
    window; `waits` is what most of a stage's workers are at; `eta` is in seconds, None while unknown; `more` says that
    sources may still bring items."""

    seconds: float
    stages: Mapping[str, StageFigures]
    rates: Mapping[str, float]
    waits: Mapping[str, str]
    limits: Sequence[LimitState]
    eta: float | None
    more: bool
    bottleneck: Bottleneck | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """What a later look is compared with: items that had ended, and the seconds for which workers were at what, by
    stage; the limits by name; and the processor's seconds."""

    at: float
    ended: Mapping[str, int]
    seconds: Mapping[str, Mapping[str, float]]
    limits: Mapping[str, LimitState]
    processor: float


class Observer:
    """Looks at a run now and then; `look` gives what there is to see. Times are those of the caller's clock."""

    def __init__(self, run: Run, limits: Registry, started: float) -> None:
        self._run = run
        self._limits = limits
        self._started = started
        self._looks = deque([_Look(started, {}, {}, {}, time.process_time())])
        self._processors = processors()

    def look(self, now: float) -> View:
        run = self._run
        figures = run.figures()
        limits = [limit.snapshot() for limit in self._limits]
        looks, then = self._looks, self._since(now)
        looks.append(
            _Look(
                now,
                {name: _ended(stage) for name, stage in figures.items()},
                {name: dict(seconds) for name, seconds in run.looks.items()},
                {limit.name: limit for limit in limits},
                time.process_time(),
            )
        )
        seen = self._seen(then, looks[-1], figures)
        in_sight = sum(stage.queued + stage.active + stage.parked for stage in figures.values())
        return View(
            seconds=now - self._started,
            stages=seen.stages,
            rates=seen.rates,
            waits={name: _waits(run, name) for name in figures},
            limits=limits,
            eta=eta(
                run.pipeline,
                figures,
                now - self._started,
                unseen=max(0, run.tally.alive - in_sight),
                blocked=_blocked(run),
            ),
            more=run.tally.feeding > 0,
            bottleneck=None if run.sequential else bottleneck(seen),
        )

    def _since(self, now: float) -> _Look:
        """The look with which the window begins."""
        while len(self._looks) > 1 and self._looks[1].at <= now - WINDOW:
            self._looks.popleft()
        return self._looks[0]

    def _seen(self, then: _Look, now: _Look, figures: Mapping[str, StageFigures]) -> Seen:
        span = max(now.at - then.at, 0.001)
        return Seen(
            seconds=span,
            stages={
                name: replace(stage, shares=shares(_less(then.seconds.get(name, {}), now.seconds.get(name, {}))))
                for name, stage in figures.items()
            },
            rates={name: (count - then.ended.get(name, 0)) / span for name, count in now.ended.items()},
            feeding=float(self._run.tally.feeding > 0),
            uses=[use(limit, span, then.limits.get(name)) for name, limit in now.limits.items()],
            busy_processors=(now.processor - then.processor) / span,
            processors=self._processors,
        )


def _less(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {what: seconds - before.get(what, 0.0) for what, seconds in now.items()}


def eta(
    pipeline: Pipeline,
    stages: Mapping[str, StageFigures],
    seconds: float,
    *,
    unseen: int = 0,
    blocked: Mapping[tuple[str, str], int] | None = None,
) -> float | None:
    """Seconds until all that is known of has gone through, None where a stage has not shown its pace yet.

    Each stage is taken to bring forth as many items as it did so far, and to keep its mean pace; the slowest decides.
    `unseen` items are known of, but in no channel yet. Workers that are `blocked` (counted by their stage and by the
    stage that has no room) hold as many of them as an item brings forth on average, the sources hold the others.
    """
    if seconds <= 0 or not all(stage.name in stages for stage in pipeline.stages):
        return None
    producers = _producers(pipeline)
    done = {name: float(_ended(stage)) for name, stage in stages.items()}
    waiting = {name: float(stage.queued + stage.active + stage.parked) for name, stage in stages.items()}
    for (name, _), workers in (blocked or {}).items():
        done[name] += workers
        waiting[name] -= workers
    left = float(unseen)
    for (name, full), workers in (blocked or {}).items():
        held = min(left, workers * max(1.0, (done[full] + waiting[full]) / done[name]))
        waiting[full] += held
        left -= held
    expected: dict[str, float] = {}
    slowest = 0.0
    for name in _downwards(producers):
        if None in producers[name]:
            waiting[name] += left
        feeders = [feeder for feeder in producers[name] if feeder is not None]
        coming, before = sum(expected[f] for f in feeders), sum(done[f] for f in feeders)
        if coming and not before:
            return None
        expected[name] = waiting[name] + (coming * (done[name] + waiting[name]) / before if coming else 0.0)
        if expected[name]:
            if not _ended(stages[name]):
                return None
            slowest = max(slowest, expected[name] * seconds / _ended(stages[name]))
    return slowest


def _producers(pipeline: Pipeline) -> dict[str, set[str | None]]:
    """For each stage, the stages that feed it; None stands for the sources."""
    found: dict[str, set[str | None]] = {stage.name: set() for stage in pipeline.stages}
    makers: list[tuple[str | None, tuple[type, ...]]] = [(None, s.signature.produces) for s in pipeline.all_sources]
    makers += [(stage.name, stage.signature.produces) for stage in pipeline.stages]
    for maker, kinds in makers:
        for kind in kinds:
            for taker in pipeline.routes[kind]:
                found[taker].add(maker)
    return found


def _downwards(producers: Mapping[str, set[str | None]]) -> list[str]:
    """The stages so that each comes after those that feed it."""
    ordered: list[str] = []
    while len(ordered) < len(producers):
        ordered += [
            name
            for name, feeders in producers.items()
            if name not in ordered and all(feeder is None or feeder in ordered for feeder in feeders)
        ]
    return ordered


def _ended(stage: StageFigures) -> int:
    return stage.done + stage.skipped + stage.dead


def _blocked(run: Run) -> Counter[tuple[str, str]]:
    """How many workers of one stage wait for room in front of another."""
    waits = [(name, slot.waiting or "") for name, pool in run.pools.items() for slot in pool.slots]
    return Counter((name, told.removeprefix("room in ")) for name, told in waits if told.startswith("room in "))


def _waits(run: Run, name: str) -> str:
    seen = Counter(run.at(slot) for slot in run.pools[name].slots if slot.items)
    return seen.most_common(1)[0][0] if seen else ""
