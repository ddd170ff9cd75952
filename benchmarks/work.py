"""What the benchmarks run: records through three stages, by the engine and by a hand-written loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.store import Store

CAPACITY = 64
"""Room in each queue."""


@record(key="n")
class Raw:
    n: int


@record(key="n")
class Read:
    n: int


@record(key="n")
class Found:
    n: int


@record(key="n")
class Kept:
    n: int


@record(key="n", table="saved")
class Saved:
    n: int
    title: str
    year: int


async def read(raw: Raw) -> Read:
    return Read(raw.n)


async def find(read: Read) -> Found:
    return Found(read.n)


async def keep(found: Found) -> Kept:
    return Kept(found.n)


async def save(found: Found) -> Saved:
    return Saved(found.n, "A title of usual length, for a row of usual size", 2024)


async def read_yielding(raw: Raw) -> Read:
    await asyncio.sleep(0)
    return Read(raw.n)


async def find_yielding(read: Read) -> Found:
    await asyncio.sleep(0)
    return Found(read.n)


async def keep_yielding(found: Found) -> Kept:
    await asyncio.sleep(0)
    return Kept(found.n)


Function = Callable[[Any], Awaitable[Any]]
Source = Callable[[Inputs], AsyncIterator[Raw]]

NO_OP: tuple[Function, ...] = (read, find, keep)
YIELDING: tuple[Function, ...] = (read_yielding, find_yielding, keep_yielding)
SAVING: tuple[Function, ...] = (read, find, save)


def numbers(count: int) -> Source:
    """A source of `count` records."""

    async def source(inputs: Inputs) -> AsyncIterator[Raw]:
        for n in range(count):
            yield Raw(n)

    return source


async def by_engine(
    functions: Sequence[Function], source: Source, workers: Sequence[int], store: Store, *, folder: Path = Path()
) -> float:
    """Seconds that a run takes."""
    stages = [
        Stage(function, workers=count, capacity=CAPACITY) for function, count in zip(functions, workers, strict=True)
    ]
    run = Run(
        Pipeline("benchmark", sources=[source], stages=stages),
        store,
        resources={Inputs: Inputs([])},
        workspace=folder,
    )
    started = perf_counter()
    summary = await run()
    seconds = perf_counter() - started
    done = [figures.done for figures in summary.stages.values()]
    assert summary.error is None, f"the run failed: {summary.error}"
    assert len(set(done)) == 1, f"items were lost: {done}"
    assert done[0] > 0, "nothing came from the source"
    return seconds


async def by_hand(functions: Sequence[Function], source: Source, workers: Sequence[int]) -> float:
    """Seconds that the loop takes which people write without an engine."""
    queues: list[asyncio.Queue[Any]] = [asyncio.Queue(CAPACITY) for _ in functions]
    onward: list[asyncio.Queue[Any] | None] = [*queues[1:], None]

    async def work(function: Function, queue: asyncio.Queue[Any], onward: asyncio.Queue[Any] | None) -> None:
        while True:
            taken = await queue.get()
            made = await function(taken)
            if onward is not None:
                await onward.put(made)
            queue.task_done()

    started = perf_counter()
    tasks = [
        asyncio.create_task(work(function, queue, out))
        for function, queue, out, count in zip(functions, queues, onward, workers, strict=True)
        for _ in range(count)
    ]
    async for raw in source(Inputs([])):
        await queues[0].put(raw)
    for queue in queues:
        await queue.join()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return perf_counter() - started
