"""`streamflow dead`: items that failed for good, and why."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.letters import ErrorOption, KeyOption, NewerOption, OlderOption, StageOption, selected
from streamflow.cli.output import give, give_json, one_line, table, tell
from streamflow.cli.status import JsonOption
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from streamflow.storage.inspect import DeadLetter
    from streamflow.storage.selection import Selection

app = typer.Typer(help="Show the items that failed for good (dead letters).", no_args_is_help=True)


@app.command("list")
def list_(
    workspace: WorkspaceOption = None,
    stage: StageOption = None,
    key: KeyOption = None,
    error: ErrorOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the dead letters with their reasons, the latest first."""
    folder = chosen(workspace)
    _check_stage(folder, stage)
    listed(folder, selected(folder, stage, key, error, older_than, newer_than), as_json=as_json)


def listed(folder: Path, selection: Selection, *, as_json: bool) -> int:
    """Print dead letters; how many."""
    from streamflow.storage.inspect import dead_letters

    found = dead_letters(folder, selection)
    if as_json:
        give_json([_plain(letter) for letter in found])
    elif found:
        rows = [[one_line(letter.stage), one_line(letter.key), str(letter.attempts), _told(letter)] for letter in found]
        give(table(["stage", "key", "attempts", "reason"], rows, right=[2]))
    else:
        tell(none_of(selection))
    return len(found)


def none_of(selection: Selection) -> str:
    from streamflow.storage.selection import ALL

    return "There are no dead letters." if selection == ALL else "There are no dead letters that fit."


@app.command()
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The item's key, as `dead list` prints it.")],
    workspace: WorkspaceOption = None,
    stage: StageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of a dead letter: its record, its attempts, its whole error."""
    from streamflow.storage.inspect import dead_letters

    folder = chosen(workspace)
    _check_stage(folder, stage)
    found = dead_letters(folder, selected(folder, stage, key, None, None, None))
    if not found:
        elsewhere = sorted(
            {letter.stage for letter in dead_letters(folder, selected(folder, None, key, None, None, None))}
        )
        there = f" of the stage {stage!r}; there is one of {', '.join(map(one_line, elsewhere))}" if elsewhere else ""
        raise UsageError(
            f"There is no dead letter with the key {key!r}{there}. `streamflow dead list -w {folder}` lists them."
        )
    if as_json:
        give_json([_plain(letter) for letter in found])
        return
    for letter in found:
        give(f"stage     {one_line(letter.stage)}")
        give(f"key       {one_line(letter.key)}")
        give(f"attempts  {letter.attempts}")
        give(f"admitted  {_time(letter.admitted)}")
        give(f"ended     {_time(letter.ended)}")
        give(f"reason    {letter.error}")
        give(f"record    {json.dumps(_record(letter), indent=2, ensure_ascii=False)}")


def _check_stage(folder: Path, stage: str | None) -> None:
    """Refuse a stage that neither the last run's pipeline nor any item has."""
    from streamflow.storage import inspect

    known = list(inspect.overview(folder).stages)
    if stage is not None and stage not in known:
        raise UsageError(f"The workspace {folder} knows no stage {stage!r}; it knows {', '.join(known) or 'none yet'}.")


def _plain(letter: DeadLetter) -> dict[str, Any]:
    return {**asdict(letter), "record": _record(letter)}


def _told(letter: DeadLetter) -> str:
    name = "" if letter.name == letter.key else f"{one_line(letter.name.rpartition(' (')[0], 60)}: "
    return name + one_line(letter.error, 120)


def _record(letter: DeadLetter) -> Any:
    try:
        return json.loads(letter.record)
    except ValueError:
        return letter.record


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
