"""Who emitted what: records left without a parent go, with all that came of them alone; others stay."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from streamflow.record import RecordType, record, record_type, union
from streamflow.storage import parents, upkeep
from streamflow.storage.memory import MemoryStore
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item, Plan, State

pytestmark = pytest.mark.asyncio


@record(key="name")
class Paper:
    name: str
    edition: int = 1


@record(key=("paper", "position"), table="entries")
class Entry:
    paper: str
    position: int
    text: str = ""


@record(key="name", table="works", merge={"cited_by": union})
class Work:
    name: str
    cited_by: tuple[str, ...] = ()


PLAN = Plan(
    "test",
    {"read": (record_type(Paper), 1), "find": (record_type(Entry), 1), "fetch": (record_type(Work), 1)},
    [record_type(Entry), record_type(Work)],
    {"Entry", "Work"},
)


@asynccontextmanager
async def opened(folder: Path, plan: Plan = PLAN, **options: Any) -> AsyncIterator[SqliteStore]:
    """The store in a new epoch: what an earlier run left is finished."""
    store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
    await store.open(plan, **options)
    try:
        yield store
        await store.finalized(store.changes)
    finally:
        await store.close()


def item(value: Any) -> Item:
    kind = record_type(type(value))
    (stage,) = [name for name, (taken, _) in PLAN.stages.items() if taken is kind]
    return Item(stage, value, kind.key_of(value))


async def bring(store: SqliteStore, *values: Any) -> Sequence[Item]:
    rows = [value for value in values if not isinstance(value, Paper)]
    return await store.commit(Completion(None, State.DONE, [item(value) for value in values], rows))


async def end(store: SqliteStore, it: Item, *values: Any, state: State = State.DONE) -> dict[Any, Item]:
    """Settle an item that emitted these; the new children by their keys."""
    fresh = await store.commit(Completion(it, state, [item(value) for value in values], values))
    return {child.key: child for child in fresh}


async def end_all(store: SqliteStore, items: Sequence[Item]) -> None:
    for it in items:
        await end(store, it)


async def left(store: SqliteStore) -> dict[str, list[Any]]:
    return {
        "entries": [row.position for row in await store.rows(record_type(Entry))],
        "works": [row.name for row in await store.rows(record_type(Work))],
    }


def ask(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        return connection.execute(sql).fetchall()


ENTRY = [Entry("p", n) for n in range(5)]


async def _chain(folder: Path, *works: str) -> None:
    """A paper with two entries; the second cites works, each of which ends."""
    async with opened(folder) as store:
        (paper,) = await bring(store, Paper("p"))
        found = await end(store, paper, ENTRY[1], ENTRY[2])
        one, two = found.values()
        await end(store, one)
        for work in (await end(store, two, *map(Work, works))).values():
            await end(store, work)


async def test_what_an_item_emits_no_more_is_retracted_with_what_came_of_it(tmp_path: Path) -> None:
    await _chain(tmp_path, "w", "v")
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 2))
        assert await end(store, paper, ENTRY[1]) == {}, "what is unchanged stops early"
        assert await store.retract() == 3
        assert await left(store) == {"entries": [1], "works": []}
        assert await store.retract() == 0
    assert ask(tmp_path, "SELECT stage, key FROM streamflow_items ORDER BY 1, 2") == [
        ("find", '["p",1]'),
        ("read", "p"),
    ]
    for table in ("parents", "orphans", "streamed"):
        assert ask(tmp_path, f"SELECT * FROM streamflow_{table}") == [], table  # noqa: S608


async def test_a_record_with_another_parent_stays_whichever_parent_was_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        papers = await bring(store, Paper("a"), Paper("b"), Paper("c"))
        for paper in papers:
            await end_all(store, list((await end(store, paper, Work("w", (paper.key,)))).values()))
    for number, name in enumerate(["a", "c", "b"], 1):
        async with opened(tmp_path) as store:
            (paper,) = await bring(store, Paper(name, 2))
            await end(store, paper)
            assert await store.retract() == (1 if number == 3 else 0)
            (works,) = [await store.rows(record_type(Work))]
            assert works == ([Work("w", ("a", "b", "c"))] if number < 3 else []), "merged content stays as it is"


async def test_what_a_source_brought_stays_whenever_it_brought_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        first = await bring(store, Work("before"), Paper("p"))
        found = await end(store, first[1], Work("before"), Work("after"), Work("never"))
        assert list(found) == ["after", "never"]
        await bring(store, Work("after"))
        await end_all(store, [first[0], *found.values()])
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 2))
        await end(store, paper)
        assert await store.retract() == 1
        assert await left(store) == {"entries": [], "works": ["after", "before"]}


async def test_a_record_that_is_emitted_again_before_the_quiet_stays(tmp_path: Path) -> None:
    await _chain(tmp_path, "w")
    async with opened(tmp_path) as store:
        paper, other = await bring(store, Paper("p", 2), Paper("q"))
        await end(store, paper, ENTRY[1])
        await end(store, other, ENTRY[2])
        assert await store.retract() == 0
        assert await left(store) == {"entries": [1, 2], "works": ["w"]}


async def test_a_dead_letter_keeps_what_it_last_emitted_and_a_skipped_item_does_not(tmp_path: Path) -> None:
    await _chain(tmp_path)
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 2))
        await end(store, paper, state=State.DEAD)
        assert await store.retract() == 0
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 3))
        await end(store, paper, ENTRY[2], state=State.DONE)
        assert await store.retract() == 1, "of the good run before the dead letter"
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 4))
        await end(store, paper, state=State.SKIPPED)
        assert await store.retract() == 1


async def test_a_record_whose_item_is_pending_waits_for_its_end(tmp_path: Path) -> None:
    await _chain(tmp_path)
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 2))
        (entry,) = (await end(store, paper, ENTRY[1], Entry("p", 2, "changed"))).values()
    async with opened(tmp_path, refresh=True) as store:
        assert keys(await store.pending("find", after=0, limit=9)) == ['["p",2]']
        await store.renew()
        (paper,) = await bring(store, Paper("p", 3))
        await end(store, paper, ENTRY[1])
        assert await store.retract() == 0
        await end(store, entry)
        assert await store.retract() == 1


def keys(items: Sequence[Item]) -> list[Any]:
    return [it.key for it in items]


async def test_types_that_the_pipeline_no_longer_has_stay_and_come_back(tmp_path: Path) -> None:
    await _chain(tmp_path, "w")
    smaller = Plan("test", {"read": PLAN.stages["read"]}, (), {"Entry"})
    async with opened(tmp_path, smaller) as store:
        (paper,) = await bring(store, Paper("p", 2))
        await end(store, paper)
        await store.retract()
    assert len(ask(tmp_path, "SELECT * FROM entries")) == 2
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 3))
        await end(store, paper, ENTRY[1])
        assert await store.retract() == 2
        assert await left(store) == {"entries": [1], "works": []}


async def test_a_stream_may_become_a_list_and_a_list_a_stream(tmp_path: Path) -> None:
    """A streaming item emits in chunks, and its end brings nothing more."""
    for number, (emitted, streams) in enumerate([((1, 2), False), ((2, 3), True), ((3, 4), True), ((4, 1), False)]):
        async with opened(tmp_path) as store:
            (paper,) = await bring(store, Paper("p", number))
            entries = [ENTRY[n] for n in emitted]
            found: dict[Any, Item] = {}
            if streams:
                for entry in entries:
                    found |= await end(store, paper, entry, state=State.PENDING)
                    await end(store, paper, entry, state=State.PENDING)
                entries = []
            found |= await end(store, paper, *entries)
            await end_all(store, list(found.values()))
            await store.retract()
            assert await left(store) == {"entries": sorted(emitted), "works": []}


async def test_nothing_is_lost_where_a_step_fails_midway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kill between two transactions would: each step is whole, and what is left is in the database."""
    monkeypatch.setattr(parents, "STEP", 2)
    many = [Work(f"w{n}") for n in range(9)]
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p"))
        (entry,) = (await end(store, paper, ENTRY[1])).values()
        await end_all(store, list((await end(store, entry, *many)).values()))
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 2))
        await end(store, paper)
        steps = 0
        after: tuple[str, str] | None = ("", "")
        while after is not None and steps < 3:
            _, after = await store._writer.transact(
                lambda connection, after=after: store._writer.journal.parents.retract(connection, after)  # type: ignore[misc]
            )
            after, steps = after or ("", ""), steps + 1
        assert 0 < len(await store.rows(record_type(Work))) < 9
    async with opened(tmp_path) as store:
        assert await upkeep.retract(store._writer) > 0
        assert await left(store) == {"entries": [], "works": []}
    assert keys_left(tmp_path) == [("read", "p")]


def keys_left(folder: Path) -> list[tuple[Any, ...]]:
    return ask(folder, "SELECT stage, key FROM streamflow_items")


@pytest.mark.parametrize("name", ["\udcff", "\\udcff", '"', "é, 漢\x00", "", "5"])
async def test_any_key_can_be_retracted(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p"))
        found = await end(store, paper, Entry(name, 1), Work(name))
        await end_all(store, list(found.values()))
    async with opened(tmp_path) as store:
        (paper,) = await bring(store, Paper("p", 2))
        await end(store, paper)
        assert await store.retract() == 2
        assert await left(store) == {"entries": [], "works": []}


async def test_what_had_another_key_goes_without_the_row_that_was_put_aside(tmp_path: Path) -> None:
    await _chain(tmp_path, "w")
    now = _with_another_key()
    stages = {name: (now if kind.name == "Work" else kind, version) for name, (kind, version) in PLAN.stages.items()}
    ask(tmp_path, "ALTER TABLE works RENAME TO works_old")
    async with opened(tmp_path, Plan("test", stages, [record_type(Entry), now], PLAN.produced)) as store:
        (paper,) = await bring(store, Paper("p", 2))
        await end(store, paper)
        assert await store.retract() == 3
    assert keys_left(tmp_path) == [("read", "p")]


def _with_another_key() -> RecordType:
    @record(key=("name", "year"), table="works")
    class Work:
        name: str
        year: int = 0

    return record_type(Work)


async def test_a_store_in_memory_has_nothing_to_make_good() -> None:
    """It knows one epoch, in which a key is worked on while it is live."""
    store = MemoryStore()
    await store.open(PLAN, refresh=True, stale=True)
    await store.renew()
    assert (await store.catch_up("read")).items == 0
    assert await store.retract() == 0
