"""The SQLite store: schema, opening, journal pages. Writing is in `writer`, reading by other processes in
`inspect`.

WAL with `synchronous=FULL`: a commit that returned survives a power cut. With NORMAL it survives the process's end.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import aiosqlite

from streamflow.errors import (
    DatabaseDamaged,
    DatabaseTooNew,
    JournalMismatch,
    RecordError,
    WorkspaceError,
)
from streamflow.record import RecordType
from streamflow.storage.journal import Epoch, Journal
from streamflow.storage.parents import Parents
from streamflow.storage.stamps import Stamps
from streamflow.storage.store import CaughtUp, Completion, Counts, Difference, Item, Opened, Plan, State
from streamflow.storage.tables import Table
from streamflow.storage.upkeep import Takers, begin_epoch, fill, filled, redo, retract
from streamflow.storage.writer import META, WriteConnection, Writer

SCHEMA = 2
"""Version of the engine's own tables, kept in `PRAGMA user_version`."""

APPLICATION_ID = 0x53_46_4C_57  # "SFLW", so that `file` and others can tell the database

_KEPT = "kept:"
"""Begins the names of kept texts in `streamflow_meta`, which holds what the store itself must know too."""

# Migrations[n] brings a database of version n to n + 1. A released one never changes.
_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE streamflow_items (
        id INTEGER PRIMARY KEY,
        stage TEXT NOT NULL,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        record TEXT NOT NULL,
        hash BLOB NOT NULL,
        version INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        admitted REAL NOT NULL,
        started REAL,
        ended REAL,
        due REAL,
        error TEXT,
        UNIQUE (stage, key)
    );
    CREATE INDEX streamflow_due ON streamflow_items (stage, due) WHERE due IS NOT NULL;
    CREATE TABLE streamflow_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
    """
    ALTER TABLE streamflow_items ADD COLUMN first INTEGER;
    ALTER TABLE streamflow_items ADD COLUMN emitted TEXT;
    CREATE TABLE streamflow_parents (
        record TEXT NOT NULL, key TEXT NOT NULL, parent INTEGER NOT NULL, PRIMARY KEY (record, key, parent)
    ) WITHOUT ROWID;
    CREATE TABLE streamflow_streamed (
        item INTEGER NOT NULL, record TEXT NOT NULL, key TEXT NOT NULL, run INTEGER NOT NULL,
        PRIMARY KEY (item, record, key)
    ) WITHOUT ROWID;
    CREATE TABLE streamflow_orphans (
        record TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (record, key)
    ) WITHOUT ROWID;
    """,
)


class SqliteStore:
    """See the module's text. One per workspace, held by the process that holds the workspace's lock."""

    durable = True

    def __init__(
        self, path: Path, *, synchronous: Literal["FULL", "NORMAL"] = "FULL", busy_timeout: float = 30.0
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._stack = AsyncExitStack()
        self._stages: Mapping[str, tuple[RecordType, int]] = {}
        self._resume_to = 0

    async def open(self, plan: Plan, *, refresh: bool = False, stale: bool = False) -> Opened:
        try:
            # aiosqlite does not wait for its thread when it cannot connect.
            await asyncio.to_thread(lambda: sqlite3.connect(self._path).close())
        except sqlite3.Error as error:
            raise WorkspaceError(f"{self._path} cannot be opened: {error}; check the folder's rights") from error
        connection = await aiosqlite.connect(
            self._path, isolation_level=None, timeout=self._busy_timeout, factory=WriteConnection
        )
        self._stack.push_async_callback(connection.close)
        try:
            return await self._prepare(connection, plan, refresh, stale)
        except sqlite3.DatabaseError as error:
            await self._stack.aclose()
            raise _refusal(self._path, error) from error
        except BaseException:
            await self._stack.aclose()
            raise

    async def _prepare(self, connection: aiosqlite.Connection, plan: Plan, refresh: bool, stale: bool) -> Opened:
        self._connection = connection
        self._stages = plan.stages
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        await _migrate(connection, self._path)
        meta: dict[str, str] = dict(await connection.execute_fetchall("SELECT * FROM streamflow_meta"))  # type: ignore[arg-type]
        owner = meta.setdefault("pipeline", plan.pipeline)
        if owner != plan.pipeline:
            raise WorkspaceError(
                f"{self._path} belongs to the pipeline {owner!r}, not {plan.pipeline!r}; use another workspace"
            )
        pending = await self._pending_counts()
        if pending:
            await asyncio.to_thread(self._check_pending)
        # Only now: a pipeline that is refused leaves the tables of another as they were.
        tables = {kind.table: Table(kind) for kind in plan.tables if kind.table}
        await _make_tables(connection, tables.values())
        changed = meta.get("changed") == "1"
        takers = Takers.read(meta, plan.stages, plan.produced)
        by_name = {kind.name: tables[kind.table] for kind in plan.tables if kind.table}
        (top,) = await _one(connection, "SELECT coalesce(max(id), 0) FROM streamflow_items")
        self._resume_to = top
        journal = Journal(
            plan.stages,
            tables,
            Parents(
                by_name,
                {kind: takers.of(kind) for kind in takers.ever.values()},
                {*by_name, *(kind.name for kind, _ in plan.stages.values())},
            ),
            plan.produced,
            Epoch(int(meta.get("epoch", "0")), meta.get("epoch_started", ""), meta.get("refresh") == "1"),
            Stamps(int(meta.get("stamp", "0"))),
            top + 1,
        )
        self._writer = Writer(connection, journal, owes_change=not changed)
        self._takers, self._unfilled, self._refresh, self._stale = takers, list(takers.unfilled), refresh, stale
        await connection.executemany(META, [("pipeline", plan.pipeline), *takers.meta(list(plan.stages))])
        for stage in pending:
            await connection.execute(
                "UPDATE streamflow_items SET version = :version "
                "WHERE stage = :stage AND state = 'pending' AND version <> :version",
                {"stage": stage, "version": plan.stages[stage][1]},
            )
        # An unfinished run goes on in its epoch, so that what it admitted is not admitted again.
        is_unfinished = bool(pending or changed) and self._writer.journal.epoch.number > 0
        is_wanted = stale or (refresh and not self._writer.journal.epoch.refresh) or not is_unfinished
        if is_wanted and not pending:
            await self.renew()
        task = asyncio.create_task(self._writer.run(), name="streamflow writer")
        self._stack.push_async_callback(self._stop_writer, task)
        return Opened(pending, changed, is_wanted and bool(pending), takers.lacking)

    async def renew(self) -> None:
        self._writer.journal.epoch = await begin_epoch(self._writer, refresh=self._refresh)

    async def catch_up(self, stage: str) -> CaughtUp:
        caught = CaughtUp()
        if stage in self._unfilled:
            kind, _ = self._stages[stage]
            siblings = [sibling for sibling in self._takers.of(kind.name) if sibling != stage]
            caught = await fill(self._writer, stage, siblings)
            self._unfilled.remove(stage)
            await filled(self._writer, self._unfilled)
        if self._stale:
            caught = replace(caught, items=caught.items + await redo(self._writer, stage))
        self._resume_to = self._writer.journal.next_id - 1
        return caught

    async def retract(self) -> int:
        return await retract(self._writer)

    async def _pending_counts(self) -> dict[str, int]:
        rows = await self._connection.execute_fetchall(
            "SELECT stage, count(*) FROM streamflow_items WHERE state = 'pending' GROUP BY stage"
        )
        pending: dict[str, int] = dict(rows)  # type: ignore[arg-type]
        if unknown := sorted(set(pending) - set(self._stages)):
            raise JournalMismatch(
                f"{pending[unknown[0]]} pending items belong to the stage {unknown[0]!r}, which the pipeline no longer "
                f"has; move them with `streamflow journal move --stage {unknown[0]} --to STAGE` or drop them with "
                f"`streamflow journal drop --stage {unknown[0]}`"
            )
        return pending

    def _check_pending(self) -> None:
        """Read every pending record, so that one that no longer fits stops the start and not the middle of a run."""
        with closing(self._reading()) as connection:
            for stage, *row in connection.execute(
                "SELECT stage, id, record, attempts, due FROM streamflow_items WHERE state = 'pending'"
            ):
                self._item(stage, tuple(row))

    async def _stop_writer(self, task: asyncio.Task[None]) -> None:
        self._writer.stop()
        await asyncio.gather(task, return_exceptions=True)

    def finish(self, item: Item, child: Item | None) -> None:
        return None

    async def commit(self, completion: Completion) -> Sequence[Item]:
        return await self._writer.submit(completion)

    async def pending(self, stage: str, *, after: int, limit: int) -> Sequence[Item]:
        rows = await self._read(
            "SELECT id, record, attempts, due FROM streamflow_items "
            "WHERE id > ? AND id <= ? AND stage = ? AND state = 'pending' ORDER BY id LIMIT ?",
            (after, self._resume_to, stage, limit),
        )
        return [self._item(stage, row) for row in rows]

    async def due(self, stage: str, *, until: float, limit: int) -> Sequence[Item]:
        rows = await self._read(
            "SELECT id, record, attempts, due FROM streamflow_items "
            "WHERE stage = ? AND due <= ? AND state = 'pending' ORDER BY due LIMIT ?",
            (stage, until, limit),
        )
        return [self._item(stage, row) for row in rows]

    async def counts(self) -> Mapping[str, Counts]:
        rows = await self._read("SELECT stage, state, count(*) FROM streamflow_items GROUP BY stage, state", ())
        return counted(rows, self._stages)

    async def rows(self, record_type: RecordType) -> Sequence[Any]:
        table = Table(record_type)
        return [table.record(row) for row in await self._read(table.select_all, ())]

    @property
    def changes(self) -> int:
        return self._writer.commits

    async def finalized(self, changes: int) -> None:
        await self._writer.finalized(changes)

    async def keep(self, texts: Mapping[str, str]) -> None:
        await self._writer.keep({f"{_KEPT}{name}": text for name, text in texts.items()})

    async def kept(self, prefix: str) -> Mapping[str, str]:
        rows = await self._read("SELECT name, value FROM streamflow_meta", ())
        start = f"{_KEPT}{prefix}"
        return {name.removeprefix(_KEPT): text for name, text in rows if name.startswith(start)}

    def differences(self) -> Iterable[Difference]:
        found = list(self._writer.differences)
        self._writer.differences.clear()
        return found

    async def close(self) -> None:
        await self._stack.aclose()

    async def _read(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows by a connection of their own: only the writer awaits the writer's connection."""

        def fetch() -> list[tuple[Any, ...]]:
            with closing(self._reading()) as connection:
                return connection.execute(sql, parameters).fetchall()

        return await asyncio.to_thread(fetch)

    def _reading(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=self._busy_timeout)

    def _item(self, stage: str, row: tuple[Any, ...]) -> Item:
        number, encoded, attempts, due = row
        kind, _ = self._stages[stage]
        try:
            record = kind.decode(encoded.encode())
        except RecordError as error:
            raise JournalMismatch(
                f"a pending item of the stage {stage!r} cannot be read: {error}; give the new fields defaults, or drop "
                f"the items with `streamflow journal drop --stage {stage}`"
            ) from error
        item = Item(stage, record, kind.key_of(record), number, attempts)
        item.due = due
        return item


def counted(rows: Iterable[tuple[Any, ...]], stages: Iterable[str]) -> dict[str, Counts]:
    """Rows of (stage, state, count) as `Counts`, stages without items included."""
    by_stage: dict[str, dict[State, int]] = {stage: {} for stage in stages}
    for stage, state, count in rows:
        by_stage.setdefault(stage, {})[State(state)] = count
    return {
        stage: Counts(*(found.get(state, 0) for state in (State.PENDING, State.DONE, State.SKIPPED, State.DEAD)))
        for stage, found in by_stage.items()
    }


async def _one(connection: aiosqlite.Connection, sql: str) -> tuple[Any, ...]:
    (row,) = await connection.execute_fetchall(sql)
    return tuple(row)


async def _migrate(connection: aiosqlite.Connection, path: Path) -> None:
    (version,) = await _one(connection, "PRAGMA user_version")
    if version > SCHEMA:
        raise DatabaseTooNew(
            f"{path} has schema {version}, this streamflow knows up to {SCHEMA}: it was written by a newer release; "
            "upgrade streamflow, or use another workspace"
        )
    for number in range(version, SCHEMA):
        # One transaction per step, version included: a killed migration starts over.
        await connection.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; "
            f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )


async def _make_tables(connection: aiosqlite.Connection, tables: Iterable[Table]) -> None:
    for table in tables:
        await connection.execute(table.create)
        present = [row[1] for row in await connection.execute_fetchall(f'PRAGMA table_info("{table.name}")')]
        for statement in table.additions(present):
            await connection.execute(statement)


def _refusal(path: Path, error: sqlite3.DatabaseError) -> Exception:
    if isinstance(error, sqlite3.OperationalError):
        return WorkspaceError(f"{path} cannot be used: {error}; check the disk, its rights and who else has it open")
    return DatabaseDamaged(
        f"{path} cannot be read as a database: {error}; restore a copy, or move it away to start anew "
        "(`sqlite3 streamflow.db .recover` saves what is readable)"
    )
