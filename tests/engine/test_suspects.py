"""What becomes of an item that ends the whole process, and of those that were in flight beside it. Real processes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import CredentialsRefused, RetryLater
from streamflow.events import Draining, UncleanEnd
from streamflow.storage import inspect
from streamflow.storage.inflight import LeftInFlight, left_in_flight
from streamflow.storage.reader import Reader
from streamflow.storage.sqlite import SqliteStore
from tests.engine.executors.work import Job, Meeting, meets
from tests.engine.flows import Middle, Number, Result, flow, play, source_of, until
from tests.engine.poison import COUNT, POISON

pytestmark = pytest.mark.asyncio
PLACES = 6
"""The most items in flight in the program: three in each of two batches."""


@asynccontextmanager
async def program(root: Path, folder: Path, how: str, kind: str = "plain") -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.engine.poison", str(folder), how, kind),
        cwd=root,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def told(root: Path, folder: Path, how: str, kind: str = "plain") -> dict[str, list[list[int]]]:
    """What a whole execution of the program prints, by the first word of each line."""
    lines: dict[str, list[list[int]]] = {"call": [], "unclean": [], "alone": [], "died": [], "ended": []}
    async with program(root, folder, how, kind) as process:
        output, _ = await process.communicate()
    for line in output.decode().splitlines():
        word, *numbers = line.split()
        lines[word].append([int(number) for number in numbers])
    return lines


def opened(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM opened ORDER BY n")]


@pytest.mark.parametrize(
    ("how", "kind"),
    [("abort", "plain"), ("kill", "plain"), ("segfault", "stream"), ("kill", "batch"), ("exit", "plain")],
)
async def test_an_item_that_ends_the_process_is_set_aside_and_the_others_are_done(
    tmp_path: Path, pytestconfig: pytest.Config, how: str, kind: str
) -> None:
    """After two unclean ends what was in flight runs alone first; alone at a third, it is a dead letter."""
    root = pytestconfig.rootpath
    first = await told(root, tmp_path, how, kind)
    assert (first["unclean"], first["ended"]) == ([], [])

    second = await told(root, tmp_path, how, kind)
    (in_flight,) = second["unclean"]
    assert POISON in in_flight
    assert len(in_flight) <= PLACES
    assert set(in_flight) <= {n for (n,) in first["call"]}
    assert second["alone"] == [[]]
    assert second["ended"] == []

    third = await told(root, tmp_path, how, kind)
    (suspects,) = third["alone"]
    assert POISON in suspects
    assert [n for (n,) in third["call"]] == suspects[: suspects.index(POISON) + 1], "one at a time, and nothing else"

    fourth = await told(root, tmp_path, how, kind)
    assert fourth["unclean"] == [[POISON]]
    assert fourth["died"] == [[POISON, 3]]
    assert fourth["ended"] == [[]]
    assert opened(tmp_path) == [n for n in range(COUNT) if n != POISON]
    (letter,) = inspect.dead_letters(tmp_path)
    assert (letter.key, letter.attempts) == (str(POISON), 3)
    assert "ended 3 times while this item was in work" in letter.error

    assert (await told(root, tmp_path, how, kind))["call"] == []


async def test_retry_brings_it_back_with_its_history_cleared(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    root = pytestconfig.rootpath
    for _ in range(4):
        await told(root, tmp_path, "kill")
    assert inspect.requeue(tmp_path) == {"open": 1}
    again = await told(root, tmp_path, "kill")
    assert (again["call"], again["alone"]) == ([[POISON]], [])
    once = await told(root, tmp_path, "kill")
    assert once["unclean"] == [[POISON]]
    assert once["alone"] == [[]], "one unclean end, not four"
    (tmp_path / "mended").touch()
    assert (await told(root, tmp_path, "kill"))["ended"] == [[]]
    assert opened(tmp_path) == list(range(COUNT))


@pytest.mark.parametrize("sequential", [False, True])
async def test_a_run_that_ends_cleanly_leaves_nothing_in_flight(tmp_path: Path, sequential: bool) -> None:
    """However it ends: drained, stopped at once in the midst of its items, or by an error."""

    async def double(number: Number) -> Result:
        return Result(number.n)

    async def hangs(number: Number) -> Result:
        await asyncio.get_running_loop().create_future()
        return Result(number.n)

    async def refuses(number: Number) -> Result:
        raise CredentialsRefused("no", service="api")

    async def fails(*, reader: Reader) -> None:
        raise SystemError("broken")

    async def stop(run: Run) -> None:
        await until(lambda: bool(run.pools) and run.pools["stage"].active > 0)
        run.stop("SIGTERM")
        run.stop("SIGTERM")

    ways: list[tuple[Any, dict[str, Any]]] = [(hangs, {"watch": stop}), (refuses, {}), (double, {})]
    for function, options in ways:
        pipeline = flow(Stage(function, name="stage", workers=3), finalizers=[fails] if function is double else [])
        with pytest.raises(SystemError) if function is double else nullcontext():
            played = await play(pipeline, database(tmp_path), sequential=sequential, **options)
            assert not played.told(UncleanEnd)
        assert not (tmp_path / "streamflow.inflight").exists()


async def test_what_is_in_processes_of_its_own_is_known_and_not_suspect(tmp_path: Path) -> None:
    seen: list[LeftInFlight | None] = []

    async def look(run: Run) -> None:
        while not all((tmp_path / f"item-{n}").exists() for n in range(2)):  # noqa: ASYNC110 - other processes tell it
            await asyncio.sleep(0.01)
        seen.append(left_in_flight(tmp_path / "streamflow.inflight"))
        (tmp_path / "over").touch()

    stage = Stage(meets, runs_in="process", workers=2)
    pipeline = flow(stage, sources=[source_of(Job(0), Job(1))], resources=[Meeting])
    await play(pipeline, database(tmp_path), workspace=tmp_path, watch=look, patience=60)
    (left,) = seen
    assert left is not None
    assert (len(left.items), left.suspect) == (2, frozenset())


@pytest.mark.parametrize("batch", [None, Batch(3)])
async def test_an_item_that_is_parked_is_not_in_flight(tmp_path: Path, batch: Batch | None) -> None:
    seen: list[LeftInFlight | None] = []

    async def plain(number: Number) -> Result:
        raise RetryLater("later", delay=3600)

    async def in_batches(numbers: list[Number]) -> list[Result]:
        raise RetryLater("later", delay=3600)

    async def look(run: Run) -> None:
        await until(lambda: bool(run.pools) and run.pools["stage"].feeder.parked == 3)
        seen.append(left_in_flight(tmp_path / "streamflow.inflight"))
        run.stop("SIGTERM")

    stage = Stage(in_batches if batch else plain, name="stage", batch=batch)
    await play(flow(stage, count=3), database(tmp_path), watch=look)
    (left,) = seen
    assert left is not None
    assert left.items == frozenset()


# --- suspects in a run ---------------------------------------------------------------------------------------------


def database(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "streamflow.db", synchronous="NORMAL")


async def suspect(folder: Path, count: int, *keys: int) -> None:
    """Leave `count` pending items, and those of these keys as in flight at two unclean ends."""

    async def refuse(number: Number) -> Result:
        raise CredentialsRefused("no", service="api")

    await play(flow(Stage(refuse, name="stage"), count=count), database(folder))
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        ids = dict(connection.execute("SELECT key, id FROM streamflow_items"))
        ends = {ids[str(key)]: (2, 0) for key in keys}
        connection.execute("UPDATE streamflow_meta SET value = ? WHERE name = 'suspects'", (json.dumps(ends),))
        connection.commit()


@pytest.mark.parametrize("sequential", [False, True])
async def test_suspects_run_one_at_a_time_before_anything_else(tmp_path: Path, sequential: bool) -> None:
    order: list[int] = []
    at_once: list[int] = []
    active = 0

    async def work(number: Number) -> tuple[Middle, Result]:
        nonlocal active
        active += 1
        order.append(number.n)
        await asyncio.sleep(0)
        at_once.append(active)
        active -= 1
        return Middle(number.n), Result(number.n)

    async def after(middle: Middle) -> None:
        order.append(100 + middle.n)

    await suspect(tmp_path, 30, 7, 19, 12)
    stages = [Stage(work, name="stage", workers=4, capacity=1), Stage(after, workers=2, capacity=1)]
    played = await play(flow(*stages, count=30), database(tmp_path), sequential=sequential)
    assert order[:3] == [7, 12, 19]
    assert at_once[:3] == [1, 1, 1]
    assert sorted(order) == [*range(30), *range(100, 130)], "each once, and what came of them"
    assert played.summary.stages["stage"].done == played.summary.stages["after"].done == 30


async def test_a_suspect_that_fails_in_an_ordinary_way_is_cleared_and_tried_again_with_the_others(
    tmp_path: Path,
) -> None:
    tries: list[int] = []

    async def flaky(number: Number) -> Result:
        tries.append(number.n)
        if tries.count(number.n) < 3:
            raise RetryLater("not yet", delay=0.01)
        return Result(number.n)

    await suspect(tmp_path, 5, 3)
    played = await play(flow(Stage(flaky, name="stage", workers=2), count=5), database(tmp_path))
    assert tries[0] == 3
    assert sorted(tries) == sorted(3 * list(range(5)))
    assert played.summary.stages["stage"].done == 5
    assert played.summary.retries == 10


@pytest.mark.parametrize("stops", [1, 2])
async def test_a_stop_while_a_suspect_runs_alone_drains_as_any(tmp_path: Path, stops: int) -> None:
    go_on = asyncio.Event()
    calls: list[int] = []

    async def slow(number: Number) -> Result:
        calls.append(number.n)
        await go_on.wait()
        return Result(number.n)

    async def stop(run: Run) -> None:
        await until(lambda: bool(calls))
        for _ in range(stops):
            run.stop("SIGTERM")
        if stops == 1:
            go_on.set()

    await suspect(tmp_path, 10, 4, 5)
    played = await play(flow(Stage(slow, name="stage", workers=4), count=10), database(tmp_path), watch=stop)
    assert played.summary.stopped_by == "SIGTERM"
    assert calls == [4]
    assert len(played.told(Draining)) == 1
    assert played.summary.stages["stage"].done == (1 if stops == 1 else 0)


async def test_refused_credentials_while_a_suspect_runs_alone_stop_the_run(tmp_path: Path) -> None:
    calls: list[int] = []

    async def refuse(number: Number) -> Result:
        calls.append(number.n)
        raise CredentialsRefused("no", service="api")

    await suspect(tmp_path, 10, 4, 5)
    played = await play(flow(Stage(refuse, name="stage", workers=4), count=10), database(tmp_path))
    assert isinstance(played.summary.error, CredentialsRefused)
    assert calls == [4]
