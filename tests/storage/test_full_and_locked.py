"""A database that is full or locked for a while: nothing is refused, and it goes on by itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from streamflow.errors import StorageError, WriterStopped
from streamflow.events import Event, StorageBlocked, StorageResumed
from streamflow.record import record, record_type
from streamflow.storage.patience import Patience
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import CaughtUp, Completion, Counts, Item, Plan, State

pytestmark = pytest.mark.asyncio


@record(key="n", table="them")
class It:
    n: int
    text: str = ""


PLAN = Plan("test", {"stage": (record_type(It), 1)}, [record_type(It)])
LARGE = "x" * 100_000
ROOMY = 1_000_000


class Told:
    """Keeps events, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._came = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._came.set()

    async def wait(self, kind: type[Event]) -> None:
        while not any(isinstance(event, kind) for event in self.events):
            self._came.clear()
            await self._came.wait()


@asynccontextmanager
async def opened(folder: Path, told: Callable[[Event], None], plan: Plan = PLAN) -> AsyncIterator[SqliteStore]:
    patience = Patience(folder, told, first=0.0)
    store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL", busy_timeout=0.01, patience=patience)
    await store.open(plan)
    try:
        yield store
    finally:
        await store.close()


async def allow_pages(store: SqliteStore, more: int) -> None:
    """Let the database grow by this many pages, as if the disk had no more room."""
    (((count),),) = await store._connection.execute_fetchall("PRAGMA page_count")
    await store._connection.execute(f"PRAGMA max_page_count = {count + more}")


async def admitted(store: SqliteStore, count: int) -> list[Item]:
    children = [Item("stage", It(n), n) for n in range(count)]
    return list(await store.commit(Completion(None, State.DONE, children)))


async def test_what_finds_the_disk_full_is_kept_and_committed_when_there_is_room(tmp_path: Path) -> None:
    told = Told()
    async with opened(tmp_path, told) as store:
        items = await admitted(store, 20)
        await allow_pages(store, 5)
        commits = [
            asyncio.ensure_future(store.commit(Completion(it, State.DONE, (), [It(it.record.n, LARGE)])))
            for it in items
        ]
        await told.wait(StorageBlocked)
        refused = [commit for commit in commits if commit.done() and commit.exception() is not None]
        assert refused == []
        assert (await store.counts())["stage"].dead == 0
        await allow_pages(store, ROOMY)
        await asyncio.gather(*commits)
        assert [type(event) for event in told.events] == [StorageBlocked, StorageResumed]
        assert (await store.counts())["stage"] == Counts(done=20)
        assert len(await store.rows(record_type(It))) == 20


async def test_a_completion_at_fault_is_refused_though_the_disk_was_full_before(tmp_path: Path) -> None:
    """The savepoints of a group that is tried one by one go with the transaction when the disk is full."""
    told = Told()
    async with opened(tmp_path, told) as store:
        items = await admitted(store, 3)
        await allow_pages(store, 5)
        rows = [It(1, LARGE), It(2**70), It(3, LARGE)]
        commits = [
            asyncio.ensure_future(store.commit(Completion(it, State.DONE, (), [row])))
            for it, row in zip(items, rows, strict=True)
        ]
        await told.wait(StorageBlocked)
        await allow_pages(store, ROOMY)
        answers = await asyncio.gather(*commits, return_exceptions=True)
        assert [isinstance(answer, StorageError) for answer in answers] == [False, True, False]
        assert not any(isinstance(answer, WriterStopped) for answer in answers)
        assert [row.n for row in await store.rows(record_type(It))] == [1, 3]


async def test_a_difference_is_reported_once_however_often_it_was_tried(tmp_path: Path) -> None:
    told = Told()
    async with opened(tmp_path, told) as store:
        await allow_pages(store, 5)
        # Children are written after the rows, when the difference was found already.
        differing = Completion(None, State.DONE, [Item("stage", It(1, LARGE), 1)], [It(1, "a"), It(1, "b")])
        commit = asyncio.ensure_future(store.commit(differing))
        await told.wait(StorageBlocked)
        await allow_pages(store, ROOMY)
        await commit
        assert [found.key for found in store.differences()] == ["1"]


async def test_what_is_made_good_at_quiet_waits_for_room_and_is_made_once(tmp_path: Path) -> None:
    async with opened(tmp_path, Told()) as store:
        for it in await admitted(store, 20):
            await store.commit(Completion(it, State.DONE, (), [It(it.record.n, LARGE)]))
        await store.finalized(store.changes)
    told = Told()
    newer = Plan("test", {"stage": (record_type(It), 1), "new": (record_type(It), 1)}, [record_type(It)])
    async with opened(tmp_path, told, newer) as store:
        await allow_pages(store, 1)
        caught = asyncio.ensure_future(store.catch_up("new"))
        await told.wait(StorageBlocked)
        assert not caught.done()
        await allow_pages(store, ROOMY)
        assert await caught == CaughtUp(20)
        assert len(await store.pending("new", after=0, limit=30)) == 20


async def test_a_full_disk_does_not_hold_the_end_of_a_run(tmp_path: Path) -> None:
    """Who was cancelled is passed over, who still waits is told; the items are pending."""
    told = Told()
    async with opened(tmp_path, told) as store:
        items = await admitted(store, 2)
        await allow_pages(store, 5)
        commits = [
            asyncio.ensure_future(store.commit(Completion(it, State.DONE, (), [It(it.record.n, LARGE)])))
            for it in items
        ]
        await told.wait(StorageBlocked)
        commits[0].cancel()
        async with asyncio.timeout(10):
            await store.close()
        cancelled, stopped = await asyncio.gather(*commits, return_exceptions=True)
        assert isinstance(cancelled, asyncio.CancelledError)
        assert isinstance(stopped, WriterStopped)
        assert "make room" in str(stopped)
    async with opened(tmp_path, told) as store:
        assert (await store.counts())["stage"] == Counts(pending=2)


async def test_what_nobody_waits_for_any_more_is_not_tried_for_ever(tmp_path: Path) -> None:
    told = Told()
    async with opened(tmp_path, told) as store:
        await allow_pages(store, 5)
        commit = asyncio.ensure_future(store.commit(Completion(None, State.DONE, (), [It(1, LARGE)])))
        await told.wait(StorageBlocked)
        commit.cancel()
        await asyncio.gather(commit, return_exceptions=True)
        async with asyncio.timeout(10):
            await told.wait(StorageResumed)
        await allow_pages(store, ROOMY)
        await store.commit(Completion(None, State.DONE, (), [It(2)]))
        assert [row.n for row in await store.rows(record_type(It))] == [2]


async def test_another_programs_lock_is_waited_out_however_long_it_lasts(tmp_path: Path) -> None:
    told = Told()
    async with opened(tmp_path, told) as store:
        items = await admitted(store, 5)
        with closing(sqlite3.connect(tmp_path / "streamflow.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            commits = [asyncio.ensure_future(store.commit(Completion(it, State.DONE, (), [it.record]))) for it in items]
            finalized = asyncio.ensure_future(store.finalized(store.changes))
            await told.wait(StorageBlocked)
            assert not any(commit.done() for commit in commits)
            assert (await store.counts())["stage"] == Counts(pending=5), "readers are not held up"
            other.execute("COMMIT")
            await asyncio.gather(*commits, finalized)
        assert [event.reason for event in told.events] == ["database locked"] * 2  # type: ignore[union-attr]
        assert (await store.counts())["stage"] == Counts(done=5)


async def test_readers_wait_for_one_who_has_the_database_to_itself(tmp_path: Path) -> None:
    """Somebody else's exclusive locking mode keeps out readers too."""
    told = Told()
    async with opened(tmp_path, told) as store:
        with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            store._path = tmp_path / "other.db"
            reading = asyncio.ensure_future(store._read("SELECT count(*) FROM sqlite_schema", ()))
            await told.wait(StorageBlocked)
            other.execute("COMMIT")
        assert await reading == [(0,)]


async def test_a_failing_disk_stops_the_run_with_what_to_do(tmp_path: Path) -> None:
    """A database that lost its tables stands for all that does not pass by itself."""
    told = Told()
    async with opened(tmp_path, told) as store:
        with closing(sqlite3.connect(tmp_path / "streamflow.db")) as other:
            other.execute("DROP TABLE streamflow_items")
        with pytest.raises(WriterStopped, match=r"no such table.*streamflow doctor -w"):
            await admitted(store, 1)
        assert told.events == []
