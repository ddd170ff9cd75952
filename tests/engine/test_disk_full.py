"""A full disk in the middle of a run: items wait in their workers' hands, none fails, and none uses up an attempt."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import Reject
from streamflow.events import StorageBlocked, StorageResumed
from streamflow.storage.patience import Patience
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Counts
from tests.engine.flows import AT_ONCE, ONCE, Number, Played, Result, flow, play, until, values

pytestmark = pytest.mark.asyncio


def full(folder: Path) -> OSError:
    """What writing a file too large for the disk of a folder meets."""
    return OSError(errno.ENOSPC, "No space left on device", str(folder / "files" / "large"))


def seen(run: Run) -> set[str]:
    """What the workers of a run are at."""
    return {run.at(slot) for pool in run.pools.values() for slot in pool.slots}


class Attempts:
    """Every third item finds the disk full twice before it fits."""

    def __init__(self, folder: Path) -> None:
        self.of: Counter[int] = Counter()
        self.folder = folder

    def check(self, n: int) -> None:
        self.of[n] += 1
        if n % 3 == 0 and self.of[n] < 3:
            raise full(self.folder)


def plain(attempts: Attempts) -> Stage:
    async def work(number: Number) -> Result:
        attempts.check(number.n)
        return Result(number.n)

    return Stage(work, workers=2, retry=ONCE)


def streaming(attempts: Attempts) -> Stage:
    async def work(number: Number) -> AsyncIterator[Result]:
        yield Result(number.n)
        attempts.check(number.n)

    return Stage(work, workers=2, retry=ONCE)


def threaded(attempts: Attempts) -> Stage:
    def work(number: Number) -> Result:
        attempts.check(number.n)
        return Result(number.n)

    return Stage(work, workers=2, retry=ONCE, runs_in="thread")


def batched(attempts: Attempts) -> Stage:
    async def work(numbers: list[Number]) -> list[Result]:
        for number in numbers:
            attempts.check(number.n)
        return [Result(number.n) for number in numbers]

    return Stage(work, workers=2, retry=ONCE, batch=Batch(max_size=4, max_wait=0.01))


def by_entries(attempts: Attempts) -> Stage:
    async def work(numbers: list[Number]) -> list[Result | Exception]:
        return [_outcome(attempts, number) for number in numbers]

    work.__annotations__["return"] = list[Result]
    return Stage(work, workers=2, retry=ONCE, batch=Batch(max_size=4, max_wait=0.01))


def _outcome(attempts: Attempts, number: Number) -> Result | Exception:
    try:
        attempts.check(number.n)
    except OSError as error:
        return error
    return Result(number.n)


def hidden(attempts: Attempts) -> Stage:
    async def work(number: Number) -> Result:
        try:
            attempts.check(number.n)
        except OSError as error:
            raise Reject("could not be kept") from error
        return Result(number.n)

    return Stage(work, workers=2, retry=ONCE)


async def run(folder: Path, stage: Stage, **options: Any) -> Played:
    events: list[Any] = []
    patience = Patience(folder, events.append, first=0.0)
    played = await play(flow(stage, count=10, **options), storage_patience=patience)
    played.events += events
    return played


@pytest.mark.parametrize("make", [plain, streaming, threaded, batched, by_entries, hidden])
async def test_an_item_that_finds_the_disk_full_is_tried_again_and_none_of_it_counts(
    tmp_path: Path, make: Callable[[Attempts], Stage]
) -> None:
    attempts = Attempts(tmp_path)
    played = await run(tmp_path, make(attempts))
    assert values(played) == list(range(10))
    figures = played.summary.stages["work"]
    assert (figures.done, figures.dead, figures.retries) == (10, 0, 0)
    assert all(attempts.of[n] >= 3 for n in range(0, 10, 3))
    told = [event for event in played.events if isinstance(event, StorageBlocked | StorageResumed)]
    assert {type(event) for event in told} == {StorageBlocked, StorageResumed}


async def test_another_disk_that_is_full_is_the_item_s_trouble(tmp_path: Path) -> None:
    """Nobody makes room there for our sake: a worker and the run would be held up for ever."""
    workspace, elsewhere = tmp_path / "ws", tmp_path / "elsewhere"
    workspace.mkdir()

    async def work(number: Number) -> Result:
        if number.n == 3:
            raise full(elsewhere)
        return Result(number.n)

    async def works(numbers: list[Number]) -> list[Result]:
        return [await work(number) for number in numbers]

    for stage in (Stage(work, retry=AT_ONCE), Stage(works, name="work", retry=AT_ONCE, batch=Batch(4, 0.01))):
        played = await play(flow(stage), storage_patience=Patience(workspace, first=3600.0))
        figures = played.summary.stages["work"]
        assert (figures.done, figures.dead, figures.retries) == (9, 1, 2)
        assert "No space left" in played.store.dead[0][1]  # type: ignore[attr-defined]


async def test_a_sequential_run_waits_too(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    played = await play(flow(plain(attempts), count=4), sequential=True, storage_patience=Patience(tmp_path, first=0.0))
    assert values(played) == [0, 1, 2, 3]


async def test_another_failure_after_it_counts_as_any(tmp_path: Path) -> None:
    errors = iter([full(tmp_path), full(tmp_path), ValueError("it was never good")])

    async def work(number: Number) -> Result:
        raise next(errors)

    played = await play(flow(Stage(work, retry=ONCE), count=1), storage_patience=Patience(tmp_path, first=0.0))
    assert played.summary.stages["work"].dead == 1
    assert "it was never good" in played.store.dead[0][1]  # type: ignore[attr-defined]


async def test_a_finalizer_that_finds_the_disk_full_runs_again(tmp_path: Path) -> None:
    calls: list[str] = []

    async def build() -> None:
        calls.append("called")
        if len(calls) < 3:
            raise full(tmp_path)

    await run(tmp_path, plain(Attempts(tmp_path)), finalizers=[build])
    assert len(calls) == 3


async def test_a_stop_does_not_wait_for_room(tmp_path: Path) -> None:
    async def work(number: Number) -> Result:
        raise full(tmp_path)

    async def stop(run: Run) -> None:
        await until(lambda: "disk full" in seen(run))
        run.stop("SIGTERM")

    store = SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL")
    played = await play(
        flow(Stage(work, workers=2), count=5),
        store,
        watch=stop,
        grace=0.01,
        storage_patience=Patience(tmp_path, first=3600.0),
    )
    assert played.summary.stopped_by == "SIGTERM"
    assert played.summary.dead == 0
    assert (await store.counts())["work"].pending == 5


async def test_a_full_database_is_shown_as_what_the_stage_waits_for(tmp_path: Path) -> None:
    """Intake and workers stand still, nothing dies, a stop within the grace leaves the rest pending."""
    patience = Patience(tmp_path, first=0.0)
    store = SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL", patience=patience)

    async def grow(number: Number) -> Result:
        return Result(number.n)

    async def fill(run: Run) -> None:
        await until(lambda: any(pool.done for pool in run.pools.values()))
        await store._connection.execute("PRAGMA max_page_count = 1")  # none above those that there are
        await until(lambda: patience.reason is not None)
        await until(lambda: "writer (disk full)" in seen(run))
        run.stop("SIGTERM")

    played = await play(
        flow(Stage(grow, workers=4, capacity=4), count=20_000), store, watch=fill, grace=0.01, storage_patience=patience
    )
    assert played.summary.stopped_by == "SIGTERM"
    left = (await store.counts())["grow"]
    assert left.dead == left.skipped == 0
    assert left.pending > 0
    again = await play(flow(Stage(grow, workers=4), count=20_000), store)
    assert again.summary.dead == 0
    assert (await store.counts())["grow"] == Counts(done=20_000)
