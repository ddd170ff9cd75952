"""What completions do to the journal and the tables: encoded on the loop, applied in a transaction of the writer.

The ends of items come first, then the rows, the children, and who emitted what (`parents`).
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from streamflow.errors import RecordError
from streamflow.record import RecordType, encoded_identity, record_type
from streamflow.storage.parents import Emitted, Parents, Past, listed, listed_alone
from streamflow.storage.stamps import Stamps
from streamflow.storage.store import Completion, Difference, Item, State
from streamflow.storage.tables import Table, key_text, to_text

# A child is admitted when its key is new, or when a later epoch brings another content or another stage version.
# An admitted row takes the new id in either case: one look at the ids above the group's first tells what was new.
# `first` keeps the id of the first admission, by which what the item emitted is known.
_ADMIT = """
INSERT INTO streamflow_items (id, stage, key, record, hash, version, epoch, state, attempts, admitted)
VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?)
ON CONFLICT (stage, key) DO UPDATE SET
    id = excluded.id, first = coalesce(streamflow_items.first, streamflow_items.id), record = excluded.record,
    hash = excluded.hash, version = excluded.version,
    epoch = excluded.epoch, state = 'pending', attempts = 0, admitted = excluded.admitted,
    started = NULL, ended = NULL, due = NULL, error = NULL
WHERE streamflow_items.epoch < excluded.epoch AND streamflow_items.state <> 'pending'
    AND ({refresh} OR streamflow_items.hash <> excluded.hash OR streamflow_items.version <> excluded.version)
"""
_SETTLE = "UPDATE streamflow_items SET state = ?, attempts = ?, started = ?, ended = ?, due = ?, error = ?"
# An end writes what was emitted. Where something was before, it changes nothing, and the count of changes tells.
_END = f"{_SETTLE}, emitted = ? WHERE id = ? AND emitted IS NULL"
_END_AGAIN = f"{_SETTLE}, emitted = ? WHERE id = ?"
_STAY = f"{_SETTLE} WHERE id = ?"
_STREAM = f"{_SETTLE}, emitted = coalesce(emitted, '') WHERE id = ?"
_ENDED_ALREADY = "SELECT 1 FROM streamflow_items WHERE id = ? AND state <> 'pending'"
_ADMITTED = "SELECT id, first FROM streamflow_items WHERE id >= ?"
_ADMITTED_AGAIN = "SELECT 1 FROM streamflow_items WHERE id >= ? AND first IS NOT NULL LIMIT 1"
_OTHER_CONTENT = "SELECT record, epoch FROM streamflow_items WHERE stage = ? AND key = ? AND hash <> ?"
MAX_ERROR = 4000
"""Characters of an error kept in the journal."""
MERGING = "merging"
"""Names in `streamflow_meta` which fields the hashes of records leave out: a JSON list of lists, one for each of the
ways that there ever were."""

_Child = tuple[Item, tuple[Any, ...]]  # its values as the journal holds them, the stage and the key first
_Row = tuple[Table, Any, tuple[Any, ...]]  # a record, and its values as its table holds them


@dataclass(slots=True, eq=False)
class Entry:
    """One completion, encoded, and its waiter. `item` is 0 for a source; `settle` goes to the statement `how`;
    `at_odds` is the completion's."""

    done: asyncio.Future[list[Item]]
    children: list[_Child]
    rows: list[_Row]
    item: int = 0
    how: str = ""
    settle: tuple[Any, ...] = ()
    at_odds: list[Any] | None = None


@dataclass(slots=True)
class Epoch:
    """The run that admits: its number, and whether every key is admitted anew."""

    number: int
    started: str
    refresh: bool = False


@dataclass
class Journal:
    """The items and tables of one database, as the plan has them. `next_id` is the first id that was never given.

    `produced` names the record types that stages emit: of those it matters what a source has brought too. Entries are
    made on the loop; all else happens on the connection's thread, one transaction after the other, so it needs no
    lock.
    """

    stages: Mapping[str, tuple[RecordType, int]]
    tables: Mapping[str, Table]
    parents: Parents
    produced: Collection[str]
    epoch: Epoch
    stamps: Stamps
    next_id: int
    _table_of: dict[type[Any], Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = {stage: kind.name for stage, (kind, _) in self.stages.items()}

    def entry(self, completion: Completion, done: asyncio.Future[list[Item]]) -> Entry:
        """Encode a completion. Raises RecordError and others for a record that cannot be."""
        entry = Entry(
            done,
            self._admissions(completion.children) if completion.children else [],
            [self._row(row) for row in completion.rows] if completion.rows else [],
            at_odds=completion.at_odds,
        )
        if completion.item is not None:
            self._settlement(entry, completion.item, completion)
        return entry

    def apply(
        self, connection: sqlite3.Connection, group: Sequence[Entry], differences: list[Difference]
    ) -> list[list[Item] | Exception]:
        """Apply a group inside a transaction: the new children of each. What differs without a rule is appended."""
        again = self._settle(connection, group)
        known: list[tuple[Entry, Emitted]] = []
        stamp = self.stamps.next(connection)
        for table, rows in _by_table(group).items():
            known += self._upsert(connection, table, rows, stamp, differences)
        outcomes, known_children = self._admit(connection, group, differences)
        if known or known_children:
            self._add_parents(connection, dict.fromkeys([*known, *known_children]), again)
        for entry in group:
            if entry.how is _STREAM:
                self.parents.stream(
                    connection, entry.item, self.parents.past(connection, entry.item), self._emitted(entry)
                )
        for entry, past in again.items():
            emitted = self.parents.replace(connection, entry.item, past, self._emitted(entry))
            connection.execute(_END_AGAIN, (*entry.settle[:-2], emitted, entry.item))
        return outcomes

    def _settle(self, connection: sqlite3.Connection, group: Sequence[Entry]) -> dict[Entry, Past]:
        """Note the items' ends, apart from those that emitted something before, which are returned."""
        ends = [entry for entry in group if entry.how is _END]
        before = connection.total_changes
        if ends:
            connection.executemany(_END, [entry.settle for entry in ends])
        all_were_first = connection.total_changes - before == len(ends)
        if len(ends) < len(group):
            for how in (_STAY, _STREAM):
                connection.executemany(how, [entry.settle for entry in group if entry.how is how])
        if all_were_first:
            return {}
        return {
            entry: self.parents.past(connection, entry.item)
            for entry in ends
            if not connection.execute(_ENDED_ALREADY, (entry.item,)).fetchone()
        }

    def _admit(
        self, connection: sqlite3.Connection, group: Sequence[Entry], differences: list[Difference]
    ) -> tuple[list[list[Item] | Exception], list[tuple[Entry, Emitted]]]:
        """The new children of each completion, and the records that had been admitted before."""
        first = self.next_id
        admissions: list[tuple[Any, ...]] = []
        for entry in group:
            for child, values in entry.children:
                child.id = first + len(admissions)
                admissions.append((child.id, *values))
        if not admissions:
            return [[] for _ in group], []
        self.next_id += len(admissions)
        before = connection.total_changes
        connection.executemany(_ADMIT.format(refresh=int(self.epoch.refresh)), admissions)
        all_are_fresh = connection.total_changes - before == len(admissions)
        if all_are_fresh and (self.epoch.number == 1 or not connection.execute(_ADMITTED_AGAIN, (first,)).fetchone()):
            return [[child for child, _ in entry.children] for entry in group], []
        found = dict(connection.execute(_ADMITTED, (first,)).fetchall())
        outcomes: list[list[Item] | Exception] = []
        known: list[tuple[Entry, Emitted]] = []
        for entry in group:
            outcomes.append([child for child, _ in entry.children if child.id in found])
            made = {values[:2] for child, values in entry.children if found.get(child.id, child) is None}
            odds: list[Difference] = []
            for child, values in entry.children:
                if values[:2] not in made:
                    known.append((entry, (self._names[child.stage], values[1])))
                if child.id not in found:
                    odds += self._at_odds(connection, entry, child, values)
            differences += dict.fromkeys(odds)  # several stages may take it
        return outcomes, known

    def _at_odds(
        self, connection: sqlite3.Connection, entry: Entry, child: Item, values: tuple[Any, ...]
    ) -> Iterator[Difference]:
        """Whether a record that was not admitted says something else than the one that was.

        One that is no row is merged nowhere: if it is at odds with the epoch's first, that is a difference.
        """
        kind, _ = self.stages[child.stage]
        if kind.table is not None and entry.at_odds is None:
            return
        for record, epoch in connection.execute(_OTHER_CONTENT, (*values[:2], values[3])):
            if entry.at_odds is not None:
                entry.at_odds.append(child.record)
            if kind.table is not None or epoch != self.epoch.number:
                continue
            with suppress(RecordError):  # of another release
                if fields := kind.at_odds(kind.decode(record.encode()), child.record):
                    yield Difference(kind.name, str(child.key), fields)

    def _upsert(
        self,
        connection: sqlite3.Connection,
        table: Table,
        rows: Sequence[tuple[Entry, _Row]],
        stamp: str,
        differences: list[Difference],
    ) -> list[tuple[Entry, Emitted]]:
        """Write rows of one table; those that were there before are returned."""
        before = connection.total_changes
        connection.executemany(table.insert, [(*values, stamp, stamp) for _, (_, _, values) in rows])
        if connection.total_changes - before == len(rows):
            return []
        known: list[tuple[Entry, Emitted]] = []
        made: dict[tuple[Any, ...], Entry] = {}
        for entry, (_, row, values) in rows:
            key = table.key(row)
            *stored, created, updated = connection.execute(table.select, key).fetchone()
            if created != stamp or made.setdefault(key, entry) is not entry:
                known.append((entry, table.emitted(row)))
            is_of_this_epoch = updated >= self.epoch.started
            if tuple(stored) == values and is_of_this_epoch:
                continue
            old = table.record(stored)
            merged, conflicts = table.type.merged(old, row)
            if conflicts and not is_of_this_epoch:
                # A later epoch replaces what an earlier one said; only within one are two contents at odds.
                merged, conflicts = table.type.replaced(old, row), ()
            if conflicts:
                differences.append(Difference(table.type.name, str(table.type.key_of(row)), conflicts))
                if entry.at_odds is not None:
                    entry.at_odds.append(row)
            if merged != old or not is_of_this_epoch:
                # Also when nothing differs: this epoch has said so, and a different content after it is at odds.
                connection.execute(table.update, (*table.values(merged), stamp, *key))
        return known

    def _add_parents(
        self, connection: sqlite3.Connection, known: Iterable[tuple[Entry, Emitted]], again: Mapping[Entry, Past]
    ) -> None:
        for entry, emitted in known:
            if not entry.item:
                if emitted[0] in self.produced:
                    self.parents.add_source(connection, emitted)
                continue
            past = again.get(entry) or self.parents.past(connection, entry.item)
            if entry.how is _END and entry not in again:
                past = past._replace(listed=())  # the list is this end's own already
            self.parents.add(connection, past, emitted)

    def _admissions(self, children: Sequence[Item]) -> list[tuple[Item, tuple[Any, ...]]]:
        now = time.time()
        return [(child, self._encode(child, now)) for child in children]

    def _encode(self, child: Item, now: float) -> tuple[Any, ...]:
        kind, version = self.stages[child.stage]
        encoded = kind.encode(child.record)
        kind.decode(encoded)  # a field of another type would only be found by the next start, which it would stop
        identity = kind.identity(child.record, encoded)
        return (child.stage, key_text(child.key), encoded.decode(), identity, version, self.epoch.number, now)

    def _settlement(self, entry: Entry, item: Item, completion: Completion) -> None:
        error = completion.error
        if error is not None:
            error = to_text(error[:MAX_ERROR])
        state, started, ended = completion.state, item.started or None, completion.ended or None
        name = state._value_  # in a third of the time of `value`
        entry.item = item.id
        if state is State.DONE or state is State.SKIPPED:
            emitted = self._list(entry)
            entry.how = _END
            entry.settle = (name, item.attempts, started, ended, completion.due, error, emitted, item.id)
        else:
            entry.how = _STREAM if entry.children or entry.rows else _STAY
            entry.settle = (name, item.attempts, started, ended, completion.due, error, item.id)

    def _list(self, entry: Entry) -> str | None:
        children, rows = entry.children, entry.rows
        if len(children) + len(rows) != 1:
            return listed(self._emitted(entry)) if children or rows else None
        if children:
            child, values = children[0]
            return listed_alone(self._names[child.stage], values[1])
        table, row, _ = rows[0]
        return listed_alone(*table.emitted(row))

    def _emitted(self, entry: Entry) -> Collection[Emitted]:
        children = [(self._names[child.stage], values[1]) for child, values in entry.children]
        return dict.fromkeys([*children, *(table.emitted(row) for table, row, _ in entry.rows)])

    def _row(self, row: Any) -> _Row:
        table = self._table_of.get(type(row))
        if table is None:
            table = self._table_of[type(row)] = self.tables[record_type(type(row)).table or ""]
        return table, row, table.values(row)


def merging(meta: Mapping[str, str], stages: Mapping[str, tuple[RecordType, int]]) -> str:
    """What `MERGING` says once these stages are among them."""
    ever: list[list[str]] = json.loads(meta.get(MERGING, "[]"))
    for kind, _ in stages.values():
        if sorted(kind.merge) not in ever:
            ever.append(sorted(kind.merge))
    return json.dumps(ever)


def is_as_admitted(record: bytes, hashed: bytes, merging: Sequence[Sequence[str]]) -> bool:
    """Whether a record still has the hash with which it was admitted, where `MERGING` says which fields may be left out
    of it."""
    try:
        return any(encoded_identity(record, fields) == hashed for fields in merging)
    except ValueError:
        return False


def _by_table(group: Sequence[Entry]) -> dict[Table, list[tuple[Entry, _Row]]]:
    tables: dict[Table, list[tuple[Entry, _Row]]] = {}
    for entry in group:
        for row in entry.rows:
            tables.setdefault(row[0], []).append((entry, row))
    return tables
