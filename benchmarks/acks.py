"""Rows that are each told durable to a waiter of their own, against one bulk `executemany` of the same rows.

Many waiters commit single rows, one after the other each; the writer's groups form by themselves.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.measure import Result, on_loop, side_by_side
from benchmarks.work import Saved
from streamflow.record import record_type
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Plan, State

WAITERS = 1_000
BUDGET = 0.11


def run(quick: bool, folder: Path, *, rows: int | None = None, rounds: int | None = None) -> Iterator[Result]:
    """`folder` lies on the disk that is measured; what is written there is removed."""
    rows = rows or (20_000 if quick else 100_000)
    rounds = rounds or (3 if quick else 7)
    contenders = {"bulk": lambda: _bulk(rows, folder), "acks": lambda: _acks(rows, folder)}
    measured = side_by_side(contenders, "bulk", rounds)["acks"]
    yield Result(
        "writer, durable ack per row", measured.value, "rows/s", measured.baseline, measured.ratio, BUDGET, floor=True
    )


def _records(count: int) -> list[Saved]:
    return [Saved(n, "A title of usual length, for a row of usual size", 2024) for n in range(count)]


def _bulk(rows: int, folder: Path) -> float:
    now = "2026-01-01T00:00:00.000+00:00"
    values = [(record.n, record.title, record.year, now, now) for record in _records(rows)]
    with TemporaryDirectory(dir=folder) as made:
        connection = sqlite3.connect(Path(made) / "bulk.db", isolation_level="IMMEDIATE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE saved (n INTEGER, title TEXT, year INTEGER, "
            "created_at TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (n))"
        )
        started = perf_counter()
        connection.executemany("INSERT INTO saved VALUES (?, ?, ?, ?, ?)", values)
        connection.commit()
        seconds = perf_counter() - started
        connection.close()
    return rows / seconds


def _acks(rows: int, folder: Path) -> float:
    with TemporaryDirectory(dir=folder) as made:
        return rows / on_loop(_commit_each(_records(rows), Path(made) / "acks.db"))


async def _commit_each(records: list[Saved], path: Path) -> float:
    kind = record_type(Saved)
    store = SqliteStore(path)
    await store.open(Plan("benchmark", {}, [kind]))

    async def wait(own: list[Saved]) -> None:
        for record in own:
            await store.commit(Completion(None, State.DONE, rows=[record]))

    try:
        started = perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(min(WAITERS, len(records))):
                group.create_task(wait(records[number::WAITERS]))
        seconds = perf_counter() - started
        assert len(await store.rows(kind)) == len(records)
    finally:
        await store.close()
    return seconds
