"""kill -9 on `streamflow run literature`: the real stages over the simulated services, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from stages.literature.pipeline import SIMULATED
from streamflow.cli.endings import DEAD_LETTERS
from streamflow.cli.simulators import Simulators, simulators
from streamflow.storage import DATABASE, inspect
from streamflow.storage.seal import NAME as SEAL
from tests.faults import literature
from tests.faults.engines import Make, chance, engines

ENGINE = "tests.faults.literature"
KILLS = 50
EARLY = 7
"""One kill of so many comes before the run begins: while the program reads settings, locks, opens, migrates."""
LATENCY = "0.01"
"""Seconds, so that calls are under way at the kills."""
WORK = round(2.8 * literature.WORKS)
"""Items, nearly: four works of five are free."""
WORKERS = {stage.name: stage.workers for stage in literature.pipeline.stages}

Call = tuple[str, str]
"""A service and what it was asked for, as its simulator counts it."""


@pytest.mark.asyncio
async def test_fifty_kills_of_a_literature_run_leave_what_an_undisturbed_one_leaves(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Invariants: no admitted item is lost; effects in the database happen exactly once; files appear whole; external
    calls that are repeated are those that items not yet committed at a kill had made.

    Each call is some item's own, so the bound is exact. An item makes a call once an attempt, and one attempt is
    committed: a call is counted once, and once more for each kill that came after the call and before its item's
    commit. Those are told one by one: after each kill the simulators name the calls since the one before, and the
    journal the items that it holds as done. They are few, because only an item in a worker's hands has made calls and
    is not committed: at each kill at most as many items of a stage as the stage has workers.
    """
    inputs = literature.write_inputs(tmp_path / "inputs")
    calm, fire = tmp_path / "calm", tmp_path / "fire"
    with simulators(f"{ENGINE}:pipeline", SIMULATED, scale=1000.0, latency=LATENCY) as services:
        async with engines(pytestconfig.rootpath, ENGINE, _environment(services)) as make:
            pace = await _undisturbed(make, inputs, calm)
            calls = _calls(services)
            assert set(calls.values()) == {1}
            assert calls.keys() <= _owners(calm).keys()

            services.forget()
            owed, kills = await _under_fire(make, inputs, fire, services, pace)
            total = _calls(services)

    assert kills >= KILLS * 0.8, "the run was over too early: its pace changed more than the plan allows for"
    assert inspect.contents(fire) == inspect.contents(calm)
    assert _journal(fire) == _journal(calm), "every item ended, exactly once, at its first attempt that counts"
    assert _files(fire) == _files(calm)
    assert total - owed == calls
    assert total.total() == calls.total() + owed.total()
    assert len(_journal(calm)) >= 2_000
    print(f"{kills} kills, {owed.total()} calls repeated of {calls.total()}")


@dataclass(frozen=True)
class Pace:
    """Of the undisturbed run: seconds until its first item is admitted, and from there until its last one ends."""

    startup: float
    work: float


async def _undisturbed(make: Make, inputs: Path, workspace: Path) -> Pace:
    engine = await make("run", "literature", inputs, "-w", workspace)
    await engine.begin()
    began = time.time()
    assert await engine.gone() == 0
    ((first, last),) = _read(workspace, "SELECT min(admitted), max(ended) FROM streamflow_items")
    return Pace(first - began, last - first)


async def _under_fire(
    make: Make, inputs: Path, workspace: Path, services: Simulators, pace: Pace
) -> tuple[Counter[Call], int]:
    """Run, kill, run again, to the end. The calls that the kills make to be repeated, and the number of kills."""
    dice = chance()
    command = ("run", "literature", inputs, "-w", workspace)
    owed: Counter[Call] = Counter()
    before: Counter[Call] = Counter()
    following = await make(*command)
    for left in range(KILLS, 0, -1):
        engine, following = following, await make(*command)
        pending, done = _progress(workspace)
        await engine.begin()
        if dice.randrange(EARLY) and pending:
            await engine.hear(b"Going on with", b"The run before")  # the last item may have been set aside
            share = (WORK - done) / WORK / left
            status = await engine.killed_after(pace.work * share * dice.uniform(0, 2))
        else:
            status = await engine.killed_after(pace.startup * dice.uniform(0, 1.2))
        if status != -9:
            assert status in (0, DEAD_LETTERS)
            await _bring_back(make, workspace)
            return owed, KILLS - left
        after = _calls(services)
        owed += _uncommitted(workspace, after - before)
        before = after
    await following.begin()
    assert await following.gone() in (0, DEAD_LETTERS)
    await _bring_back(make, workspace)
    return owed, KILLS


async def _bring_back(make: Make, workspace: Path) -> None:
    """Three kills may have hit one innocent item, the last one alone: it is set aside, and a user retries it."""
    if set_aside := inspect.requeue(workspace):
        print(f"set aside and brought back: {set_aside}")
        again = await make("run", "literature", "-w", workspace)
        await again.begin()
        assert await again.gone() == 0


def _uncommitted(workspace: Path, calls: Counter[Call]) -> Counter[Call]:
    """Of these calls, those whose items the journal does not hold as done. They are in workers' hands, no others."""
    owners = _owners(workspace)
    assert calls.keys() <= owners.keys(), "a call was made for an item before it was admitted"
    done = {(stage, key) for stage, key, state, _ in _journal(workspace) if state == "done"}
    owed = Counter({call: count for call, count in calls.items() if owners[call] not in done})
    at_work = Counter(stage for stage, _ in {owners[call] for call in owed})
    assert all(at_work[stage] <= WORKERS[stage] for stage in at_work), at_work
    assert set(owed.values()) <= {1}
    return owed


def _owners(workspace: Path) -> dict[Call, tuple[str, str]]:
    """The item of each call that may be made for those in the journal."""
    return {
        call: (stage, key)
        for stage, key, record in _read(workspace, "SELECT stage, key, record FROM streamflow_items")
        for call in _calls_of(stage, json.loads(record))
    }


def _calls_of(stage: str, record: Mapping[str, Any]) -> set[Call]:
    match stage:
        case "enrich":
            words = " ".join(re.findall(r"\w+", record["title"] or ""))
            return {("crossref", record["doi"] or record["raw"]), ("crossref", record["raw"]), ("openalex", words)}
        case "resolve":
            return {("openalex", record["work"]), ("unpaywall", record["work"])}
        case "download":
            return {("publisher", urlsplit(url).path) for url in record["candidates"]}
    return set()


def _calls(services: Simulators) -> Counter[Call]:
    """All calls counted so far. A process that was killed may have sent some that are not read yet: they come before
    ours, so that what is told twice is complete."""
    told: Counter[Call] | None = None
    while True:
        stats = services.stats()
        again = Counter({(name, key): count for name, one in stats.items() for key, count in one["calls"].items()})
        if again == told and not any(one["in_flight"] for one in stats.values()):
            return again
        told = again


def _progress(workspace: Path) -> tuple[int, int]:
    """Items pending, and ended."""
    states = Counter(state for _, _, state, _ in _journal(workspace))
    return states["pending"], states.total() - states["pending"]


def _journal(workspace: Path) -> list[tuple[Any, ...]]:
    return _read(workspace, "SELECT stage, key, state, attempts FROM streamflow_items ORDER BY stage, key")


def _files(workspace: Path) -> dict[str, str]:
    """The hashes of all files but the database, its seal and the log: papers, copies, the bibliography."""
    found = {str(path.relative_to(workspace)): path for path in workspace.rglob("*") if path.is_file()}
    return {
        name: sha256(path.read_bytes()).hexdigest()
        for name, path in found.items()
        if not name.startswith((DATABASE, SEAL, "logs/"))
    }


def _read(workspace: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the journal; none where there is no journal yet."""
    database = workspace / DATABASE
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'streamflow_items'").fetchone():
            return []
        return connection.execute(sql).fetchall()


def _environment(services: Simulators) -> dict[str, str]:
    """Ours, without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFLOW_")}
    return {**kept, **services.environment}
