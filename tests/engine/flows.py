"""What the engine's tests share: small records, sources of given records, and a way to run a pipeline."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamflow.engine.figures import Summary
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.events import Event
from streamflow.limits.retry import Retry
from streamflow.record import record, record_type
from streamflow.sources.files import Inputs
from streamflow.storage.memory import MemoryStore
from streamflow.storage.reader import Reader
from streamflow.storage.store import Store
from streamflow.testing.clock import run_virtual

NOWHERE = Path("nowhere")
ONCE = Retry(attempts=1)
AT_ONCE = Retry(attempts=3, base=0.0, cap=0.0)


@record(key="n")
class Number:
    n: int


@record(key="n", table="middles")
class Middle:
    n: int


@record(key="n", table="results")
class Result:
    n: int
    value: int = 0


def source_of(*records: Any, name: str = "given") -> Callable[..., AsyncIterator[Any]]:
    """A source that gives these records."""

    async def given(inputs: Inputs) -> AsyncIterator[Any]:
        for each in records:
            yield each

    given.__annotations__["return"] = AsyncIterator[_union(records)]
    given.__name__ = name
    return given


def _union(records: Sequence[Any]) -> Any:
    kinds = list(dict.fromkeys(type(each) for each in records))
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union |= kind
    return union


def numbers(count: int) -> Callable[..., AsyncIterator[Number]]:
    return source_of(*(Number(n) for n in range(count)))


def flow(*stages: Stage, sources: Sequence[Any] | None = None, count: int = 10, **more: Any) -> Pipeline:
    return Pipeline("test", sources=[numbers(count)] if sources is None else sources, stages=stages, **more)


@dataclass
class Played:
    """How a run went. `seconds` is the time it took on its loop's clock."""

    summary: Summary
    store: Store
    events: list[Event]
    seconds: float
    tables: dict[str, list[Any]] = field(default_factory=dict)

    def told(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def play(
    pipeline: Pipeline,
    store: Store | None = None,
    *,
    resources: Mapping[type[Any], Any] | None = None,
    watch: Callable[[Run], Any] | None = None,
    heard: Callable[[Event], None] = lambda event: None,
    patience: float | None = 20.0,
    **options: Any,
) -> Played:
    """Run a pipeline, see that no task outlives it, and read its tables.

    `watch` is given the run before it starts; a coroutine that it returns runs beside it, no longer than the run.
    `heard` is told of events, as the run tells them. A run that takes longer than `patience` seconds hangs, and fails.
    """
    store = store if store is not None else MemoryStore()
    events: list[Event] = []

    def hook(event: Event) -> None:
        events.append(event)
        heard(event)

    given = {Inputs: Inputs(()), Reader: Reader(store), **(resources or {})}
    options.setdefault("workspace", NOWHERE)
    run = Run(pipeline, store, resources=given, hook=hook, **options)
    loop = asyncio.get_running_loop()
    started = loop.time()
    beside = watch(run) if watch is not None else None
    watcher = asyncio.create_task(beside) if beside is not None else None
    before = asyncio.all_tasks()
    try:
        async with asyncio.timeout(patience):
            summary = await run()
            left = asyncio.all_tasks() - before
            assert not {task for task in left if task.get_name() != "AnyIO process pool shutdown task"}, left
            if watcher is not None and watcher.done():
                watcher.result()
    finally:
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
    played = Played(summary, store, events, loop.time() - started)
    if isinstance(store, MemoryStore):
        for kind in pipeline.tables:
            played.tables[kind.table or ""] = list(await store.rows(kind))
    return played


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until something holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)


def play_virtual(pipeline: Pipeline, store: Store | None = None, *, latest: float = 2e4, **options: Any) -> Played:
    """The same in virtual time, with a store in memory."""
    return run_virtual(play(pipeline, store, patience=None, **options), latest=latest)


def values(played: Played, kind: type[Any] = Result) -> list[int]:
    """The keys of the rows of a table."""
    return [row.n for row in played.tables[record_type(kind).table or ""]]
