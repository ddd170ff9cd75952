"""Which workspace a command means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamflow.errors import UsageError
from streamflow.storage import DATABASE

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        help="The workspace: the folder with the database, the files and the log. The current folder where it is one.",
        show_default=False,
    ),
]
_MARKS = (DATABASE, "streamflow.toml")


def chosen(workspace: Path | None) -> Path:
    """The workspace that was named, else the current folder. Raises UsageError where that is none."""
    if workspace is not None:
        return workspace
    if any(Path(mark).exists() for mark in _MARKS):
        return Path()
    raise UsageError("Which workspace? Name one with -w DIR; it is made where it is missing.")
