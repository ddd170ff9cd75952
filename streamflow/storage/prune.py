"""Making a workspace smaller: records of items that ended long ago, files that nothing names, old logs.

Each step is a transaction or the removal of one file, in an order in which any of them may be the last: what a killed
one has not done, the next one does.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from streamflow.failpoints import failpoint
from streamflow.storage import DATABASE
from streamflow.storage.inspect import missing, opened
from streamflow.storage.lock import WorkspaceLock
from streamflow.storage.references import record_tables
from streamflow.storage.retention import LOOK, OLD, Amount, forget
from streamflow.storage.writer import transaction

FILE_AGE = 86_400.0
"""Seconds for which a file stays at least, since its name or its bytes last changed."""
_PAGES = 2_000
"""Free pages that one transaction gives back to the disk."""

_HASH = re.compile(r"[0-9a-f]{64}")
_HASHES = re.compile(r"(?=([0-9a-f]{64}))")  # those too that follow right upon another such digit
_SUM_OLD = f"SELECT count(*), coalesce(sum(length(CAST(record AS BLOB))), 0) FROM streamflow_items WHERE {OLD}"  # noqa: S608
_STAYING = f"SELECT record FROM streamflow_items WHERE record <> '' AND NOT ({OLD})"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be. `database` is the size of the database's files before and after, in bytes;
    `reusable` is how much of it is free for what comes."""

    records: Amount
    files: Amount
    logs: Amount
    database: tuple[int, int]
    reusable: int


def prune(workspace: Path, older_than: float, *, dry_run: bool = False, now: float | None = None) -> Pruned:
    """Remove what has not been needed for `older_than` seconds; with `dry_run` only look, also while a run is on.

    Raises WorkspaceLocked while a run is on, and WorkspaceError.
    """
    now = time.time() if now is None else now
    before = now - older_than
    if not (workspace / DATABASE).is_file():
        raise missing(workspace)
    with nullcontext() if dry_run else WorkspaceLock(workspace):
        size = _size(workspace)
        with opened(workspace, "mode=ro" if dry_run else "mode=rw") as connection:
            records = _old(connection, before) if dry_run else _forget_all(connection, before)
            files = unreferenced(connection, workspace / "files", before, now)
            if not dry_run:
                _remove(files)
                _give_back(connection)
            reusable = _free(connection)
        logs = {path: path.stat().st_size for path in _put_aside(workspace) if path.stat().st_mtime < before}
        if not dry_run:
            _remove(logs)
        return Pruned(records, _amount(files), _amount(logs), (size, _size(workspace)), reusable)


def _old(connection: sqlite3.Connection, before: float) -> Amount:
    return Amount(*connection.execute(_SUM_OLD, (before,)).fetchone())


def _forget_all(connection: sqlite3.Connection, before: float) -> Amount:
    total, after = Amount(), 0
    while rows := connection.execute(LOOK, (before, after)).fetchall():
        if ids := [number for number, is_old in rows if is_old]:
            with transaction(connection):
                total = total.plus(forget(connection, ids, before))
                failpoint("before-commit")
            failpoint("committed")
        after = rows[-1][0]
    return total


def unreferenced(connection: sqlite3.Connection, root: Path, before: float, now: float) -> dict[Path, int]:
    """Files below `root` that were taken in, that nothing in the database names, neither by path nor by hash, and that
    have no other name on the disk; with their sizes."""
    found = {path.name: (path, size) for path, size in _taken_in(root, min(before, now - FILE_AGE))}
    if found:
        for text in _texts(connection, before):
            for digest in _HASHES.findall(text.lower()):
                found.pop(digest, None)
    return dict(found.values())


def _taken_in(root: Path, before: float) -> Iterator[tuple[Path, int]]:
    place = root / "sha256"
    if not place.is_dir() or place.is_symlink():
        return
    for folder in place.iterdir():
        if folder.is_symlink() or not folder.is_dir():
            continue
        for path in folder.iterdir():
            status = path.lstat()
            is_plain = path.is_file() and not path.is_symlink() and _HASH.fullmatch(path.name)
            # The time of the last change of its names, not of its bytes: that of a file that was linked is its user's.
            if is_plain and status.st_nlink == 1 and status.st_ctime < before:
                yield path, status.st_size


def _texts(connection: sqlite3.Connection, before: float) -> Iterator[str]:
    """All texts of the database that stay, and may name a file."""
    for (record,) in connection.execute(_STAYING, (before,)):
        yield record
    for table in ["streamflow_meta", *record_tables(connection)]:
        for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - its own names
            yield from (value for value in row if isinstance(value, str))


def _give_back(connection: sqlite3.Connection) -> None:
    """Give free pages back to the disk, in a database that was made so that it can."""
    if connection.execute("PRAGMA auto_vacuum").fetchone() != (2,):
        return
    while free := connection.execute("PRAGMA freelist_count").fetchone()[0]:
        # A script: `execute` would take one step of it, which is one page.
        connection.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
        if connection.execute("PRAGMA freelist_count").fetchone()[0] >= free:
            return


def _free(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages * size)


def _put_aside(workspace: Path) -> list[Path]:
    return [path for path in (workspace / "logs").glob("streamflow.jsonl.*") if path.suffix[1:].isdecimal()]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()


def _amount(files: dict[Path, int]) -> Amount:
    return Amount(len(files), sum(files.values()))


def _size(workspace: Path) -> int:
    paths = (workspace / DATABASE, workspace / f"{DATABASE}-wal")
    return sum(path.stat().st_size for path in paths if path.exists())
