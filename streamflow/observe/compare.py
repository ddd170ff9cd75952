"""Comparing a sequential with a concurrent run of the same input: time, tables, and the ideal.

The ideal is the slowest limit's or stage's work plus one item's remaining path. A limit's work is its calls, at its
rate and in whole rounds of as many as may be in flight; a stage's work is what it took in the sequential run, spread
over its workers. The remaining path is the time that one item spends in everything else, since the first must reach the
bottleneck and the last must leave it: each stage's first call, start of workers and connections included. A call takes
what it took in the run where that was quicker: what the other adds is its own machine's noise. The ideal is that of the
limit or stage for which both together are the most. It is no strict bound: where the last items have less left to do
than the first one had, a run ends a little sooner.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamflow.engine.figures import Summary
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.limits.allowance import LimitState
from streamflow.limits.registry import Registry
from streamflow.storage import inspect

LoopFactory = Callable[[], asyncio.AbstractEventLoop] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: how it ended, what its limits granted, and the rows it left, times aside."""

    summary: Summary
    limits: Sequence[LimitState]
    tables: Mapping[str, Sequence[tuple[Any, ...]]]

    @property
    def seconds(self) -> float:
        return self.summary.seconds


@dataclass(frozen=True, slots=True)
class Ideal:
    """The shortest time possible, in seconds, what decides it, and the part of it that is the remaining path."""

    seconds: float
    bottleneck: str
    path: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both runs and the ideal. `differing` names the tables that are not the same."""

    sequential: Measured
    concurrent: Measured
    ideal: Ideal
    differing: Sequence[str] = field(default_factory=tuple)

    @property
    def speedup(self) -> float:
        return self.sequential.seconds / self.concurrent.seconds

    @property
    def efficiency(self) -> float:
        return self.ideal.seconds / self.concurrent.seconds


def measure(
    pipeline: Pipeline,
    inputs: Sequence[str],
    workspace: Path,
    *,
    sequential: bool,
    limit: int | None = None,
    loop_factory: LoopFactory = None,
) -> Measured:
    """Run a pipeline in a fresh workspace. Raises what stopped the run, if something did."""
    known: list[Registry] = []

    def started(run: Run, limits: Registry) -> None:
        known.append(limits)

    async def measured() -> tuple[Summary, list[LimitState]]:
        summary = await run_pipeline(
            pipeline,
            inputs,
            workspace=workspace,
            sequential=sequential,
            limit=limit,
            trace=True,
            started=started,
        )
        return summary, [state.snapshot() for limits in known for state in limits]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        summary, limits = runner.run(measured())
    if summary.error is not None:
        raise summary.error
    return Measured(summary, limits, inspect.contents(workspace))


def compared(pipeline: Pipeline, sequential: Measured, concurrent: Measured) -> Comparison:
    """Both runs side by side."""
    names = sorted({*sequential.tables, *concurrent.tables})
    differing = [name for name in names if sequential.tables.get(name) != concurrent.tables.get(name)]
    return Comparison(sequential, concurrent, ideal(pipeline, sequential, concurrent), differing)


def ideal(pipeline: Pipeline, sequential: Measured, concurrent: Measured) -> Ideal:
    """What the module's text says, from the traces of both runs and the limits of the concurrent one."""
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    firsts = _firsts(sequential)
    for name, seconds in _firsts(concurrent).items():
        firsts[name] = min(seconds, firsts.get(name, seconds))
    for span in sequential.summary.spans:
        seconds = span.end - span.start
        totals[span.stage] = totals.get(span.stage, 0.0) + seconds
        counts[span.stage] = counts.get(span.stage, 0) + 1
    path = sum(firsts.values())
    candidates: list[tuple[float, str, float]] = []
    for stage in pipeline.stages:
        if stage.name in totals:
            most = stage.workers if stage.runs_in == "loop" else min(stage.workers, os.cpu_count() or 1)
            work = totals[stage.name] / min(most, counts[stage.name])
            rest = path - firsts[stage.name]
            candidates.append((work + rest, f"stage {stage.name}", rest))
    calls = _calls(sequential)
    for name, seconds in _calls(concurrent).items():
        calls[name] = min(seconds, calls.get(name, seconds))
    for state in concurrent.limits:
        call = calls.get(state.name, 0.0)
        rest = max(0.0, path - call)
        if state.granted:
            candidates.append((_least(state, call) + rest, f"limit {state.name}", rest))
    return Ideal(*max(candidates, default=(0.0, "nothing", 0.0)))


def _firsts(run: Measured) -> dict[str, float]:
    """Seconds of each stage's first call."""
    firsts: dict[str, float] = {}
    for span in run.summary.spans:
        firsts.setdefault(span.stage, span.end - span.start)
    return firsts


def _calls(run: Measured) -> dict[str, float]:
    """Seconds that a call of each API takes on average."""
    return {state.name: state.held / state.granted for state in run.limits if state.granted}


def _least(state: LimitState, call: float) -> float:
    """Seconds that the granted calls take at the best: at the rate, and as many at a time as may be in flight."""
    allowed = state.effective
    by_rate = state.granted * (allowed.per or 1.0) / allowed.rate if allowed.rate is not None else 0.0
    by_concurrency = math.ceil(state.granted / allowed.concurrency) * call if allowed.concurrency is not None else 0.0
    return max(by_rate, by_concurrency)
