"""The lone writer: one coroutine, one connection, group commit.

The writer takes all completions that wait, at once and without lingering, and commits them in one transaction. While
it commits, the next group gathers: under load groups grow by themselves, and a lone completion never waits. A group
is taken on the connection's own thread when its transaction begins, and the next transaction is asked for while one
runs: so the disk does not wait while the loop tells a group's waiters, and groups are as large as they can be.

If a group fails, its completions are tried one by one, so that only the one at fault is refused. If the disk is full,
or another program has locked the database, the group is kept and tried again until it can be written. Nothing else
writes, and nothing but the writer awaits its connection: a cancelled aiosqlite call still runs, so no caller that can
be cancelled may hold one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiosqlite

from streamflow.errors import StorageError, WriterStopped
from streamflow.record import RecordType, record_type
from streamflow.storage.patience import Patience
from streamflow.storage.store import Completion, Difference, Item
from streamflow.storage.tables import Table, to_text
from streamflow.storage.trouble import advice, trouble

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
_KEEP = "INSERT INTO streamflow_meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
MAX_ERROR = 4000
"""Characters of an error kept in the journal."""

_Row = tuple[Any, tuple[Any, ...]]  # a record, and its values as its table holds them


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
    patience: Patience
    differences: list[Difference] = field(default_factory=list)
    commits: int = 0
    _table_of: dict[type[Any], Table] = field(default_factory=dict)
    _waiting: deque[_Entry] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _dead: WriterStopped | None = None

    def submit(self, completion: Completion) -> asyncio.Future[list[Item]]:
        """Encode a completion and queue it; the future ends when it is durable.

        Raises StorageError when a record cannot be encoded, or when the writer has died.
        """
        if self._dead is not None or self._closing.is_set():
            raise self._dead or WriterStopped("the database writer has stopped, because the run has ended")
        try:
            entry = _Entry(
                self._loop.create_future(),
                self._admissions(completion.children) if completion.children else [],
                None if completion.item is None else _settlement(completion.item, completion),
                [self._row(row) for row in completion.rows] if completion.rows else [],
            )
        except Exception as error:
            raise StorageError(f"a record cannot be stored: {type(error).__name__}: {error}") from error
        self._waiting.append(entry)
        self._wake.set()
        return entry.done

    async def run(self) -> None:
        """Commit groups until `stop`, then what still waits. Raises WriterStopped when the database fails."""
        await asyncio.gather(self._commit_groups(), self._commit_groups())
        if self._dead is not None:
            while self._waiting:
                _fail(self._waiting.popleft(), self._dead)
            raise self._dead

    async def _commit_groups(self) -> None:
        while self._dead is None and (self._waiting or not self._closing.is_set()):
            await self._wake.wait()
            if not self._closing.is_set() and self._dead is None:
                self._wake.clear()
            if self._waiting:
                await self._commit()

    async def finalized(self, commits: int) -> None:
        """Note that finalizers have seen everything, unless there were more than so many commits."""

        def note(connection: sqlite3.Connection) -> None:
            if self.commits > commits:
                return
            connection.execute("UPDATE streamflow_meta SET value = '0' WHERE name = 'changed'")
            self.owes_change = True

        await self._write(note)

    async def keep(self, texts: Mapping[str, str]) -> None:
        """Write names and values into `streamflow_meta`, in a transaction of their own. A full disk is not waited out.

        Raises StorageError when they cannot be written.
        """

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(_KEEP, list(texts.items()))

        if self._dead is not None or self._closing.is_set():
            raise self._dead or WriterStopped("the database writer has stopped, because the run has ended")
        try:
            await self.connection.execute(TRANSACTION, (write,))
        except sqlite3.Error as error:
            raise StorageError(f"the database cannot be written: {error}") from error

    def stop(self) -> None:
        """Let `run` end once nothing waits; what cannot be written now is tried once more and then given up."""
        self._closing.set()
        self._wake.set()

    def _admissions(self, children: Sequence[Item]) -> list[tuple[Item, tuple[Any, ...]]]:
        now = time.time()
        return [(child, self._encode(child, now)) for child in children]

    def _encode(self, child: Item, now: float) -> tuple[Any, ...]:
        kind, version = self.stages[child.stage]
        encoded = kind.encode(child.record)
        kind.decode(encoded)  # a field of another type would only be found by the next start, which it would stop
        identity = kind.identity(child.record, encoded)
        return (child.stage, to_text(str(child.key)), encoded.decode(), identity, version, self.epoch.number, now)

    def _row(self, row: Any) -> tuple[Table, Any, tuple[Any, ...]]:
        table = self._table_of.get(type(row))
        if table is None:
            table = self._table_of[type(row)] = self.tables[record_type(type(row)).table or ""]
        return table, row, table.values(row)

    async def _commit(self) -> None:
        transaction = Transaction(self)
        try:
            await self._write(transaction.run)
        except Exception as error:  # noqa: BLE001 - whatever it is, waiters must be told and the run must stop
            todo = advice(trouble(error), self.patience.folder)
            self._dead = WriterStopped(f"the database cannot be written: {error}; what was committed is safe; {todo}")
            self._dead.__cause__ = error
            self._wake.set()
            for entry in transaction.group:
                _fail(entry, self._dead)
            return
        for entry, outcome in zip(transaction.group, transaction.outcomes, strict=True):
            if isinstance(outcome, Exception):
                _fail(entry, StorageError(f"the completion cannot be stored: {outcome}"))
            elif not entry.done.done():
                entry.done.set_result(outcome)

    async def _write(self, function: Callable[[sqlite3.Connection], None]) -> None:
        await self.patience.persist(
            lambda: self.connection.execute(TRANSACTION, (function,)),
            over=self._closing,
        )


TRANSACTION = "transaction"


class WriteConnection(sqlite3.Connection):
    """A connection that runs a whole transaction in one call.

    `execute(TRANSACTION, (function,))` calls `function(connection)`. Through aiosqlite that is one trip to the
    connection's thread; a trip for each statement costs more than most statements.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql is not TRANSACTION:
            return super().execute(sql, parameters)
        (function,) = parameters
        function(self)
        return self.cursor()


class Transaction:
    """A group of completions in one transaction, run on the connection's thread.

    After `run`, `outcomes` holds for each completion of `group` its new children, or what was wrong with it alone.
    Transactions run one after the other, so they share the writer's `next_id` and `owes_change` without a lock.
    """

    def __init__(self, writer: Writer) -> None:
        self.group: list[_Entry] = []
        self.outcomes: list[list[Item] | Exception] = []
        self._writer = writer
        self._differences: list[Difference] = []

    def run(self, connection: sqlite3.Connection) -> None:
        """Commit all, or those that can be: a group that fails is tried completion by completion, in savepoints.

        Raises sqlite3.Error when it is the database that fails; nothing is then committed, and it may be run again.
        """
        waiting, group = self._writer._waiting, self.group
        group[:] = [entry for entry in group if not entry.done.cancelled()]
        self._differences.clear()
        while waiting:  # the loop only appends
            entry = waiting.popleft()
            if not entry.done.cancelled():
                group.append(entry)
        if not group:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self.outcomes = self._apply(connection, group)
            except Exception as error:
                if trouble(error) is not None:
                    raise
                connection.rollback()
                self._differences.clear()
                connection.execute("BEGIN IMMEDIATE")
                self.outcomes = [self._try(connection, entry) for entry in group]
            marks = self._writer.owes_change and self._changes_something()
            if marks:
                connection.execute(_CHANGED)
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        if marks:
            self._writer.owes_change = False
        self._writer.commits += 1
        self._writer.differences += self._differences

    def _changes_something(self) -> bool:
        """Whether finalizers have something to see: no source that brings again what is known makes them run."""
        return any(
            entry.settle is not None or entry.rows or fresh
            for entry, fresh in zip(self.group, self.outcomes, strict=True)
            if not isinstance(fresh, Exception)
        )

    def _try(self, connection: sqlite3.Connection, entry: _Entry) -> list[Item] | Exception:
        connection.execute("SAVEPOINT completion")
        differences = len(self._differences)
        fresh: list[Item] | Exception
        try:
            (fresh,) = self._apply(connection, [entry])
        except Exception as error:
            if trouble(error) is not None:
                raise  # SQLite may have rolled back the whole transaction, and then there is no savepoint any more
            connection.execute("ROLLBACK TO completion")
            del self._differences[differences:]
            fresh = error
        connection.execute("RELEASE completion")
        return fresh

    def _apply(self, connection: sqlite3.Connection, group: Sequence[_Entry]) -> list[list[Item] | Exception]:
        settlements = [entry.settle for entry in group if entry.settle is not None]
        if settlements:
            connection.executemany(_SETTLE, settlements)
        for table, rows in _by_table(group).items():
            self._upsert(connection, table, rows)
        first = self._writer.next_id
        admissions: list[tuple[Any, ...]] = []
        for entry in group:
            for child, values in entry.children:
                child.id = first + len(admissions)
                admissions.append((child.id, *values))
        if not admissions:
            return [[] for _ in group]
        self._writer.next_id += len(admissions)
        before = connection.total_changes
        connection.executemany(_ADMIT.format(refresh=int(self._writer.epoch.refresh)), admissions)
        if connection.total_changes - before == len(admissions):
            return [[child for child, _ in entry.children] for entry in group]
        fresh = {row[0] for row in connection.execute(_ADMITTED, (first,))}
        return [[child for child, _ in entry.children if child.id in fresh] for entry in group]

    def _upsert(self, connection: sqlite3.Connection, table: Table, rows: Sequence[_Row]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        before = connection.total_changes
        connection.executemany(table.insert, [(*values, now, now) for _, values in rows])
        if connection.total_changes - before == len(rows):
            return
        for row, values in rows:
            stored = tuple(connection.execute(table.select, table.key(row)).fetchone())
            is_of_this_epoch = stored[-1] >= self._writer.epoch.started
            if stored[:-1] == values and is_of_this_epoch:
                continue
            old = table.record(stored)
            merged, conflicts = table.type.merged(old, row)
            if conflicts and not is_of_this_epoch:
                # A later epoch replaces what an earlier one said; only within one are two contents at odds.
                merged, conflicts = table.type.replaced(old, row), ()
            if conflicts:
                self._differences.append(Difference(table.type.name, str(table.type.key_of(row)), conflicts))
            if merged != old or not is_of_this_epoch:
                # Also when nothing differs: this epoch has said so, and a different content after it is at odds.
                connection.execute(table.update, (*table.values(merged), now, *table.key(row)))


def _settlement(item: Item, completion: Completion) -> tuple[Any, ...]:
    error = completion.error
    if error is not None:
        error = to_text(error[:MAX_ERROR])
    started, ended = item.started or None, completion.ended or None
    return (completion.state.value, item.attempts, started, ended, completion.due, error, item.id)


def _by_table(group: Sequence[_Entry]) -> dict[Table, list[_Row]]:
    tables: dict[Table, list[_Row]] = {}
    for entry in group:
        for table, row, values in entry.rows:
            tables.setdefault(table, []).append((row, values))
    return tables


def _fail(entry: _Entry, error: StorageError) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)
