"""The lone writer: one coroutine, one connection, group commit.

The writer takes all completions that wait, at once and without lingering, and commits them in one transaction. While
it commits, the next group gathers: under load groups grow by themselves, and a lone completion never waits. A group
is taken on the connection's own thread when its transaction begins, and the next transaction is asked for while one
runs: so the disk does not wait while the loop tells a group's waiters, and groups are as large as they can be.

If a group fails, its completions are tried one by one, so that only the one at fault is refused. If the disk is full,
or another program has locked the database, the group is kept and tried again until it can be written.

Nothing else writes. Other changes (`transact`, `attempt`, `finalized`) go between two groups, on the same thread and in
the order in which they were asked for. One whose caller is cancelled is made all the same, because a call that was
handed to that thread cannot be called back.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiosqlite

from streamflow.errors import StorageError, WriterStopped
from streamflow.failpoints import failpoint
from streamflow.storage.journal import Entry, Journal
from streamflow.storage.patience import Patience
from streamflow.storage.store import Completion, Difference, Item
from streamflow.storage.trouble import advice, trouble

T = TypeVar("T")

_CHANGED = "INSERT INTO streamflow_meta (name, value) VALUES ('changed', '1') ON CONFLICT DO UPDATE SET value = '1'"
META = "INSERT INTO streamflow_meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


@dataclass
class Writer:
    """Owns the write connection from `run` on."""

    connection: aiosqlite.Connection
    journal: Journal
    owes_change: bool
    patience: Patience
    differences: list[Difference] = field(default_factory=list)
    commits: int = 0
    _waiting: deque[Entry] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _dead: WriterStopped | None = None

    def submit(self, completion: Completion) -> asyncio.Future[list[Item]]:
        """Encode a completion and queue it; the future ends when it is durable.

        Raises StorageError when a record cannot be encoded, or when the writer has died.
        """
        self._check()
        try:
            entry = self.journal.entry(completion, self._loop.create_future())
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

    async def attempt(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Make a change that finalizers cannot see, in a transaction of its own. A full disk is not waited out.

        Raises StorageError when it cannot be made.
        """

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                change(connection)

        self._check()
        try:
            await self.connection.execute(TRANSACTION, (write,))
        except sqlite3.Error as error:
            raise StorageError(f"the database cannot be written: {error}") from error

    async def transact(self, change: Callable[[sqlite3.Connection], T], *, is_seen: bool = True) -> T:
        """Make a change between two groups, in a transaction of its own. Raises WriterStopped.

        A change that was rolled back may be made once more: it keeps nothing outside the database until it returns.
        If it changes anything, finalizers are owed, unless they cannot see it.
        """
        self._check()
        results: list[T] = []

        def run(connection: sqlite3.Connection) -> None:
            before = connection.total_changes
            with transaction(connection):
                result = change(connection)
                is_change = is_seen and connection.total_changes > before
                if is_change and self.owes_change:
                    connection.execute(_CHANGED)
            if is_change:
                self.owes_change = False
                self.commits += 1
            self.journal.stamps.committed()
            results.append(result)

        try:
            await self._write(run)
        except sqlite3.Error as error:
            raise self._stopped(error) from error
        return results[0]

    def stop(self) -> None:
        """Let `run` end once nothing waits; what cannot be written now is tried once more and then given up."""
        self._closing.set()
        self._wake.set()

    async def _commit(self) -> None:
        transaction = Transaction(self)
        try:
            await self._write(transaction.run)
        except Exception as error:  # noqa: BLE001 - whatever it is, waiters must be told and the run must stop
            self._dead = self._stopped(error)
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
        failpoint("acknowledged")

    async def _write(self, function: Callable[[sqlite3.Connection], None]) -> None:
        await self.patience.persist(
            lambda: self.connection.execute(TRANSACTION, (function,)),
            over=self._closing,
        )

    def _check(self) -> None:
        if self._dead is not None or self._closing.is_set():
            raise self._dead or WriterStopped("the database writer has stopped, because the run has ended")

    def _stopped(self, error: Exception) -> WriterStopped:
        todo = advice(trouble(error), self.patience.folder)
        return WriterStopped(f"the database cannot be written: {error}; what was committed is safe; {todo}")


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


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


class Transaction:
    """A group of completions in one transaction, run on the connection's thread.

    After `run`, `outcomes` holds for each completion of `group` its new children, or what was wrong with it alone.
    Transactions run one after the other, so they share the journal and `owes_change` without a lock.
    """

    def __init__(self, writer: Writer) -> None:
        self.group: list[Entry] = []
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
            failpoint("before-commit")
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        if marks:
            self._writer.owes_change = False
        self._writer.journal.stamps.committed()
        self._writer.commits += 1
        self._writer.differences += self._differences
        failpoint("committed")

    def _apply(self, connection: sqlite3.Connection, group: Sequence[Entry]) -> list[list[Item] | Exception]:
        return self._writer.journal.apply(connection, group, self._differences)

    def _changes_something(self) -> bool:
        """Whether finalizers have something to see: no source that brings again what is known makes them run."""
        return any(
            entry.item or entry.rows or fresh
            for entry, fresh in zip(self.group, self.outcomes, strict=True)
            if not isinstance(fresh, Exception)
        )

    def _try(self, connection: sqlite3.Connection, entry: Entry) -> list[Item] | Exception:
        connection.execute("SAVEPOINT completion")
        differences = len(self._differences)
        fresh: list[Item] | Exception
        try:
            (fresh,) = self._apply(connection, [entry])
        except Exception as error:
            if trouble(error) is not None:
                raise  # SQLite may have rolled back the whole transaction, and then there is no savepoint any more
            connection.execute("ROLLBACK TO completion")
            self._writer.journal.stamps.undone()
            del self._differences[differences:]
            fresh = error
        connection.execute("RELEASE completion")
        return fresh


def _fail(entry: Entry, error: StorageError) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)
