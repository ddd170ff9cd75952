"""Forgetting the records of items that ended well: what stays is what the journal keeps its promises by.

That is the key, the hash, the version and the epoch, which tell whether a record says something new; the end; and what
was emitted, by which records are retracted. An item that is pending or dead keeps its record: it will be worked on. A
record is JSON, so an empty text says that it was forgotten.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

STEP = 1_000
"""Items that are looked at, and perhaps forgotten, in one transaction: about ten milliseconds of the writer's time."""

OLD = "state IN ('done', 'skipped') AND record <> '' AND coalesce(ended, admitted) < ?"
"""A condition on an item: it ended well before that time, in seconds since the epoch, and has its record."""
LOOK = f"SELECT id, {OLD} FROM streamflow_items WHERE id > ? ORDER BY id LIMIT {STEP}"  # noqa: S608 - no values
"""The next items after an id, and whether each is old."""
_THESE = f"FROM streamflow_items WHERE id IN (SELECT value FROM json_each(?)) AND {OLD}"  # noqa: S608
_SUM = f"SELECT count(*), coalesce(sum(length(CAST(record AS BLOB))), 0) {_THESE}"


@dataclass(frozen=True, slots=True)
class Amount:
    """How many, and how many bytes in all."""

    count: int = 0
    bytes: int = 0

    def plus(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.bytes + other.bytes)


def forget(connection: sqlite3.Connection, ids: Sequence[int], before: float) -> Amount:
    """Forget the records of those of these items that are old still. Call it in a transaction.

    The rows are taken out and put back. A row that only shrinks leaves its page as large as it was, and no new row
    comes into the gap, since new ones have higher ids; pages that become empty are used again.
    """
    which = (json.dumps(ids), before)
    forgotten = Amount(*connection.execute(_SUM, which).fetchone())
    if forgotten.count:
        names = [row[1] for row in connection.execute("PRAGMA table_info(streamflow_items)")]
        kept = ", ".join("''" if name == "record" else name for name in names)
        rows = connection.execute(f"SELECT {kept} {_THESE}", which).fetchall()
        connection.execute(f"DELETE {_THESE}", which)
        places = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO streamflow_items ({', '.join(names)}) VALUES ({places})", rows)  # noqa: S608
    return forgotten
