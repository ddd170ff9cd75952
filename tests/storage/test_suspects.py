"""The file of what is in flight, and whom an unclean end is blamed on: one start after the other, on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from streamflow.record import record, record_type
from streamflow.storage import inspect
from streamflow.storage.inflight import InFlight, LeftInFlight, left_in_flight
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item, Opened, Plan, State


@record(key="n")
class Number:
    n: int


PLAN = Plan("test", {"stage": (record_type(Number), 1)})


# --- the file ------------------------------------------------------------------------------------------------------


def test_what_is_noted_is_there_for_whoever_looks_after_the_process(tmp_path: Path) -> None:
    path = tmp_path / "inflight"
    assert left_in_flight(path) is None
    in_flight = InFlight(4, path, 77)
    assert left_in_flight(path) == LeftInFlight(77, frozenset(), frozenset(), False)
    in_flight.places[0] = -5
    in_flight.places[3] = 2**40
    in_flight.run_alone(True)
    in_flight.sync()
    assert left_in_flight(path) == LeftInFlight(77, frozenset({5, 2**40}), frozenset({2**40}), True)
    in_flight.places[0] = 0
    in_flight.run_alone(False)
    assert left_in_flight(path) == LeftInFlight(77, frozenset({2**40}), frozenset({2**40}), False)
    in_flight.end()
    assert left_in_flight(path) is None


def test_a_file_of_an_earlier_process_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "inflight"
    path.write_bytes(b"x" * 10_000)
    in_flight = InFlight(2, path, 1)
    assert left_in_flight(path) == LeftInFlight(1, frozenset(), frozenset(), False)
    in_flight.end()


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 1000, b"SFLWFLY1", b"SFLWFLY1" + b"\xff" * 56])
def test_a_file_that_is_none_of_ours_is_told_of_and_ignored(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "inflight"
    path.write_bytes(content)
    with capture_logs() as logs:
        assert left_in_flight(path) is None
    assert [line["event"] for line in logs] == ["in_flight_file_ignored"]
    path.unlink()
    path.mkdir()
    with capture_logs() as logs:
        assert left_in_flight(path) is None
    assert logs


# --- judging -------------------------------------------------------------------------------------------------------


class Workspace:
    """A database whose processes end without a word."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "streamflow.db"
        self.flight = folder / "streamflow.inflight"

    def store(self) -> SqliteStore:
        return SqliteStore(self.path, synchronous="NORMAL")

    async def admit(self, *numbers: int) -> dict[int, Item]:
        store = self.store()
        await store.open(PLAN)
        fresh = await store.commit(
            Completion(None, State.DONE, [Item("stage", Number(number), number) for number in numbers])
        )
        await store.close()
        return {item.record.n: item for item in fresh}

    @asynccontextmanager
    async def process(self, *in_flight: Item, alone: bool = False) -> AsyncIterator[tuple[SqliteStore, Opened]]:
        """One that ends with these items in flight."""
        store = self.store()
        opened = await store.open(PLAN)
        flight = store.in_flight(4)
        for place, item in enumerate(in_flight):
            flight.places[place] = item.id
        flight.run_alone(alone)
        try:
            yield store, opened
        finally:
            left = self.flight.read_bytes()
            await store.close()
            self.flight.write_bytes(left)

    async def start(self, *in_flight: Item, alone: bool = False) -> tuple[list[int], list[str]]:
        """The keys of what this start runs alone and sets aside; it ends with these in flight."""
        async with self.process(*in_flight, alone=alone) as (_, opened):
            return [item.record.n for item in opened.suspects], [suspect.key for suspect in opened.set_aside]


@pytest.mark.asyncio
async def test_two_ends_make_a_suspect_and_a_third_alone_sets_it_aside(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1, 2, 3, 4, 5)
    start = workspace.start
    assert await start(items[1], items[2], items[3]) == ([], [])
    assert await start(items[2], items[3], items[4]) == ([], [])
    assert await start(items[2], alone=True) == ([2, 3], [])
    assert await start(items[3], alone=True) == ([3], ["2"])
    assert await start(items[1], items[4]) == ([], ["3"])
    assert await start() == ([1, 4], []), "the ends need not follow each other"
    assert await start() == ([1, 4], []), "an end with nothing in flight blames nobody"
    letters = inspect.dead_letters(tmp_path)
    assert {(letter.key, letter.attempts) for letter in letters} == {("2", 3), ("3", 3)}


@pytest.mark.asyncio
async def test_a_third_end_in_company_sets_nobody_aside(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1, 2)
    for suspects in ([], [], [1, 2], [1, 2], [1, 2]):
        assert await workspace.start(items[1], items[2]) == (suspects, [])


@pytest.mark.asyncio
async def test_an_item_in_a_process_of_its_own_is_told_and_never_blamed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1, 2)
    for alone in (False, False, True, True):
        async with workspace.process(items[2], alone=alone) as (store, _):
            store.in_flight(4).places[0] = -items[1].id
    async with workspace.process() as (_, opened):
        assert [str(suspect) for suspect in opened.in_flight] == ["stage 1"]
        assert (opened.suspects, opened.set_aside) == ([], ())


@pytest.mark.asyncio
async def test_it_is_told_what_was_in_flight_and_is_pending_still(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1, 2, 3)
    async with workspace.process(items[1], items[2]) as (store, _):
        await store.commit(Completion(items[1], State.DONE))
    async with workspace.process() as (_, opened):
        assert [str(suspect) for suspect in opened.in_flight] == ["stage 2"]
        assert opened.pending == {"stage": 2}


@pytest.mark.parametrize("state", [State.DONE, State.SKIPPED, State.DEAD])
@pytest.mark.asyncio
async def test_an_item_that_ended_is_no_suspect_any_more(tmp_path: Path, state: State) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1, 2)
    await workspace.start(items[1], items[2])
    await workspace.start(items[1], items[2])
    async with workspace.process() as (store, opened):
        assert [item.record.n for item in opened.suspects] == [1, 2]
        await store.commit(Completion(items[1], state, error="x"))
    assert await workspace.start() == ([2], [])


@pytest.mark.asyncio
async def test_an_attempt_that_ends_in_an_ordinary_way_clears_its_item(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1)
    await workspace.start(items[1])
    async with workspace.process() as (store, _):
        items[1].attempts += 1
        await store.commit(Completion(items[1], State.PENDING, error="OSError", due=1.0))
    await workspace.start(items[1])
    assert await workspace.start(items[1]) == ([], []), "one unclean end since"
    assert await workspace.start() == ([1], [])


@pytest.mark.asyncio
async def test_an_end_counts_once_also_when_the_next_start_is_cut_short(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1)
    await workspace.start(items[1])
    left = workspace.flight.read_bytes()
    for _ in range(3):
        store = workspace.store()
        opened = await store.open(PLAN)
        await store.close()
        assert not opened.suspects
        workspace.flight.write_bytes(left)  # it was killed before it began its own


@pytest.mark.asyncio
async def test_what_was_left_beside_another_database_blames_nobody(tmp_path: Path) -> None:
    ours, theirs = Workspace(tmp_path), Workspace(tmp_path / "theirs")
    theirs.folder.mkdir()
    mine, others = await ours.admit(1), await theirs.admit(1)
    assert mine[1].id == others[1].id
    for _ in range(3):
        await theirs.start(others[1])
        ours.flight.write_bytes(theirs.flight.read_bytes())
        async with ours.process() as (_, opened):
            assert (opened.in_flight, opened.suspects) == ((), [])


@pytest.mark.asyncio
async def test_a_retried_dead_letter_starts_with_a_clean_sheet(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    items = await workspace.admit(1)
    for alone in (False, False, True):
        await workspace.start(items[1], alone=alone)
    assert await workspace.start() == ([], ["1"])
    assert inspect.requeue(tmp_path) == {"stage": 1}
    assert await workspace.start(items[1]) == ([], [])
    assert await workspace.start() == ([], [])


@pytest.mark.asyncio
async def test_without_a_place_for_the_file_a_run_goes_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.flight.mkdir()
    store = workspace.store()
    with capture_logs() as logs:
        await store.open(PLAN)
        store.in_flight(4).places[3] = 1
    assert {line["event"] for line in logs} == {"in_flight_file_ignored", "in_flight_file_missing"}
    await store.close()
