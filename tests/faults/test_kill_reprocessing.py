"""A run that does things again, retracts and fills may be killed around any commit: gone on with, it ends the same."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.reprocess import work

QUERIES = (
    "SELECT n, said_by FROM middles ORDER BY 1",
    "SELECT n, m FROM leaves ORDER BY 1, 2",
    "SELECT n FROM rates ORDER BY 1",
    "SELECT stage, key, state, record FROM streamflow_items ORDER BY 1, 2",
    "SELECT * FROM streamflow_orphans",
)


@pytest.mark.parametrize("how", ["refresh", "stale"])
def test_a_kill_around_any_commit_of_a_second_run_changes_nothing(
    tmp_path: Path, how: str, pytestconfig: pytest.Config
) -> None:
    for name, age in (("first", 1), ("fresh", 2)):
        (tmp_path / name).mkdir()
        asyncio.run(work(tmp_path / name, age))
    command = [sys.executable, "-m", "tests.faults.reprocess", str(tmp_path), how]
    subprocess.run(command, check=True, cwd=pytestconfig.rootpath, timeout=120)
    wanted = contents(tmp_path / "fresh")
    assert wanted != contents(tmp_path / "first")
    killed = [folder for folder in tmp_path.iterdir() if folder.name.startswith(how)]
    assert len(killed) > 20
    for folder in killed:
        assert contents(folder) == wanted, folder.name


def contents(folder: Path) -> list[list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        return [connection.execute(query).fetchall() for query in QUERIES if "rates" not in query or "rates" in tables]
