"""The schema of the database: the engine's tables by version, those of records, and refusals of what is not ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.errors import DatabaseDamaged, DatabaseTooNew, WorkspaceError
from streamflow.plain_file import NoFile, check_plain
from streamflow.storage.tables import Table
from streamflow.storage.trouble import Trouble, advice, diagnose

if TYPE_CHECKING:  # commands that only look need no aiosqlite
    import aiosqlite

SCHEMA = 2
"""Version of the engine's own tables, kept in `PRAGMA user_version`."""

APPLICATION_ID = 0x53_46_4C_57  # "SFLW", so that `file` and others can tell the database

KEPT = "kept:"
"""Begins the names of kept texts in `streamflow_meta`, which holds what the store itself must know too."""
COLUMNS = "columns"
"""Names in `streamflow_meta` the tables that the last run had, with their columns: one whose name was damaged looks as
if it had never been there."""

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


async def version_of(connection: aiosqlite.Connection, path: Path) -> int:
    """The version of the database's schema, 0 of one that is empty. Raises WorkspaceError for one that is not ours."""
    ((version, application, tables),) = await connection.execute_fetchall(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema) "
        "FROM pragma_user_version, pragma_application_id"
    )
    if application != APPLICATION_ID and (application or version or tables):
        raise foreign(path)
    if version > SCHEMA:
        raise DatabaseTooNew(
            f"{path} has schema {version}, this streamflow knows up to {SCHEMA}: it was written by a newer release; "
            "upgrade streamflow, or use another workspace"
        )
    return int(version)


async def migrate(connection: aiosqlite.Connection, version: int) -> None:
    """Bring the engine's own tables forward from a version."""
    for number in range(version, SCHEMA):
        # One transaction per step, version included: a killed migration starts over.
        await connection.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; "
            f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )


async def make_tables(connection: aiosqlite.Connection, tables: Sequence[Table]) -> None:
    """Make the tables of records, and the columns that older ones lack. Raises WorkspaceError before any is changed."""
    infos = [list(await connection.execute_fetchall(f'PRAGMA table_info("{table.name}")')) for table in tables]
    for table, info in zip(tables, infos, strict=True):
        table.check([tuple(row) for row in info])
    for table, info in zip(tables, infos, strict=True):
        await connection.execute(table.create)
        for statement in table.additions([row[1] for row in info]) if info else ():
            await connection.execute(statement)


def engine_tables(version: int) -> dict[str, set[str]]:
    """The engine's own tables in a schema of this version, with their columns."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for migration in _MIGRATIONS[:version]:
            connection.executescript(migration)
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')} for name in names}


def foreign(path: Path) -> WorkspaceError:
    """What to tell the user of a database that was never ours."""
    return WorkspaceError(f"{path} is the database of another program; move it away, or choose another workspace (-w)")


def refuse_no_files(path: Path) -> None:
    """SQLite would wait for ever on a FIFO. Raises WorkspaceError where other things than files are in the places of
    the database and of what lies beside it."""
    for end in ("", "-wal", "-shm", "-journal"):
        try:
            check_plain(path.with_name(f"{path.name}{end}"))
        except NoFile as error:
            raise WorkspaceError(
                f"{path} cannot be used: {error.strerror}. Move that away, or choose another workspace (-w)"
            ) from None


def refusal(path: Path, error: sqlite3.Error) -> WorkspaceError:
    """What to tell the user of a database that cannot be used."""
    found = diagnose(error, path.parent)
    todo = advice(found, path.parent)
    if found is Trouble.DAMAGED:
        return DatabaseDamaged(f"{path} cannot be read as a database: {error}; {todo}")
    return WorkspaceError(f"{path} cannot be used: {error}; {todo}")
