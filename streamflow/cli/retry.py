"""`streamflow retry`: make dead letters pending again and run their pipeline."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.dead import StageOption
from streamflow.cli.output import count, one_line, tell
from streamflow.cli.pipelines import find, find_by_own_name
from streamflow.cli.run import JsonOption, QuietOption
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from streamflow.engine.pipeline import Pipeline


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
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only the item with this key.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Try dead letters again: they become pending, then the pipeline runs without new input."""
    from streamflow.storage import inspect

    folder = chosen(workspace)
    letters = inspect.dead_letters(folder, stage=stage)
    if key is not None:
        letters = [letter for letter in letters if key in (letter.key, one_line(letter.key))]
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
    if stage is not None and stage not in known:
        there = f"The pipeline {found.name!r} has no stage {stage!r}; it has {', '.join(known)}."
        raise UsageError(" ".join(hints) or there)
    for hint in hints:
        tell(hint)
    letters = [letter for letter in letters if letter.stage in known]
    if not letters:
        wanted = " that fit" if stage is not None or key is not None or gone else ""
        tell(f"There are no dead letters{wanted}; nothing was done.")
        return

    from streamflow.cli.session import Options, run_in_workspace

    requeued: dict[str, int] = {}
    for letter_stage, letter_key in dict.fromkeys(
        (letter.stage, None if key is None else letter.key) for letter in letters
    ):
        for name, number in inspect.requeue(folder, stage=letter_stage, key=letter_key).items():
            requeued[name] = requeued.get(name, 0) + number
    if not quiet:
        tell(f"Trying again: {', '.join(f'{number} of {name}' for name, number in requeued.items())}.")
    raise typer.Exit(
        run_in_workspace(found, [], folder, Options(called=pipeline or found.name, quiet=quiet, as_json=as_json))
    )


def _pipeline(wanted: str | None, folder: Path) -> Pipeline:
    from streamflow.storage import inspect

    if wanted is not None:
        return find(wanted)
    name = inspect.overview(folder).pipeline
    found = find_by_own_name(name)
    if found is None:
        raise UsageError(
            f"{folder} belongs to the pipeline {name!r}, which is not installed. Say where it is: "
            "streamflow retry module:attribute or file.py:attribute."
        )
    return found
