"""`streamflow doctor`: whether a workspace is sound, and what to do where it is not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from streamflow.cli.output import give, give_json, one_line, table
from streamflow.cli.status import JsonOption
from streamflow.cli.workspaces import WorkspaceOption, chosen


def doctor(
    workspace: WorkspaceOption = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", min=0.0, help="At most so long for each of the longer checks.")
    ] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Check a workspace: rights, room, the database, the files that it names. Only reads. Exits with 1 if it is ill."""
    from streamflow.storage.doctor import examine

    folder = chosen(workspace)
    findings = list(examine(folder, seconds=seconds))
    is_ill = any(finding.verdict == "bad" for finding in findings)
    if as_json:
        give_json(
            {
                "workspace": str(folder.resolve()),
                "healthy": not is_ill,
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        give(
            table(["check", "", "found"], [[each.check, each.verdict, one_line(each.found, 200)] for each in findings])
        )
        for each in findings:
            if each.todo and each.verdict != "ok":
                give(f"{each.check}: {one_line(each.todo)}.")
    raise typer.Exit(int(is_ill))
