"""The lone writer: groups grow by themselves, and one completion's fault is its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from streamflow.errors import StorageError, WriterStopped
from streamflow.record import record, record_type
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Counts, Item, Plan, State

pytestmark = pytest.mark.asyncio


def strict(old: int, new: int) -> int:
    raise ZeroDivisionError("a rule that fails")


@record(key="n", table="them", merge={"fragile": strict})
class It:
    n: int
    text: str = ""
    year: int = 0
    fragile: int = 0


PLAN = Plan("test", {"stage": (record_type(It), 1), "next": (record_type(It), 1)}, [record_type(It)])
HUGE = 2**63


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
    await store.open(PLAN)
    try:
        yield store
    finally:
        await store.close()


def rows(*them: It) -> Completion:
    return Completion(None, State.DONE, (), them)


async def together(store: SqliteStore, completions: Sequence[Completion]) -> list[Any]:
    return await asyncio.gather(*map(store.commit, completions), return_exceptions=True)


async def numbers(store: SqliteStore) -> list[int]:
    return [row.n for row in await store.rows(record_type(It))]


async def test_what_waits_is_committed_in_one_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        before = store._writer.commits
        await together(store, [rows(It(n)) for n in range(500)])
        assert store._writer.commits - before <= 3
        assert await numbers(store) == list(range(500))


async def test_a_lone_completion_is_committed_by_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        before = store._writer.commits
        for n in range(10):
            await store.commit(rows(It(n)))
        assert store._writer.commits - before == 10


@pytest.mark.parametrize("bad", [It(4, year=HUGE), It(1, fragile=2), It(4, text=object()), It(4, text=["list"])])  # type: ignore[arg-type]
async def test_only_the_completion_at_fault_is_refused(tmp_path: Path, bad: It) -> None:
    """A number too large for SQLite, a merge rule that fails, a value of a wrong type."""
    async with opened(tmp_path) as store:
        answers = await together(store, [rows(It(1)), rows(It(2)), rows(It(3), bad), rows(It(5))])
        assert [isinstance(answer, StorageError) for answer in answers] == [False, False, True, False]
        assert not any(isinstance(answer, WriterStopped) for answer in answers)
        assert await numbers(store) == [1, 2, 5]
        await store.commit(rows(It(6)))
        assert await numbers(store) == [1, 2, 5, 6]


async def test_a_difference_is_reported_once_whatever_else_is_in_its_group(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await together(store, [rows(It(1, "a")), rows(It(1, "b")), rows(It(2, year=HUGE))])
        assert [(found.key, found.fields) for found in store.differences()] == [("1", ("text",))]


async def test_children_go_to_the_completions_that_brought_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        parents = await store.commit(Completion(None, State.DONE, [Item("stage", It(n), n) for n in range(50)]))
        completions = []
        for it in parents:
            children = [Item("next", It(n), n) for n in (it.record.n, it.record.n + 1)]
            completions.append(Completion(it, State.DONE, children, [It(it.record.n)]))
        answers = await together(store, completions)
        brought = [child.key for answer in answers for child in answer]
        assert sorted(brought) == list(range(51))
        for it, answer in zip(parents, answers, strict=True):
            assert {child.key for child in answer} <= {it.record.n, it.record.n + 1}
        ids = [child.id for answer in answers for child in answer]
        assert len(set(ids)) == 51
        found = {it.id: it.key for it in await store.due("next", until=0, limit=99)}
        assert found == {}, "nothing is due that has no time"


async def test_a_cancelled_waiter_that_was_not_begun_is_passed_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        waiting = [asyncio.ensure_future(store.commit(rows(It(n)))) for n in range(20)]
        for n in (3, 7):
            waiting[n].cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(answer, asyncio.CancelledError) for answer in answers].count(True) == 2
        assert await numbers(store) == [n for n in range(20) if n not in (3, 7)]


async def test_when_the_database_fails_everybody_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.commit(rows(It(1)))
        with closing(sqlite3.connect(tmp_path / "streamflow.db")) as connection:
            connection.execute("DROP TABLE streamflow_items")
        broken = [Completion(None, State.DONE, [Item("stage", It(n), n)], [It(n)]) for n in range(2, 9)]
        answers = await together(store, broken)
        assert all(isinstance(answer, WriterStopped) for answer in answers)
        with pytest.raises(WriterStopped, match="no such table"):
            await store.commit(rows(It(9)))
        assert await numbers(store) == [1]


async def test_after_closing_nothing_is_taken(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        pass
    with pytest.raises(WriterStopped):
        await store.commit(rows(It(1)))


async def test_noting_finalizers_beside_commits_splits_no_group(tmp_path: Path) -> None:
    """A daemon's finalizers end while sources go on: what they note must not commit half of a group."""
    async with opened(tmp_path) as store:
        items = await store.commit(Completion(None, State.DONE, [Item("stage", It(n), n) for n in range(300)]))
        looks = 0

        async def look() -> None:
            nonlocal looks
            while True:
                with closing(sqlite3.connect(f"file:{tmp_path}/streamflow.db?mode=ro", uri=True)) as connection:
                    ended, count = connection.execute(
                        "SELECT (SELECT count(*) FROM streamflow_items WHERE state = 'done'), count(*) FROM them"
                    ).fetchone()
                assert ended == count
                looks += 1
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        for start in range(0, 300, 30):
            group = [Completion(it, State.DONE, (), [It(it.record.n)]) for it in items[start : start + 30]]
            await asyncio.gather(together(store, group), store.finalized(store.changes), store.finalized(store.changes))
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        assert looks
        assert (await store.counts())["stage"] == Counts(done=300)


async def test_a_change_after_the_finalizers_is_owed_to_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.commit(rows(It(1)))
        await store.finalized(store.changes)
        await store.commit(rows(It(2)))
    store = SqliteStore(tmp_path / "streamflow.db")
    assert (await store.open(PLAN)).changed is True
    await store.finalized(store.changes)
    await store.close()
    assert (await store.open(PLAN)).changed is False
    await store.close()
