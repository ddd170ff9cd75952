"""What a run came to: what failed and how to try it again, and what held it up and what would move that."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamflow.engine.figures import StageFigures, Summary
from streamflow.limits.allowance import Allowance, LimitState
from streamflow.observe.words import duration
from streamflow.storage.inspect import DeadLetter

SHORTEST = 1.0
"""Seconds; of a shorter run nothing sound can be said about what held it up."""
_ENOUGH = 0.3
"""A stage whose workers are busy for a smaller share of the time holds nobody up."""
_HELD = 0.5
_NAMED = 5
HOLDING = "holding the loop"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The busiest stage (None: the sources), the share of its workers' time that it was busy, and what they were at."""

    stage: str | None
    busy: float
    at: str
    limit: LimitState | None = None
    workers: int = 0
    runs_in: str = "loop"


@dataclass(frozen=True, slots=True)
class Report:
    """All that is said at the end of a run. `pending` and `dead` are those of the workspace, earlier runs included;
    `letters` are the latest dead ones, and `retry` is the command that tries them again."""

    summary: Summary
    workspace: str
    code: int
    retry: str
    pending: Mapping[str, int] = field(default_factory=dict)
    dead: int = 0
    letters: Sequence[DeadLetter] = ()
    limits: Sequence[LimitState] = ()
    bottleneck: Bottleneck | None = None
    error: str | None = None


def bottleneck(summary: Summary, limits: Sequence[LimitState], places: Mapping[str, str]) -> Bottleneck | None:
    """What decided how long the run took, as seen by the watchdog's looks; None where that cannot be said.

    A stage that holds the loop for half of the time holds up all others. Else workers that have no input and workers
    that wait for room do not hold anybody up: the stage with the largest share of other looks does. `places` tells
    where each stage runs.
    """
    looked = {name: stage for name, stage in summary.stages.items() if stage.shares}
    if summary.seconds < SHORTEST or not looked:
        return None
    holder = max(looked, key=lambda name: _held(looked[name]))
    if (held := _held(looked[holder])) >= _HELD:
        return Bottleneck(holder, held, HOLDING, None, looked[holder].workers, places.get(holder, "loop"))
    busy = {name: _busy(stage) for name, stage in looked.items()}
    name = max(busy, key=lambda stage: sum(busy[stage].values()))
    share = sum(busy[name].values())
    if share < _ENOUGH:
        return Bottleneck(None, share, "input")
    at = max(busy[name], key=lambda what: busy[name][what])
    limit = next((limit for limit in limits if at in _waits_for(limit)), None)
    return Bottleneck(name, share, at, limit, summary.stages[name].workers, places.get(name, "loop"))


def advice(found: Bottleneck) -> str:
    """A few lines on the bottleneck and on what would move it."""
    if found.stage is None:
        return "The stages mostly waited for input: the source decides the pace, more workers would not help."
    if found.at == HOLDING:
        return (
            f"{found.stage} held everything up: its function blocked or computed for {found.busy:.0%} of the time,\n"
            "and nothing else could run meanwhile. More workers would not help; "
            'runs_in="thread" would where it waits,\nruns_in="process" where it computes.'
        )
    where = f"{found.stage} held the others up: its workers were busy {found.busy:.0%} of the time,\n"
    if found.limit is not None:
        name = found.limit.name
        if not found.at.startswith("limit"):
            what = "to answer again" if found.at.startswith("breaker") else "as long as it had asked to"
            return f"{where}mostly waiting for {name} {what}. More workers would not help."
        return (
            f"{where}mostly waiting for the limit of {name} ({_allowance(found.limit.effective)}).\n"
            f"More workers would not help. If {name} allows you more, say so in [services.{name}] of streamflow.toml."
        )
    if found.at.startswith("writer ("):
        return f"{where}mostly waiting until something could be saved: {found.at[8:-1]}."
    if found.at == "writer":
        return f'{where}mostly with saving. A faster disk would help, or synchronous = "NORMAL" in [storage].'
    if found.runs_in == "process":
        more = f"More of them help as long as there are idle cores: --workers {found.stage}={found.workers * 2}."
    else:
        more = f"More of them would help: --workers {found.stage}={found.workers * 2}."
    return f"{where}mostly working ({found.workers} workers). {more}"


def text(report: Report) -> str:
    """The report for people: plain text, not yet made harmless."""
    summary = report.summary
    lines = [_heading(report)]
    rows = [("", "done", "skipped", "failed", "tried again")] if _ended(summary) else []
    rows += [
        (name, f"{s.done:,}", f"{s.skipped:,}", f"{s.dead:,}", f"{s.retries:,}")
        for name, s in summary.stages.items()
        if rows
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells))
    if report.letters:
        lines += _failures(report)
    if report.bottleneck is not None:
        lines += ["", *advice(report.bottleneck).splitlines()]
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs."""
    summary, found = report.summary, report.bottleneck
    return {
        "pipeline": summary.pipeline,
        "workspace": report.workspace,
        "outcome": _OUTCOMES.get(report.code, "stopped"),
        "exit_code": report.code,
        "seconds": round(summary.seconds, 3),
        "stages": {
            name: {
                "pending": report.pending.get(name, 0),
                "done": stage.done,
                "skipped": stage.skipped,
                "dead": stage.dead,
                "retries": stage.retries,
            }
            for name, stage in summary.stages.items()
        },
        "dead_letters": report.dead,
        "failures": [
            {"stage": letter.stage, "key": letter.key, "attempts": letter.attempts, "error": letter.error}
            for letter in report.letters
        ],
        "calls": {limit.name: limit.granted for limit in report.limits},
        "bottleneck": None
        if found is None
        else {"stage": found.stage, "busy": round(found.busy, 3), "mostly": found.at, "advice": advice(found)},
        "retry": report.retry if report.dead else None,
        "error": report.error,
    }


_OUTCOMES = {
    0: "done",
    1: "failed",
    3: "finished with dead letters",
    4: "credentials refused",
    5: "service unavailable",
}


def _held(stage: StageFigures) -> float:
    """The share of all time for which a stage held the loop, which only one worker can at a time."""
    return stage.shares.get(HOLDING, 0.0) * stage.workers


def _waits_for(limit: LimitState) -> tuple[str, ...]:
    return f"limit {limit.name}", f"pause {limit.name}", f"breaker {limit.name}"


def _busy(stage: StageFigures) -> dict[str, float]:
    return {
        at: share for at, share in stage.shares.items() if at not in ("input", "loop") and not at.startswith("room")
    }


def _ended(summary: Summary) -> int:
    return sum(stage.done + stage.skipped + stage.dead for stage in summary.stages.values())


def _heading(report: Report) -> str:
    summary, pending = report.summary, sum(report.pending.values())
    took = duration(summary.seconds)
    left = f"; left to do: {pending:,}, the same command goes on with them" if pending else ""
    if report.error is not None:
        return f"{summary.pipeline} stopped after {took}: {report.error}{left}"
    if summary.stopped_by is not None:
        return f"{summary.pipeline} was stopped by {summary.stopped_by} after {took}{left}"
    if not _ended(summary):
        return f"{summary.pipeline} finished: there was nothing new to do ({took})"
    return f"{summary.pipeline} finished in {took}{left}"


def _failures(report: Report) -> list[str]:
    earlier = report.dead - report.summary.dead
    note = f", {earlier} of them in earlier runs" if earlier > 0 else ""
    if earlier == report.dead:
        note = " in earlier runs"
    lines = ["", f"{report.dead} item{'s' if report.dead > 1 else ''} failed for good{note}:"]
    for letter in report.letters[:_NAMED]:
        lines.append(f"  {letter.stage}  {_short(letter.name, 70)}  {_short(letter.error, 160)}")
    if report.dead > _NAMED:
        lines.append(f"  … all of them: streamflow dead list -w {shlex.quote(report.workspace)}")
    return [*lines, f"Try them again with: {report.retry}"]


def _short(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


def _allowance(allowed: Allowance) -> str:
    told = []
    if allowed.rate is not None:
        told.append(f"{allowed.rate:g} calls in {allowed.per or 1:g} s")
    told += map(str, allowed.windows)
    if allowed.concurrency is not None:
        told.append(f"{allowed.concurrency} at once")
    return ", ".join(told) or "paused"
