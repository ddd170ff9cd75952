"""What a run came to: what failed and how to try it again, and what held it up and what would move that."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamflow.engine.figures import Summary
from streamflow.limits.allowance import LimitState
from streamflow.observe import bottleneck as bottlenecks
from streamflow.observe.bottleneck import Bottleneck, Seen, processors, use
from streamflow.observe.words import duration, parts
from streamflow.storage.inspect import DeadLetter

_NAMED = 5


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


def whole(summary: Summary, limits: Sequence[LimitState]) -> Seen:
    """What was seen of a run from its beginning to its end."""
    seconds = max(summary.seconds, 0.001)
    return Seen(
        seconds=seconds,
        stages=summary.stages,
        rates={name: (stage.done + stage.skipped + stage.dead) / seconds for name, stage in summary.stages.items()},
        feeding=summary.fed / seconds,
        uses=[use(limit, seconds) for limit in limits],
        busy_processors=summary.processor / seconds,
        processors=processors(),
    )


def text(report: Report) -> str:
    """The report for people: plain text, not yet made harmless."""
    summary = report.summary
    lines = [_heading(report)]
    if _ended(summary):
        lines += _stages(summary, timed=report.bottleneck is not None)
    if report.letters:
        lines += _failures(report)
    if report.bottleneck is not None:
        lines += ["", f"Bottleneck: {report.bottleneck.why}.", report.bottleneck.advice]
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs."""
    summary = report.summary
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
                "shares": {what: round(share, 3) for what, share in stage.shares.items()},
            }
            for name, stage in summary.stages.items()
        },
        "dead_letters": report.dead,
        "failures": [
            {"stage": letter.stage, "key": letter.key, "attempts": letter.attempts, "error": letter.error}
            for letter in report.letters
        ],
        "calls": {limit.name: limit.granted for limit in report.limits},
        "bottleneck": bottlenecks.as_json(report.bottleneck),
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


def _stages(summary: Summary, *, timed: bool) -> Iterator[str]:
    rows = [["", "done", "skipped", "failed", "tried again", "time went to" if timed else ""]]
    for name, stage in summary.stages.items():
        counts = [f"{count:,}" for count in (stage.done, stage.skipped, stage.dead, stage.retries)]
        rows.append([name, *counts, parts(stage.shares) if timed else ""])
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for name, *counts, went_to in rows:
        cells = [name.ljust(widths[0]), *(count.rjust(width) for count, width in zip(counts, widths[1:], strict=True))]
        yield "  ".join(["", *cells, went_to]).rstrip()


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
