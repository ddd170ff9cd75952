"""Which files of a workspace its database names.

A file is named by a text that is its path below the workspace, `files/…`, as `StoredFile.path` gives it: a column of a
table, or a field of a record in the journal.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamflow.storage.tables import from_text

FOLDER = "files/"
_BY_HASH = re.compile(r"files/sha256/[0-9a-f]{2}/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A file that a row names, by its path below the workspace; and its hash, where that is known."""

    path: str
    sha256: str | None


def references(connection: sqlite3.Connection) -> Iterator[Reference]:
    """The files that rows of tables name, and records of items that have not ended well; once for each row.

    A hash is known from the path of a file that was taken in, and from a column `sha256` beside the only path of a row.
    """
    for table in record_tables(connection):
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        is_named = " OR ".join(f"\"{column}\" GLOB 'files/*'" for column in columns)
        for row in connection.execute(f'SELECT * FROM "{table}" WHERE {is_named}'):  # noqa: S608 - its own names
            yield from _in(dict(zip(columns, row, strict=True)))
    # What records of items that are done name, only a further attempt would read.
    rows = connection.execute(
        "SELECT record FROM streamflow_items WHERE state IN ('pending', 'dead') AND record LIKE '%\"files/%'"
    )
    for (record,) in rows:
        fields = json.loads(record)
        if isinstance(fields, dict):
            yield from _in(fields)


def _in(fields: dict[str, Any]) -> Iterator[Reference]:
    paths = [from_text(value) for value in fields.values() if isinstance(value, str) and value.startswith(FOLDER)]
    beside = fields.get("sha256") if len(paths) == 1 else None
    for path in paths:
        named = _BY_HASH.fullmatch(path)
        yield Reference(path, named[1] if named else beside if isinstance(beside, str) else None)


def record_tables(connection: sqlite3.Connection) -> list[str]:
    """The tables that were made from record types."""
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return [name for (name,) in rows if not name.startswith(("sqlite_", "streamflow_"))]
