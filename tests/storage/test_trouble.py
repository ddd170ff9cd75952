"""Which errors are the storage's own trouble, which of it passes, and what to do about it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.storage.trouble import PASSING, Trouble, advice, diagnose, has_room, lacks_room, trouble

CODES = [
    ("SQLITE_FULL", Trouble.FULL),
    ("SQLITE_BUSY", Trouble.LOCKED),
    ("SQLITE_BUSY_RECOVERY", Trouble.LOCKED),
    ("SQLITE_BUSY_SNAPSHOT", Trouble.LOCKED),
    ("SQLITE_PROTOCOL", Trouble.LOCKED),
    ("SQLITE_IOERR", Trouble.FAILING),
    ("SQLITE_IOERR_WRITE", Trouble.FAILING),
    ("SQLITE_IOERR_FSYNC", Trouble.FAILING),
    ("SQLITE_IOERR_SHMSIZE", Trouble.FAILING),
    ("SQLITE_CANTOPEN", Trouble.UNOPENABLE),
    ("SQLITE_CANTOPEN_ISDIR", Trouble.UNOPENABLE),
    ("SQLITE_PERM", Trouble.UNOPENABLE),
    ("SQLITE_READONLY", Trouble.READ_ONLY),
    ("SQLITE_READONLY_DBMOVED", Trouble.READ_ONLY),
    ("SQLITE_CORRUPT", Trouble.DAMAGED),
    ("SQLITE_CORRUPT_INDEX", Trouble.DAMAGED),
    ("SQLITE_NOTADB", Trouble.DAMAGED),
    ("SQLITE_ERROR", Trouble.CHANGED),
    ("SQLITE_SCHEMA", Trouble.CHANGED),
    ("SQLITE_NOMEM", Trouble.UNKNOWN),
    ("SQLITE_LOCKED", Trouble.UNKNOWN),
    ("SQLITE_CONSTRAINT_UNIQUE", None),
    ("SQLITE_CONSTRAINT_NOTNULL", None),
    ("SQLITE_MISMATCH", None),
    ("SQLITE_TOOBIG", None),
    ("SQLITE_RANGE", None),
]


@pytest.mark.parametrize(("name", "expected"), CODES)
def test_sqlites_result_codes(name: str, expected: Trouble | None) -> None:
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorname = name
    assert trouble(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Trouble.FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Trouble.FULL),
        (PermissionError(errno.EACCES, "Permission denied"), None),
        (OSError("without a number"), None),
        (ValueError("no trouble of the disk"), None),
        (sqlite3.ProgrammingError("binding a list"), None),
        (sqlite3.InterfaceError("as older releases call it"), None),
        (sqlite3.OperationalError("without a code"), Trouble.UNKNOWN),
    ],
)
def test_other_errors(error: Exception, expected: Trouble | None) -> None:
    assert trouble(error) is expected


def test_a_full_disk_is_found_behind_the_error_that_a_stage_made_of_it() -> None:
    error = ValueError("kept nothing")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert trouble(error) is Trouble.FULL


def _full(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "full.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def _locked(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "locked.db", isolation_level=None)) as one:
        one.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(folder / "locked.db", timeout=0)) as other:
            other.execute("CREATE TABLE t (a)")


def _no_database(folder: Path) -> None:
    (folder / "none.db").write_bytes(b"this is no database" * 100)
    with closing(sqlite3.connect(folder / "none.db")) as connection:
        connection.execute("SELECT * FROM sqlite_schema")


def _no_table(folder: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("SELECT * FROM streamflow_items")


def _a_folder(folder: Path) -> None:
    (folder / "folder.db").mkdir()
    with closing(sqlite3.connect(folder / "folder.db")) as connection:
        connection.execute("SELECT * FROM sqlite_schema")


def _only_for_reading(folder: Path) -> None:
    sqlite3.connect(folder / "read.db").close()
    with closing(sqlite3.connect(f"file:{folder}/read.db?mode=ro", uri=True)) as connection:
        connection.execute("CREATE TABLE t (a)")


def _not_unique(folder: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a UNIQUE)")
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), (1,)])


def _too_large(folder: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100)
        connection.execute("SELECT ?", ("a" * 200,))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_full, Trouble.FULL),
        (_locked, Trouble.LOCKED),
        (_no_database, Trouble.DAMAGED),
        (_no_table, Trouble.CHANGED),
        (_a_folder, Trouble.UNOPENABLE),
        (_only_for_reading, Trouble.READ_ONLY),
        (_not_unique, None),
        (_too_large, None),
    ],
)
def test_what_sqlite_itself_raises(tmp_path: Path, make: Callable[[Path], None], expected: Trouble | None) -> None:
    with pytest.raises(sqlite3.Error) as raised:
        make(tmp_path)
    assert trouble(raised.value) is expected


def test_only_what_passes_by_itself_is_waited_for() -> None:
    assert set(PASSING) == {Trouble.FULL, Trouble.LOCKED}


def test_an_error_that_may_stand_for_a_full_disk_is_looked_into(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
    assert diagnose(error, tmp_path) is Trouble.FAILING, "there is room"


def test_a_folder_that_cannot_be_tried_is_not_taken_for_a_full_one(tmp_path: Path) -> None:
    assert has_room(tmp_path)
    assert has_room(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_folder_s_if_a_file_of_it_could_not_be_written(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    lines = [("ws/files/large", True), ("elsewhere/large", False), (None, False)]
    for name, expected in lines:
        error = OSError(errno.ENOSPC, "No space left on device", name and str(tmp_path / name))
        wrapped = ValueError("could not be kept")
        wrapped.__cause__ = error
        assert [lacks_room(each, workspace) for each in (error, wrapped)] == [expected] * 2


@pytest.mark.parametrize("found", [*Trouble, None])
def test_there_is_something_to_do_about_each(found: Trouble | None) -> None:
    assert len(advice(found, Path("library"))) > 20
