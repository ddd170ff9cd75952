"""`streamflow export`: what a workspace holds, in a format of other programs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamflow.cli import at_signals, unwind
from streamflow.cli.output import tell
from streamflow.cli.pipelines import PipelineArgument, find
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import UsageError, WorkspaceError


def export(
    pipeline: PipelineArgument,
    format: Annotated[str, typer.Option("--format", "-f", metavar="FORMAT", help="The format.", show_default=False)],
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.", show_default="stdout")
    ] = None,
) -> None:
    """Write what a workspace holds in another format. Only reads, also while a run is on."""
    import asyncio

    from streamflow.storage import DATABASE, inspect
    from streamflow.storage.files import write_whole
    from streamflow.storage.reader import Reader
    from streamflow.storage.sqlite import SqliteStore

    found, folder = find(pipeline), chosen(workspace)
    if format not in found.exporters:
        there = ", ".join(found.exporters) or "none"
        raise UsageError(f"{found.name} cannot be exported as {format!r}; the formats are: {there}.")
    owner = inspect.overview(folder).pipeline
    if owner != found.name:
        raise UsageError(f"The workspace {folder} belongs to the pipeline {owner!r}, not {found.name!r}.")
    out = io.StringIO(newline="")
    asyncio.run(found.exporters[format](Reader(SqliteStore(folder / DATABASE)), out))
    data = out.getvalue().encode("utf-8", "replace")
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        if output.exists() and not output.is_file():
            output.write_bytes(data)  # a device or a pipe is written to, never replaced by a file
        else:
            at_signals(unwind)  # no temporary file is to be left behind
            write_whole(output.resolve(), data)
    except OSError as error:
        raise WorkspaceError(f"{output} cannot be written: {error.strerror}.") from error
    tell(f"Wrote {output}.")
