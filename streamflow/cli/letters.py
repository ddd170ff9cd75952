"""Which dead letters a command means: the options of `dead list` and `retry`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.output import one_line
from streamflow.units import span

if TYPE_CHECKING:
    from streamflow.storage.selection import Selection


def seconds(text: str) -> float:
    """`30m`, `12h` or `7d` in seconds. Raises BadParameter."""
    try:
        return span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


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
