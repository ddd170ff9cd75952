"""Databases of every schema that was ever written open, come forward, and are gone on with to the right results."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamflow import run_pipeline
from streamflow.errors import DatabaseTooNew, UsageError
from streamflow.storage import inspect
from streamflow.storage.schema import SCHEMA
from streamflow.storage.store import Counts
from tests.storage.fixtures.books import pipeline

FIXTURES = Path(__file__).parent / "fixtures"
SCHEMAS = range(1, SCHEMA + 1)


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def workspace(tmp_path: Path, schema: int) -> Path:
    """One in which an old release was stopped in the middle."""
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(FIXTURES / f"schema-{schema}.db", folder / "streamflow.db")
    return folder


def test_each_schema_has_its_database() -> None:
    """Whoever raises `SCHEMA` adds one of the schema before it is raised; `fixtures/books.py` says how."""
    told = {path.name: ask(path, "PRAGMA user_version") for path in FIXTURES.glob("*.db")}
    assert told == {f"schema-{schema}.db": [(schema,)] for schema in SCHEMAS}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.asyncio
async def test_a_run_that_an_old_release_began_is_gone_on_with(workspace: Path, tmp_path: Path, schema: int) -> None:
    mended = pipeline(is_mended=True)
    await run_pipeline(mended, workspace=workspace)
    assert ask(workspace / "streamflow.db", "PRAGMA user_version") == [(SCHEMA,)]
    assert ask(workspace / "streamflow.db", "PRAGMA integrity_check") == [("ok",)]
    assert inspect.overview(workspace).stages["split"] == Counts(done=5, skipped=1, dead=1)
    assert inspect.requeue(workspace) == {"split": 1}
    await run_pipeline(mended, workspace=workspace)
    await run_pipeline(mended, workspace=tmp_path / "new")
    assert inspect.overview(workspace).stages == inspect.overview(tmp_path / "new").stages
    assert inspect.contents(workspace) == inspect.contents(tmp_path / "new")
    assert len(inspect.contents(workspace)["words"]) == 12


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.asyncio
async def test_what_an_old_release_did_is_done_again(workspace: Path, tmp_path: Path, schema: int) -> None:
    mended = pipeline(is_mended=True)
    for how in ({}, {"refresh": True}):
        await run_pipeline(mended, workspace=workspace, **how)  # type: ignore[arg-type]
    await run_pipeline(mended, workspace=tmp_path / "new")
    assert inspect.overview(workspace).stages == inspect.overview(tmp_path / "new").stages
    assert inspect.contents(workspace) == inspect.contents(tmp_path / "new")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_looking_at_an_older_one_says_what_brings_it_up(workspace: Path, schema: int) -> None:
    if schema == SCHEMA:
        assert inspect.overview(workspace).pipeline == "books"
    else:
        with pytest.raises(UsageError, match="run its pipeline once"):
            inspect.overview(workspace)


@pytest.mark.parametrize("schema", [SCHEMA])
@pytest.mark.asyncio
async def test_a_newer_one_is_refused_and_left_as_it_is(workspace: Path, schema: int) -> None:
    with closing(sqlite3.connect(workspace / "streamflow.db")) as connection:
        connection.execute(f"PRAGMA user_version = {schema + 1}")
    before = (workspace / "streamflow.db").read_bytes()
    with pytest.raises(DatabaseTooNew, match=r"newer release; upgrade streamflow"):
        await run_pipeline(pipeline(is_mended=True), workspace=workspace)
    with pytest.raises(DatabaseTooNew, match=r"newer release; upgrade streamflow"):
        inspect.overview(workspace)
    assert (workspace / "streamflow.db").read_bytes() == before
