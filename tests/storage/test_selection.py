"""Which dead letters fit, by the selectors of `dead list` and `retry`, for those who look and for those who requeue."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamflow.record import record, record_type
from streamflow.storage import inspect
from streamflow.storage.selection import ALL, Selection
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item, Plan, State
from streamflow.storage.tables import to_text


@record(key="name")
class Thing:
    name: str


KIND = record_type(Thing)
PLAN = Plan("things", {"fetch": (KIND, 1), "store": (KIND, 1)})
ODD = "f\udcff"  # a file name that is not UTF-8
DEAD = {  # in the order of their ids: (stage, key), reason, time of the end
    ("fetch", "a"): ("Timeout: too slow", 100.0),
    ("fetch", "b"): ("Timeout (after 5 attempts)", 200.0),
    ("store", "a"): ("TimeoutError: another", 300.0),
    ("store", ODD): ("Timeout", 400.0),
    ("fetch", "d"): ("no Timeout: a reason of ours", 500.0),
}
CASES = [
    (ALL, "fetch a, fetch b, store a, store f, fetch d"),
    (Selection(stage="fetch"), "fetch a, fetch b, fetch d"),
    (Selection(stage="other"), ""),
    (Selection(keys=("a",)), "fetch a, store a"),
    (Selection(keys=("a", "b")), "fetch a, fetch b, store a"),
    (Selection(stage="store", keys=("a",)), "store a"),
    (Selection(keys=(to_text(ODD),)), "store f"),
    (Selection(error="Timeout"), "fetch a, fetch b, store f"),
    (Selection(error="TimeoutError"), "store a"),
    (Selection(error="Time"), ""),
    (Selection(error="%"), ""),
    (Selection(since=200.0), "fetch b, store a, store f, fetch d"),
    (Selection(until=200.0), "fetch a, fetch b"),
    (Selection(since=200.0, until=400.0, stage="store"), "store a, store f"),
    (Selection(since=300.0, error="Timeout"), "store f"),
]


async def with_dead_letters(workspace: Path) -> SqliteStore:
    store = SqliteStore(workspace / "streamflow.db", synchronous="NORMAL")
    await store.open(PLAN)
    items = [Item(stage, Thing(key), key) for stage, key in (*DEAD, ("fetch", "alive"))]
    await store.commit(Completion(None, State.DONE, items))
    for item, (reason, ended) in zip(items, DEAD.values(), strict=False):
        item.attempts = 5
        await store.commit(Completion(item, State.DEAD, error=reason, ended=ended))
    return store


def named(stage: str, key: str) -> str:
    return f"{stage} {key[0]}"


@pytest.mark.asyncio
@pytest.mark.parametrize(("selection", "expected"), CASES)
async def test_those_that_fit_are_shown_and_requeued_with_and_without_a_run(
    tmp_path: Path, selection: Selection, expected: str
) -> None:
    wanted = set(filter(None, expected.split(", ")))
    store = await with_dead_letters(tmp_path)
    shown = inspect.dead_letters(tmp_path, selection)
    assert {named(letter.stage, letter.key) for letter in shown} == wanted
    assert [letter.ended for letter in shown] == sorted((letter.ended or 0 for letter in shown), reverse=True)

    ids = []
    while page := await store.requeue(selection, after=ids[-1] if ids else 0, limit=2, due=7.0):
        assert len(page) <= 2
        ids += page
    due = [item for stage in PLAN.stages for item in await store.due(stage, until=7.0, limit=10)]
    await store.close()
    assert {named(item.stage, str(item.key)) for item in due} == wanted
    assert sorted(ids) == sorted(item.id for item in due)
    assert {item.attempts for item in due} <= {0}
    assert len(inspect.dead_letters(tmp_path)) == len(DEAD) - len(wanted)


@pytest.mark.asyncio
@pytest.mark.parametrize(("selection", "expected"), CASES)
async def test_without_a_run_the_same_are_requeued(tmp_path: Path, selection: Selection, expected: str) -> None:
    await (await with_dead_letters(tmp_path)).close()
    wanted = set(filter(None, expected.split(", ")))
    counts = inspect.requeue(tmp_path, selection)
    assert sum(counts.values()) == len(wanted)
    assert set(counts) == {name.split()[0] for name in wanted}
    left = {named(letter.stage, letter.key) for letter in inspect.dead_letters(tmp_path)}
    assert left == {named(*key) for key in DEAD} - wanted


@pytest.mark.asyncio
async def test_a_page_whose_items_are_dead_no_more_is_passed_over(tmp_path: Path) -> None:
    """Between reading which they are and marking them, none of the first page may be left."""
    store = await with_dead_letters(tmp_path)
    read = store._read

    async def late(sql: str, parameters: object) -> list[tuple[object, ...]]:
        found = await read(sql, parameters)  # type: ignore[arg-type]
        if found and found[0][0] == 1:
            store._read = read  # type: ignore[method-assign]
            assert len(await store.requeue(ALL, after=0, limit=2, due=1.0)) == 2
        return found

    store._read = late  # type: ignore[method-assign, assignment]
    again = await store.requeue(ALL, after=0, limit=2, due=1.0)
    await store.close()
    assert len(again) == 2
    assert min(again) > 2
