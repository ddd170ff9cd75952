"""The lone writer: one coroutine, one connection, group commit.

The writer takes all completions that wait, at once and without lingering, and commits them in one transaction. While
it commits, the next group gathers: under load groups grow by themselves, and a lone completion never waits.

If a group fails, its completions are tried one by one, so that only the one at fault is refused. Nothing else
writes, and nothing but the writer awaits its connection: a cancelled aiosqlite call still runs, so no caller that can
be cancelled may hold one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiosqlite

from streamflow.errors import RecordError, StorageError, WriterStopped
from streamflow.record import RecordType, record_type
from streamflow.storage.store import Completion, Difference, Item
from streamflow.storage.tables import Table, to_text

# A child is admitted when its key is new, or when a later epoch brings another content or another stage version.
# An admitted row takes the new id in either case: one look at the ids above the group's first tells what was new.
_ADMIT = """
INSERT INTO streamflow_items (id, stage, key, record, hash, version, epoch, state, attempts, admitted)
VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?)
ON CONFLICT (stage, key) DO UPDATE SET
    id = excluded.id, record = excluded.record, hash = excluded.hash, version = excluded.version,
    epoch = excluded.epoch, state = 'pending', attempts = 0, admitted = excluded.admitted,
    started = NULL, ended = NULL, due = NULL, error = NULL
WHERE streamflow_items.epoch < excluded.epoch AND streamflow_items.state <> 'pending'
    AND ({refresh} OR streamflow_items.hash <> excluded.hash OR streamflow_items.version <> excluded.version)
"""
_SETTLE = "UPDATE streamflow_items SET state = ?, attempts = ?, started = ?, ended = ?, due = ?, error = ? WHERE id = ?"
_ADMITTED = "SELECT id FROM streamflow_items WHERE id >= ?"
_CHANGED = "INSERT INTO streamflow_meta (name, value) VALUES ('changed', '1') ON CONFLICT DO UPDATE SET value = '1'"
MAX_ERROR = 4000
"""Characters of an error kept in the journal."""


@dataclass(slots=True)
class _Entry:
    """One completion, encoded, and its waiter."""

    done: asyncio.Future[list[Item]]
    children: list[tuple[Item, tuple[Any, ...]]]
    settle: tuple[Any, ...] | None
    rows: list[tuple[Table, Any, tuple[Any, ...]]]


@dataclass(slots=True)
class Epoch:
    """The run that admits: its number, and whether every key is admitted anew."""

    number: int
    started: str
    refresh: bool = False


@dataclass
class Writer:
    """Owns the write connection from `run` on. `next_id` is the first id that was never given."""

    connection: aiosqlite.Connection
    stages: Mapping[str, tuple[RecordType, int]]
    tables: Mapping[str, Table]
    epoch: Epoch
    next_id: int
    owes_change: bool
    differences: list[Difference] = field(default_factory=list)
    commits: int = 0
    _waiting: list[_Entry] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False
    _dead: BaseException | None = None

    def submit(self, completion: Completion) -> asyncio.Future[list[Item]]:
        """Encode a completion and queue it; the future ends when it is durable.

        Raises StorageError when a record cannot be encoded, or when the writer has died.
        """
        if self._dead is not None or self._closing:
            raise WriterStopped(f"the database writer has stopped: {self._dead or 'the run has ended'}")
        now = time.time()
        try:
            entry = _Entry(
                asyncio.get_running_loop().create_future(),
                [(child, self._encode(child, now)) for child in completion.children],
                None if completion.item is None else _settlement(completion.item, completion),
                [self._row(row) for row in completion.rows],
            )
        except (RecordError, UnicodeError, ValueError) as error:
            raise StorageError(f"a record cannot be stored: {error}") from error
        self._waiting.append(entry)
        self._wake.set()
        return entry.done

    async def run(self) -> None:
        """Commit groups until `stop`, then what still waits."""
        group: list[_Entry] = []
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                group = [entry for entry in self._waiting if not entry.done.cancelled()]
                self._waiting.clear()
                if group:
                    await self._commit(group)
                elif self._closing:
                    return
        except BaseException as error:
            self._dead = error
            for entry in (*group, *self._waiting):
                _fail(entry, WriterStopped(f"the database writer has stopped: {error}"))
            raise

    def stop(self) -> None:
        """Let `run` end once nothing waits."""
        self._closing = True
        self._wake.set()

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """One statement of its own, for the store's bookkeeping while no run is on."""
        await self.connection.execute(sql, parameters)
        await self.connection.commit()

    def _encode(self, child: Item, now: float) -> tuple[Any, ...]:
        kind, version = self.stages[child.stage]
        encoded = kind.encode(child.record)
        identity = kind.identity(child.record, encoded)
        return (child.stage, to_text(child.key), encoded.decode(), identity, version, self.epoch.number, now)

    def _row(self, row: Any) -> tuple[Table, Any, tuple[Any, ...]]:
        table = self.tables[record_type(type(row)).table or ""]
        return table, row, table.values(row)

    async def _commit(self, group: Sequence[_Entry]) -> None:
        try:
            fresh = await self._transact(group)
        except (sqlite3.Error, OverflowError, RecordError) as error:
            await self.connection.rollback()
            if len(group) > 1:
                for entry in group:
                    await self._commit([entry])
                return
            if isinstance(error, sqlite3.OperationalError):
                # The database itself fails (disk full, I/O error, locked): no completion is at fault.
                failure = WriterStopped(f"the database cannot be written: {error}")
                _fail(group[0], failure)
                raise failure from error
            _fail(group[0], StorageError(f"the completion cannot be stored: {error}"))
            return
        self.commits += 1
        for entry in group:
            if not entry.done.done():
                entry.done.set_result([child for child, _ in entry.children if child.id in fresh])

    async def _transact(self, group: Sequence[_Entry]) -> set[int]:
        """Everything of a group in one transaction; the ids of the children that were new."""
        connection = self.connection
        first = self.next_id
        admissions: list[tuple[Any, ...]] = []
        for entry in group:
            for child, values in entry.children:
                child.id = first + len(admissions)
                admissions.append((child.id, *values))
        settlements = [entry.settle for entry in group if entry.settle is not None]
        if settlements:
            await connection.executemany(_SETTLE, settlements)
        for table, rows in _by_table(group).items():
            await self._upsert(table, rows)
        fresh: set[int] = set()
        if admissions:
            await connection.executemany(_ADMIT.format(refresh=int(self.epoch.refresh)), admissions)
            fresh = {row[0] for row in await connection.execute_fetchall(_ADMITTED, (first,))}
        if self.owes_change:
            await connection.execute(_CHANGED)
        await connection.commit()
        self.owes_change = False
        self.next_id = first + len(admissions)
        return fresh

    async def _upsert(self, table: Table, rows: Sequence[tuple[Any, tuple[Any, ...]]]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        before = self.connection.total_changes
        await self.connection.executemany(table.insert, [(*values, now, now) for _, values in rows])
        if self.connection.total_changes - before == len(rows):
            return
        for row, values in rows:
            found = list(await self.connection.execute_fetchall(table.select, table.key(row)))
            stored = tuple(found[0])
            if stored[:-1] == values:
                continue
            old = table.record(stored)
            merged, conflicts = table.type.merged(old, row)
            if conflicts and stored[-1] < self.epoch.started:
                # A later epoch replaces what an earlier one said; only within one are two contents at odds.
                merged, conflicts = table.type.replaced(old, row), ()
            if conflicts:
                self.differences.append(Difference(table.type.name, table.type.key_of(row), conflicts))
            if merged != old:
                await self.connection.execute(table.update, (*table.values(merged), now, *table.key(row)))


def _settlement(item: Item, completion: Completion) -> tuple[Any, ...]:
    error = completion.error
    if error is not None:
        error = to_text(error[:MAX_ERROR])
    started, ended = item.started or None, completion.ended or None
    return (completion.state.value, item.attempts, started, ended, completion.due, error, item.id)


def _by_table(group: Sequence[_Entry]) -> dict[Table, list[tuple[Any, tuple[Any, ...]]]]:
    tables: dict[Table, list[tuple[Any, tuple[Any, ...]]]] = {}
    for entry in group:
        for table, row, values in entry.rows:
            tables.setdefault(table, []).append((row, values))
    return tables


def _fail(entry: _Entry, error: StorageError) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)
