"""`streamflow prune`: what a workspace no longer needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from streamflow.cli.letters import seconds
from streamflow.cli.output import count, give, give_json
from streamflow.cli.status import JsonOption
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.units import byte_count

_DEFAULT = 30 * 86_400.0


def prune(
    workspace: WorkspaceOption = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            metavar="SPAN",
            parser=seconds,
            help="What has not been needed for so long: 12h, 7d. As the setting retention.done says, else 30d.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what is old: records of items that ended well, files that nothing names, logs that were put aside.

    What the items have brought stays, and that they were done; so do dead letters and pending items.
    """
    from streamflow.settings import load_settings
    from streamflow.storage.prune import prune

    folder = chosen(workspace)
    if older_than is None:
        set_in_workspace = load_settings(folder).retention.done
        older_than = _DEFAULT if set_in_workspace is None else set_in_workspace
    done = prune(folder, older_than, dry_run=dry_run)
    before, after = done.database
    if as_json:
        give_json(
            {
                "workspace": str(folder.resolve()),
                "dry_run": dry_run,
                "older_than": older_than,
                **{name: asdict(getattr(done, name)) for name in ("records", "files", "logs")},
                "database": {"before": before, "after": after, "reusable": done.reusable},
            }
        )
        return
    give("To remove:" if dry_run else "Removed:")
    give(f"  the records of {count(done.records.count, 'item')}, {byte_count(done.records.bytes)}")
    give(f"  {count(done.files.count, 'file')}, {byte_count(done.files.bytes)}")
    give(f"  {count(done.logs.count, 'log')}, {byte_count(done.logs.bytes)}")
    free = f", of which {byte_count(done.reusable)} are free for what comes" if done.reusable else ""
    grown = byte_count(after) if dry_run or before == after else f"{byte_count(after)}, before {byte_count(before)}"
    give(f"The database has {grown}{free}.")
