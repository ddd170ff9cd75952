"""Pruning a workspace in which nobody works: what goes, what stays, and that a kill in the middle loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamflow import Inputs, Pipeline, Reject, Skip, Stage, record, run_pipeline
from streamflow.errors import WorkspaceError, WorkspaceLocked
from streamflow.storage import inspect, seal
from streamflow.storage.files import FileStore
from streamflow.storage.lock import WorkspaceLock
from streamflow.storage.prune import FILE_AGE, prune
from streamflow.storage.retention import Amount
from streamflow.storage.store import Counts

DAY = 86_400.0
COUNT = 40


@record(key="n")
class Scan:
    n: int
    file: str
    text: str = ""


@record(key="n", table="pictures")
class Picture:
    n: int
    file: str
    more: tuple[str, ...]


def pipeline(folder: Path) -> Pipeline:
    """Takes files in; most become rows, which name theirs, or nothing; one is skipped, one dies."""

    async def scans(inputs: Inputs) -> AsyncIterator[Scan]:
        for n in range(COUNT):
            stored = await FileStore(folder / "files").write(f"sha256/{n:02x}/{n:064x}", b"%d" % n)
            yield Scan(n, stored.path, "text " * 50)

    async def look(scan: Scan) -> Picture | None:
        if scan.n == 0:
            raise Skip("not wanted")
        if scan.n == 1:
            raise Reject("never works")
        if scan.n == 2:
            return Picture(scan.n, scan.file, ())
        if scan.n == 3:
            return Picture(scan.n, "", ("hash", f"deface{scan.n:064X}"))  # upon other digits, and in capitals
        return None

    return Pipeline("scans", sources=[scans], stages=[Stage(look)])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    asyncio.run(run_pipeline(pipeline(folder), workspace=folder))
    (folder / "logs").mkdir()
    for name in ("streamflow.jsonl", "streamflow.jsonl.1", "streamflow.jsonl.2", "streamflow.jsonl.bak"):
        (folder / "logs" / name).write_bytes(b"12345")
    os.utime(folder / "logs" / "streamflow.jsonl.2", (1.0, 1.0))
    os.utime(folder / "logs" / "streamflow.jsonl", (1.0, 1.0))
    (folder / "files" / "chosen.txt").write_text("under a name that a stage chose")
    os.link(folder / "files" / "sha256" / "04" / f"{4:064x}", tmp_path / "a-second-name")
    return folder


def files(workspace: Path) -> set[int]:
    return {int(path.name, 16) for path in (workspace / "files" / "sha256").glob("*/*")}


def ask(workspace: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(workspace / "streamflow.db")) as connection:
        return connection.execute(sql).fetchall()


ITEMS = "SELECT id, stage, key, state, hash, attempts, ended, error, record <> '' FROM streamflow_items ORDER BY id"


def test_what_is_old_and_needed_no_more_goes(workspace: Path) -> None:
    later = time.time() + 2 * FILE_AGE
    rows = inspect.contents(workspace)
    before = {name: (workspace / name).stat().st_size for name in ("streamflow.db",)}
    would = prune(workspace, DAY, dry_run=True, now=later)
    assert files(workspace) == set(range(COUNT))
    done = prune(workspace, DAY, now=later)
    assert (done.records, done.files) == (would.records, would.files)
    assert done.records.count == COUNT - 1
    assert done.records.bytes > 250 * (COUNT - 1)
    assert done.files.count == COUNT - 4
    # What a row names by path, or by hash; what a dead letter may be tried with; what has another name on the disk.
    assert files(workspace) == {1, 2, 3, 4}
    assert (workspace / "files" / "chosen.txt").exists()
    assert done.logs == Amount(2, 10)
    assert {path.name for path in (workspace / "logs").iterdir()} == {"streamflow.jsonl", "streamflow.jsonl.bak"}
    assert inspect.contents(workspace) == rows
    assert inspect.overview(workspace).stages["look"] == Counts(done=COUNT - 2, skipped=1, dead=1)
    assert [letter.key for letter in inspect.dead_letters(workspace)] == ["1"]
    assert done.database == (before["streamflow.db"], (workspace / "streamflow.db").stat().st_size)
    assert done.database[1] < done.database[0]
    assert done.reusable == 0
    assert ask(workspace, "PRAGMA integrity_check") == [("ok",)]
    assert seal.is_broken(workspace / "streamflow.db") is False, "it is sealed as after a run"
    again = prune(workspace, DAY, now=later)
    assert (again.records, again.files, again.logs) == (Amount(), Amount(), Amount())


def test_nothing_that_is_young_goes(workspace: Path) -> None:
    now = time.time()
    done = prune(workspace, DAY, now=now)
    assert (done.records, done.files) == (Amount(), Amount())
    assert done.logs == Amount(1, 5)
    assert prune(workspace, 3 * DAY, now=now + 2 * FILE_AGE).files == Amount(), "young items name them"
    at_once = prune(workspace, 0.0, now=now + 1)
    assert at_once.records.count == COUNT - 1
    assert at_once.files == Amount(), "files stay for a day"


def test_a_database_that_cannot_shrink_says_what_is_free(workspace: Path) -> None:
    """One that an earlier release made, without the map of pages that giving them back needs."""
    with closing(sqlite3.connect(workspace / "streamflow.db")) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    done = prune(workspace, 0.0, now=time.time() + 1)
    assert done.database[0] == done.database[1]
    assert done.reusable > 4096


def test_a_workspace_in_use_is_refused_but_may_be_looked_at(workspace: Path) -> None:
    with WorkspaceLock(workspace):
        with pytest.raises(WorkspaceLocked):
            prune(workspace, 0.0)
        assert prune(workspace, 0.0, dry_run=True, now=time.time() + 1).records.count == COUNT - 1


def test_a_folder_that_is_no_workspace_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"holds no streamflow\.db"):
        prune(tmp_path, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_symlinks_are_neither_followed_nor_removed(workspace: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{99:064x}").write_bytes(b"not ours")
    (workspace / "files" / "sha256" / "ff").symlink_to(outside)
    (workspace / "files" / "sha256" / "05" / f"{98:064x}").symlink_to(outside / f"{99:064x}")
    prune(workspace, 0.0, now=time.time() + 2 * FILE_AGE)
    assert (outside / f"{99:064x}").exists()
    assert (workspace / "files" / "sha256" / "05" / f"{98:064x}").is_symlink()


@pytest.mark.parametrize("point", ["before-commit", "committed"])
def test_a_kill_around_any_commit_loses_nothing(workspace: Path, tmp_path: Path, point: str) -> None:
    program = (
        "import sys; from pathlib import Path; from streamflow.storage import prune;"
        "prune.LOOK = prune.LOOK.replace('1000', '10'); prune.prune(Path(sys.argv[1]), 0.0, now=9e9)"
    )
    whole = [row[:-1] for row in ask(workspace, ITEMS)]
    for nth in (1, 3):
        fired = tmp_path / f"fired {nth}"
        variables = {"STREAMFLOW_FAILPOINTS": f"{point}:{nth}:kill", "STREAMFLOW_FAILPOINTS_LOG": str(fired)}
        killed = subprocess.run([sys.executable, "-c", program, workspace], env=os.environ | variables, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert fired.exists()
        assert [row[:-1] for row in ask(workspace, ITEMS)] == whole
    left = sum(row[-1] for row in ask(workspace, ITEMS))
    assert 0 < left < COUNT
    prune(workspace, 0.0, now=9e9)
    assert [row[:-1] for row in ask(workspace, ITEMS)] == whole
    assert [row[2] for row in ask(workspace, ITEMS) if row[-1]] == ["1"]
    assert files(workspace) == {1, 2, 3, 4}
    asyncio.run(run_pipeline(pipeline(workspace), workspace=workspace))
    assert inspect.overview(workspace).stages["look"] == Counts(done=COUNT - 2, skipped=1, dead=1)
