"""`streamflow status`: where a workspace's pipeline stands, also while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.output import count, give, give_json, one_line, table, tell
from streamflow.cli.workspaces import WorkspaceOption, chosen

if TYPE_CHECKING:
    from streamflow.storage.inspect import Overview

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show how many items of each stage are pending, done, skipped and dead. Only reads."""
    from streamflow.storage import inspect
    from streamflow.storage.lock import holder

    folder = chosen(workspace)
    if not inspect.exists(folder) and (held := holder(folder)) is not None:
        found: Overview = inspect.Overview("", {})
    else:
        found, held = inspect.overview(folder), holder(folder)
    if as_json:
        give_json(_as_json(folder, found, held))
    else:
        _show(folder, found, held)


def _as_json(folder: Path, found: Overview, held: dict[str, object] | None) -> dict[str, Any]:
    stages = {
        name: {
            "pending": counts.pending,
            "active": 0,
            "done": counts.done,
            "skipped": counts.skipped,
            "dead": counts.dead,
            "rate": round(found.rates.get(name, 0.0), 3),
            "waiting_for_retry": found.due.get(name, (0, 0.0))[0],
        }
        for name, counts in found.stages.items()
    }
    return {
        "pipeline": found.pipeline,
        "workspace": str(folder.resolve()),
        "running": held is not None,
        "holder": held,
        "stages": stages,
    }


def _show(folder: Path, found: Overview, held: dict[str, object] | None) -> None:
    give(f"{one_line(found.pipeline)} in {folder}")
    if held is None:
        give(
            "No run is on."
            + (f" Left to do: {count(found.pending, 'pending item')}; run it again to go on." if found.pending else "")
        )
    else:
        since = held.get("since", "?")
        give(f"Process {held.get('pid', '?')} works in it since {since}: {one_line(str(held.get('command', '')), 100)}")
    rows = []
    for name, counts in found.stages.items():
        waits, first = found.due.get(name, (0, 0.0))
        note = f"{waits} wait to be tried again, the first {_in(first - time.time())}" if waits else ""
        numbers = (counts.pending, counts.done, counts.skipped, counts.dead)
        rows.append([one_line(name), *map(str, numbers), f"{found.rates.get(name, 0.0):.1f}/s", note])
    give(table(["stage", "pending", "done", "skipped", "dead", "last minute", ""], rows, right=range(1, 6)))
    if found.dead:
        tell(f"`streamflow dead list -w {folder}` shows what failed, `streamflow retry -w {folder}` tries it again.")


def _in(seconds: float) -> str:
    return f"in {seconds:.0f} s" if seconds > 0 else "now"
