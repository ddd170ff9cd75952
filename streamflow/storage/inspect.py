"""Looking at a workspace's database from outside a run, and mending its journal while no run is on.

Readers use short-lived read-only connections, so they also work beside a run. What writes takes the workspace's lock
first: while a run holds it, only the run's writer writes.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamflow.errors import DatabaseTooNew, UsageError, WorkspaceError
from streamflow.storage import DATABASE, seal
from streamflow.storage.lock import WorkspaceLock
from streamflow.storage.schema import APPLICATION_ID, KEPT, SCHEMA, foreign, refusal, refuse_no_files
from streamflow.storage.selection import ALL, Selection, page
from streamflow.storage.selection import requeue as mark_pending
from streamflow.storage.store import Counts, State, counted
from streamflow.storage.tables import from_text, to_text

RATE_WINDOW = 60.0
"""Seconds over which a stage's rate is counted."""

_PAGE = 1000
_OPAQUE = re.compile(r"[0-9a-f]{32,}$|\[")
_DEAD = (
    "SELECT stage, key, attempts, error, admitted, started, ended, record FROM streamflow_items WHERE state = 'dead'"
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that failed for good. Times are seconds since the epoch; `record` is its JSON."""

    stage: str
    key: str
    attempts: int
    error: str
    admitted: float
    started: float | None
    ended: float | None
    record: str

    @property
    def name(self) -> str:
        """What people call it: the key; where that is a hash or a tuple, a short text of the record before it."""
        if not _OPAQUE.match(self.key):
            return self.key
        try:
            fields = json.loads(self.record)
        except ValueError:
            return self.key
        values = fields.values() if isinstance(fields, dict) else ()
        told = next((v for v in values if isinstance(v, str) and v and v not in self.key and len(v) <= 200), None)
        return self.key if told is None else f"{told} ({self.key if len(self.key) <= 24 else self.key[:12] + '…'})"


@dataclass(frozen=True, slots=True)
class Overview:
    """A journal at one moment. `rates` are items a second over the last minute; `due` is, for each stage with parked
    items, their number and the time of the earliest (seconds since the epoch)."""

    pipeline: str
    stages: Mapping[str, Counts]
    rates: Mapping[str, float] = field(default_factory=dict)
    due: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        return sum(counts.pending for counts in self.stages.values())

    @property
    def dead(self) -> int:
        return sum(counts.dead for counts in self.stages.values())


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did: items of the old stage that the new one has now, and those that it already knew."""

    moved: int
    known: int


def exists(workspace: Path) -> bool:
    """Whether the workspace has a database yet."""
    return (workspace / DATABASE).is_file()


def overview(workspace: Path, *, now: float | None = None) -> Overview:
    """Items by stage and state, in the pipeline's order. Raises WorkspaceError."""
    now = time.time() if now is None else now
    with _reading(workspace) as connection:
        pipeline = connection.execute("SELECT value FROM streamflow_meta WHERE name = 'pipeline'").fetchone()
        stages = connection.execute("SELECT value FROM streamflow_meta WHERE name = 'stages'").fetchone()
        by_state = connection.execute(
            "SELECT stage, state, count(*), min(id) FROM streamflow_items GROUP BY stage, state"
        )
        rows = sorted(by_state.fetchall(), key=lambda row: row[3])
        recent = connection.execute(
            "SELECT stage, count(*) FROM streamflow_items WHERE ended > ? AND state <> 'pending' GROUP BY stage",
            (now - RATE_WINDOW,),
        ).fetchall()
        due = connection.execute(
            "SELECT stage, count(*), min(due) FROM streamflow_items "
            "WHERE due IS NOT NULL AND state = 'pending' GROUP BY stage"
        ).fetchall()
    return Overview(
        from_text(pipeline[0]) if pipeline else "",
        counted(
            [row[:3] for row in rows],
            dict.fromkeys([*(json.loads(stages[0]) if stages else ()), *(row[0] for row in rows)]),
        ),
        {stage: count / RATE_WINDOW for stage, count in recent},
        {stage: (count, first) for stage, count, first in due},
    )


def dead_letters(workspace: Path, selection: Selection = ALL, *, limit: int | None = None) -> list[DeadLetter]:
    """Dead letters, the latest first. Raises WorkspaceError."""
    where, parameters = selection.where()
    with _reading(workspace) as connection:
        rows = connection.execute(
            f"{_DEAD}{where} ORDER BY ended DESC, id DESC LIMIT ?", (*parameters, -1 if limit is None else limit)
        ).fetchall()
    return [DeadLetter(from_text(row[0]), from_text(row[1]), row[2], from_text(row[3] or ""), *row[4:]) for row in rows]


def tables(workspace: Path) -> dict[str, int]:
    """The tables of records with their numbers of rows. Raises WorkspaceError."""
    with _reading(workspace) as connection:
        counts = {}
        for name in _names(connection):
            (counts[name],) = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()  # noqa: S608
        return counts


def contents(workspace: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables of records, sorted, without the times at which they were written. For comparing runs.

    Raises WorkspaceError.
    """
    found: dict[str, list[tuple[Any, ...]]] = {}
    with _reading(workspace) as connection:
        for name in _names(connection):
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
            wanted = ", ".join(f'"{column}"' for column in columns if column not in ("created_at", "updated_at"))
            found[name] = sorted(connection.execute(f'SELECT {wanted} FROM "{name}"').fetchall(), key=repr)  # noqa: S608
    return found


def requeue(workspace: Path, selection: Selection = ALL) -> dict[str, int]:
    """Make dead letters pending again, with all their attempts; how many of each stage.

    Raises WorkspaceLocked while a run is on, and WorkspaceError.
    """
    counts: Counter[str] = Counter()
    after = 0
    with _mending(workspace) as connection:
        while found := connection.execute(*page(selection, after=after, limit=_PAGE)).fetchall():
            after = found[-1][0]
            counts.update(from_text(stage) for _, stage in mark_pending(connection, [row[0] for row in found], None))
    return dict(counts)


def kept(workspace: Path, prefix: str) -> dict[str, str]:
    """Kept texts whose names begin with `prefix`, by the rest of their names. Raises WorkspaceError."""
    start = f"{KEPT}{prefix}"
    with _reading(workspace) as connection:
        rows = connection.execute("SELECT name, value FROM streamflow_meta ORDER BY name").fetchall()
    return {name.removeprefix(start): text for name, text in rows if name.startswith(start)}


def drop(workspace: Path, stage: str, state: State = State.PENDING) -> int:
    """Skip a stage's items of a state; how many. Raises WorkspaceLocked and WorkspaceError.

    They stay, because the journal counts on them for who emitted what; but whatever brings their keys again says
    something new.
    """
    with _mending(workspace) as connection:
        return connection.execute(
            "UPDATE streamflow_items SET state = 'skipped', hash = x'', epoch = 0, due = NULL, error = 'dropped' "
            "WHERE state = ? AND stage = ?",
            (state, to_text(stage)),
        ).rowcount


def move(workspace: Path, stage: str, to: str, state: State = State.PENDING) -> Moved:
    """Give a stage's items of a state to another one; what that already has of the same key is dropped.

    Raises WorkspaceLocked while a run is on, and WorkspaceError.
    """
    names = {"stage": to_text(stage), "to": to_text(to), "state": state}
    with _mending(workspace) as connection:
        moved = connection.execute(
            "UPDATE OR IGNORE streamflow_items SET stage = :to WHERE state = :state AND stage = :stage", names
        ).rowcount
        known = connection.execute(
            "DELETE FROM streamflow_items WHERE state = :state AND stage = :stage", names
        ).rowcount
    return Moved(moved, known)


def _names(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return [name for (name,) in rows if not name.startswith(("sqlite_", "streamflow_"))]


@contextmanager
def _reading(workspace: Path) -> Iterator[sqlite3.Connection]:
    with opened(workspace, "mode=ro") as connection:
        yield connection


@contextmanager
def _mending(workspace: Path) -> Iterator[sqlite3.Connection]:
    """A connection in one transaction, under the workspace's lock."""
    if not exists(workspace):
        raise missing(workspace)
    with WorkspaceLock(workspace), opened(workspace, "mode=rw") as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


@contextmanager
def opened(workspace: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection, `mode=ro` or `mode=rw`; the latter only under the workspace's lock. Raises WorkspaceError."""
    path = workspace / DATABASE
    if mode == "mode=rw":
        seal.check(path)  # a write would make damage look as if it had been written
    try:
        with closing(_connect(path, mode)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise refusal(path, error) from error
    if mode == "mode=rw":
        seal.seal(path)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    refuse_no_files(path)
    if not path.is_file():
        raise missing(path.parent)
    uri = path.absolute().as_uri()
    try:
        connection = sqlite3.connect(f"{uri}?{mode}", uri=True, timeout=30.0, isolation_level=None)
        version = _version(connection)
    except sqlite3.OperationalError:
        # A reader must make files beside the database. In a folder that nobody may write to nobody is writing either.
        if mode != "mode=ro" or path.with_name(f"{path.name}-wal").exists():
            raise
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
        version = _version(connection)
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        connection.close()
        raise foreign(path)
    if version > SCHEMA:
        connection.close()
        raise DatabaseTooNew(
            f"{path} has schema {version}, this streamflow knows up to {SCHEMA}: it was written by a newer release; "
            "upgrade streamflow"
        )
    if version < SCHEMA:
        connection.close()
        raise UsageError(
            f"{path} has the schema of an older release ({version}); run its pipeline once to bring it up."
        )
    return connection


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return int(version)


def missing(workspace: Path) -> WorkspaceError:
    """What to tell the user of a workspace without a database."""
    what = "holds no" if workspace.is_dir() else "is no folder with a"
    return WorkspaceError(
        f"The workspace {workspace} {what} {DATABASE}. `streamflow run` makes it; or name another (-w)."
    )
