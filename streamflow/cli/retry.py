"""`streamflow retry`: make dead letters pending again, and run their pipeline where no process does so already."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.dead import listed, none_of
from streamflow.cli.letters import ErrorOption, KeyOption, NewerOption, OlderOption, StageOption, selected
from streamflow.cli.output import count, give_json, one_line, tell
from streamflow.cli.pipelines import find, find_by_own_name
from streamflow.cli.run import JsonOption, QuietOption
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from streamflow.engine.pipeline import Pipeline
    from streamflow.storage.selection import Selection

_PATIENCE = 60.0
"""Seconds that a process may take to make dead letters pending: each thousand of them is a commit."""


def retry(
    pipeline: Annotated[
        str | None,
        typer.Argument(
            metavar="[PIPELINE]",
            help="Only for a pipeline that is not installed: module:attribute.",
            show_default=False,
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    stage: StageOption = None,
    key: KeyOption = None,
    error: ErrorOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be tried again.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Try dead letters again: in the process that works in the workspace, else by a run without new input."""
    folder = chosen(workspace)
    selection = selected(folder, stage, key, error, older_than, newer_than)
    if dry_run:
        found = listed(folder, selection, as_json=as_json)
        if found and not quiet:
            tell(f"{count(found, 'item')} would be tried again.")
    elif not _in_its_process(folder, selection, as_json=as_json, quiet=quiet):
        _in_a_run(pipeline, folder, selection, as_json=as_json, quiet=quiet)


def _in_its_process(folder: Path, selection: Selection, *, as_json: bool, quiet: bool) -> bool:
    """Have the process that works in the workspace try again; False where there is none to ask."""
    from streamflow.engine.control.client import ask
    from streamflow.engine.control.messages import Requeued, Retry

    answer = ask(folder, Retry(selection=selection), Requeued, timeout=_PATIENCE)
    if answer is None:
        return False
    if as_json:
        give_json({"workspace": str(folder.resolve()), "running": True, "requeued": answer.stages})
    if not answer.stages:
        tell(f"{none_of(selection)[:-1]}; nothing was done.")
    elif not quiet:
        tell(f"{_told(answer.stages)} The process that works in {folder} does so; `streamflow status` shows it.")
    return True


def _in_a_run(pipeline: str | None, folder: Path, selection: Selection, *, as_json: bool, quiet: bool) -> None:
    from streamflow.storage import inspect

    letters = inspect.dead_letters(folder, selection)
    found = _pipeline(pipeline, folder)
    known = [entry.name for entry in found.stages]
    # Made pending, those of a stage that is gone would keep every later run from starting.
    gone = Counter(letter.stage for letter in letters if letter.stage not in known)
    hints = [
        f"The pipeline {found.name!r} has no stage {name!r}, so its {count(number, 'dead letter')} stay as they are. "
        f"`streamflow journal move --dead --stage {shlex.quote(name)} --to STAGE` gives them to another stage, "
        "`streamflow journal drop --dead --stage …` drops them."
        for name, number in gone.items()
    ]
    if selection.stage is not None and selection.stage not in known:
        there = f"The pipeline {found.name!r} has no stage {selection.stage!r}; it has {', '.join(known)}."
        raise UsageError(" ".join(hints) or there)
    for hint in hints:
        tell(hint)
    if len(letters) == sum(gone.values()):
        none = "There are no dead letters that fit." if gone else none_of(selection)
        tell(f"{none[:-1]}; nothing was done.")
        return

    from streamflow.cli.session import Options, run_in_workspace

    # By the run itself, once nothing can refuse it any more.
    options = Options(called=pipeline or found.name, requeue=selection, quiet=quiet, as_json=as_json)
    raise typer.Exit(run_in_workspace(found, [], folder, options))


def _told(requeued: Mapping[str, int]) -> str:
    return f"Trying again: {', '.join(f'{number:,} of {one_line(name)}' for name, number in requeued.items())}."


def _pipeline(wanted: str | None, folder: Path) -> Pipeline:
    from streamflow.storage import inspect

    name = inspect.overview(folder).pipeline
    if wanted is not None:
        given = find(wanted)
        if given.name != name:
            raise UsageError(f"{folder} belongs to the pipeline {name!r}, not {given.name!r}; nothing was changed.")
        return given
    found = find_by_own_name(name)
    if found is None:
        raise UsageError(
            f"{folder} belongs to the pipeline {name!r}, which is not installed. Say where it is: "
            "streamflow retry module:attribute or file.py:attribute."
        )
    return found
