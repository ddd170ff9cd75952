"""`streamflow watch`: every new file of a folder, until a signal."""

from __future__ import annotations

from typing import Annotated

import typer

from streamflow.cli.pipelines import PipelineArgument, find
from streamflow.cli.run import JsonOption, QueueOption, QuietOption, WorkersOption, stage_settings
from streamflow.cli.workspaces import WorkspaceOption, chosen


def watch(
    pipeline: PipelineArgument,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder whose files are fed as they come.")],
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    queue_size: QueueOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a pipeline on every file that is or comes into a folder, until it is stopped (Ctrl-C or SIGTERM)."""
    found = find(pipeline)
    chosen_folder = chosen(workspace)
    overrides = stage_settings(found, workers or [], queue_size)

    from streamflow.cli.session import Options, run_in_workspace

    options = Options(called=pipeline, watching=True, quiet=quiet, as_json=as_json, overrides=overrides)
    raise typer.Exit(run_in_workspace(found, [folder], chosen_folder, options))
