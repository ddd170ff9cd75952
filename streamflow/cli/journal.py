"""`streamflow journal`: what to do with pending items of a stage that the pipeline no longer has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamflow.cli.output import count, tell
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import UsageError

app = typer.Typer(help="Move or drop the pending items of a stage that no longer exists.", no_args_is_help=True)
StageOption = Annotated[str, typer.Option("--stage", metavar="STAGE", help="The stage whose pending items are meant.")]


@app.command()
def move(
    stage: StageOption,
    to: Annotated[
        str, typer.Option("--to", metavar="STAGE", help="The stage that gets them; it takes the same records.")
    ],
    workspace: WorkspaceOption = None,
) -> None:
    """Give a stage's pending items to another stage, for instance after it was renamed."""
    from streamflow.storage import inspect

    folder = chosen(workspace)
    if stage == to:
        raise UsageError(f"{stage!r} is both the old and the new stage.")
    _check_pending(folder, stage)
    _check_target(folder, to)
    done = inspect.move_pending(folder, stage, to)
    tell(f"{count(done.moved, 'pending item')} of {stage} belong to {to} now.")
    if done.known:
        tell(f"{done.known} were dropped, because {to} already has items of the same keys.")


@app.command()
def drop(stage: StageOption, workspace: WorkspaceOption = None) -> None:
    """Drop a stage's pending items. What they emitted and their rows stay."""
    from streamflow.storage import inspect

    folder = chosen(workspace)
    _check_pending(folder, stage)
    tell(f"Dropped {count(inspect.drop_pending(folder, stage), 'pending item')} of {stage}.")


def _check_pending(folder: Path, stage: str) -> None:
    from streamflow.storage import inspect

    with_pending = [name for name, counts in inspect.overview(folder).stages.items() if counts.pending]
    if stage not in with_pending:
        there = f"Stages with pending items: {', '.join(with_pending)}." if with_pending else "Nothing is pending."
        raise UsageError(f"The stage {stage!r} has no pending items in {folder}. {there}")


def _check_target(folder: Path, to: str) -> None:
    """Refuse a name that the pipeline does not have, as far as the pipeline can be found."""
    from streamflow.cli.pipelines import find_by_own_name
    from streamflow.storage import inspect

    found = inspect.overview(folder)
    pipeline = find_by_own_name(found.pipeline)
    known = [stage.name for stage in pipeline.stages] if pipeline is not None else []
    if known and to not in known:
        raise UsageError(f"The pipeline {found.pipeline!r} has no stage {to!r}; it has {', '.join(known)}.")
