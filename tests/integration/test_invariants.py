"""The invariants of the design (§4), one test each that fails when it is broken, or the place where that test is.

- No admitted item is lost; each ends exactly once: here, and under kill -9 in tests/faults.
- Effects in the database happen exactly once: tests/faults. Files appear whole or not at all:
  tests/storage/test_files.py, tests/faults. Repeated calls are those of items not yet committed: tests/faults.
- Only the writer writes; readers have own connections and hold no transaction: here.
- One process per workspace: tests/storage/test_lock.py.
- Memory does not grow with the number of items: here, and tests/engine/test_run.py.
- Cancellation goes through everywhere; no task or process outlives its run: here, tests/engine/test_channel.py,
  tests/engine/executors/test_process.py, and tests/conftest.py for every test.
- A channel is fair to its producers: tests/engine/test_channel.py.
- No limit is ever exceeded: tests/limits/test_limit.py.
- Sequential and concurrent runs leave the same tables: here.
"""

import asyncio
import gc
import itertools
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import Reject, RetryLater, Skip
from streamflow.limits.retry import Retry
from streamflow.record import record, record_type, union
from streamflow.sources.files import Inputs
from streamflow.storage import sqlite
from streamflow.storage.reader import Reader
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Item
from streamflow.testing.clock import run_virtual
from tests.engine.flows import Played, flow, play, until

# --- random pipelines ----------------------------------------------------------------------------------------------


@record(key="n")
class Seed:
    n: int


@record(key="n", table="plains", merge={"parents": union, "most": max})
class Plain:
    n: int
    text: str
    parents: tuple[str, ...] = ()
    most: int = 0


@record(key=("n", "part"))
class Part:
    n: int
    part: int


@record(key="n", table="ends", merge={"parents": union})
class End:
    n: int
    parents: tuple[str, ...] = ()


TABLES = (Plain, End)


class Behaviour:
    """What each stage does with each key: a pure function of a seed, the stage and the key, but for the first tries."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tries: Counter[tuple[str, str]] = Counter()

    def draw(self, stage: str, key: str, sides: int) -> int:
        digest = blake2b(f"{self._seed} {stage} {key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % sides

    async def pause(self, stage: str, key: str) -> None:
        await asyncio.sleep((0, 0, 1, 7)[self.draw(f"{stage} pause", key, 4)])

    def trouble(self, stage: str, key: str) -> None:
        """Fail as this key does here: some for good, some at their first two tries."""
        self._tries[stage, key] += 1
        match self.draw(f"{stage} trouble", key, 12):
            case 0:
                raise Skip("not wanted")
            case 1:
                raise Reject("will never work")
            case 2 | 3 if self._tries[stage, key] <= 2:
                raise RetryLater("not yet", delay=5)
            case 4 if self._tries[stage, key] <= 2:
                raise ConnectionError("cut")


def build(behaviour: Behaviour, count: int, policies: list[dict[str, Any]]) -> Pipeline:
    """Two sources, a fan-out to two stages, a stream, a batch, a diamond, and rows that several parents merge into."""

    def plain(parent: str, key: int) -> Plain:
        shared = key % max(1, count // 3)
        return Plain(shared, f"text {shared}", (parent,), key)

    async def split(seed: Seed) -> tuple[Plain, list[Part]] | None:
        key = str(seed.n)
        await behaviour.pause("split", key)
        behaviour.trouble("split", key)
        parts = behaviour.draw("split parts", key, 4)
        return plain(f"split {seed.n}", seed.n), [Part(seed.n % 5, part) for part in range(parts)]

    async def stream(seed: Seed) -> AsyncIterator[Part | End]:
        key = str(seed.n)
        for part in range(behaviour.draw("stream parts", key, 5)):
            yield Part(seed.n % 7, part)
            await behaviour.pause("stream", f"{key} {part}")
        behaviour.trouble("stream", key)
        yield End(seed.n, ("stream",))

    async def batch(parts: list[Part]) -> list[Plain | End | Exception | None]:
        entries: list[Plain | End | Exception | None] = []
        for part in parts:
            key = f"{part.n} {part.part}"
            try:
                behaviour.trouble("batch", key)
            except Exception as error:  # noqa: BLE001 - it is this entry's outcome
                entries.append(error)
            else:
                entries.append((None, plain(f"batch {key}", part.n), End(part.part, ("batch",)))[len(key + key) % 3])
        await behaviour.pause("batch", str(len(parts)))
        return entries

    async def close(it: Plain) -> End:
        await behaviour.pause("close", str(it.n))
        behaviour.trouble("close", str(it.n))
        return End(it.n, ("close",))

    async def evens(inputs: Inputs) -> AsyncIterator[Seed]:
        for n in range(0, count, 2):
            yield Seed(n)
            await behaviour.pause("evens", str(n))

    async def odds_and_some_evens(inputs: Inputs) -> AsyncIterator[Seed]:
        for n in range(count):
            if n % 2 or n % 3 == 0:
                yield Seed(n)

    retry = Retry(attempts=3, base=1, cap=4)
    functions: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (split, {}),
        (stream, {}),
        (batch, {"batch": Batch(3, max_wait=0.5)}),
        (close, {}),
    ]
    stages = [
        Stage(function, retry=retry, **own, **policy)
        for (function, own), policy in zip(functions, policies, strict=True)
    ]
    return Pipeline("random", sources=[evens, odds_and_some_evens], stages=stages)


policies = st.lists(
    st.fixed_dictionaries(
        {"workers": st.integers(1, 4), "capacity": st.integers(1, 20), "newest_first": st.booleans()}
    ),
    min_size=4,
    max_size=4,
)


def told(played: Played) -> dict[str, Any]:
    """What a run must leave whatever its order: rows, and the ends that are no success."""
    assert played.summary.error is None
    return played.tables


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 25), many=policies, other=policies)
def test_sequential_and_concurrent_runs_leave_the_same_tables(
    seed: int, count: int, many: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    """Invariant: sequential and concurrent runs of one input leave the same tables."""

    def tables(options: list[dict[str, Any]], *, sequential: bool) -> tuple[dict[str, Any], set[tuple[str, str]]]:
        played = run_virtual(
            play(build(Behaviour(seed), count, options), sequential=sequential, patience=None), latest=1e5
        )
        dead = {(event.stage, str(event.key)) for event in played.events if type(event).__name__ == "ItemDied"}
        figures = played.summary.stages.values()
        assert all(each.queued == each.active == each.parked == 0 for each in figures)
        return told(played), dead

    alone = tables(many, sequential=True)
    assert tables(many, sequential=False) == alone
    assert tables(other, sequential=False) == alone


@pytest.mark.asyncio
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), many=policies, stop_at=st.integers(1, 60))
async def test_every_admitted_item_ends_exactly_once_across_stops_and_starts(
    tmp_path: Path, seed: int, many: list[dict[str, Any]], stop_at: int
) -> None:
    """Invariant: no admitted item is lost; each ends exactly once as done, skipped or dead. And the tables are those
    of a run that was never stopped."""
    left: list[Any] = []
    for stops in (0, stop_at):
        path = tmp_path / f"{next(_serial)}.db"
        behaviour = Hurried(seed)
        while True:
            store = SqliteStore(path, synchronous="NORMAL")
            played = await play(build(behaviour, 20, many), store, watch=_stop_after(stops) if stops else None)
            if not played.summary.stopped_by:
                break
            stops = max(0, stops - 20)
        with closing(sqlite3.connect(path)) as connection:
            items = connection.execute("SELECT stage, key, state FROM streamflow_items ORDER BY 1, 2").fetchall()
            rows = [
                connection.execute(f"SELECT {names} FROM {table} ORDER BY n").fetchall()  # noqa: S608
                for table, names in (("plains", "n, text, parents, most"), ("ends", "n, parents"))
            ]
        assert {state for _, _, state in items} <= {"done", "skipped", "dead"}
        left.append((items, rows))
    assert left[0] == left[1]


_serial = itertools.count()


class Hurried(Behaviour):
    """The same without waiting, for runs in real time."""

    async def pause(self, stage: str, key: str) -> None:
        await asyncio.sleep(0)

    def trouble(self, stage: str, key: str) -> None:
        try:
            super().trouble(stage, key)
        except RetryLater:
            raise RetryLater("not yet", delay=0) from None
        except ConnectionError:
            raise RetryLater("cut", delay=0.001) from None


def _stop_after(ends: int) -> Callable[[Run], Any]:
    async def stop(run: Run) -> None:
        await until(lambda: sum(pool.done for pool in run.pools.values()) >= ends)
        run.stop("SIGTERM")
        if ends % 2:
            run.stop("SIGTERM")

    return stop


# --- only the writer writes ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_only_the_writer_opens_the_database_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant: only the writer writes. Readers use their own read-only connections."""
    path = tmp_path / "streamflow.db"
    writing: set[int] = set()
    connect = sqlite3.connect

    def spied(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(database, *args, **options)
        if "mode=ro" not in str(database):
            thread = threading.get_ident()
            connection.set_trace_callback(
                lambda sql: writing.add(thread) if sql.split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE") else None
            )
        return connection

    monkeypatch.setattr(sqlite3, "connect", spied)
    looked: list[int] = []

    async def collect(*, reader: Reader) -> None:
        looked.append(len(await reader.records(End)))

    async def end(seed: Seed) -> End:
        return End(seed.n)

    async def seeds(inputs: Inputs) -> AsyncIterator[Seed]:
        for n in range(50):
            yield Seed(n)

    pipeline = flow(Stage(end, workers=4), sources=[seeds], finalizers=[collect])
    await play(pipeline, SqliteStore(path, synchronous="NORMAL"))
    assert looked == [50]
    assert len(writing) == 1, "one thread of one connection"
    assert threading.get_ident() not in writing


@pytest.mark.asyncio
async def test_readers_read_by_own_connections_and_hold_no_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant: each read is one page, by a read-only connection. Between two pages the whole log can be taken over
    into the database, which an open read transaction would prevent."""
    path = tmp_path / "streamflow.db"
    pages: list[tuple[bool, str, int]] = []
    connect = sqlite3.connect

    def spied(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(database, *args, **options)
        is_reader = "mode=ro" in str(database)

        def look(sql: str) -> None:
            if 'FROM "ends"' in sql:
                with closing(connect(path)) as other:
                    (busy, _, _) = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                pages.append((is_reader, sql, busy))

        connection.set_trace_callback(look)
        return connection

    monkeypatch.setattr(sqlite3, "connect", spied)
    monkeypatch.setattr(sqlite, "PAGE", 20)
    looked: list[int] = []

    async def collect(*, reader: Reader) -> None:
        looked.append(len(await reader.records(End)))

    async def end(seed: Seed) -> End:
        return End(seed.n)

    async def seeds(inputs: Inputs) -> AsyncIterator[Seed]:
        for n in range(50):
            yield Seed(n)

    pipeline = flow(Stage(end, workers=4), sources=[seeds], finalizers=[collect])
    await play(pipeline, SqliteStore(path, synchronous="NORMAL"))
    assert looked == [50]
    assert len(pages) == 3
    assert all(is_reader and sql.endswith("LIMIT 20") and not busy for is_reader, sql, busy in pages)


# --- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_memory_does_not_grow_with_the_number_of_items_on_sqlite(tmp_path: Path) -> None:
    """Invariant: memory does not grow with the number of items. Live items are counted in the midst of a run."""
    live: list[int] = []
    total = 6000

    async def seeds(inputs: Inputs) -> AsyncIterator[Seed]:
        for n in range(total):
            yield Seed(n)

    async def split(seed: Seed) -> Part:
        return Part(seed.n, 0)

    async def end(part: Part) -> End:
        if part.n in (1500, total - 500):
            gc.collect()
            live.append(sum(isinstance(each, Item | Seed | Part) for each in gc.get_objects()))
        return End(part.n)

    pipeline = flow(Stage(split, workers=4), Stage(end, workers=4), sources=[seeds])
    await play(pipeline, SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL"), patience=60)
    assert len(live) == 2
    assert max(live) < 2500
    assert live[1] < live[0] + 1000


# --- cancellation --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(4))
async def test_a_run_on_sqlite_that_is_cancelled_at_any_moment_leaves_no_task_and_no_half(
    tmp_path: Path, seed: int
) -> None:
    """Invariant: cancellation goes through everywhere, and what was committed is whole."""
    chance = random.Random(seed)
    path = tmp_path / "streamflow.db"
    many = [{"workers": 3, "capacity": 2}] * 4
    before = asyncio.all_tasks()
    behaviour = Hurried(seed)
    for _ in range(6):
        task = asyncio.create_task(play(build(behaviour, 30, many), SqliteStore(path, synchronous="NORMAL")))
        for _ in range(chance.randrange(400)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None
        assert asyncio.all_tasks() == before
    await play(build(behaviour, 30, many), SqliteStore(path, synchronous="NORMAL"))
    calm = tmp_path / "calm.db"
    await play(build(Hurried(seed), 30, many), SqliteStore(calm, synchronous="NORMAL"))
    tables = []
    for each in (path, calm):
        with closing(sqlite3.connect(each)) as connection:
            tables.append(
                [
                    connection.execute(f'SELECT * FROM "{record_type(kind).table}" ORDER BY n').fetchall()  # noqa: S608
                    for kind in TABLES
                ]
            )
    plains, ends = ([[row[:-2] for row in table] for table in each] for each in tables)
    assert plains == ends
