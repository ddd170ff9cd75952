"""The Store contract: one suite that every implementation passes."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamflow.errors import (
    DatabaseDamaged,
    DatabaseTooNew,
    JournalMismatch,
    StorageError,
    WorkspaceError,
    WriterStopped,
)
from streamflow.record import latest, record, record_type, union
from streamflow.storage.memory import MemoryStore
from streamflow.storage.reader import Reader
from streamflow.storage.schema import SCHEMA
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Counts, Item, Plan, State, Store

pytestmark = pytest.mark.asyncio


@record(key="doi", table="works")
class Work:
    doi: str
    title: str = ""
    year: int | None = None


@record(key=("doi", "position"), table="citations")
class Citation:
    doi: str
    position: int


@record(
    key="doi",
    table="merged",
    merge={"first": min, "most": max, "seen_in": union, "status": latest("at"), "at": max},
)
class Merged:
    doi: str
    first: int | None = None
    most: int | None = None
    seen_in: tuple[str, ...] = ()
    status: str | None = None
    at: int = 0


def strict(old: int, new: int) -> int:
    raise ZeroDivisionError("a rule that fails")


@record(key="n", table="fragile", merge={"at": strict, "text": lambda old, new: 5})
class Fragile:
    n: int
    at: int = 0
    text: str = ""


@record(key="name", merge={"place": min})
class Passing:
    name: str
    text: str = ""
    place: str = ""


def plan(*, version: int = 1, stages: Sequence[str] = ("read", "rate"), pipeline: str = "test") -> Plan:
    return Plan(
        pipeline,
        {stage: (record_type(Work), version) for stage in stages},
        [record_type(Work), record_type(Citation), record_type(Merged), record_type(Fragile)],
    )


MakeStore = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Makes a store; the durable ones share one database."""
    if request.param == "memory":
        return MemoryStore
    return lambda: SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL")


@pytest.fixture(params=["sqlite"])
def make_durable(tmp_path: Path) -> MakeStore:
    return lambda: SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL")


@asynccontextmanager
async def opened(store: Store, its_plan: Plan | None = None, *, refresh: bool = False) -> AsyncIterator[Store]:
    await store.open(its_plan or plan(), refresh=refresh)
    try:
        yield store
    finally:
        await store.close()


def item(doi: str, stage: str = "read", **fields: Any) -> Item:
    return Item(stage, Work(doi, **fields), doi)


async def admit(store: Store, *items: Item, rows: Sequence[Any] = ()) -> Sequence[Item]:
    return await store.commit(Completion(None, State.DONE, items, rows))


async def settle(store: Store, it: Item, state: State = State.DONE, **what: Any) -> Sequence[Item]:
    it.attempts += 1
    return await store.commit(Completion(it, state, **what))


async def finish(store: Store, it: Item, child: Item | None = None) -> Sequence[Item]:
    """As the engine does it."""
    children = [] if child is None else [child]
    is_new = store.finish(it, child)
    if is_new is None:
        return await settle(store, it, children=children)
    return children if is_new else []


def keys(items: Sequence[Item]) -> list[str]:
    return [it.key for it in items]


def passing(*stages: str) -> Plan:
    return Plan("test", {stage: (record_type(Passing), 1) for stage in stages}, [])


# --- admission -----------------------------------------------------------------------------------------------------


async def test_a_key_is_admitted_to_a_stage_once_while_it_is_live(make: MakeStore) -> None:
    async with opened(make()) as store:
        assert keys(await admit(store, item("a"), item("b"), item("a"))) == ["a", "b"]
        assert keys(await admit(store, item("b"), item("c"))) == ["c"]
        assert keys(await admit(store, item("a", "rate"))) == ["a"], "another stage admits for itself"


async def test_two_stages_admit_the_same_key_of_one_completion(make: MakeStore) -> None:
    async with opened(make()) as store:
        fresh = await admit(store, item("a"), item("a", "rate"))
        assert [(it.stage, it.key) for it in fresh] == [("read", "a"), ("rate", "a")]


async def test_concurrent_completions_admit_a_key_once_between_them(make: MakeStore) -> None:
    async with opened(make()) as store:
        answers = await asyncio.gather(*(admit(store, item("a"), item(f"own {n}")) for n in range(20)))
        admitted = [key for fresh in answers for key in keys(fresh)]
        assert sorted(admitted) == sorted(["a", *(f"own {n}" for n in range(20))])


async def test_within_an_epoch_an_ended_key_is_not_admitted_again(make_durable: MakeStore) -> None:
    async with opened(make_durable()) as store:
        (it,) = await admit(store, item("a", title="old"))
        await settle(store, it)
        assert await admit(store, item("a", title="old")) == []
        assert await admit(store, item("a", title="new")) == []


async def test_an_unfinished_run_goes_on_in_its_epoch(make_durable: MakeStore) -> None:
    async with opened(make_durable()) as store:
        ended, _ = await admit(store, item("ended", title="old"), item("pending"))
        await settle(store, ended)
    async with opened(make_durable()) as store:
        assert await admit(store, item("ended", title="new"), item("pending")) == []


async def test_a_later_epoch_admits_changed_contents_and_not_unchanged_ones(make_durable: MakeStore) -> None:
    await _one_finished_run(make_durable, "same", "changed")
    async with opened(make_durable()) as store:
        assert keys(await admit(store, item("same"), item("changed", title="new"))) == ["changed"]
        assert (await store.counts())["read"] == Counts(pending=1, done=1)


async def test_a_later_epoch_admits_everything_for_a_new_stage_version(make_durable: MakeStore) -> None:
    await _one_finished_run(make_durable, "a", "b")
    async with opened(make_durable(), plan(version=2)) as store:
        assert keys(await admit(store, item("a"), item("b"))) == ["a", "b"]


async def test_refresh_admits_everything_once(make_durable: MakeStore) -> None:
    await _one_finished_run(make_durable, "a", "b")
    async with opened(make_durable(), refresh=True) as store:
        (it,) = await admit(store, item("a"))
        await settle(store, it)
        assert keys(await admit(store, item("a"), item("b"))) == ["b"]


async def test_refresh_does_not_admit_what_is_pending_still(make_durable: MakeStore) -> None:
    """It is fed from the journal; admitted anew it would be worked on twice."""
    async with opened(make_durable()) as store:
        await admit(store, item("a"))
    async with opened(make_durable(), refresh=True) as store:
        assert await admit(store, item("a", title="new")) == []
        assert keys(await store.pending("read", after=0, limit=9)) == ["a"]


async def test_fields_that_merge_make_no_content_new(make_durable: MakeStore) -> None:
    its_plan = Plan("test", {"read": (record_type(Merged), 1)}, [record_type(Merged)])

    def merged(**fields: Any) -> Item:
        return Item("read", Merged("a", **fields), "a")

    async with opened(make_durable(), its_plan) as store:
        (it,) = await admit(store, merged(most=1))
        await settle(store, it)
        await store.finalized(store.changes)
    async with opened(make_durable(), its_plan) as store:
        assert await admit(store, merged(most=2)) == []


async def _one_finished_run(make: MakeStore, *dois: str) -> None:
    async with opened(make()) as store:
        for it in await admit(store, *map(item, dois)):
            await settle(store, it)
        await store.finalized(store.changes)


# --- ends ----------------------------------------------------------------------------------------------------------


async def test_each_end_state_is_counted(make: MakeStore) -> None:
    async with opened(make()) as store:
        items = await admit(store, *(item(doi) for doi in "abcd"))
        for it, state in zip(items, (State.DONE, State.SKIPPED, State.DEAD), strict=False):
            await settle(store, it, state, error=None if state is State.DONE else "why")
        assert await store.counts() == {"read": Counts(1, 1, 1, 1), "rate": Counts()}


async def test_states_of_items_are_told_by_stage_and_key(make: MakeStore) -> None:
    odd = "caf\udce9 \" ' \n"
    async with opened(make()) as store:
        pending, dead, done = await admit(store, item("a"), item(odd), item("c"))
        await settle(store, dead, State.DEAD, error="why")
        await settle(store, done)
        asked = [("read", "a"), ("read", odd), ("read", "c"), ("rate", "a"), ("read", "unknown")]
        told = dict(await store.states(asked))
        assert told.pop(("read", "c"), (State.DONE, None)) == (State.DONE, None)
        assert told == {("read", "a"): (State.PENDING, None), ("read", odd): (State.DEAD, "why")}
        await store.commit(Completion(pending, State.PENDING, error="not yet", due=0.0))
        ((state, _),) = (await store.states([("read", "a")])).values()
        assert state is State.PENDING
        many = [("read", f"none {number}") for number in range(50_000)]
        assert await store.states([*many, ("read", "a")]) != {}


async def test_children_rows_and_end_come_together(make: MakeStore) -> None:
    async with opened(make()) as store:
        (it,) = await admit(store, item("a"))
        fresh = await settle(store, it, children=[item("b", "rate")], rows=[Work("b"), Citation("b", 1)])
        assert keys(fresh) == ["b"]
        assert await store.counts() == {"read": Counts(done=1), "rate": Counts(pending=1)}
        assert await store.rows(record_type(Work)) == [Work("b")]
        assert await store.rows(record_type(Citation)) == [Citation("b", 1)]


@pytest.mark.parametrize("names", ["", "b", "a"])
async def test_the_ready_path_does_what_a_commit_does(make: MakeStore, names: str) -> None:
    """`a` is known to the stage already."""
    async with opened(make()) as store:
        (parent,) = await admit(store, item("parent"))
        await admit(store, item("a", "rate"))
        fresh = await finish(store, parent, item(names, "rate") if names else None)
        new = sorted(set(names) - {"a"})
        assert keys(fresh) == new
        assert await store.counts() == {"read": Counts(done=1), "rate": Counts(pending=1 + len(new))}


async def test_a_retry_is_due_at_its_time(make: MakeStore) -> None:
    async with opened(make()) as store:
        late, soon, never = await admit(store, item("late"), item("soon"), item("never"))
        await settle(store, late, State.PENDING, error="again", due=200.0)
        await settle(store, soon, State.PENDING, error="again", due=100.0)
        assert [(it.key, it.due) for it in await store.due("read", until=150.0, limit=9)] == [("soon", 100.0)]
        assert keys(await store.due("read", until=200.0, limit=9)) == ["soon", "late"]
        assert keys(await store.due("read", until=200.0, limit=1)) == ["soon"]
        assert (await store.counts())["read"] == Counts(pending=3)
        await settle(store, soon)
        assert keys(await store.due("read", until=200.0, limit=9)) == ["late"], "an ended item is not due"
        await settle(store, never)


async def test_a_dead_letter_keeps_its_error_and_attempts(make_durable: MakeStore, tmp_path: Path) -> None:
    async with opened(make_durable()) as store:
        (it,) = await admit(store, item("a"))
        await settle(store, it, State.PENDING, error="first", due=1.0)
        await settle(store, it, State.DEAD, error="the \udcff end" + "x" * 10_000)
    with closing(sqlite3.connect(tmp_path / "streamflow.db")) as connection:
        state, attempts, error = connection.execute("SELECT state, attempts, error FROM streamflow_items").fetchone()
    assert (state, attempts) == ("dead", 2)
    assert error.startswith("the \\udcff end")
    assert len(error) < 5_000, "what is kept of an error is bounded"


async def test_memory_keeps_dead_letters() -> None:
    async with opened(MemoryStore()) as store:
        assert isinstance(store, MemoryStore)
        (it,) = await admit(store, item("a"))
        await settle(store, it, State.DEAD, error="why")
        assert [(dead.key, error) for dead, error in store.dead] == [("a", "why")]


async def test_memory_remembers_only_live_keys() -> None:
    async with opened(MemoryStore()) as store:
        for _ in range(3):
            (it,) = await admit(store, item("a"))
            await settle(store, it)
        assert (await store.counts())["read"] == Counts(done=3)


# --- tables --------------------------------------------------------------------------------------------------------


async def test_rows_come_by_key(make: MakeStore) -> None:
    async with opened(make()) as store:
        await admit(store, rows=[Citation("b", 1), Citation("a", 10), Citation("a", 9)])
        await admit(store, rows=[Work("z"), Work("é"), Work("B")])
        assert await store.rows(record_type(Citation)) == [Citation("a", 9), Citation("a", 10), Citation("b", 1)]
        assert [row.doi for row in await store.rows(record_type(Work))] == ["B", "z", "é"]


async def test_a_repeated_row_changes_nothing_and_is_no_difference(make: MakeStore) -> None:
    async with opened(make()) as store:
        await admit(store, rows=[Work("a", "T", 2000), Work("a", "T", 2000)])
        await admit(store, rows=[Work("a", "T", 2000)])
        assert await store.rows(record_type(Work)) == [Work("a", "T", 2000)]
        assert list(store.differences()) == []


async def test_contents_that_differ_without_a_rule_are_reported_once(make: MakeStore) -> None:
    async with opened(make()) as store:
        await admit(store, rows=[Work("a", "T", 2000)])
        await admit(store, rows=[Work("a", "T", 2001)])
        (difference,) = store.differences()
        assert (difference.record, difference.key, difference.fields) == ("Work", "a", ("year",))
        assert list(store.differences()) == []


async def test_another_content_of_a_record_that_is_no_row_is_reported_once(make: MakeStore) -> None:
    async with opened(make(), passing("read", "rate")) as store:

        def items(text: str, place: str = "") -> list[Item]:
            return [Item(stage, Passing("a", text, place), "a") for stage in ("read", "rate")]

        (first, _) = await admit(store, *items("one", "here"))
        assert not await admit(store, *items("one", "there")), "a field with a rule may differ"
        assert list(store.differences()) == []
        assert not await admit(store, *items("two"), *items("three"))
        assert [(found.record, found.key, found.fields) for found in store.differences()] == [
            ("Passing", "a", ("text",))
        ]
        assert not await finish(store, first, Item("rate", Passing("a", "two"), "a"))
        assert [found.fields for found in store.differences()] == [("text",)]


async def test_who_brings_another_content_is_told_until_the_next_epoch(make: MakeStore) -> None:
    async def brought(store: Store, text: str) -> tuple[Sequence[Item], set[str]]:
        at_odds: list[Passing] = []
        children = [Item(stage, Passing("a", text), "a") for stage in ("read", "rate")]
        fresh = await store.commit(Completion(None, State.DONE, children, at_odds=at_odds))
        return fresh, {each.text for each in at_odds}

    async with opened(make(), passing("read", "rate")) as store:
        first, at_odds = await brought(store, "one")
        assert len(first) == 2
        assert not at_odds
        assert await brought(store, "one") == ([], set())
        assert await brought(store, "two") == ([], {"two"})
        for each in first:
            await settle(store, each)
        await store.renew()
        again, at_odds = await brought(store, "two")
        assert len(again) == 2
        assert not at_odds


async def test_another_content_in_a_later_epoch_is_no_difference(tmp_path: Path) -> None:
    def store() -> SqliteStore:
        return SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL")

    async with opened(store(), passing("read")) as first:
        (it,) = await admit(first, Item("read", Passing("a", "one"), "a"))
        await settle(first, it)
        await first.finalized(first.changes)
    async with opened(store(), passing("read")) as second:
        assert await admit(second, Item("read", Passing("a", "two"), "a"))
        assert list(second.differences()) == []


@pytest.mark.parametrize("grouped", [False, True])
async def test_which_of_two_contents_stays_does_not_depend_on_the_order(make: MakeStore, grouped: bool) -> None:
    contents = [Work("", "A", 1), Work("", "A", 10), Work("", "B", 1), Work("", "A", 2)]
    async with opened(make()) as store:
        left = set()
        for number, order in enumerate(itertools.permutations(contents)):
            rows = [Work(f"{number:02}", row.title, row.year) for row in order]
            for group in [rows] if grouped else [[row] for row in rows]:
                await admit(store, rows=group)
        left = {(row.title, row.year) for row in await store.rows(record_type(Work))}
        assert len(left) == 1


_merged = st.builds(
    Merged,
    st.just("a"),
    first=st.none() | st.integers(0, 3),
    most=st.none() | st.integers(0, 3),
    seen_in=st.lists(st.sampled_from("xyz"), max_size=2).map(lambda names: union((), names)),
    status=st.none() | st.sampled_from(["ok", "gone"]),
    at=st.integers(0, 3),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(_merged, min_size=2, max_size=4), cut=st.integers(0, 4))
async def test_merges_give_the_same_row_in_every_order_and_grouping(
    make: MakeStore, contents: list[Merged], cut: int
) -> None:
    async with opened(make(), refresh=True) as store:
        results = []
        for number, order in enumerate(itertools.permutations(contents)):
            rows = [_renamed(row, f"{number}-{contents!r}") for row in order]
            await admit(store, rows=rows[:cut])
            await admit(store, rows=rows[cut:])
            results.append(rows[0].doi)
        left = {_renamed(row, "") for row in await store.rows(record_type(Merged)) if row.doi in results}
        assert len(left) == 1
        (merged,) = left
        assert merged.first == min((row.first for row in contents if row.first is not None), default=None)
        assert merged.most == max((row.most for row in contents if row.most is not None), default=None)
        assert merged.seen_in == tuple(sorted({name for row in contents for name in row.seen_in}))
        assert merged.at == max(row.at for row in contents)
        assert list(store.differences()) == []


def _renamed(row: Merged, doi: str) -> Merged:
    return Merged(doi, row.first, row.most, row.seen_in, row.status, row.at)


async def test_a_later_epoch_replaces_a_row_without_reporting_it(make_durable: MakeStore) -> None:
    async with opened(make_durable()) as store:
        await admit(store, rows=[Work("a", "B", 1), Merged("a", most=5)])
        await store.finalized(store.changes)
    async with opened(make_durable()) as store:
        await admit(store, rows=[Work("a", "C", 2), Merged("a", most=3)])
        assert list(store.differences()) == []
        assert await store.rows(record_type(Work)) == [Work("a", "C", 2)]
        assert await store.rows(record_type(Merged)) == [Merged("a", most=5)], "fields with a rule still merge"


@pytest.mark.parametrize(
    "text",
    ["\udcff", "a\udc80b", "\\udcff", "\\\\udcff", "\\\udcff", "\x00", "naïve 漢字 😀", "'; DROP TABLE works; --", ""],
    ids=ascii,
)
async def test_any_text_goes_through_keys_columns_and_items(make: MakeStore, text: str) -> None:
    store = make()
    async with opened(store):
        fresh = await admit(store, item(text, title=text), rows=[Work(text, text), Merged("m", seen_in=(text,))])
        assert keys(fresh) == [text]
        assert await admit(store, item(text)) == []
        assert await store.rows(record_type(Work)) == [Work(text, text)]
        assert await store.rows(record_type(Merged)) == [Merged("m", seen_in=(text,))]
        await admit(store, rows=[Work(text, text)])
        assert list(store.differences()) == []
    if store.durable:
        again = make()
        async with opened(again):
            (pending,) = await again.pending("read", after=0, limit=9)
            assert (pending.key, pending.record) == (text, Work(text, title=text))


async def test_reading_a_record_type_without_a_table_says_so(make: MakeStore) -> None:
    from streamflow.errors import RecordError

    async with opened(make()) as store:
        with pytest.raises(RecordError, match="Passing"):
            await Reader(store).records(Passing)


# --- all or nothing ------------------------------------------------------------------------------------------------

HUGE = 2**63


BAD: dict[str, Any] = {
    "text for a number": Work("bad", year="20x4"),  # type: ignore[arg-type]
    "a number for text": Work("bad", title=7),  # type: ignore[arg-type]
    "nothing for text": Work("bad", title=None),  # type: ignore[arg-type]
    "a key of another type": Citation("bad", ["1"]),  # type: ignore[arg-type]
    "a wrong type deep inside": Merged("bad", seen_in=(1,)),  # type: ignore[arg-type]
    "no value of any column": Work("bad", title=object()),  # type: ignore[arg-type]
    "a merge rule that raises": Fragile(1, at=2),
    "a merge rule that gives another type": Fragile(1, text="new"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_completion_that_cannot_be_stored_leaves_nothing_and_the_others_of_its_group_commit(
    make: MakeStore, what: str
) -> None:
    async with opened(make()) as store:
        await admit(store, rows=[Fragile(1)])
        items = list(await admit(store, *(item(f"{n}") for n in range(9))))
        before = store.changes
        answers = await asyncio.gather(
            *(
                settle(
                    store,
                    it,
                    children=[item(f"child {n}", "rate")],
                    rows=[Work(f"row {n}"), BAD[what] if n == 4 else Work(f"more {n}")],
                )
                for n, it in enumerate(items)
            ),
            return_exceptions=True,
        )
        assert [isinstance(answer, StorageError) for answer in answers] == [n == 4 for n in range(9)]
        assert not any(isinstance(answer, WriterStopped) for answer in answers)
        assert store.changes > before
        assert await store.counts() == {"read": Counts(pending=1, done=8), "rate": Counts(pending=8)}
        rows = {row.doi for row in await store.rows(record_type(Work))}
        assert rows == {f"{what} {n}" for what in ("row", "more") for n in range(9) if n != 4}
        assert list(await store.rows(record_type(Citation))) == list(await store.rows(record_type(Merged))) == []
        assert await store.rows(record_type(Fragile)) == [Fragile(1)]
        assert list(store.differences()) == []
        # What was refused is still pending: it can end otherwise.
        await settle(store, items[4], State.DEAD, error="cannot be stored")
        assert (await store.counts())["read"] == Counts(done=8, dead=1)


@pytest.mark.parametrize("siblings", [(), ("good",)])
async def test_a_child_whose_key_is_none_is_refused_and_its_parent_pending_still(
    make: MakeStore, siblings: tuple[str, ...]
) -> None:
    async with opened(make()) as store:
        (it,) = await admit(store, item("a"))
        child = Item("rate", Work(["a"]), ["a"])  # type: ignore[arg-type]
        children = [*(item(doi, "rate") for doi in siblings), child]
        ending = settle(store, it, children=children, rows=[Work("b")]) if siblings else finish(store, it, child)
        with pytest.raises(StorageError, match="stored"):
            await ending
        assert await store.counts() == {"read": Counts(pending=1), "rate": Counts()}
        assert list(await store.rows(record_type(Work))) == []
        await settle(store, it, State.DEAD, error="no key")
        assert (await store.counts())["read"] == Counts(dead=1)


@pytest.mark.parametrize("year", [HUGE, -HUGE - 1, 2**64, 10**30])
async def test_a_child_whose_number_is_too_large_is_refused_whole(make_durable: MakeStore, year: int) -> None:
    async with opened(make_durable()) as store:
        (it,) = await admit(store, item("a"))
        children = [item("good", "rate"), item("bad", "rate", year=year)]
        with pytest.raises(StorageError, match=r"stored"):
            await settle(store, it, children=children, rows=[Work("b", year=year)])
        assert await store.counts() == {"read": Counts(pending=1), "rate": Counts()}


async def test_a_commit_goes_on_when_its_waiter_is_cancelled(make: MakeStore) -> None:
    """Either all of a cancelled completion is there or nothing, and others are not affected."""
    async with opened(make()) as store:
        (it,) = await admit(store, item("a"))
        doomed = asyncio.create_task(_settled(store, it, "cancelled"))
        other = asyncio.create_task(admit(store, rows=[Work("other")]))
        await asyncio.sleep(0)
        doomed.cancel()
        await asyncio.wait([doomed])
        await other
        await admit(store, rows=[Work("after")])
        rows = {row.doi for row in await store.rows(record_type(Work))}
        assert rows >= {"other", "after"}
        counts = await store.counts()
        whole = (rows - {"other", "after"}, counts["read"].done, counts["rate"].pending)
        assert whole in ((set(), 0, 0), ({"cancelled"}, 1, 1))


async def _settled(store: Store, it: Item, doi: str) -> None:
    await settle(store, it, children=[item(doi, "rate")], rows=[Work(doi)])


async def test_what_waits_when_the_store_is_closed_is_committed_first(make_durable: MakeStore) -> None:
    store = make_durable()
    await store.open(plan())
    waiting = [asyncio.ensure_future(store.commit(Completion(None, State.DONE, [item(f"{n}")]))) for n in range(5)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await store.close()
        assert [keys(fresh) for fresh in await asyncio.gather(*waiting)] == [[f"{n}"] for n in range(5)]


# --- reopening -----------------------------------------------------------------------------------------------------


async def test_what_is_pending_comes_back_by_pages_in_the_order_of_admission(make_durable: MakeStore) -> None:
    async with opened(make_durable()) as store:
        items = await admit(store, *(item(f"{n}", title=f"T{n}") for n in range(7)))
        await settle(store, items[2])
        await settle(store, items[3], State.PENDING, error="later", due=5.0)
    store = make_durable()
    found = await store.open(plan())
    try:
        assert found.pending == {"read": 6}
        await admit(store, item("live"))
        pages = []
        after = 0
        while page := await store.pending("read", after=after, limit=4):
            pages.append(page)
            after = page[-1].id
        assert [keys(page) for page in pages] == [["0", "1", "3", "4"], ["5", "6"]], "live items are not fed again"
        third = pages[0][2]
        assert (third.record, third.attempts, third.due) == (Work("3", "T3"), 1, 5.0)
        await settle(store, third)
        assert (await store.counts())["read"] == Counts(pending=6, done=2)
    finally:
        await store.close()


async def test_finalizers_are_owed_from_the_first_change_until_they_ran(make: MakeStore) -> None:
    store = make()
    assert (await store.open(plan())).changed is False
    await admit(store, item("a"))
    if store.durable:
        await store.close()
        store = make()
        assert (await store.open(plan())).changed is True
    await store.finalized(store.changes)
    await store.close()
    if store.durable:
        store = make()
    assert (await store.open(plan())).changed is False
    await admit(store, rows=[Work("b")])
    await store.close()
    if store.durable:
        store = make()
    assert (await store.open(plan())).changed is True
    await store.close()


async def test_texts_are_kept_by_name_and_the_last_one_counts(make: MakeStore) -> None:
    store = make()
    async with opened(store):
        assert await store.kept("") == {}
        await store.keep({"limit:a": "1", "limit:b": "2", "other": "3"})
        await store.keep({"limit:b": "4", "pipeline": "not ours"})
        assert await store.kept("limit:") == {"limit:a": "1", "limit:b": "4"}
    if store.durable:
        store = make()
    async with opened(store):
        assert await store.kept("limit:") == {"limit:a": "1", "limit:b": "4"}


async def test_what_is_kept_is_no_change_that_finalizers_must_see(make: MakeStore) -> None:
    store = make()
    async with opened(store):
        await store.keep({"a": "1"})
    if store.durable:
        store = make()
    assert (await store.open(plan())).changed is False
    await store.close()


async def test_nothing_is_kept_after_the_end(make_durable: MakeStore) -> None:
    async with opened(make_durable()) as store:
        pass
    with pytest.raises(WriterStopped):
        await store.keep({"a": "1"})


async def test_what_is_known_already_owes_the_finalizers_nothing(make: MakeStore) -> None:
    store = make()
    async with opened(store):
        await admit(store, item("a"))
        await store.finalized(store.changes)
        await admit(store, item("a"))
    if store.durable:
        store = make()
    found = await store.open(plan())
    await store.close()
    assert found.changed is False


async def test_items_of_a_stage_that_is_gone_stop_the_start(make_durable: MakeStore) -> None:
    async with opened(make_durable()) as store:
        await admit(store, item("a"), item("b", "rate"))
    with pytest.raises(JournalMismatch, match=r"(?s)'rate'.*streamflow journal"):
        await make_durable().open(plan(stages=["read"]))
    async with opened(make_durable()) as store:
        assert (await store.counts())["rate"] == Counts(pending=1), "the refusal changed nothing"


async def test_ended_items_of_a_stage_that_is_gone_do_not_matter(make_durable: MakeStore) -> None:
    async with opened(make_durable()) as store:
        (it,) = await admit(store, item("b", "rate"))
        await settle(store, it)
    async with opened(make_durable(), plan(stages=["read"])) as store:
        assert (await store.counts())["rate"] == Counts(done=1)


async def test_another_pipelines_database_is_refused(make_durable: MakeStore) -> None:
    async with opened(make_durable()):
        pass
    with pytest.raises(WorkspaceError, match=r"'test', not 'other'"):
        await make_durable().open(plan(pipeline="other"))


# --- SQLite alone --------------------------------------------------------------------------------------------------


async def test_a_newer_schema_is_refused_and_left_alone(make_durable: MakeStore, tmp_path: Path) -> None:
    async with opened(make_durable()):
        pass
    path = tmp_path / "streamflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(DatabaseTooNew, match=rf"schema {SCHEMA + 1}.*upgrade streamflow"):
        await make_durable().open(plan())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA + 1,)


@pytest.mark.parametrize("damage", ["not a database", "header only", "torn pages"])
async def test_a_damaged_file_is_refused_with_what_to_do(make_durable: MakeStore, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "streamflow.db"
    async with opened(make_durable()) as store:
        await admit(store, *(item(f"{n}") for n in range(500)))
    content = path.read_bytes()
    path.write_bytes(
        {
            "not a database": b"%PDF-1.7 this is something else" * 200,
            "header only": content[:100] + b"\xff" * 4000,
            "torn pages": content[:100] + bytes(len(content) - 100),
        }[damage]
    )
    with pytest.raises(DatabaseDamaged, match=r"(?s)streamflow\.db.*move it away"):
        await make_durable().open(plan())


async def test_a_folder_that_is_not_there_is_a_workspace_error(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"nowhere"):
        await SqliteStore(tmp_path / "nowhere" / "streamflow.db").open(plan())
