"""The SQLite store beyond the contract: schema, durability settings, readers beside the writer."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.errors import WorkspaceError
from streamflow.record import record, record_type
from streamflow.storage import schema as module
from streamflow.storage import sqlite
from streamflow.storage.schema import APPLICATION_ID, SCHEMA
from streamflow.storage.sqlite import PENDING, SqliteStore
from streamflow.storage.store import Completion, Counts, Item, Plan, State
from streamflow.storage.upkeep import CARRYING

pytestmark = pytest.mark.asyncio


@record(key="n", table="them")
class It:
    n: int
    text: str = ""


PLAN = Plan("test", {"stage": (record_type(It), 1)}, [record_type(It)])


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
async def test_the_database_is_in_wal_mode_with_the_asked_durability(
    tmp_path: Path, synchronous: str, level: int
) -> None:
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path, synchronous=synchronous)  # type: ignore[arg-type]
    await store.open(PLAN)
    try:
        ((set_to,),) = await store._connection.execute_fetchall("PRAGMA synchronous")
        assert set_to == level
        assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    finally:
        await store.close()
    assert ask(path, "PRAGMA user_version") == [(SCHEMA,)]
    assert ask(path, "PRAGMA application_id") == [(APPLICATION_ID,)]


async def test_readers_see_whole_commits_while_the_writer_writes(tmp_path: Path) -> None:
    """Parents end and children come in one transaction: a reader never sees one without the other."""
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path, synchronous="NORMAL")
    await store.open(PLAN)
    done = False

    async def read() -> int:
        looks = 0
        while not done:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                ((ended, rows),) = connection.execute(
                    "SELECT (SELECT count(*) FROM streamflow_items WHERE state = 'done'), (SELECT count(*) FROM them)"
                ).fetchall()
                assert ended == rows
                looks += 1
            await asyncio.sleep(0)
        return looks

    try:
        items = await store.commit(Completion(None, State.DONE, [Item("stage", It(n), n) for n in range(200)]))
        reading = asyncio.create_task(read())
        await asyncio.gather(*(store.commit(Completion(it, State.DONE, (), [It(it.record.n)])) for it in items[:100]))
        for it in items[100:]:
            await store.commit(Completion(it, State.DONE, (), [It(it.record.n)]))
        done = True
        assert await reading > 1
    finally:
        await store.close()


async def test_a_readers_open_transaction_does_not_stop_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path, synchronous="NORMAL", busy_timeout=0.5)
    await store.open(PLAN)
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM them").fetchall()
            await store.commit(Completion(None, State.DONE, (), [It(1)]))
            assert reader.execute("SELECT count(*) FROM them").fetchone() == (0,)
            reader.execute("COMMIT")
            assert reader.execute("SELECT count(*) FROM them").fetchone() == (1,)
    finally:
        await store.close()


async def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    """Somebody edits the database by hand: the commit waits until they are done, and loses nothing."""
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path, synchronous="NORMAL", busy_timeout=20)
    await store.open(PLAN)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(store.commit(Completion(None, State.DONE, (), [It(1)])))
            await asyncio.wait([waiting], timeout=0.05)
            assert not waiting.done()
            other.execute("COMMIT")
        await waiting
        assert await store.rows(record_type(It)) == [It(1)]
    finally:
        await store.close()


async def test_a_database_that_stays_locked_is_refused_with_what_to_check(tmp_path: Path) -> None:
    path = tmp_path / "streamflow.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(WorkspaceError, match=r"locked; close the other program"):
            await SqliteStore(path, busy_timeout=0.05).open(PLAN)


async def test_an_older_schema_is_brought_forward_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path)
    await store.open(PLAN)
    await store.commit(Completion(None, State.DONE, [Item("stage", It(1), 1)], [It(1)]))
    await store.close()
    more = ("ALTER TABLE streamflow_items ADD COLUMN note TEXT;", "UPDATE streamflow_items SET note = 'migrated';")
    monkeypatch.setattr(module, "_MIGRATIONS", (*module._MIGRATIONS, *more))
    monkeypatch.setattr(module, "SCHEMA", SCHEMA + 2)
    await store.open(PLAN)
    assert (await store.counts())["stage"] == Counts(pending=1)
    await store.close()
    assert ask(path, "PRAGMA user_version") == [(SCHEMA + 2,)]
    assert ask(path, "SELECT note FROM streamflow_items") == [("migrated",)]


async def test_a_migration_that_fails_leaves_the_version_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path)
    await store.open(PLAN)
    await store.close()
    broken = "ALTER TABLE streamflow_items ADD COLUMN note TEXT; SELECT * FROM not_there;"
    monkeypatch.setattr(module, "_MIGRATIONS", (*module._MIGRATIONS, broken))
    monkeypatch.setattr(module, "SCHEMA", SCHEMA + 1)
    with pytest.raises(WorkspaceError):
        await SqliteStore(path).open(PLAN)
    assert ask(path, "PRAGMA user_version") == [(SCHEMA,)]
    assert "note" not in {row[1] for row in ask(path, "PRAGMA table_info(streamflow_items)")}


async def test_due_retries_are_found_by_an_index(tmp_path: Path) -> None:
    """Looking for due retries must not read the whole journal each time."""
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path)
    await store.open(PLAN)
    await store.close()
    plan = ask(
        path,
        "EXPLAIN QUERY PLAN SELECT id FROM streamflow_items WHERE stage = 'a' AND due <= 1 AND state = 'pending' "
        "ORDER BY due LIMIT 9",
    )
    assert "streamflow_due" in str(plan)
    assert "SCAN" not in str(plan)


@pytest.mark.parametrize("sql", [PENDING, CARRYING])
async def test_a_page_of_a_stages_items_is_read_in_order_and_not_sorted(tmp_path: Path, sql: str) -> None:
    """Else each page would read the whole stage, and resuming would take time by the square of what is pending."""
    path = tmp_path / "streamflow.db"
    store = SqliteStore(path)
    await store.open(PLAN)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", [0] * sql.count("?")).fetchall()
    (step,) = [row[3] for row in plan]
    assert step.startswith("SEARCH streamflow_items USING INTEGER PRIMARY KEY")


async def test_a_retry_parked_under_a_clock_that_was_set_back_is_due_at_once(tmp_path: Path) -> None:
    """Its attempt began in the future: its time is a day ahead only because the clock then was."""
    day = 86_400.0
    store = SqliteStore(tmp_path / "streamflow.db")
    await store.open(PLAN)
    ahead, later = await store.commit(Completion(None, State.DONE, [Item("stage", It(n), n) for n in (1, 2)]))
    now = time.time()
    for item, started in ((ahead, now + day), (later, now - 1)):
        item.started, item.attempts = started, 1
        await store.commit(Completion(item, State.PENDING, error="again", due=started + 60))
    await store.close()
    store = SqliteStore(tmp_path / "streamflow.db")
    await store.open(PLAN)
    try:
        found = await store.pending("stage", after=0, limit=9)
    finally:
        await store.close()
    assert [item.record.n for item in found] == [1, 2]
    due_ahead, due_later = (item.due for item in found)
    assert due_ahead is not None
    assert due_ahead <= time.time()
    assert due_later == now - 1 + 60


async def test_a_log_of_writes_that_a_reader_made_long_is_cut_when_it_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOG_LIMIT", 2**20)
    path = tmp_path / "streamflow.db"
    log = tmp_path / "streamflow.db-wal"
    store = SqliteStore(path, synchronous="NORMAL")
    await store.open(PLAN)
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM streamflow_items").fetchone()
            for n in range(20):
                await store.keep({"text": f"{n:04} " * 100_000})
            assert log.stat().st_size > 9 * 2**20, "nothing can be taken in while somebody reads"
        for n in range(20):
            await store.keep({"text": f"{n:04} " * 100_000})
        assert log.stat().st_size < 6 * 2**20
    finally:
        await store.close()


async def test_a_new_database_can_give_free_pages_back(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "streamflow.db")
    await store.open(PLAN)
    await store.close()
    assert ask(tmp_path / "streamflow.db", "PRAGMA auto_vacuum") == [(2,)]
