"""What a later run makes of what earlier ones left: after any history, the tables of a fresh run of the last one."""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.events import RecordsRetracted, StageCaughtUp, StageLacksRecords
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.reader import Reader
from streamflow.storage.sqlite import SqliteStore
from tests.engine.flows import play, until

pytestmark = pytest.mark.asyncio


@record(key="n")
class Root:
    n: int
    stamp: int


@record(key=("n", "kind"), table="bs")
class B:
    n: int
    kind: str
    content: int


@record(key="n")
class C:
    n: str
    content: int


@record(key="n", table="ds")
class D:
    n: int
    content: int


@record(key=("n", "m"), table="es")
class E:
    n: int
    m: int
    content: int


KEYS = 5
MAKE: dict[str, Any] = {
    "B": lambda n, content: B(n, "b\udcff", content),
    "C": lambda n, content: C(f"c{n}", content),
    "D": lambda n, content: D(n, content),
    "E": lambda n, content: E(n, n, content),
}
EMITS = {"one": "BC", "two": "CDE", "three": "DE", "four": "E"}
"""The stages, and the types of what each may emit: Root → one, B → two, C → three and four."""


@dataclass
class World:
    """What the functions of one epoch do. `graph` says what a stage emits for a key, `contents` of what content."""

    chance: random.Random
    graph: dict[tuple[str, Any], list[tuple[str, int]]] = field(default_factory=dict)
    contents: dict[tuple[str, int], int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EMITS, 1))
    roots: dict[int, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    stop_after: int | None = None
    run: Run | None = None

    def emitted(self, stage: str, key: Any) -> list[Any]:
        self.calls[stage] += 1
        if self.stop_after is not None and self.run is not None and self.calls.total() == self.stop_after:
            for _ in range(self.chance.choice([1, 2])):
                self.run.stop("SIGTERM")
        if (stage, key) not in self.graph:
            self.graph[stage, key] = [
                (kind, self.chance.randrange(KEYS))
                for kind in EMITS[stage]
                for _ in range(self.chance.choice([0, 0, 1, 2]))
            ]
        records = []
        for kind, n in self.graph[stage, key]:
            content = self.contents.setdefault((kind, n), self.chance.randrange(100))
            records.append(MAKE[kind](n, content))
        return records

    def forget(self, stages: Sequence[str]) -> None:
        """Other functions from now on."""
        for stage, key in list(self.graph):
            if stage in stages:
                del self.graph[stage, key]

    def pipeline(self, brought: Sequence[int]) -> Pipeline:
        async def source(inputs: Inputs) -> AsyncIterator[Root]:
            for n in brought:
                yield Root(n, self.roots[n])

        async def one(root: Root) -> list[B | C]:
            return self.emitted("one", (root.n, root.stamp))

        async def two(batch: list[B]) -> list[tuple[C | D | E, ...]]:
            return [tuple(self.emitted("two", b.n)) for b in batch]

        async def three(c: C) -> AsyncIterator[D | E]:
            for each in self.emitted("three", c.n):
                yield each
                await asyncio.sleep(0)

        async def four(c: C) -> list[E]:
            return self.emitted("four", c.n)

        async def streaming_four(c: C) -> AsyncIterator[E]:
            for each in self.emitted("four", c.n):
                yield each

        stages = [
            Stage(function, name=name, version=self.versions[name], batch=batch, workers=workers)
            for name, function, batch, workers in (
                ("one", one, None, 3),
                ("two", two, Batch(3, 0.0), 1),
                ("three", three, None, 2),
                ("four", streaming_four if self.versions["four"] % 2 else four, None, 1),
            )
        ]
        return Pipeline("random", sources=[source], stages=self.chance.sample(stages, len(stages)))


async def run(world: World, folder: Path, brought: Sequence[int], **options: Any) -> None:
    async def watch(run: Run) -> None:
        world.run = run

    store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
    played = await play(world.pipeline(brought), store, watch=watch, **options)
    if played.summary.stopped_by is not None:
        world.stop_after = None
        await run(world, folder, brought, **options)


def contents(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    queries = {
        "bs": "SELECT n, kind, content FROM bs ORDER BY 1, 2",
        "ds": "SELECT n, content FROM ds ORDER BY 1",
        "es": "SELECT n, m, content FROM es ORDER BY 1, 2",
        "items": "SELECT stage, key, state, record, hash FROM streamflow_items ORDER BY 1, 2",
        "orphans": "SELECT * FROM streamflow_orphans",
    }
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}


def change(world: World, how: str) -> tuple[Sequence[int], dict[str, Any]]:
    """Change the world as a run of that kind makes good; what that run brings, and its options."""
    chance = world.chance
    for n in chance.sample(range(KEYS), 2):
        world.roots.setdefault(n, 0)
    known = list(world.roots)
    chance.shuffle(known)
    if how == "refresh":
        world.forget(list(EMITS))
        world.contents.clear()
        return known, {"refresh": True}
    if how == "stale":
        stages = chance.sample(list(EMITS), chance.randint(1, 4))
        for stage in stages:
            world.versions[stage] += 1
        world.forget(stages)
        if len(stages) == len(EMITS):
            world.contents.clear()
        # Those that are known are done again without their source; those that are not are brought.
        return known[: chance.randint(0, KEYS)], {"stale": True}
    for n in chance.sample(known, min(2, len(known))):
        world.roots[n] += 1
    return known, {}


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("stops", [False, True])
async def test_any_history_of_runs_leaves_what_a_fresh_run_of_the_last_leaves(
    tmp_path: Path, seed: int, stops: bool
) -> None:
    """Functions, versions, inputs and contents change from run to run; runs are stopped and gone on with."""
    world = World(random.Random(seed))
    (tmp_path / "long").mkdir()
    brought_ever: dict[int, int] = {}
    for number in range(5):
        how = world.chance.choice(["refresh", "stale", "inputs"])
        brought, options = change(world, how)
        if stops:
            world.calls.clear()
            world.stop_after = world.chance.randint(1, 12)
        await run(world, tmp_path / "long", brought, **options)
        brought_ever |= {n: world.roots[n] for n in brought}
        world.stop_after = None
        fresh = replace(world, roots=brought_ever)
        (tmp_path / f"fresh {number}").mkdir()
        await run(fresh, tmp_path / f"fresh {number}", list(brought_ever))
        assert contents(tmp_path / "long") == contents(tmp_path / f"fresh {number}"), (number, how)


@record(key="n")
class Link:
    n: int
    content: int = 0


@record(key="n", table="lasts")
class Last:
    n: int
    content: int = 0


def chain(calls: list[str], *, second: int = 1, content: int = 0, count: int = 3, third: bool = True) -> Pipeline:
    """Root → first → Link → second → Last → third."""

    async def source(inputs: Inputs) -> AsyncIterator[Root]:
        for n in range(count):
            yield Root(n, content)

    async def first(root: Root) -> Link:
        calls.append("first")
        return Link(root.n, root.stamp // 10)

    async def second_(link: Link) -> Last:
        calls.append("second")
        return Last(link.n, link.content + 100 * (second - 1))

    async def third_(last: Last) -> None:
        calls.append("third")

    stages = [Stage(first), Stage(second_, name="second", version=second)]
    return Pipeline("chain", [source], [*stages, Stage(third_, name="third")] if third else stages)


def database(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "streamflow.db", synchronous="NORMAL")


async def lasts(folder: Path) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        return connection.execute("SELECT n, content FROM lasts ORDER BY n").fetchall()


async def test_what_comes_out_unchanged_goes_no_further(tmp_path: Path) -> None:
    calls: list[str] = []
    await play(chain(calls), database(tmp_path))
    calls.clear()
    await play(chain(calls, content=1), database(tmp_path))
    assert Counter(calls) == {"first": 3}
    calls.clear()
    await play(chain(calls, content=10), database(tmp_path))
    assert Counter(calls) == {"first": 3, "second": 3, "third": 3}
    assert await lasts(tmp_path) == [(n, 1) for n in range(3)]


async def test_stale_items_are_done_again_without_their_source_and_by_the_changed_stage_only(tmp_path: Path) -> None:
    calls: list[str] = []
    await play(chain(calls), database(tmp_path))
    calls.clear()
    await play(chain(calls, second=2, count=0), database(tmp_path))
    assert calls == []
    played = await play(chain(calls, second=2, count=0), database(tmp_path), stale=True)
    assert Counter(calls) == {"second": 3, "third": 3}
    assert played.told(StageCaughtUp) == [StageCaughtUp("second", 3, 0)]
    assert await lasts(tmp_path) == [(n, 100) for n in range(3)]


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize("sequential", [False, True])
async def test_a_new_stage_is_filled_from_what_is_there_once(tmp_path: Path, daemon: bool, sequential: bool) -> None:
    calls: list[str] = []
    await play(chain(calls, count=600, third=False), database(tmp_path))
    calls.clear()

    async def stop(run: Run) -> None:
        await until(lambda: len(calls) == 600 and not run.tally.alive)
        run.stop("SIGTERM")

    options: dict[str, Any] = {"daemon": True, "watch": stop} if daemon else {}
    played = await play(chain(calls, count=0), database(tmp_path), sequential=sequential, **options)
    assert calls == ["third"] * 600
    assert played.told(StageCaughtUp) == [StageCaughtUp("third", 600, 0)]
    calls.clear()
    await play(chain(calls, count=600), database(tmp_path))
    assert calls == []


async def test_records_that_were_kept_nowhere_are_told(tmp_path: Path) -> None:
    before, after = chain([]), chain([])
    await play(Pipeline("chain", before.sources, before.stages[:1]), database(tmp_path))
    told = [
        (await play(Pipeline("chain", after.sources, after.stages), database(tmp_path), **options)).told(
            StageLacksRecords
        )
        for options in ({}, {})
    ]
    assert told == [[StageLacksRecords("second", "Link")], []]


@pytest.mark.parametrize("options", [{"refresh": True}, {"stale": True}])
async def test_what_an_earlier_run_left_is_finished_before_a_new_epoch_brings_new_content(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """Otherwise an item that is pending with the old content would keep out the new."""
    calls: list[str] = []

    async def stop(run: Run) -> None:
        await until(lambda: "first" in calls)
        run.stop("SIGTERM")
        run.stop("SIGTERM")

    played = await play(chain(calls, count=50), database(tmp_path), watch=stop)
    assert played.summary.stopped_by
    await play(chain(calls, content=10, second=2, count=50), database(tmp_path), **options)
    assert await lasts(tmp_path) == [(n, 101) for n in range(50)]


async def test_retracted_records_are_told_and_finalizers_see_the_tables_without_them(tmp_path: Path) -> None:
    seen: list[int] = []
    keep = True

    async def first(root: Root) -> Last | None:
        return Last(root.n) if keep or root.n else None

    async def finalize(*, reader: Reader) -> None:
        seen.append(len(await reader.records(Last)))

    pipeline = Pipeline("chain", chain([]).sources, [Stage(first)], finalizers=[finalize])
    await play(pipeline, database(tmp_path))
    keep = False
    played = await play(pipeline, database(tmp_path), refresh=True)
    assert seen == [3, 2]
    assert played.told(RecordsRetracted) == [RecordsRetracted(1)]
    await play(pipeline, database(tmp_path))
    assert seen == [3, 2]
