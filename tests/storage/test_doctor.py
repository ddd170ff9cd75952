"""The doctor finds what is wrong with a workspace, says what to do, and changes nothing."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from streamflow.errors import WorkspaceError
from streamflow.record import record, record_type
from streamflow.storage.doctor import Finding, examine
from streamflow.storage.files import FileStore
from streamflow.storage.lock import WorkspaceLock
from streamflow.storage.schema import SCHEMA
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item, Plan, State


@record(key="n")
class Input:
    n: int
    path: str


@record(key="n", table="kept")
class Kept:
    n: int
    file: str
    sha256: str
    text: str = ""


PLAN = Plan("test", {"stage": (record_type(Input), 1)}, [record_type(Kept)])
TAKEN_IN = b"bytes that were taken in"
WRITTEN = b"bytes that a stage wrote"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with items, rows and files, as a run leaves it."""
    import asyncio

    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "given").write_bytes(TAKEN_IN)

    async def fill() -> None:
        files, store = FileStore(folder / "files"), SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
        await store.open(PLAN)
        try:
            stored = await files.ingest(tmp_path / "given")
            items = await store.commit(
                Completion(None, State.DONE, [Item("stage", Input(n, stored.path), n) for n in range(300)])
            )
            written = await files.write("by/name.bin", WRITTEN)
            for it in items[:200]:
                row = Kept(it.record.n, written.path, written.sha256, "x" * 500)
                await store.commit(Completion(it, State.DONE, (), [row]))
        finally:
            await store.close()

    asyncio.run(fill())
    return folder


def findings(workspace: Path, **options: object) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(workspace, **options)}  # type: ignore[arg-type]


def change(workspace: Path, sql: str) -> None:
    with closing(sqlite3.connect(workspace / "streamflow.db")) as connection:
        connection.executescript(sql)


def everything(workspace: Path) -> dict[str, bytes]:
    """All files but those that SQLite makes for whoever reads."""
    paths = [path for path in sorted(workspace.rglob("*")) if not path.name.endswith(("-wal", "-shm"))]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def test_a_sound_workspace_is_found_so_and_left_as_it_is(workspace: Path) -> None:
    before = everything(workspace)
    found = findings(workspace)
    assert {finding.verdict for finding in found.values() if finding.check != "room"} == {"ok"}
    assert found["journal"].found == "items: 100 pending, 200 done"
    assert found["files"].found.startswith("2 are named, and there; the bytes of 2")
    assert everything(workspace) == before


def test_a_folder_without_a_database_and_no_folder(tmp_path: Path) -> None:
    assert findings(tmp_path)["database"].verdict == "note"
    with pytest.raises(WorkspaceError, match="is no folder"):
        findings(tmp_path / "missing")
    sqlite3.connect(tmp_path / "streamflow.db").close()
    (tmp_path / "streamflow.db").touch()
    assert findings(tmp_path)["schema"].verdict == "note", "a first run was killed before it had made its tables"


def flip(workspace: Path) -> None:
    """Damage the middle of a page that holds rows, as a failing disk would."""
    path = workspace / "streamflow.db"
    bytes_ = bytearray(path.read_bytes())
    for page in range(20, 30):
        bytes_[page * 4096 + 8 : page * 4096 + 200] = os.urandom(192)
    path.write_bytes(bytes_)


def cut(workspace: Path) -> None:
    path = workspace / "streamflow.db"
    path.write_bytes(path.read_bytes()[: 20 * 4096])


def overwrite(workspace: Path) -> None:
    (workspace / "streamflow.db").write_bytes(b"this is no database" * 999)


@pytest.mark.parametrize("damage", [flip, cut, overwrite])
def test_a_damaged_database_is_told(workspace: Path, damage: Callable[[Path], None]) -> None:
    damage(workspace)
    bad = [finding for finding in findings(workspace).values() if finding.verdict == "bad"]
    assert bad
    assert any("restore a copy" in finding.todo for finding in bad)


ILL = [
    ("PRAGMA application_id = 7", "schema", "another program", "move it away"),
    (f"PRAGMA user_version = {SCHEMA + 1}", "schema", "newer release", "upgrade"),
    ("DROP TABLE streamflow_meta", "schema", "streamflow_meta is missing", "restore a copy"),
    ("ALTER TABLE streamflow_items DROP COLUMN attempts", "schema", "lacks attempts", "restore a copy"),
    ("ALTER TABLE kept RENAME COLUMN text TO tezt", "schema", "kept lacks text", "restore a copy"),
    ("ALTER TABLE kept RENAME TO kepd", "schema", "the table kept is missing", "restore a copy"),
    ("UPDATE streamflow_items SET state = 'gone' WHERE id < 3", "journal", "2 items are 'gone'", "restore a copy"),
    ("UPDATE streamflow_items SET epoch = 99 WHERE id = 3", "journal", "an epoch that has not begun", "restore"),
    ("UPDATE streamflow_items SET record = '{' WHERE id = 300", "journal", "no JSON", "restore a copy"),
    (
        "UPDATE streamflow_items SET record = replace(record, '7', '8') WHERE key IN ('7', '107')",
        "records",
        "of the journal's 300 records, 2 are not as they were admitted (7 of stage, 107 of stage)",
        "restore a copy",
    ),
    ("DELETE FROM streamflow_meta", "journal", "which pipeline", "restore a copy"),
]


@pytest.mark.parametrize(("sql", "check", "found", "todo"), ILL, ids=[sql for sql, *_ in ILL])
def test_what_was_edited_by_hand_is_told(workspace: Path, sql: str, check: str, found: str, todo: str) -> None:
    change(workspace, sql)
    finding = findings(workspace)[check]
    assert finding.verdict == "bad"
    assert found in finding.found
    assert todo in finding.todo


def test_files_that_are_missing_or_have_other_bytes_are_told(workspace: Path) -> None:
    (workspace / "files" / "by" / "name.bin").write_bytes(WRITTEN.upper())
    finding = findings(workspace)["files"]
    assert (finding.verdict, "1 have other bytes (files/by/name.bin)" in finding.found) == ("bad", True)
    digest = hashlib.sha256(TAKEN_IN).hexdigest()
    (workspace / "files" / "sha256" / digest[:2] / digest).unlink()
    finding = findings(workspace)["files"]
    assert "of 2 files that rows name, 1 are missing" in finding.found
    assert "--refresh" in finding.todo


def test_a_row_that_leads_out_of_the_workspace_is_not_followed(workspace: Path) -> None:
    change(workspace, "UPDATE kept SET file = 'files/../../given' WHERE n = 7")
    finding = findings(workspace)["files"]
    assert "1 are missing (files/../../given)" in finding.found


def test_what_a_killed_run_had_written_last_is_no_damage(workspace: Path) -> None:
    database = workspace / "streamflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE kept SET text = 'y'")
        connection.commit()
        log = database.with_name("streamflow.db-wal").read_bytes()
        before = database.read_bytes()
    database.write_bytes(before)
    database.with_name("streamflow.db-wal").write_bytes(log)
    found = findings(workspace)
    assert found["wal"].verdict == "note"
    assert "Never remove" in found["wal"].todo
    assert found["pages"].verdict == "ok"


def test_who_holds_it_is_told(workspace: Path) -> None:
    with WorkspaceLock(workspace):
        found = findings(workspace)
        assert f"process {os.getpid()} works in it" in found["holder"].found
    assert findings(workspace)["holder"].found == "no process works in it"


def test_a_process_without_a_database_is_ill(tmp_path: Path) -> None:
    with WorkspaceLock(tmp_path):
        found = findings(tmp_path)["database"]
    assert found.verdict == "bad"
    assert f"process {os.getpid()} works in it" in found.found
    assert findings(tmp_path)["database"].todo == "the first run makes it"


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_a_check_that_takes_too_long_is_ended_and_says_so(workspace: Path, seconds: float) -> None:
    """Each look at this clock takes a second."""
    ticking: Iterator[int] = count()
    found = findings(workspace, seconds=seconds, clock=lambda: float(next(ticking)))
    assert found["files"].verdict == "unfinished"
    assert "--seconds" in found["files"].todo
    assert not [finding for finding in found.values() if finding.verdict == "bad"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_rights_that_are_missing_are_told(workspace: Path) -> None:
    (workspace / "files").chmod(0o500)
    try:
        finding = findings(workspace)["rights"]
    finally:
        (workspace / "files").chmod(0o700)
    assert finding.verdict == "bad"
    assert "files cannot be read and written" in finding.found
