"""Looking at a workspace's database from outside, and mending its journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from streamflow.errors import DatabaseDamaged, DatabaseTooNew, WorkspaceError, WorkspaceLocked
from streamflow.record import record, record_type
from streamflow.storage import inspect
from streamflow.storage.lock import WorkspaceLock
from streamflow.storage.schema import APPLICATION_ID
from streamflow.storage.selection import Selection
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item, Plan, State


@record(key="n", table="numbers")
class Number:
    n: int


PLAN = Plan(
    "numbers",
    {"count": (record_type(Number), 1), "tell": (record_type(Number), 1)},
    (record_type(Number),),
)


async def filled(workspace: Path) -> None:
    """Of `count`: 1 done, 2 dead, 3 pending until a moment; of `tell`: 1 dead, 3 pending."""
    store = SqliteStore(workspace / "streamflow.db")
    await store.open(PLAN)
    wanted = [("count", 1), ("count", 2), ("count", 3), ("tell", 1), ("tell", 3)]
    items = [Item(stage, Number(n), str(n)) for stage, n in wanted]
    await store.commit(Completion(None, State.DONE, items, [Number(1), Number(2)]))
    await store.commit(Completion(items[0], State.DONE, ended=100.0))
    await store.commit(Completion(items[1], State.DEAD, error="two is bad", ended=101.0))
    await store.commit(Completion(items[2], State.PENDING, error="later", due=500.0))
    await store.commit(Completion(items[3], State.DEAD, error="one is bad", ended=102.0))
    await store.close()


def by_stage(workspace: Path) -> dict[str, tuple[int, int, int, int]]:
    found = inspect.overview(workspace)
    return {name: (c.pending, c.done, c.skipped, c.dead) for name, c in found.stages.items()}


@pytest.mark.asyncio
async def test_the_overview_counts_and_tells_rates_and_what_waits(tmp_path: Path) -> None:
    await filled(tmp_path)
    found = inspect.overview(tmp_path, now=130.0)
    assert found.pipeline == "numbers"
    assert by_stage(tmp_path) == {"count": (1, 1, 0, 1), "tell": (1, 0, 0, 1)}
    assert found.rates == {"count": pytest.approx(2 / 60), "tell": pytest.approx(1 / 60)}
    assert found.due == {"count": (1, 500.0)}


@pytest.mark.asyncio
async def test_dead_letters_come_latest_first_and_by_stage_or_key(tmp_path: Path) -> None:
    await filled(tmp_path)
    assert [(letter.stage, letter.error) for letter in inspect.dead_letters(tmp_path)] == [
        ("tell", "one is bad"),
        ("count", "two is bad"),
    ]
    assert [letter.key for letter in inspect.dead_letters(tmp_path, Selection(stage="count"))] == ["2"]
    assert inspect.dead_letters(tmp_path, Selection(stage="count", keys=("1",))) == []
    assert len(inspect.dead_letters(tmp_path, limit=1)) == 1


@pytest.mark.asyncio
async def test_tables_are_counted_and_their_contents_told_without_times(tmp_path: Path) -> None:
    await filled(tmp_path)
    assert inspect.tables(tmp_path) == {"numbers": 2}
    assert inspect.contents(tmp_path) == {"numbers": [(1,), (2,)]}


@pytest.mark.asyncio
async def test_requeued_items_are_pending_with_all_their_attempts(tmp_path: Path) -> None:
    await filled(tmp_path)
    assert inspect.requeue(tmp_path, Selection(stage="count")) == {"count": 1}
    assert by_stage(tmp_path) == {"count": (2, 1, 0, 0), "tell": (1, 0, 0, 1)}
    store = SqliteStore(tmp_path / "streamflow.db")
    await store.open(PLAN)
    again = await store.pending("count", after=0, limit=10)
    await store.close()
    assert [(str(item.key), item.attempts) for item in again] == [("2", 0), ("3", 0)]


@pytest.mark.asyncio
async def test_moved_items_belong_to_the_other_stage_unless_it_knows_them(tmp_path: Path) -> None:
    await filled(tmp_path)
    inspect.requeue(tmp_path)
    assert inspect.move(tmp_path, "tell", "count") == inspect.Moved(moved=0, known=2)
    assert inspect.move(tmp_path, "count", "tally") == inspect.Moved(moved=2, known=0)
    assert by_stage(tmp_path) == {"count": (0, 1, 0, 0), "tell": (0, 0, 0, 0), "tally": (2, 0, 0, 0)}


@pytest.mark.asyncio
async def test_only_items_of_the_state_that_is_meant_are_dropped(tmp_path: Path) -> None:
    await filled(tmp_path)
    assert inspect.drop(tmp_path, "tell") == 1
    assert by_stage(tmp_path)["tell"] == (0, 0, 1, 1)
    assert inspect.drop(tmp_path, "tell", State.DEAD) == 1
    assert by_stage(tmp_path)["tell"] == (0, 0, 2, 0)


@pytest.mark.asyncio
async def test_nothing_is_mended_while_a_run_holds_the_workspace(tmp_path: Path) -> None:
    await filled(tmp_path)
    with WorkspaceLock(tmp_path):
        with pytest.raises(WorkspaceLocked):
            inspect.requeue(tmp_path)
        assert by_stage(tmp_path)["count"] == (1, 1, 0, 1)


@pytest.mark.asyncio
async def test_a_reader_sees_what_is_committed_beside_the_writer(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "streamflow.db")
    await store.open(PLAN)
    item = Item("count", Number(1), "1")
    await store.commit(Completion(None, State.DONE, [item]))
    assert by_stage(tmp_path)["count"] == (1, 0, 0, 0)
    await store.commit(Completion(item, State.DONE))
    assert by_stage(tmp_path)["count"] == (0, 1, 0, 0)
    await store.close()


def test_a_folder_without_a_database_is_told_and_not_made(tmp_path: Path) -> None:
    for look in (inspect.overview, inspect.dead_letters, inspect.requeue):
        with pytest.raises(WorkspaceError, match=r"holds no streamflow\.db"):
            look(tmp_path)
    with pytest.raises(WorkspaceError):
        inspect.overview(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.asyncio
async def test_what_is_no_database_or_too_new_is_refused(tmp_path: Path) -> None:
    (tmp_path / "streamflow.db").write_bytes(b"this is not a database, however long one looks at it" * 100)
    with pytest.raises(DatabaseDamaged):
        inspect.overview(tmp_path)
    (tmp_path / "streamflow.db").unlink()
    connection = sqlite3.connect(tmp_path / "streamflow.db")
    connection.execute("PRAGMA user_version = 999")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.close()
    with pytest.raises(DatabaseTooNew):
        inspect.overview(tmp_path)
