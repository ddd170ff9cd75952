"""Other libraries doing the same work: records through stages, with bounded room and workers.

Each function answers the seconds it took. Libraries that are not installed are left out: the `bench` extra has them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

import anyio

from benchmarks.work import CAPACITY, Function, numbers
from streamflow.sources.files import Inputs

Peer = Callable[[Sequence[Function], int, int], Awaitable[float]]


def available() -> dict[str, Peer]:
    """The peers that are installed, by the name of their distribution."""
    known: dict[str, Peer] = {
        "anyio": with_anyio,
        "streamable": with_streamable,
        "pypeln": with_pypeln,
        "aiostream": with_aiostream,
    }
    return {name: peer for name, peer in known.items() if importlib.util.find_spec(name) is not None}


async def with_anyio(functions: Sequence[Function], workers: int, items: int) -> float:
    """Memory object streams between tasks of a task group."""

    async def work(function: Function, take: Any, give: Any) -> None:
        async with take, give:
            async for record in take:
                await give.send(await function(record))

    count = 0
    started = perf_counter()
    async with anyio.create_task_group() as group:
        first, take = anyio.create_memory_object_stream[Any](CAPACITY)
        for function in functions:
            give, next_take = anyio.create_memory_object_stream[Any](CAPACITY)
            for _ in range(workers):
                group.start_soon(work, function, take.clone(), give.clone())
            take.close()
            give.close()
            take = next_take

        async def feed() -> None:
            async with first:
                async for record in numbers(items)(Inputs([])):
                    await first.send(record)

        group.start_soon(feed)
        async with take:
            async for _ in take:
                count += 1
    assert count == items
    return perf_counter() - started


async def with_streamable(functions: Sequence[Function], workers: int, items: int) -> float:
    streamable: Any = importlib.import_module("streamable")
    started = perf_counter()
    flow = streamable.stream(numbers(items)(Inputs([])))
    for function in functions:
        flow = flow.map(function, concurrency=workers, as_completed=True)
    count = 0
    async for _ in flow:
        count += 1
    assert count == items
    return perf_counter() - started


async def with_pypeln(functions: Sequence[Function], workers: int, items: int) -> float:
    pypeln: Any = importlib.import_module("pypeln")
    started = perf_counter()
    flow: Any = numbers(items)(Inputs([]))
    for function in functions:
        flow = pypeln.task.map(function, flow, workers=workers, maxsize=CAPACITY)
    count = 0
    async for _ in flow:
        count += 1
    assert count == items
    return perf_counter() - started


async def with_aiostream(functions: Sequence[Function], workers: int, items: int) -> float:
    aiostream: Any = importlib.import_module("aiostream")
    started = perf_counter()
    flow: Any = numbers(items)(Inputs([]))
    for function in functions:
        flow = aiostream.stream.map(flow, function, ordered=False, task_limit=workers)
    count = 0
    async with flow.stream() as results:
        async for _ in results:
            count += 1
    assert count == items
    return perf_counter() - started
