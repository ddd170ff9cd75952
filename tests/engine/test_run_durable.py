"""Runs on SQLite, in real time: resuming, epochs, finalizers after a crash, retries that wait in the journal."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.engine.feeder import PAGE
from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import CredentialsRefused, DatabaseGone, JournalMismatch, RetryLater, Skip, WriterStopped
from streamflow.events import ItemDied, RunStarted
from streamflow.limits.retry import Retry
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.reader import Reader
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Counts, Item, State
from tests.engine.flows import AT_ONCE, ONCE, Middle, Number, Result, flow, play, source_of, until

pytestmark = pytest.mark.asyncio


async def double(number: Number) -> Result:
    return Result(number.n, 2 * number.n)


def database(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "streamflow.db", synchronous="NORMAL")


def ask(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        return connection.execute(sql).fetchall()


def rows(folder: Path) -> list[tuple[object, ...]]:
    return ask(folder, "SELECT n, value FROM results ORDER BY n")


def states(folder: Path, stage: str) -> dict[str, int]:
    found = ask(folder, f"SELECT state, count(*) FROM streamflow_items WHERE stage = '{stage}' GROUP BY state")  # noqa: S608
    return dict(found)  # type: ignore[arg-type]


@pytest.mark.parametrize("sequential", [False, True])
async def test_a_run_leaves_its_rows_and_its_journal(tmp_path: Path, sequential: bool) -> None:
    pipeline = flow(Stage(double, workers=4, capacity=3), count=300)
    played = await play(pipeline, database(tmp_path), sequential=sequential)
    assert played.summary.stages["double"].done == 300
    assert rows(tmp_path) == [(n, 2 * n) for n in range(300)]
    assert states(tmp_path, "double") == {"done": 300}
    in_order = "SELECT count(*) FROM streamflow_items WHERE admitted <= started AND started <= ended"
    assert ask(tmp_path, in_order) == [(300,)]


async def test_later_runs_do_nothing_again(tmp_path: Path) -> None:
    calls: list[int] = []
    finalized: list[str] = []

    async def count(number: Number) -> Result:
        calls.append(number.n)
        return Result(number.n)

    async def finalize() -> None:
        finalized.append("ran")

    for _ in range(4):
        await play(flow(Stage(count), finalizers=[finalize]), database(tmp_path))
        assert sorted(calls) == list(range(10))
        assert finalized == ["ran"]


async def test_refresh_and_a_new_version_do_everything_again_once(tmp_path: Path) -> None:
    calls: list[int] = []

    async def count(number: Number) -> Result:
        calls.append(number.n)
        return Result(number.n)

    await play(flow(Stage(count)), database(tmp_path))
    await play(flow(Stage(count)), database(tmp_path), refresh=True)
    assert len(calls) == 20
    await play(flow(Stage(count, version=2)), database(tmp_path))
    assert len(calls) == 30
    await play(flow(Stage(count, version=2)), database(tmp_path))
    assert len(calls) == 30


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("after", [0, 4])
async def test_a_refresh_that_was_stopped_goes_on_asked_for_again_or_not(
    tmp_path: Path, after: int, again: bool
) -> None:
    calls: list[int] = []
    go_on = asyncio.Event()
    refreshing = False

    async def count(number: Number) -> Result:
        calls.append(number.n)
        return Result(number.n)

    async def given(inputs: Inputs) -> AsyncIterator[Number]:
        for n in range(10):
            if refreshing and n == after:
                await go_on.wait()
            yield Number(n)

    async def stop(run: Run) -> None:
        await until(lambda: "count" in run.pools and run.pools["count"].done == after)
        run.stop("SIGTERM")

    pipeline = flow(Stage(count), sources=[given])
    await play(pipeline, database(tmp_path))
    calls.clear()
    refreshing = True
    await play(pipeline, database(tmp_path), refresh=True, watch=stop)
    assert calls == list(range(after))
    go_on.set()
    await play(pipeline, database(tmp_path), refresh=again)
    assert sorted(calls) == list(range(10)), "each once more, and none twice more"
    await play(pipeline, database(tmp_path))
    assert len(calls) == 10, "a refresh that ended is over"
    await play(pipeline, database(tmp_path), refresh=True)
    assert len(calls) == 20


@pytest.mark.parametrize("stops", [1, 2])
async def test_what_a_stopped_run_left_is_done_by_the_next_and_nothing_twice(tmp_path: Path, stops: int) -> None:
    """Resume feeds what is pending beside what the source gives again."""
    ended: list[int] = []
    go_on = asyncio.Event()

    async def slow(number: Number) -> Result:
        if number.n >= 40:
            await go_on.wait()
        ended.append(number.n)
        return Result(number.n, number.n)

    async def stop(run: Run) -> None:
        await until(lambda: run.tally.alive == 160)
        for _ in range(stops):
            run.stop("SIGTERM")
        if stops == 1:
            go_on.set()

    pipeline = flow(Stage(slow, workers=4, capacity=4), count=200)
    played = await play(pipeline, database(tmp_path), watch=stop)
    go_on.set()
    assert len(ended) == (44 if stops == 1 else 40)
    assert states(tmp_path, "slow") == {"done": len(ended), "pending": 200 - len(ended)}

    played = await play(pipeline, database(tmp_path))
    (began,) = played.told(RunStarted)
    assert began.resumed == 200 - (44 if stops == 1 else 40)
    assert sorted(ended) == list(range(200))
    assert rows(tmp_path) == [(n, n) for n in range(200)]


async def test_more_than_a_page_of_pending_items_is_resumed(tmp_path: Path) -> None:
    async def hangs(number: Number) -> Result:
        await asyncio.get_running_loop().create_future()
        return Result(number.n)

    async def stop(run: Run) -> None:
        await until(lambda: run.tally.alive == 700)
        run.stop("SIGTERM")
        run.stop("SIGTERM")

    await play(flow(Stage(hangs, name="stage", capacity=1000), count=700), database(tmp_path), watch=stop)
    assert states(tmp_path, "stage") == {"pending": 700}

    async def nothing(inputs: Inputs) -> AsyncIterator[Number]:
        return
        yield

    await play(flow(Stage(double, name="stage", capacity=5), sources=[nothing]), database(tmp_path))
    assert states(tmp_path, "stage") == {"done": 700}
    assert rows(tmp_path) == [(n, 2 * n) for n in range(700)]


async def test_retries_that_wait_in_the_journal_only_come_back(tmp_path: Path) -> None:
    """More retries than the channel has room for: the others wait in the journal with their time."""
    tries: dict[int, int] = {}

    async def flaky(number: Number) -> Result:
        tries[number.n] = tries.get(number.n, 0) + 1
        if tries[number.n] <= 2:
            raise RetryLater("not yet", delay=0.01 * tries[number.n])
        return Result(number.n, number.n)

    played = await play(flow(Stage(flaky, workers=4, capacity=3), count=120), database(tmp_path))
    assert rows(tmp_path) == [(n, n) for n in range(120)]
    assert set(tries.values()) == {3}, "nothing was tried twice at once, and nothing forgotten"
    assert played.summary.retries == 240
    assert ask(tmp_path, "SELECT DISTINCT attempts FROM streamflow_items") == [(3,)]


async def test_retries_that_an_earlier_run_left_are_resumed_once_each(tmp_path: Path) -> None:
    """Rows that are due and rows that are not, more than a page of them, while their stage feeds from the journal."""
    tries: dict[int, int] = {}
    patient = True

    async def later(number: Number) -> Result:
        if patient:
            raise RetryLater("outage", delay=0.05 + 0.3 * (number.n % 2))
        tries[number.n] = tries.get(number.n, 0) + 1
        await asyncio.sleep(0)
        return Result(number.n, number.n)

    async def stop(run: Run) -> None:
        await until(lambda: run.tally.alive == 600 and run.figures()["later"].retries >= 600)
        run.stop("SIGTERM")

    pipeline = flow(Stage(later, workers=8, capacity=3, retry=Retry(attempts=10**6)), count=600)
    await play(pipeline, database(tmp_path), watch=stop)
    assert states(tmp_path, "later") == {"pending": 600}
    patient = False
    await play(pipeline, database(tmp_path))
    assert states(tmp_path, "later") == {"done": 600}
    assert set(tries.values()) == {1}


async def test_finalizers_run_after_a_crash_before_them(tmp_path: Path) -> None:
    """Design §4.7: a crash before finalizers is made good at the next start, even if nothing else is left to do."""
    finalized: list[str] = []

    async def crash() -> None:
        raise SystemError("killed here")

    async def finalize() -> None:
        finalized.append("ran")

    with pytest.raises(SystemError):
        await play(flow(Stage(double), finalizers=[crash]), database(tmp_path))
    assert states(tmp_path, "double") == {"done": 10}
    for _ in range(2):
        await play(flow(Stage(double), finalizers=[finalize]), database(tmp_path))
    assert finalized == ["ran"]


async def test_dead_letters_do_not_come_back_by_themselves(tmp_path: Path) -> None:
    calls: list[int] = []

    async def fails(number: Number) -> Result:
        calls.append(number.n)
        raise Skip("no") if number.n % 2 else OSError("broken")

    for _ in range(2):
        await play(flow(Stage(fails, retry=ONCE)), database(tmp_path))
    assert len(calls) == 10
    assert states(tmp_path, "fails") == {"dead": 5, "skipped": 5}


async def test_an_output_that_cannot_be_stored_costs_only_its_item(tmp_path: Path) -> None:
    async def huge(number: Number) -> Result:
        return Result(number.n, 2**70 if number.n == 3 else number.n)

    played = await play(flow(Stage(huge, workers=4, retry=ONCE)), database(tmp_path))
    assert [row[0] for row in rows(tmp_path)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    (died,) = played.told(ItemDied)
    assert died.key == "3"
    assert "StorageError" in died.error


async def test_a_row_of_a_wrong_type_is_a_dead_letter_and_the_table_can_be_read_in_every_run(tmp_path: Path) -> None:
    read: list[int] = []

    async def wrong(number: Number) -> Result:
        return Result(number.n, "20x4" if number.n == 2 else number.n)  # type: ignore[arg-type]

    async def collect(*, reader: Reader) -> None:
        read.append(len(await reader.records(Result)))

    pipeline = flow(Stage(wrong, retry=ONCE), finalizers=[collect])
    for _ in range(2):
        played = await play(pipeline, database(tmp_path), refresh=True)
        (died,) = played.told(ItemDied)
        assert died.key == "2"
        assert "Expected `int`, got `str`" in died.error
    assert read == [9, 9]


async def test_a_chunk_of_a_stream_that_cannot_be_stored_is_not_forgotten(tmp_path: Path) -> None:
    """An item whose outputs were refused is no success, whatever its stream gave afterwards."""

    async def stream(number: Number) -> AsyncIterator[Result]:
        yield Result(number.n, 2**70 if number.n == 1 else 0)
        for k in range(1, 4):
            await asyncio.sleep(0.02)
            yield Result(number.n + 10 * k)

    played = await play(flow(Stage(stream, retry=ONCE), count=3), database(tmp_path))
    assert [event.key for event in played.told(ItemDied)] == ["1"]
    assert states(tmp_path, "stream") == {"done": 2, "dead": 1}


async def test_a_stream_that_fails_right_after_an_output_does_not_come_back_to_life(tmp_path: Path) -> None:
    async def stream(number: Number) -> AsyncIterator[Result]:
        yield Result(number.n)
        raise OSError("broken")

    played = await play(flow(Stage(stream, retry=ONCE), count=30), database(tmp_path))
    assert states(tmp_path, "stream") == {"dead": 30}
    assert len(played.told(ItemDied)) == 30


async def test_a_stage_that_is_gone_stops_the_start_before_anything_runs(tmp_path: Path) -> None:
    calls: list[int] = []

    async def refuse(number: Number) -> Result:
        raise CredentialsRefused("no", service="api")

    async def count(number: Number) -> Result:
        calls.append(number.n)
        return Result(number.n)

    await play(flow(Stage(refuse, name="old")), database(tmp_path))
    with pytest.raises(JournalMismatch, match="'old'"):
        await play(flow(Stage(count, name="new")), database(tmp_path))
    assert calls == []


async def test_items_that_no_longer_decode_stop_the_start_before_anything_runs(tmp_path: Path) -> None:
    calls: list[int] = []

    async def refuse(number: Number) -> Result:
        raise CredentialsRefused("no", service="api")

    await play(flow(Stage(refuse, name="stage")), database(tmp_path))

    @record(key="n")
    class Wider:
        n: int
        needed: str

    async def wider(it: Wider) -> Result:
        calls.append(it.n)
        return Result(it.n)

    async def more(inputs: Inputs) -> AsyncIterator[Wider]:
        for n in range(100, 200):
            yield Wider(n, "x")

    with pytest.raises(JournalMismatch, match=r"(?s)'stage'.*needed.*streamflow journal drop"):
        await play(flow(Stage(wider, name="stage"), sources=[more]), database(tmp_path))
    assert calls == []


async def test_a_batch_stage_on_sqlite(tmp_path: Path) -> None:
    async def batch(group: list[Number]) -> list[Result | Exception]:
        return [OSError("odd") if each.n % 7 == 3 else Result(each.n, len(group)) for each in group]

    played = await play(flow(Stage(batch, workers=2, batch=Batch(8), retry=AT_ONCE), count=100), database(tmp_path))
    assert states(tmp_path, "batch") == {"done": 86, "dead": 14}
    assert len(played.told(ItemDied)) == 14
    assert await _counts(tmp_path) == Counts(done=86, dead=14)


async def _counts(folder: Path) -> Counts:
    return Counts(**states(folder, "batch"))


async def test_a_writer_that_dies_stops_the_run(tmp_path: Path) -> None:
    """If the writer itself dies, the run stops: nothing goes on that could not be recorded."""
    store = database(tmp_path)
    calls: list[int] = []

    async def sabotage(number: Number) -> Result:
        calls.append(number.n)
        if number.n == 5:
            with closing(sqlite3.connect(tmp_path / "streamflow.db")) as connection:
                connection.execute("DROP TABLE streamflow_items")
        return Result(number.n)

    with pytest.raises(WriterStopped, match="cannot be written"):
        async with asyncio.timeout(20):
            await play(flow(Stage(sabotage), count=100), store)
    assert len(calls) <= 7
    with pytest.raises(WriterStopped):
        await store.commit(Completion(None, "done"))  # type: ignore[arg-type]


async def test_children_that_wait_for_room_are_durable_before_they_are_put(tmp_path: Path) -> None:
    """Design §4.4: when the commit returns, all of it is durable; a stop loses none of the children."""
    go_on = asyncio.Event()

    async def many(number: Number) -> list[Middle]:
        return [Middle(100 * number.n + k) for k in range(30)]

    async def slow(middle: Middle) -> Result:
        await go_on.wait()
        return Result(middle.n)

    async def stop(run: Run) -> None:
        await until(lambda: "slow" in run.pools and run.pools["slow"].channel.producers_waiting == 2)
        run.stop("SIGTERM")
        run.stop("SIGTERM")

    pipeline = flow(Stage(many, workers=2), Stage(slow, workers=1, capacity=1), count=4)
    await play(pipeline, database(tmp_path), watch=stop)
    done = states(tmp_path, "many").get("done", 0)
    assert done >= 2
    assert states(tmp_path, "slow") == {"pending": 30 * done}
    go_on.set()
    await play(pipeline, database(tmp_path))
    assert len(rows(tmp_path)) == 120


async def test_a_sequential_run_resumes_without_its_whole_backlog_in_memory(tmp_path: Path) -> None:
    count = 3 * PAGE
    waiting: list[int] = []

    async def note(number: Number) -> Result:
        waiting.append(run_of[0].tally.alive)
        return Result(number.n)

    run_of: list[Run] = []
    store = database(tmp_path)
    pipeline = flow(Stage(note), sources=[source_of(Number(-1))])
    await store.open(Run(pipeline, store, resources={}, workspace=tmp_path)._plan())
    await store.commit(Completion(None, State.DONE, [Item("note", Number(n), n) for n in range(count)]))
    await store.close()
    await play(pipeline, database(tmp_path), sequential=True, watch=run_of.append)
    assert len(waiting) == count + 1
    assert max(waiting) <= PAGE + 1


async def test_a_run_whose_database_is_removed_does_not_end_well(tmp_path: Path) -> None:
    async def remove(number: Number) -> Result:
        (tmp_path / "streamflow.db").unlink()
        return Result(number.n)

    with pytest.raises(DatabaseGone, match="was removed while it was in use"):
        await play(flow(Stage(remove), count=1), database(tmp_path))
    assert not (tmp_path / "streamflow.seal").exists()


async def test_what_fails_for_want_of_the_database_is_told_as_that(tmp_path: Path) -> None:
    async def finalize(*, reader: Reader) -> None:
        (tmp_path / "streamflow.db").unlink()
        await reader.records(Result)

    store = database(tmp_path)
    pipeline = flow(Stage(double), finalizers=[finalize])
    with pytest.raises(DatabaseGone, match="was removed while it was in use"):
        await play(pipeline, store)
