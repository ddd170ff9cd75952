"""The durable loop that people write by hand: queues, workers, and one `sqlite3` thread that commits in groups.

It leaves the rows that the engine leaves, journal and table alike, by statements of the same kind, and does nothing
more: no retries, no resume, no check whether a key is new.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter, time
from typing import Any

import msgspec

from benchmarks.work import CAPACITY, Function, Saved, Source
from streamflow.sources.files import Inputs

_SCHEMA = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    record TEXT NOT NULL, hash BLOB NOT NULL, version INTEGER NOT NULL, epoch INTEGER NOT NULL,
    admitted REAL NOT NULL, started REAL, ended REAL, due REAL, error TEXT, UNIQUE (stage, key)
);
CREATE TABLE saved (
    n INTEGER, title TEXT, year INTEGER, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (n)
);
"""
_ADMIT = (
    "INSERT INTO items (id, stage, key, record, hash, version, epoch, state, attempts, admitted) "
    "VALUES (?, ?, ?, ?, ?, 1, 1, 'pending', 0, ?) ON CONFLICT DO NOTHING"
)
_SETTLE = "UPDATE items SET state = 'done', attempts = 1, started = ?, ended = ?, due = NULL, error = NULL WHERE id = ?"
_SAVE = "INSERT INTO saved (n, title, year, created_at, updated_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
GROUP = 256
"""Records of the source that are admitted at once."""


class Job:
    """What is committed together: children admitted, an item's end, a row."""

    __slots__ = ("admissions", "done", "row", "settlement")

    def __init__(
        self,
        done: asyncio.Future[None],
        admissions: Sequence[tuple[Any, ...]],
        settlement: tuple[Any, ...] | None,
        row: tuple[Any, ...] | None,
    ) -> None:
        self.done = done
        self.admissions = admissions
        self.settlement = settlement
        self.row = row


class Committer(threading.Thread):
    """Commits all jobs that wait in one transaction, then tells their waiters."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._path = path
        self._loop = loop

    def run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level="IMMEDIATE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        ended = False
        while not ended:
            group: list[Job] = []
            job = self.jobs.get()
            try:
                while job is not None:
                    group.append(job)
                    job = self.jobs.get_nowait()
                ended = True
            except Empty:
                pass
            if group:
                self._commit(connection, group)
                self._loop.call_soon_threadsafe(_tell, group)
        connection.close()

    def _commit(self, connection: sqlite3.Connection, group: Sequence[Job]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        connection.executemany(_SETTLE, [job.settlement for job in group if job.settlement is not None])
        connection.executemany(_SAVE, [(*job.row, now, now) for job in group if job.row is not None])
        connection.executemany(_ADMIT, [admission for job in group for admission in job.admissions])
        connection.commit()


def _tell(group: Sequence[Job]) -> None:
    for job in group:
        job.done.set_result(None)


async def durable_by_hand(functions: Sequence[Function], source: Source, workers: int, path: Path) -> float:
    """Seconds from the start until the last item is durable."""
    loop = asyncio.get_running_loop()
    encode = msgspec.json.Encoder().encode
    queues: list[asyncio.Queue[tuple[int, Any]]] = [asyncio.Queue(CAPACITY) for _ in functions]
    names = [function.__name__ for function in functions]
    next_id = 0

    def admission(stage: str, record: Any) -> tuple[Any, ...]:
        nonlocal next_id
        next_id += 1
        encoded = encode(record)
        return (next_id, stage, str(record.n), encoded.decode(), blake2b(encoded, digest_size=16).digest(), time())

    async def commit(
        admissions: Sequence[tuple[Any, ...]], settlement: tuple[Any, ...] | None, row: tuple[Any, ...] | None
    ) -> None:
        job = Job(loop.create_future(), admissions, settlement, row)
        committer.jobs.put(job)
        await job.done

    async def work(number: int) -> None:
        queue, function = queues[number], functions[number]
        onward = queues[number + 1] if number + 1 < len(queues) else None
        while True:
            number_of_item, record = await queue.get()
            begun = time()
            made = await function(record)
            row = (made.n, made.title, made.year) if isinstance(made, Saved) else None
            admitted = [] if onward is None else [admission(names[number + 1], made)]
            await commit(admitted, (begun, time(), number_of_item), row)
            if onward is not None:
                await onward.put((admitted[0][0], made))
            queue.task_done()

    async def admit(records: Sequence[Any]) -> None:
        admitted = [admission(names[0], record) for record in records]
        await commit(admitted, None, None)
        for values, record in zip(admitted, records, strict=True):
            await queues[0].put((values[0], record))

    started = perf_counter()
    committer = Committer(path, loop)
    committer.start()
    tasks = [asyncio.create_task(work(number)) for number in range(len(functions)) for _ in range(workers)]
    group: list[Any] = []
    async for record in source(Inputs([])):
        group.append(record)
        if len(group) == GROUP:
            await admit(group)
            group = []
    await admit(group)
    for queue in queues:
        await queue.join()
    committer.jobs.put(None)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.to_thread(committer.join)
    return perf_counter() - started
