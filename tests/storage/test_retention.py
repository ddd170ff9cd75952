"""Records that were forgotten: what the journal still promises, and what needs the record again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from streamflow.record import record, record_type
from streamflow.storage import retention
from streamflow.storage.memory import MemoryStore
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import CaughtUp, Completion, Counts, Item, Plan, State

pytestmark = pytest.mark.asyncio
DAY = 86_400.0


@record(key="name")
class Paper:
    name: str
    text: str = ""


@record(key="name", table="works")
class Work:
    name: str
    year: int = 1


def plan(version: int = 1, **more: Any) -> Plan:
    stages = {"read": (record_type(Paper), version), "find": (record_type(Work), version), **more}
    return Plan("test", stages, [record_type(Work)], {"Work"})


@asynccontextmanager
async def opened(folder: Path, its_plan: Plan | None = None, **options: Any) -> AsyncIterator[SqliteStore]:
    """The store in an epoch of its own; it is left finished."""
    store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
    await store.open(its_plan or plan(), **options)
    try:
        yield store
        await store.finalized(store.changes)
    finally:
        await store.close()


async def admit(store: SqliteStore, *papers: Paper) -> Sequence[Item]:
    return await store.commit(Completion(None, State.DONE, [Item("read", paper, paper.name) for paper in papers]))


async def end(store: SqliteStore, item: Item, *works: Work, state: State = State.DONE, ended: float = 1.0) -> None:
    """End an item, and those of `find` that came of it."""
    item.attempts += 1
    children = [Item("find", work, work.name) for work in works]
    for child in await store.commit(Completion(item, state, children, works, ended=ended)):
        await end(store, child, ended=ended)


async def read(folder: Path, *names: str) -> None:
    """Papers long ago, each with a work."""
    async with opened(folder) as store:
        for item in await admit(store, *(Paper(name, "text") for name in names)):
            await end(store, item, Work(f"of {item.key}"))


async def prune(folder: Path, before: float = DAY) -> int:
    async with opened(folder) as store:
        return await store.prune(before)


def ask(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        return connection.execute(sql).fetchall()


ALL = "SELECT * FROM streamflow_items ORDER BY id"


@pytest.mark.parametrize("step", [1, 3, 1000])
async def test_only_the_record_of_what_ended_well_long_ago_is_forgotten(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK", retention.LOOK.replace("1000", str(step)))
    monkeypatch.setattr("streamflow.storage.sqlite.LOOK", retention.LOOK)
    async with opened(tmp_path) as store:
        items = await admit(store, *(Paper(name) for name in ("old", "skipped", "young", "dead", "parked", "pending")))
        old, skipped, young, dead, parked, _ = items
        await end(store, old, Work("of old"), Work("more of old"))
        await end(store, skipped, state=State.SKIPPED)
        await end(store, young, ended=DAY + 1)
        await end(store, dead, state=State.DEAD)
        await store.commit(Completion(parked, State.PENDING, error="again", due=9.0, ended=1.0))
    before = ask(tmp_path, ALL)
    place = [row[1] for row in ask(tmp_path, "PRAGMA table_info(streamflow_items)")].index("record")
    async with opened(tmp_path) as store:
        assert await store.prune(DAY) == 4
        assert await store.prune(DAY) == 0
        assert [item.key for item in await store.pending("read", after=0, limit=9)] == ["parked", "pending"]
    forgotten = {"old", "skipped", "of old", "more of old"}
    assert ask(tmp_path, ALL) == [
        (*row[:place], "" if row[2] in forgotten else row[place], *row[place + 1 :]) for row in before
    ]


async def test_what_is_known_is_not_done_again(tmp_path: Path) -> None:
    await read(tmp_path, "a")
    assert await prune(tmp_path) == 2
    async with opened(tmp_path) as store:
        assert await admit(store, Paper("a", "text")) == []
        assert await store.counts() == {"read": Counts(done=1), "find": Counts(done=1)}


async def test_what_says_something_new_is(tmp_path: Path) -> None:
    await read(tmp_path, "a")
    await prune(tmp_path)
    async with opened(tmp_path) as store:
        (item,) = await admit(store, Paper("a", "another text"))
        (page,) = await store.pending("read", after=0, limit=9) or [item]
        assert page.record == Paper("a", "another text")


async def test_a_refresh_brings_the_record_back(tmp_path: Path) -> None:
    await read(tmp_path, "a")
    await prune(tmp_path)
    async with opened(tmp_path, refresh=True) as store:
        assert [item.record for item in await admit(store, Paper("a", "text"))] == [Paper("a", "text")]
    assert ask(tmp_path, "SELECT record FROM streamflow_items WHERE key = 'a'") == [('{"name":"a","text":"text"}',)]


async def test_what_is_emitted_no_more_is_retracted_all_the_same(tmp_path: Path) -> None:
    await read(tmp_path, "a", "b")
    await prune(tmp_path)
    async with opened(tmp_path) as store:
        (item,) = await admit(store, Paper("a", "another text"))
        await end(store, item, Work("another"))
        assert await store.retract() == 1
        assert await store.rows(record_type(Work)) == [Work("another"), Work("of b")]
        assert await store.states([("find", "of a")]) == {}


async def test_a_new_version_takes_pruned_records_from_their_table(tmp_path: Path) -> None:
    await read(tmp_path, "a", "b")
    await prune(tmp_path)
    async with opened(tmp_path, plan(version=2), stale=True) as store:
        assert await store.catch_up("find") == CaughtUp(2)
        assert [item.record for item in await store.pending("find", after=0, limit=9)] == [Work("of a"), Work("of b")]
        # Papers are in no table, and the source alone has them.
        assert await store.catch_up("read") == CaughtUp(pruned=2)
        assert await store.pending("read", after=0, limit=9) == []
        assert len(await admit(store, Paper("a", "text"))) == 1


async def test_a_new_version_takes_pruned_records_from_a_stage_that_has_them_still(tmp_path: Path) -> None:
    both = {"also": (record_type(Paper), 1)}
    async with opened(tmp_path, plan(**both)) as store:
        (one,) = await admit(store, Paper("a", "text"))
        (other,) = await store.commit(Completion(None, State.DONE, [Item("also", Paper("a", "text"), "a")]))
        await end(store, one)
        await end(store, other, ended=DAY + 1)
        assert await store.prune(DAY) == 1
    async with opened(tmp_path, plan(version=2, **both), stale=True) as store:
        assert await store.catch_up("read") == CaughtUp(1)


async def test_a_new_stage_is_told_of_what_it_cannot_be_given(tmp_path: Path) -> None:
    await read(tmp_path, "a", "b")
    await prune(tmp_path)
    async with opened(tmp_path) as store:
        await end(store, (await admit(store, Paper("c")))[0])
    async with opened(tmp_path, plan(count=(record_type(Paper), 1), rate=(record_type(Work), 1))) as store:
        assert await store.catch_up("count") == CaughtUp(1, pruned=2)
        assert await store.catch_up("rate") == CaughtUp(2)


async def test_free_pages_are_used_again(tmp_path: Path) -> None:
    """With a fixed number of young records the database has a fixed size, but for what is kept of the old ones."""
    sizes = []
    async with opened(tmp_path) as store:
        for day in range(12):
            for item in await admit(store, *(Paper(f"{day} {n}", "text " * 100) for n in range(200))):
                await end(store, item, ended=day * DAY)
            await store.prune((day - 1) * DAY)
            ((pages, size),) = ask(tmp_path, "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size")
            sizes.append(pages * size)
    kept_of_each = (sizes[-1] - sizes[3]) / (200 * 8)
    assert kept_of_each < 250  # bytes: the texts alone have 500


async def test_a_memory_store_has_nothing_to_forget() -> None:
    store = MemoryStore()
    await store.open(plan())
    assert await store.prune(time.time()) == 0
