"""`streamflow journal`: what to do with items of a stage that the pipeline no longer has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.output import count, tell
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from streamflow.storage.store import State

app = typer.Typer(help="Move or drop the items of a stage that no longer exists.", no_args_is_help=True)
StageOption = Annotated[str, typer.Option("--stage", metavar="STAGE", help="The stage whose pending items are meant.")]
DeadOption = Annotated[bool, typer.Option("--dead", help="Its dead letters instead of its pending items.")]


@app.command()
def move(
    stage: StageOption,
    to: Annotated[
        str, typer.Option("--to", metavar="STAGE", help="The stage that gets them; it takes the same records.")
    ],
    pipeline: Annotated[
        str | None,
        typer.Argument(
            metavar="[PIPELINE]",
            help="Only for a pipeline that is not installed, to check the name: module:attribute.",
            show_default=False,
        ),
    ] = None,
    dead: DeadOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Give a stage's pending items to another stage, for instance after it was renamed."""
    from streamflow.storage import inspect

    folder = chosen(workspace)
    if stage == to:
        raise UsageError(f"{stage!r} is both the old and the new stage.")
    state, what = _meant(dead)
    _check_has(folder, stage, state)
    _check_target(folder, pipeline, to)
    done = inspect.move(folder, stage, to, state)
    tell(f"{count(done.moved, what)} of {stage} belong to {to} now.")
    if done.known:
        tell(f"{done.known} were dropped, because {to} already has items of the same keys.")


@app.command()
def drop(stage: StageOption, dead: DeadOption = False, workspace: WorkspaceOption = None) -> None:
    """Drop a stage's pending items. What they emitted and their rows stay."""
    from streamflow.storage import inspect

    folder = chosen(workspace)
    state, what = _meant(dead)
    _check_has(folder, stage, state)
    tell(f"Dropped {count(inspect.drop(folder, stage, state), what)} of {stage}.")


def _meant(dead: bool) -> tuple[State, str]:
    from streamflow.storage.store import State

    return (State.DEAD, "dead letter") if dead else (State.PENDING, "pending item")


def _check_has(folder: Path, stage: str, state: State) -> None:
    from streamflow.storage import inspect

    what = f"{_meant(state == 'dead')[1]}s"
    having = [name for name, counts in inspect.overview(folder).stages.items() if getattr(counts, state)]
    if stage not in having:
        nothing = "Nothing is pending." if state == "pending" else "There are no dead letters."
        there = f"Stages with {what}: {', '.join(having)}." if having else nothing
        raise UsageError(f"The stage {stage!r} has no {what} in {folder}. {there}")


def _check_target(folder: Path, wanted: str | None, to: str) -> None:
    """Refuse a name that the pipeline does not have; where the pipeline cannot be found, say that nobody checked."""
    from streamflow.cli.pipelines import find, find_by_own_name
    from streamflow.storage import inspect

    journal = inspect.overview(folder)
    pipeline = find_by_own_name(journal.pipeline) if wanted is None else find(wanted)
    if pipeline is None:
        tell(
            f"Warning: {journal.pipeline!r} is not installed, so nobody checks that it has a stage {to!r}. "
            "To have it checked name the pipeline, as module:attribute or file.py:attribute."
        )
        return
    if pipeline.name != journal.pipeline:
        raise UsageError(f"{folder} belongs to the pipeline {journal.pipeline!r}, not to {pipeline.name!r}.")
    known = [stage.name for stage in pipeline.stages]
    if to not in known:
        raise UsageError(f"The pipeline {pipeline.name!r} has no stage {to!r}; it has {', '.join(known)}.")
