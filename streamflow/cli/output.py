"""What commands say: data to stdout, everything else to stderr, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from streamflow.observe.words import printable


def one_line(text: str, width: int = 0) -> str:
    """Printable text on one line, cut to `width` characters where given."""
    flat = printable(" ".join(text.split()))
    return flat if not width or len(flat) <= width else f"{flat[: width - 1]}…"


def tell(text: str) -> None:
    """A message for the user, on stderr."""
    _write(sys.stderr, text)


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


def _write(stream: object, text: str) -> None:
    print("\n".join(map(printable, text.split("\n"))), file=stream, flush=True)  # type: ignore[call-overload]
