"""What a run makes good at quiet: stages that came later or changed, and records that nothing emits any more.

Each step is a transaction, and what is still owed is in the database, so a crash between two steps loses nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from streamflow.errors import RecordError
from streamflow.record import RecordType
from streamflow.storage.journal import Epoch, Journal
from streamflow.storage.parents import Emitted
from streamflow.storage.store import CaughtUp
from streamflow.storage.tables import Table, key_text
from streamflow.storage.writer import META, Writer

PAGE = 256
"""Records that one transaction admits to a new stage, at most."""
REFRESH_OWED = "refresh_owed"
"""Says in `streamflow_meta` that a refresh was asked for and waits until what was pending has ended."""

# In epoch 0: what the stage has already stays as it is, and what is emitted later is newer.
_FILL = (
    "INSERT INTO streamflow_items (id, stage, key, record, hash, version, epoch, state, attempts, admitted) "
    "VALUES (?, ?, ?, ?, ?, ?, 0, 'pending', 0, ?) ON CONFLICT DO NOTHING"
)
# A record that was pruned is empty. By id, not by the stage's index, which would be sorted anew for each page.
CARRYING = (
    "SELECT id, record FROM streamflow_items WHERE +stage = ? AND id > ? AND id <= ? AND record <> '' "
    "ORDER BY id LIMIT ?"
)
_LOST = (
    "SELECT count(*) FROM streamflow_items AS old WHERE stage IN (SELECT value FROM json_each(?)) AND record = '' "
    "AND NOT EXISTS (SELECT 1 FROM streamflow_items WHERE stage = ? AND key = old.key)"
)
_OUTDATED_EVER = "FROM streamflow_items WHERE stage = ? AND version <> ? AND state <> 'pending'"
_OUTDATED = f"{_OUTDATED_EVER} AND record <> ''"
_OUTDATED_PRUNED = f"SELECT count(*) {_OUTDATED_EVER} AND record = ''"
_RESTORE = (
    "UPDATE streamflow_items SET record = ?, hash = ? "
    "WHERE stage = ? AND key = ? AND record = '' AND version <> ? AND state <> 'pending'"
)
# With new ids, as by an admission: what they emit from now on is told from what they emitted.
_REDO = f"""
UPDATE streamflow_items SET
    id = ranked.number, first = coalesce(first, streamflow_items.id), version = ?, state = 'pending', attempts = 0,
    started = NULL, ended = NULL, due = NULL, error = NULL
FROM (SELECT id AS old, ? + row_number() OVER (ORDER BY id) AS number {_OUTDATED}) AS ranked
WHERE streamflow_items.id = ranked.old
"""  # noqa: S608 - no values


@dataclass(frozen=True, slots=True)
class Takers:
    """Which stages take which records, by what the database has seen and what the pipeline says now.

    `ever` gives the record type's name of every stage, those that are gone included. `unfilled` stages are new, or
    take another type than before; `lacking` are those of them for which nothing was kept.
    """

    ever: Mapping[str, str]
    unfilled: Sequence[str]
    lacking: Sequence[str]

    @classmethod
    def read(
        cls, meta: Mapping[str, str], stages: Mapping[str, tuple[RecordType, int]], produced: Collection[str]
    ) -> Takers:
        takes = {stage: kind.name for stage, (kind, _) in stages.items()}
        known = dict.fromkeys(json.loads(meta.get("stages", json.dumps(list(takes)))))
        ever = json.loads(meta.get("takes", "{}"))
        was = {**takes, **ever}
        owed = set(json.loads(meta.get("unfilled", "[]")))
        unfilled = [stage for stage, kind in takes.items() if stage in owed or stage not in known or was[stage] != kind]
        lacking = [
            stage
            for stage in unfilled
            if takes[stage] in produced
            and stages[stage][0].table is None
            and not any(kind == takes[stage] for other, kind in ever.items() if other != stage)
        ]
        return cls({**ever, **takes}, unfilled, lacking)

    def of(self, record: str) -> list[str]:
        return [stage for stage, kind in self.ever.items() if kind == record]

    def meta(self, stages: Sequence[str]) -> list[tuple[str, str]]:
        return [
            ("stages", json.dumps(list(stages))),
            ("takes", json.dumps(self.ever)),
            ("unfilled", json.dumps(self.unfilled)),
        ]


def begin_epoch(connection: sqlite3.Connection, journal: Journal, *, refresh: bool) -> Epoch:
    """The epoch after the journal's. What was written before it is of an earlier one.

    Until finalizers have run a refresh is unfinished, even if it is stopped before it admits anything.
    """
    epoch = Epoch(journal.epoch.number + 1, journal.stamps.next(connection), refresh)
    values = [("epoch", str(epoch.number)), ("epoch_started", epoch.started), ("refresh", str(int(refresh)))]
    if refresh:
        values += [("changed", "1"), (REFRESH_OWED, "0")]
    connection.executemany(META, values)
    return epoch


async def redo(writer: Writer, stage: str, siblings: Sequence[str]) -> CaughtUp:
    """Make the ended items pending again that another version of the stage worked on.

    A record that was pruned is taken from its table, or from a sibling, a stage that takes the same type."""
    version = writer.journal.stages[stage][1]

    def change(connection: sqlite3.Connection) -> int:
        before = writer.journal.next_id - 1
        count = connection.execute(_REDO, (version, before, stage, version)).rowcount
        writer.journal.next_id += count
        return count

    def restore(connection: sqlite3.Connection, records: Sequence[_Record]) -> None:
        rows = [(record, identity, stage, key, version) for key, record, identity in records]
        connection.executemany(_RESTORE, rows)

    pruned = partial(_count, sql=_OUTDATED_PRUNED, parameters=(stage, version))
    if await writer.transact(pruned):
        await _with_all_kept(writer, stage, siblings, restore)
    return CaughtUp(await writer.transact(change), pruned=await writer.transact(pruned))


async def fill(writer: Writer, stage: str, siblings: Sequence[str]) -> CaughtUp:
    """Admit to a new stage the records that are there: the rows of their table, and what siblings, which take the
    same type, were given."""
    journal = writer.journal
    version = journal.stages[stage][1]

    def admit(connection: sqlite3.Connection, records: Sequence[_Record]) -> None:
        now = time.time()
        values = [(journal.next_id + number, stage, *each, version, now) for number, each in enumerate(records)]
        journal.next_id += len(values)
        connection.executemany(_FILL, values)

    caught = await _with_all_kept(writer, stage, siblings, admit)
    lost = await writer.transact(partial(_count, sql=_LOST, parameters=(json.dumps(list(siblings)), stage)))
    return replace(caught, pruned=lost)


async def _with_all_kept(
    writer: Writer,
    stage: str,
    siblings: Sequence[str],
    change: Callable[[sqlite3.Connection, Sequence[_Record]], None],
) -> CaughtUp:
    """Make a change with the records that a stage takes, page by page; how many items it changed."""
    kept = _Kept(writer.journal.stages[stage][0], siblings, writer.journal.next_id)

    def turn(connection: sqlite3.Connection, place: _Place) -> tuple[int, _Page]:
        page = kept.page(connection, place)
        before = connection.total_changes
        change(connection, page.records)
        return connection.total_changes - before, page

    items = unreadable = 0
    place: _Place | None = _Place(0, ())
    while place is not None:
        count, page = await writer.transact(partial(turn, place=place))
        items += count
        unreadable += page.unreadable
        place = page.next
    return CaughtUp(items, unreadable)


def _count(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> int:
    (count,) = connection.execute(sql, parameters).fetchone()
    return int(count)


_Record = tuple[str, str, bytes]  # key, JSON and hash


class _Place(NamedTuple):
    """After which key, or id, of which place where records are kept."""

    where: int
    after: tuple[Any, ...]


class _Page(NamedTuple):
    """Records, the number of those that no longer fit their type, and where to go on."""

    records: list[_Record]
    unreadable: int
    next: _Place | None


class _Kept:
    """Where records of a type are kept: their table, in which contents are merged, then the items of stages up to the
    id `top`."""

    def __init__(self, kind: RecordType, stages: Sequence[str], top: int) -> None:
        self._kind = kind
        self._top = top
        self._places: list[Table | str] = [*([Table(kind)] if kind.table else []), *stages]

    def page(self, connection: sqlite3.Connection, place: _Place) -> _Page:
        """The records at a place."""
        if place.where == len(self._places):
            return _Page([], 0, None)
        where = self._places[place.where]
        reads: list[Callable[[], Any]]
        if isinstance(where, Table):
            sql = where.select_page(where.columns, is_first=not place.after)
            rows = connection.execute(sql, (*place.after, PAGE)).fetchall()
            reads = [partial(where.record, row) for row in rows]
            last = tuple(rows[-1][where.columns.index(name)] for name in self._kind.key_fields) if rows else ()
        else:
            after = place.after or (0,)
            rows = connection.execute(CARRYING, (where, *after, self._top, PAGE)).fetchall()
            reads = [partial(self._kind.decode, row[1].encode()) for row in rows]
            last = rows[-1][:1] if rows else ()
        records = [values for read in reads if (values := self._values(read)) is not None]
        following = _Place(place.where, last) if len(rows) == PAGE else _Place(place.where + 1, ())
        return _Page(records, len(rows) - len(records), following)

    def _values(self, read: Callable[[], Any]) -> _Record | None:
        try:
            record = read()
        except RecordError:
            return None
        encoded = self._kind.encode(record)
        return key_text(self._kind.key_of(record)), encoded.decode(), self._kind.identity(record, encoded)


async def filled(writer: Writer, unfilled: Sequence[str]) -> None:
    """Note which stages are still to be filled."""

    def change(connection: sqlite3.Connection) -> None:
        connection.execute(META, ("unfilled", json.dumps(unfilled)))

    await writer.transact(change, is_seen=False)


async def retract(writer: Writer) -> int:
    """Retract the records that are left without a parent, and what came of them; how many."""
    total = found = 0
    after: Emitted | None = ("", "")
    while after is not None:
        count, after = await writer.transact(partial(writer.journal.parents.retract, after=after))
        total += count
        found += count
        if after is None and found:
            after, found = ("", ""), 0  # what came of them may have been passed already
    return total
