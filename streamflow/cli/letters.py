"""Which dead letters a command means: the options of `dead list` and `retry`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.output import one_line

if TYPE_CHECKING:
    from streamflow.storage.selection import Selection

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """`30m`, `12h` or `7d` in seconds. Raises BadParameter."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text, re.ASCII)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time span: say 30m, 12h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


StageOption = Annotated[str | None, typer.Option("--stage", metavar="STAGE", help="Only those of this stage.")]
KeyOption = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only the item with this key.")]
ErrorOption = Annotated[
    str | None,
    typer.Option("--error", metavar="KIND", help="Only those whose reason begins with this error's type name."),
]
OlderOption = Annotated[
    float | None,
    typer.Option(
        "--older-than", metavar="SPAN", parser=seconds, help="Only those that failed longer ago: 30m, 12h, 7d."
    ),
]
NewerOption = Annotated[
    float | None,
    typer.Option("--newer-than", metavar="SPAN", parser=seconds, help="Only those that failed since: 30m, 12h, 7d."),
]


def selected(
    folder: Path, stage: str | None, key: str | None, error: str | None, older: float | None, newer: float | None
) -> Selection:
    """The dead letters of a workspace that fit these options. Raises WorkspaceError."""
    from streamflow.storage.selection import Selection
    from streamflow.storage.tables import to_text

    now = time.time()
    return Selection(
        None if stage is None else to_text(stage),
        () if key is None else _keys(folder, key),
        None if error is None else to_text(error),
        since=None if newer is None else now - newer,
        until=None if older is None else now - older,
    )


def _keys(folder: Path, key: str) -> tuple[str, ...]:
    """The keys that are meant, as the database holds them. One may have been copied from what we printed, with its
    control characters escaped."""
    from streamflow.storage.inspect import dead_letters
    from streamflow.storage.selection import Selection
    from streamflow.storage.tables import to_text

    exact = to_text(key)
    if dead_letters(folder, Selection(keys=(exact,)), limit=1):
        return (exact,)
    printed = {to_text(letter.key) for letter in dead_letters(folder) if one_line(letter.key) == key}
    return tuple(sorted(printed)) or (exact,)
