"""Which item emitted which records, so that a record that nothing emits any more can be retracted.

An item's row lists what it emitted (`emitted`); a streaming item, which commits before it ends, has that list in
`streamflow_streamed`, one row a record. The other direction is kept only where it says something: the first parent of
a record is written nowhere, every further one in `streamflow_parents`. So a parent that lets go of a record is either
one of the further ones, or it was the first, and then one of the further ones takes its place; without any the record
is an orphan. What a source brings has the source, 0, as a parent, which never lets go.

The end of an item replaces its list and notes the orphans in its own transaction. They are retracted when the run is
quiet, in steps: the list of orphans outlives a crash, and a record that is emitted again meanwhile has a parent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from streamflow.errors import RecordError
from streamflow.storage.tables import Table

SOURCE = 0
"""The parent of what sources bring. No item has this id."""
STEP = 256
"""Orphans that one transaction retracts."""

_PAST = "SELECT coalesce(first, id), emitted FROM streamflow_items WHERE id = ?"
_ADD = "INSERT OR IGNORE INTO streamflow_parents (record, key, parent) VALUES (?, ?, ?)"
_FURTHER = "SELECT parent FROM streamflow_parents WHERE record = ? AND key = ? LIMIT 1"
_REMOVE = "DELETE FROM streamflow_parents WHERE record = ? AND key = ? AND parent = ?"
_ORPHAN = "INSERT OR IGNORE INTO streamflow_orphans (record, key) VALUES (?, ?)"
_ORPHANS = "SELECT record, key FROM streamflow_orphans WHERE (record, key) > (?, ?) ORDER BY record, key LIMIT ?"
_SETTLED = "DELETE FROM streamflow_orphans WHERE record = ? AND key = ?"
_STREAM = (
    "INSERT INTO streamflow_streamed (item, record, key, run) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET run = excluded.run"
)
_RUN_OF = "SELECT run FROM streamflow_streamed WHERE item = ? AND record = ? AND key = ?"
_STREAMED = (
    "SELECT record, key FROM streamflow_streamed WHERE item = ? AND run <> ? AND (record, key) > (?, ?) "
    "ORDER BY record, key LIMIT ?"
)
_STREAMS = "SELECT 1 FROM streamflow_streamed WHERE item = ? LIMIT 1"
_FORGET = "DELETE FROM streamflow_streamed WHERE item = ? AND record = ? AND key = ?"
_ITEM = "SELECT id, state FROM streamflow_items WHERE stage = ? AND key = ?"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, list[str]]).decode


Emitted = tuple[str, str]
"""A record as its parents name it: its type's name, and its key as the journal holds it."""


class Past(NamedTuple):
    """What an item emitted before: `item` is the id of its first admission, `listed` the list in its row."""

    item: int
    listed: Collection[Emitted]


def listed(emitted: Iterable[Emitted]) -> str | None:
    """A list of emitted records as an item's row holds it; None for none."""
    by_type: dict[str, list[str]] = {}
    for record, key in emitted:
        by_type.setdefault(record, []).append(key)
    return _encode(by_type).decode() if by_type else None


def listed_alone(record: str, key: str) -> str:
    """The list of one record, by far the commonest. A type's name is an identifier: JSON holds it as it is."""
    quoted = f'"{key}"' if key.isalnum() else _encode(key).decode()
    return f'{{"{record}":[{quoted}]}}'


def read_list(text: str | None) -> set[Emitted]:
    """The inverse of `listed`. The text is empty where the records are in `streamflow_streamed`."""
    by_type = _decode(text) if text else {}
    return {(record, key) for record, keys in by_type.items() for key in keys}


@dataclass(frozen=True, slots=True)
class Parents:
    """See the module's text. All methods run inside a transaction of the writer.

    `tables` and `takers` are what a record of a type, by its name, may have become: a row, and items of stages, also
    of those that were removed. Only `carried` types are the pipeline's now: records of others stay as they are.
    """

    tables: Mapping[str, Table]
    takers: Mapping[str, Collection[str]]
    carried: Collection[str]

    def past(self, connection: sqlite3.Connection, item: int) -> Past:
        """What an item emitted before its present run, which must not have replaced it yet."""
        first, emitted = connection.execute(_PAST, (item,)).fetchone()
        return Past(first, read_list(emitted))

    def add(self, connection: sqlite3.Connection, past: Past, emitted: Emitted) -> None:
        """A record that was there already has one more parent, unless that emitted it before."""
        if emitted in past.listed or connection.execute(_RUN_OF, (past.item, *emitted)).fetchone():
            return
        connection.execute(_ADD, (*emitted, past.item))

    def add_source(self, connection: sqlite3.Connection, emitted: Emitted) -> None:
        """A source has brought a record that was there already."""
        connection.execute(_ADD, (*emitted, SOURCE))

    def stream(self, connection: sqlite3.Connection, item: int, past: Past, emitted: Iterable[Emitted]) -> None:
        """A streaming item, which is not at its end, has emitted these."""
        connection.executemany(_STREAM, [(past.item, *each, item) for each in emitted])

    def replace(
        self, connection: sqlite3.Connection, item: int, past: Past, emitted: Collection[Emitted]
    ) -> str | None:
        """The end of an item that emitted something before: let go of what it emits no more; its list from now on."""
        kept = list(emitted)
        for each in past.listed:
            if each in emitted:
                continue
            if each[0] not in self.carried:
                kept.append(each)
            elif connection.execute(_RUN_OF, (past.item, *each)).fetchone() != (item,):
                self._let_go(connection, past.item, each)
        for each in self._streamed(connection, past.item, item):
            if each[0] in self.carried:
                connection.execute(_FORGET, (past.item, *each))
                if each not in emitted:
                    self._let_go(connection, past.item, each)
        streams = connection.execute(_STREAMS, (past.item,)).fetchone()
        return listed(kept) or ("" if streams else None)

    def retract(self, connection: sqlite3.Connection, after: Emitted) -> tuple[int, Emitted | None]:
        """Retract the next orphans after that one: how many, and the last one looked at, None at the end.

        An orphan that an item is pending for waits until that has ended, one of a type that is no longer the
        pipeline's until it is again.
        """
        page = connection.execute(_ORPHANS, (*after, STEP)).fetchall()
        count = 0
        for orphan in page:
            further = connection.execute(_FURTHER, orphan).fetchone()
            if further is not None:
                connection.execute(_REMOVE, (*orphan, *further))  # it is the first now
            elif orphan[0] not in self.carried or self._is_pending(connection, orphan):
                continue
            else:
                self._retract(connection, orphan)
                count += 1
            connection.execute(_SETTLED, orphan)
        return count, page[-1] if len(page) == STEP else None

    def _retract(self, connection: sqlite3.Connection, orphan: Emitted) -> None:
        for stage in self.takers.get(orphan[0], ()):
            for item, _ in connection.execute(_ITEM, (stage, orphan[1])).fetchall():
                past = self.past(connection, item)
                for each in past.listed:
                    self._let_go(connection, past.item, each)
                for each in self._streamed(connection, past.item, 0):
                    connection.execute(_FORGET, (past.item, *each))
                    self._let_go(connection, past.item, each)
                connection.execute("DELETE FROM streamflow_items WHERE id = ?", (item,))
        table = self.tables.get(orphan[0])
        if table is not None:
            with suppress(RecordError):  # the type had another key then, and the table with it
                connection.execute(table.delete, table.key_from_text(orphan[1]))

    def _is_pending(self, connection: sqlite3.Connection, orphan: Emitted) -> bool:
        found = [connection.execute(_ITEM, (stage, orphan[1])).fetchone() for stage in self.takers.get(orphan[0], ())]
        return any(row is not None and row[1] == "pending" for row in found)

    def _let_go(self, connection: sqlite3.Connection, parent: int, emitted: Emitted) -> None:
        if connection.execute(_REMOVE, (*emitted, parent)).rowcount:
            return
        further = connection.execute(_FURTHER, emitted).fetchone()
        if further is not None:
            connection.execute(_REMOVE, (*emitted, *further))  # it is the first now
        else:
            connection.execute(_ORPHAN, emitted)

    def _streamed(self, connection: sqlite3.Connection, parent: int, run: int) -> Iterator[Emitted]:
        """What a streaming item emitted in other runs than that, page by page: it may be much."""
        after: Emitted = ("", "")
        while page := connection.execute(_STREAMED, (parent, run, *after, STEP)).fetchall():
            yield from page
            after = page[-1]
