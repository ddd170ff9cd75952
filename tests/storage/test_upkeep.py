"""What stages owe: a new one is given the records that are there, one of another version its items again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamflow.record import record, record_type, union
from streamflow.storage import upkeep
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import CaughtUp, Completion, Item, Opened, Plan, State

pytestmark = pytest.mark.asyncio


@record(key="n")
class Raw:
    n: int


@record(key=("n", "name"), table="them", merge={"seen": union})
class Row:
    n: int
    name: str = ""
    seen: tuple[int, ...] = ()


def plan(**stages: Any) -> Plan:
    """A plan of stages, each with the type that it takes and its version."""
    described = {name: (record_type(kind), version) for name, (kind, version) in stages.items()}
    return Plan("test", described, [record_type(Row)], {"Row"})


FIRST = {"read": (Raw, 1)}


class Opening:
    """A store in an epoch of its own; it is left finished."""

    def __init__(self, folder: Path, its_plan: Plan, **options: Any) -> None:
        self.store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
        self.plan = its_plan
        self.options = options
        self.found = Opened()

    async def __aenter__(self) -> Opening:
        self.found = await self.store.open(self.plan, **self.options)
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.store.finalized(self.store.changes)
        await self.store.close()

    async def caught(self, stage: str) -> tuple[CaughtUp, list[Any]]:
        """What a stage caught up, and the records that are pending for it."""
        caught = await self.store.catch_up(stage)
        found: list[Item] = []
        after = 0
        while page := await self.store.pending(stage, after=after, limit=3):
            found += page
            after = page[-1].id
        for it in found:
            it.attempts += 1
            await self.store.commit(Completion(it, State.DONE))
        return caught, [it.record for it in found]


async def _read(folder: Path, count: int = 7) -> None:
    async with Opening(folder, plan(**FIRST)) as opening:
        raw = await opening.store.commit(Completion(None, State.DONE, [Item("read", Raw(n), n) for n in range(count)]))
        for it in raw:
            await opening.store.commit(Completion(it, State.DONE, rows=[Row(it.record.n, "\udcff", (1,))]))


@pytest.mark.parametrize("page", [2, 7, 100])
async def test_a_new_stage_is_given_the_rows_of_its_type_once(
    tmp_path: Path, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAGE", page)
    await _read(tmp_path)
    wider = plan(**FIRST, rate=(Row, 1))
    async with Opening(tmp_path, wider) as opening:
        assert await opening.caught("read") == (CaughtUp(), [])
        assert await opening.caught("rate") == (CaughtUp(7), [Row(n, "\udcff", (1,)) for n in range(7)])
        assert await opening.caught("rate") == (CaughtUp(), [])
    async with Opening(tmp_path, wider) as opening:
        assert await opening.caught("rate") == (CaughtUp(), [])


@pytest.mark.parametrize("page", [2, 7, 100])
async def test_a_new_stage_is_given_what_another_of_its_type_was_given(
    tmp_path: Path, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAGE", page)
    await _read(tmp_path)
    async with Opening(tmp_path, plan(**FIRST, count=(Raw, 1))) as opening:
        assert await opening.caught("count") == (CaughtUp(7), [Raw(n) for n in range(7)])


async def test_a_stage_that_was_away_is_given_what_came_meanwhile(tmp_path: Path) -> None:
    both = plan(**FIRST, count=(Raw, 1))
    await _read(tmp_path, 2)
    async with Opening(tmp_path, both) as opening:
        await opening.caught("count")
    await _read(tmp_path, 4)
    async with Opening(tmp_path, both) as opening:
        assert await opening.caught("count") == (CaughtUp(2), [Raw(2), Raw(3)])


async def test_a_stage_that_takes_another_type_is_given_its_records(tmp_path: Path) -> None:
    both = plan(**FIRST, rate=(Raw, 1))
    await _read(tmp_path, 2)
    async with Opening(tmp_path, both) as opening:
        await opening.caught("rate")
    async with Opening(tmp_path, plan(**FIRST, rate=(Row, 1))) as opening:
        caught, records = await opening.caught("rate")
        assert caught.items == len(records) == 2


async def test_what_a_killed_run_had_filled_is_not_filled_again(tmp_path: Path) -> None:
    await _read(tmp_path)
    wider = plan(**FIRST, rate=(Row, 1))
    async with Opening(tmp_path, wider) as opening:
        filled = [Item("rate", Row(n, "\udcff"), f'[{n},"\udcff"]') for n in (0, 1)]
        await opening.store.commit(Completion(None, State.DONE, filled))
        await opening.store.commit(Completion(filled[0], State.DONE))
    async with Opening(tmp_path, wider) as opening:
        caught, records = await opening.caught("rate")
        assert caught == CaughtUp(5)
        assert [row.n for row in records] == [1, 2, 3, 4, 5, 6]


async def test_what_no_longer_fits_is_counted_and_left_out(tmp_path: Path) -> None:
    await _read(tmp_path, 3)
    with closing(sqlite3.connect(tmp_path / "streamflow.db")) as connection, connection:
        connection.execute("UPDATE them SET seen = 'none' WHERE n = 1")
        connection.execute("UPDATE streamflow_items SET record = 'no JSON' WHERE key = '2'")
    async with Opening(tmp_path, plan(**FIRST, rate=(Row, 1), count=(Raw, 1))) as opening:
        assert (await opening.caught("rate"))[0] == CaughtUp(2, 1)
        assert (await opening.caught("count"))[0] == CaughtUp(2, 1)


@record(key="n")
class Passing:
    n: int


async def test_types_of_which_nothing_was_kept_are_told(tmp_path: Path) -> None:
    await _read(tmp_path)
    wider = replace(plan(**FIRST, take=(Passing, 1), count=(Raw, 1), rate=(Row, 1)), produced={"Row", "Passing"})
    async with Opening(tmp_path, wider) as opening:
        assert opening.found.lacking == ["take"]
    async with Opening(tmp_path / "..", wider) as opening:
        assert opening.found.lacking == []


async def test_items_of_another_version_are_done_again_where_that_is_asked_for(tmp_path: Path) -> None:
    await _read(tmp_path, 3)
    newer = plan(read=(Raw, 2))
    async with Opening(tmp_path, newer) as opening:
        assert await opening.caught("read") == (CaughtUp(), [])
    async with Opening(tmp_path, newer, stale=True) as opening:
        assert await opening.caught("read") == (CaughtUp(3), [Raw(n) for n in range(3)])
    async with Opening(tmp_path, newer, stale=True) as opening:
        assert await opening.caught("read") == (CaughtUp(), [])


async def test_a_new_epoch_waits_for_what_is_pending(tmp_path: Path) -> None:
    """Else what is pending with the old content would stand against the new."""
    async with Opening(tmp_path, plan(**FIRST)) as opening:
        await opening.store.commit(Completion(None, State.DONE, [Item("read", Raw(1), 1)]))
    for options in ({"refresh": True}, {"stale": True}):
        async with Opening(tmp_path, plan(**FIRST), **options) as opening:
            assert opening.found.behind
    async with Opening(tmp_path, plan(**FIRST), refresh=True) as opening:
        (it,) = await opening.store.pending("read", after=0, limit=9)
        await opening.store.commit(Completion(it, State.DONE))
        assert await opening.store.commit(Completion(None, State.DONE, [Item("read", Raw(1), 1)])) == []
        await opening.store.renew()
        assert len(await opening.store.commit(Completion(None, State.DONE, [Item("read", Raw(1), 1)]))) == 1
    # A killed refresh is gone on with: what it did is not done again.
    async with Opening(tmp_path, plan(**FIRST), refresh=True) as opening:
        assert not opening.found.behind
        assert opening.found.pending == {"read": 1}
        (it,) = await opening.store.pending("read", after=0, limit=9)
        await opening.store.commit(Completion(it, State.DONE))
        assert await opening.store.commit(Completion(None, State.DONE, [Item("read", Raw(1), 1)])) == []


async def test_a_refresh_that_waits_is_not_forgotten_when_the_run_is_stopped(tmp_path: Path) -> None:
    source = Completion(None, State.DONE, [Item("read", Raw(1), 1)])
    async with Opening(tmp_path, plan(**FIRST)) as opening:
        await opening.store.commit(source)
    async with Opening(tmp_path, plan(**FIRST), refresh=True) as opening:
        assert opening.found.behind
        (it,) = await opening.store.pending("read", after=0, limit=9)
        await opening.store.commit(Completion(it, State.DONE))
    async with Opening(tmp_path, plan(**FIRST)) as opening:
        (again,) = await opening.store.commit(source)
        await opening.store.commit(Completion(again, State.DONE))
    async with Opening(tmp_path, plan(**FIRST)) as opening:
        assert await opening.store.commit(source) == [], "it is over now"


async def test_a_refresh_that_was_stopped_goes_on_in_the_epoch_of_another_version(tmp_path: Path) -> None:
    sources = [Completion(None, State.DONE, [Item("read", Raw(n), n)]) for n in range(2)]
    async with Opening(tmp_path, plan(**FIRST)) as opening:
        for source in sources:
            (it,) = await opening.store.commit(source)
            await opening.store.commit(Completion(it, State.DONE))
    store = SqliteStore(tmp_path / "streamflow.db")
    await store.open(plan(**FIRST), refresh=True)
    await store.close()
    async with Opening(tmp_path, plan(**FIRST), stale=True) as opening:
        assert [len(await opening.store.commit(source)) for source in sources] == [1, 1]


async def test_what_was_pending_counts_as_done_by_the_version_that_did_it(tmp_path: Path) -> None:
    async with Opening(tmp_path, plan(**FIRST)) as opening:
        await opening.store.commit(Completion(None, State.DONE, [Item("read", Raw(1), 1)]))
    newer = plan(read=(Raw, 2))
    async with Opening(tmp_path, newer) as opening:
        (it,) = await opening.store.pending("read", after=0, limit=9)
        await opening.store.commit(Completion(it, State.DONE))
    async with Opening(tmp_path, newer, stale=True) as opening:
        assert await opening.caught("read") == (CaughtUp(), [])
