"""`streamflow run`: feed the inputs, drain, finalize, summarize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.pipelines import PipelineArgument, find
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from streamflow.engine.pipeline import Pipeline

WorkersOption = Annotated[
    list[str] | None,
    typer.Option("--workers", metavar="STAGE=N", help="Workers of a stage. May be repeated.", show_default=False),
]
QueueOption = Annotated[
    int | None,
    typer.Option(
        "--queue-size", metavar="N", min=1, help="Items that may wait in front of each stage.", show_default=False
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary, only errors.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a summary as JSON on stdout.")]


def run(
    pipeline: PipelineArgument,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUT]...", help="Files and folders to feed.", show_default=False)
    ] = None,
    workspace: WorkspaceOption = None,
    sequential: Annotated[bool, typer.Option("--sequential", help="One item at a time, depth first.")] = False,
    workers: WorkersOption = None,
    queue_size: QueueOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=0, help="Take at most N records of each source.", show_default=False),
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Work again on what is done already.")] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Work again on what another version of its stage worked on.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a pipeline on files and folders until all is done. Killed or stopped, it goes on where it was."""
    found = find(pipeline)
    folder = chosen(workspace)
    overrides = stage_settings(found, workers or [], queue_size)

    from streamflow.cli.session import Options, run_in_workspace

    options = Options(
        called=pipeline,
        sequential=sequential,
        refresh=refresh,
        stale=stale,
        limit=limit,
        quiet=quiet,
        as_json=as_json,
        overrides=overrides,
    )
    raise typer.Exit(run_in_workspace(found, inputs or [], folder, options))


def stage_settings(pipeline: Pipeline, workers: list[str], queue_size: int | None) -> dict[str, Any]:
    """Settings from `--workers` and `--queue-size`. Raises UsageError for what is not STAGE=N."""
    names = [stage.name for stage in pipeline.stages]
    stages: dict[str, dict[str, Any]] = {name: {"capacity": queue_size} for name in names} if queue_size else {}
    for given in workers:
        name, equals, number = given.partition("=")
        if not equals or not number.isdecimal() or not int(number):
            raise UsageError(
                f"--workers {given!r} is not STAGE=N with N at least 1, for instance --workers {names[0]}=4."
            )
        stages.setdefault(name, {})["workers"] = int(number)
    return {"stages": stages} if stages else {}
