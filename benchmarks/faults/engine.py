"""One run of the campaign's pipeline, and the state that it leaves."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.pipeline import CALLS, Catalogue, Simulated, pipeline
from benchmarks.faults.relay import Relay, dripping
from streamflow import failpoints
from streamflow.engine.launch import DATABASE, run_pipeline
from streamflow.errors import Unavailable
from streamflow.events import BreakerClosed, Event, ItemDied, ItemRetried
from streamflow.storage import inspect

_URL = "STREAMFLOW_SERVICES__CATALOGUE__BASE_URL"


@dataclass(frozen=True)
class Fire:
    """What disturbs a run from within. `points` are failpoints; `faults` those of the simulated service, which is
    called at `url`, where {} stands for its port, and is relayed in drops if that is asked for; for `away` seconds
    it answers 503."""

    points: str = ""
    faults: str | None = None
    seed: int = 0
    url: str = "http://127.0.0.1:{}"
    is_dripping: bool = False
    away: float = 0.0
    outage: float = 900.0
    on_call: Callable[[int], None] = lambda calls: None


CALM = Fire()


def run(workspace: Path, papers: int, fire: Fire = CALM) -> dict[str, Any]:
    """Run the pipeline to its end in this process; what happened."""
    failpoints.arm(fire.points, str(fired_log(workspace)))
    Catalogue.on_call = staticmethod(fire.on_call)
    events: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    closed_after: list[float] = []

    def note(event: Event) -> None:
        events[type(event).__name__] += 1
        if isinstance(event, ItemRetried | ItemDied):
            errors[event.error] += 1
        elif isinstance(event, BreakerClosed):
            closed_after.append(event.seconds)

    async def main() -> dict[str, Any]:
        injected: Mapping[str, int] = {}
        statuses: Mapping[int, int] = {}
        relay: Relay | None = None
        async with AsyncExitStack() as stack:
            if fire.faults is not None:
                service = Simulated(faults=fire.faults, seed=fire.seed)
                service.away = fire.away
                served = await stack.enter_async_context(service)
                port, injected = int(served.url.rpartition(":")[2]), served.faults.injected
                statuses = served.statuses
                relay = await stack.enter_async_context(dripping(port)) if fire.is_dripping else None
                os.environ[_URL] = fire.url.format(relay.port if relay else port)
            os.environ["STREAMFLOW_OUTAGE"] = str(fire.outage)
            summary = await run_pipeline(pipeline(papers), workspace=workspace, hook=note)
            if summary.error is not None and not isinstance(summary.error, Unavailable):
                raise summary.error
        return {
            "events": events,
            "errors": errors,
            "injected": injected,
            "statuses": statuses,
            "closed_after": closed_after,
            "dripped": relay.too_slow if relay else 0,
            "gave_up": summary.error is not None,
        }

    return asyncio.run(main())


def fired_log(workspace: Path) -> Path:
    """Where the failpoints of a workspace tell that they fired."""
    return workspace.with_name(f"{workspace.name}.fired")


def fired(workspace: Path) -> list[str]:
    log = fired_log(workspace)
    return log.read_text().split() if log.exists() else []


@dataclass(frozen=True)
class State:
    """What a run has left: rows of tables, ends of items, files by their hash; and which calls it made."""

    rows: Counter[str]
    unended: int
    calls: Counter[str]

    @classmethod
    def of(cls, workspace: Path) -> State:
        rows = Counter(f"{table} {row}" for table, found in inspect.contents(workspace).items() for row in found)
        database = f"file:{workspace / DATABASE}?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as connection:
            integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
            items = connection.execute("SELECT stage, key, state FROM streamflow_items").fetchall()
        rows.update(f"item {stage} {key} {state}" for stage, key, state in items if state != "pending")
        rows.update(_files(workspace / "files"))
        rows[f"integrity {integrity}"] += 1
        calls = workspace / CALLS
        return cls(
            rows,
            sum(state == "pending" for _, _, state in items),
            Counter(calls.read_text().split() if calls.exists() else ()),
        )


def _files(folder: Path) -> list[str]:
    return [
        f"file {path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.rglob("*")
        if path.is_file()
    ]


@dataclass
class Difference:
    """What is not as an undisturbed run leaves it. A row that has another content is lost and doubled."""

    lost: int = 0
    doubled: int = 0
    unended: int = 0
    repeated: int = 0
    samples: tuple[str, ...] = ()

    def add(self, calm: State, found: State) -> None:
        lost, doubled = calm.rows - found.rows, found.rows - calm.rows
        self.lost += lost.total() + (calm.calls.keys() - found.calls.keys()).__len__()
        self.doubled += doubled.total()
        self.unended += found.unended
        self.repeated += found.calls.total() - len(found.calls)
        self.samples += (*[f"- {row}" for row in lost][:3], *[f"+ {row}" for row in doubled][:3])

    @property
    def is_none(self) -> bool:
        return not (self.lost or self.doubled or self.unended)
