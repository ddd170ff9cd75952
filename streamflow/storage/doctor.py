"""Examining a workspace: can it be written to, is the database whole, are the files there that it names.

Only reads. Each of the checks that take time for large workspaces is ended after a while, and says that it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from streamflow.errors import WorkspaceError
from streamflow.storage import DATABASE, seal
from streamflow.storage.files import FileStore
from streamflow.storage.journal import MERGING, is_as_admitted
from streamflow.storage.lock import holder
from streamflow.storage.references import record_tables, references
from streamflow.storage.schema import APPLICATION_ID, COLUMNS, SCHEMA, engine_tables, refuse_no_files
from streamflow.storage.store import State
from streamflow.storage.trouble import Trouble, remedy, trouble
from streamflow.units import byte_count

LITTLE = 100 * 2**20
"""Bytes of room below which a disk is said to be nearly full."""
LARGE_LOG = 64 * 2**20
"""Bytes of SQLite's write-ahead log that it only grows to when something keeps it from being taken in."""
_LOOK_EVERY = 1000
"""SQLite's own steps between two looks at the time."""
_NAMED = 3

IsLate = Callable[[], bool]
Verdict = Literal["ok", "note", "unfinished", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found; `todo` says what to do about it."""

    check: str
    verdict: Verdict
    found: str
    todo: str = ""


def examine(
    workspace: Path, *, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
) -> Iterator[Finding]:
    """Check after check, cheap ones first. `seconds` bounds each of those that read much.

    Raises WorkspaceError where there is no such folder.
    """
    if not workspace.is_dir():
        raise WorkspaceError(f"{workspace} is no folder. `streamflow run` makes it; or name another (-w).")
    yield _rights(workspace)
    yield _room(workspace)
    held = holder(workspace)
    yield _holder(held)
    path = workspace / DATABASE
    try:
        refuse_no_files(path)
    except WorkspaceError as error:
        yield Finding("database", "bad", str(error), "nothing else can be looked at before")
        return
    if not path.exists():
        yield _no_database(held)
        return
    yield _write_ahead_log(path, held is not None)
    yield _seal(path, held is not None)
    try:
        with closing(_connect(path)) as connection:
            yield (schema := _schema(connection, path))
            if schema.verdict == "bad" or "empty" in schema.found:
                return
            for look in (_journal, _records, _pages, _files):
                yield look(connection, workspace, _after(seconds, clock))
    except sqlite3.Error as error:
        yield _broken("database", error, workspace)


def _after(seconds: float, clock: Callable[[], float]) -> IsLate:
    until = clock() + seconds
    return lambda: clock() > until


def _rights(workspace: Path) -> Finding:
    if os.statvfs(workspace).f_flag & os.ST_RDONLY:
        return Finding(
            "rights", "bad", "the file system is mounted for reading only", remedy(Trouble.READ_ONLY, workspace)
        )
    ours = [
        workspace,
        *(workspace / name for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "files", "logs")),
    ]
    closed = [path.name for path in ours if path.exists() and not os.access(path, _needed(path))]
    if closed:
        todo = f"give yourself the rights to read and write {', '.join(closed)}, or run as their owner"
        return Finding("rights", "bad", f"{', '.join(closed)} cannot be read and written", todo)
    return Finding("rights", "ok", "everything can be read and written")


def _needed(path: Path) -> int:
    return os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)


def _room(workspace: Path) -> Finding:
    free, status = shutil.disk_usage(workspace).free, os.statvfs(workspace)
    todo = remedy(Trouble.FULL, workspace)
    if status.f_files and not status.f_favail:
        return Finding("room", "bad", "the file system takes no more files (no inodes are left)", todo)
    if free < LITTLE:
        return Finding("room", "bad" if free < 2**20 else "note", f"{byte_count(free)} are left on the disk", todo)
    return Finding("room", "ok", f"{byte_count(free)} are left on the disk")


def _holder(held: dict[str, object] | None) -> Finding:
    if held is None:
        return Finding("holder", "ok", "no process works in it")
    return Finding("holder", "ok", f"process {held.get('pid', '?')} works in it since {held.get('since', '?')}")


def _no_database(held: dict[str, object] | None) -> Finding:
    if held is None:
        return Finding("database", "note", f"there is no {DATABASE} yet", "the first run makes it")
    found = (
        f"there is no {DATABASE}, though process {held.get('pid', '?')} works in it: it has only just begun, or lost it"
    )
    todo = "look again; a run that has lost its database ends by itself within seconds, and says what is lost"
    return Finding("database", "bad", found, todo)


def _write_ahead_log(path: Path, is_held: bool) -> Finding:
    log = path.with_name(f"{path.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    told = f"{byte_count(size)} are written and not yet in {path.name} itself"
    if not size:
        return Finding("wal", "ok", f"everything that was written is in {path.name}")
    if not is_held:
        todo = f"nothing: the next run takes it in. Never remove {log.name}, and copy it along with {path.name}"
        return Finding("wal", "note", f"{told}: a run was killed, or somebody reads", todo)
    if size > LARGE_LOG:
        todo = "close what reads the database all the time, such as a database browser in a transaction"
        return Finding("wal", "note", told, todo)
    return Finding("wal", "ok", told)


def _seal(path: Path, is_held: bool) -> Finding:
    is_broken = seal.is_broken(path)
    if is_broken:
        return Finding("seal", "bad", seal.BROKEN, f"{remedy(Trouble.DAMAGED, path.parent)}; {seal.ACCEPT}")
    if is_broken is not None:
        return Finding("seal", "ok", f"every byte of {path.name} is as the last run left it")
    if is_held:
        return Finding("seal", "ok", "none while a process works in it")
    told = "none, so a bit that the disk flipped within a text is found only where the journal tells"
    return Finding("seal", "note", told, "nothing: the next run that ends by itself makes one")


def _connect(path: Path) -> sqlite3.Connection:
    uri = path.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=5.0, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if trouble(error) not in (Trouble.UNOPENABLE, Trouble.READ_ONLY) or path.with_name(f"{path.name}-wal").exists():
            raise
        # A folder that nobody may write to: what a reader needs beside the database cannot be made.
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
    return connection


def _schema(connection: sqlite3.Connection, path: Path) -> Finding:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables and not version and not application:
        return Finding("schema", "note", f"{path.name} is empty: a first run was ended at its start", "nothing")
    if application != APPLICATION_ID:
        todo = "move it away, or choose another workspace (-w)"
        return Finding("schema", "bad", "it is the database of another program", todo)
    if version > SCHEMA:
        told = f"schema {version} of a newer release; this one knows up to {SCHEMA}"
        return Finding("schema", "bad", told, "upgrade streamflow")
    for table, columns in [*engine_tables(version).items(), *_made(connection)]:
        there = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
        if missing := sorted(columns - there):
            told = f"{table} lacks {', '.join(missing)}" if there else f"the table {table} is missing"
            return Finding("schema", "bad", told, remedy(Trouble.CHANGED, path.parent))
    if version < SCHEMA:
        return Finding("schema", "note", f"schema {version}, of an older release", "nothing: the next run brings it up")
    return Finding("schema", "ok", f"schema {version}, {len(record_tables(connection))} tables of records")


def _made(connection: sqlite3.Connection) -> list[tuple[str, set[str]]]:
    """The tables that the last run had, with their columns."""
    try:
        row = connection.execute("SELECT value FROM streamflow_meta WHERE name = ?", (COLUMNS,)).fetchone()
        return [(table, set(columns)) for table, columns in json.loads(row[0]).items()] if row else []
    except (sqlite3.Error, ValueError):
        return []  # told by the other checks


def _journal(connection: sqlite3.Connection, workspace: Path, is_late: IsLate) -> Finding:
    try:
        with _interrupted(connection, is_late):
            meta = dict(connection.execute("SELECT name, value FROM streamflow_meta").fetchall())
            counts: dict[str, int] = dict(
                connection.execute("SELECT state, count(*) FROM streamflow_items GROUP BY state").fetchall()
            )
            ((ahead,),) = connection.execute(
                "SELECT count(*) FROM streamflow_items WHERE epoch > ?", (int(meta.get("epoch", 0)),)
            )
            ((unreadable,),) = connection.execute(
                "SELECT count(*) FROM streamflow_items WHERE state IN ('pending', 'dead') AND NOT json_valid(record)"
            )
    except _Late:
        return _unfinished("journal")
    except sqlite3.Error as error:
        return _broken("journal", error, workspace)
    problems = [
        f"{counts[state]:,} items are {state!r}, which is no state" for state in sorted(set(counts) - set(State))
    ]
    problems += ["it does not say which pipeline it belongs to"] if "pipeline" not in meta else []
    problems += [f"{ahead:,} items are of an epoch that has not begun"] if ahead else []
    problems += [f"{unreadable:,} items that are not done have records that are no JSON"] if unreadable else []
    if problems:
        return Finding("journal", "bad", "; ".join(problems), "restore a copy: it was edited by hand")
    told = ", ".join(f"{counts[state]:,} {state.value}" for state in State if counts.get(state))
    return Finding("journal", "ok", f"items: {told or 'none'}")


def _records(connection: sqlite3.Connection, workspace: Path, is_late: IsLate) -> Finding:
    """Whether the journal's records have the hash with which they were admitted."""
    compared, different = 0, []
    try:
        with _interrupted(connection, is_late):
            meta = connection.execute("SELECT value FROM streamflow_meta WHERE name = ?", (MERGING,)).fetchone()
            merging: list[list[str]] = json.loads(meta[0]) if meta else []
            # What was dropped has no hash.
            rows = connection.execute(
                "SELECT stage, key, CAST(record AS BLOB), hash FROM streamflow_items WHERE record <> '' AND hash <> x''"
            )
            for stage, key, record, hashed in rows if merging else ():
                compared += 1
                different += [] if is_as_admitted(record, hashed, merging) else [f"{key} of {stage}"]
    except _Late:
        return replace(_unfinished("records"), found=f"the first {compared:,} were compared with their hash")
    except (sqlite3.Error, ValueError) as error:
        return _broken("records", error, workspace)
    if different:
        told = f"of the journal's {compared:,} records, {len(different):,} are not as they were admitted"
        return Finding("records", "bad", f"{told} ({_some(different)})", remedy(Trouble.DAMAGED, workspace))
    return Finding("records", "ok", f"the journal's {compared:,} records are as they were admitted")


def _pages(connection: sqlite3.Connection, workspace: Path, is_late: IsLate) -> Finding:
    try:
        with _interrupted(connection, is_late):
            problems = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_NAMED})")]
    except _Late:
        return _unfinished("pages")
    except sqlite3.Error as error:
        return _broken("pages", error, workspace)
    if problems == ["ok"]:
        return Finding("pages", "ok", "SQLite finds every page and every index whole")
    told = "; ".join(" ".join(problem.split()) for problem in problems)
    return Finding("pages", "bad", told, remedy(Trouble.DAMAGED, workspace))


def _files(connection: sqlite3.Connection, workspace: Path, is_late: IsLate) -> Finding:
    """Whether the files that rows name are there; then, as long as there is time, whether their bytes are the same."""
    store = FileStore(workspace / "files")
    named: dict[str, str | None] = {}
    try:
        with _interrupted(connection, is_late):
            for reference in references(connection):
                named[reference.path] = reference.sha256 or named.get(reference.path)
    except _Late:
        return _unfinished("files")
    except (sqlite3.Error, ValueError) as error:
        return _broken("files", error, workspace)
    missing = {path: None for path in named if not _is_there(store, path)}
    different: list[str] = []
    compared = 0
    for path, digest in named.items():
        if is_late():
            break
        if digest is not None and path not in missing:
            compared += 1
            different += [] if _hash(store.locate(path)) == digest else [path]
    problems = [f"{len(missing):,} are missing ({_some([*missing])})"] if missing else []
    problems += [f"{len(different):,} have other bytes ({_some(different)})"] if different else []
    if problems:
        todo = "restore them from a copy, or let their items run again: `streamflow run --refresh`"
        return Finding("files", "bad", f"of {len(named):,} files that rows name, {'; '.join(problems)}", todo)
    told = f"{len(named):,} are named, and there; the bytes of {compared:,} were compared with their hash"
    if is_late():
        return replace(_unfinished("files"), found=told)
    return Finding("files", "ok", told if named else "no row names a file")


def _is_there(store: FileStore, path: str) -> bool:
    try:
        return store.locate(path).is_file()
    except (OSError, ValueError):
        return False


def _hash(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_NAMED]) + (", …" if len(paths) > _NAMED else "")


class _Late(Exception):
    """The time of a check is over."""


@contextmanager
def _interrupted(connection: sqlite3.Connection, is_late: IsLate) -> Iterator[None]:
    """Let SQLite look at the time now and then. Raises `_Late`."""
    connection.set_progress_handler(is_late, _LOOK_EVERY)
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            raise _Late from error
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _unfinished(check: str) -> Finding:
    return Finding(check, "unfinished", "there was no time to look at all of it", "give it more: --seconds")


def _broken(check: str, error: Exception, workspace: Path) -> Finding:
    return Finding(check, "bad", str(error), remedy(trouble(error), workspace))
