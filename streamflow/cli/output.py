"""What commands say: data to stdout, everything else to stderr, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from streamflow.observe.words import printable


def one_line(text: str, width: int = 0) -> str:
    """Printable text on one line, cut to `width` characters where given."""
    flat = printable(" ".join(text.split()))
    return flat if not width or len(flat) <= width else f"{flat[: width - 1]}…"


def tell(text: str) -> None:
    """A message for the user, on stderr. That nobody can be told ends nothing: it is dropped then."""
    try:
        _write(sys.stderr, text)
    except OSError:
        silence(sys.stderr)


def give(text: str) -> None:
    """Data, on stdout."""
    _write(sys.stdout, text)


def give_json(value: object) -> None:
    """Data for programs; ASCII only, so that it survives any terminal and any encoding."""
    print(json.dumps(value, indent=2), flush=True)


def count(number: int, what: str) -> str:
    """`1 item`, `2 items`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns in plain text; those numbered in `right` are aligned to the right."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    told = []
    for line in lines:
        cells = [c.rjust(w) if n in right else c.ljust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True))]
        told.append("  ".join(cells).rstrip())
    return "\n".join(told)


def open_missing_streams() -> None:
    """Open the null device in the place of standard streams that are closed, as cron jobs and daemons have them.

    Else the next files that are opened would get their numbers, and with them what programs print.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - stays open


def silence(stream: TextIO) -> None:
    """Send what a stream still holds nowhere, so that the interpreter does not fail when it flushes at its end."""
    lead_nowhere(stream.fileno())


def lead_nowhere(descriptor: int) -> None:
    """Open the null device in the place of a descriptor."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _write(stream: TextIO, text: str) -> None:
    print("\n".join(map(printable, text.split("\n"))), file=stream, flush=True)
