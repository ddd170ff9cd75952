"""`streamflow status`: where a workspace's pipeline stands, also while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.output import count, give, give_json, one_line, table, tell
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import ControlError, UsageError

if TYPE_CHECKING:
    from streamflow.engine.control.messages import StageNow, Standing
    from streamflow.storage.inspect import Overview
    from streamflow.storage.store import Counts

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
_HEADINGS = ("stage", "pending", "done", "skipped", "dead", "last minute", "")
_LIVE_HEADINGS = ("stage", "pending", "active", "done", "skipped", "dead", "rate", "time goes to")


def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show how many items of each stage are pending, active, done, skipped and dead, and what it waits for."""
    from streamflow.storage import inspect
    from streamflow.storage.lock import holder

    folder = chosen(workspace)
    # The live figures first: an item that is active in them is pending or ended in those of the database, never new.
    now, held = _live(folder), holder(folder)
    if inspect.exists(folder) or (now is None and held is None):
        found = inspect.overview(folder)
    else:
        found = inspect.Overview("", {})  # a run that has just begun, or one without a journal
    if now is not None:
        found = _completed(found, now)
    if as_json:
        give_json(_as_json(folder, found, held, now))
    else:
        _show(folder, found, held, now)


def _live(folder: Path) -> Standing | None:
    """What the process that holds the workspace says of its run; None where there is none, or it does not say."""
    from streamflow.engine.control.client import ask
    from streamflow.engine.control.messages import Standing, Status

    try:
        return ask(folder, Status(), Standing)
    except (ControlError, UsageError) as error:
        tell(f"No live figures. {error}")
        return None


def _completed(found: Overview, now: Standing) -> Overview:
    """The overview with the stages that the database does not know yet."""
    from dataclasses import replace

    from streamflow.storage.store import Counts

    unknown = {
        name: Counts(stage.active + stage.queued + stage.parked, stage.done, stage.skipped, stage.dead)
        for name, stage in now.stages.items()
        if name not in found.stages
    }
    return replace(found, pipeline=found.pipeline or now.pipeline, stages={**found.stages, **unknown})


def _as_json(folder: Path, found: Overview, held: dict[str, object] | None, now: Standing | None) -> dict[str, Any]:
    from streamflow.observe import bottleneck as bottlenecks

    return {
        "pipeline": found.pipeline,
        "workspace": str(folder.resolve()),
        "running": held is not None or now is not None,
        "holder": held,
        "state": now.state if now is not None else None,
        "uptime": round(now.uptime, 3) if now is not None else None,
        "eta": round(now.eta, 3) if now is not None and now.eta is not None else None,
        "stages": {name: _stage_as_json(name, counts, found, now) for name, counts in found.stages.items()},
        "limits": now.limits if now is not None else [],
        "bottleneck": bottlenecks.as_json(now.bottleneck) if now is not None else None,
    }


def _stage_as_json(name: str, counts: Counts, found: Overview, now: Standing | None) -> dict[str, Any]:
    live = now.stages.get(name) if now is not None else None
    return {
        "pending": counts.pending,
        "active": live.active if live is not None else 0,
        "done": counts.done,
        "skipped": counts.skipped,
        "dead": counts.dead,
        "rate": round(live.rate if live is not None else found.rates.get(name, 0.0), 3),
        "waiting_for_retry": found.due.get(name, (0, 0.0))[0],
        "queued": live.queued if live is not None else 0,
        "workers": live.workers if live is not None else None,
        "paused": live is not None and live.paused,
        "shares": {what: round(share, 3) for what, share in live.shares.items()} if live is not None else {},
    }


def _show(folder: Path, found: Overview, held: dict[str, object] | None, now: Standing | None) -> None:
    give(f"{one_line(found.pipeline)} in {folder}")
    for line in _about_the_process(found, held, now):
        give(line)
    if now is not None:
        give("")
    headings = _HEADINGS if now is None else _LIVE_HEADINGS
    rows = [_row(name, counts, found, now) for name, counts in found.stages.items()]
    if rows:
        give(table(headings, rows, right=range(1, len(headings) - 1)))
    if now is not None and now.bottleneck is not None and now.eta != 0:
        give("")
        give(f"Bottleneck: {one_line(now.bottleneck.why)}.\n{one_line(now.bottleneck.advice)}")
    if now is not None and now.limits:
        from streamflow.cli.limits import told

        give("")
        give(told(now.limits))
    if found.dead:
        tell(f"`streamflow dead list -w {folder}` shows what failed, `streamflow retry -w {folder}` tries it again.")


def _about_the_process(found: Overview, held: dict[str, object] | None, now: Standing | None) -> list[str]:
    from streamflow.observe.words import duration

    left = f"{count(found.pending, 'pending item')}"
    if held is None and now is None:
        again = f" Left to do: {left}; run it again to go on." if found.pending else ""
        return [f"No run is on.{again}"]
    command = one_line(str((held or {}).get("command", "")), 100)
    if now is None:
        return [f"Process {(held or {}).get('pid', '?')} works in it since {(held or {}).get('since', '?')}: {command}"]
    lines = [f"Process {now.pid} has worked in it for {duration(now.uptime)}: {command}"]
    if now.state == "stopping":
        lines.append("It is stopping: what is active is finished, the rest stays pending.")
    elif now.eta == 0 and now.more:
        lines.append("It waits for input.")
    elif now.eta:
        lines.append(f"About {duration(max(1.0, now.eta))} to go{', or more' if now.more else ''}.")
    return lines


def _row(name: str, counts: Counts, found: Overview, now: Standing | None) -> list[str]:
    from streamflow.observe.words import pace

    live = now.stages.get(name) if now is not None else None
    rate = live.rate if live is not None else found.rates.get(name, 0.0)
    notes = [_time_goes_to(live)] if live is not None else []
    parked, first = found.due.get(name, (0, 0.0))
    if parked:
        notes.append(f"{parked:,} wait to be tried again, the first {_in(first - time.time())}")
    figures = [counts.pending, counts.done, counts.skipped, counts.dead]
    pending, done, skipped, dead = (f"{figure:,}" for figure in figures)
    active = [] if now is None else [f"{live.active} of {live.workers}" if live is not None else ""]
    return [one_line(name), pending, *active, done, skipped, dead, pace(rate), "; ".join(filter(None, notes))]


def _time_goes_to(live: StageNow) -> str:
    from streamflow.observe.words import parts

    return "paused" if live.paused else one_line(parts(live.shares))


def _in(seconds: float) -> str:
    return f"in {seconds:.0f} s" if seconds > 0 else "now"
