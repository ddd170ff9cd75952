"""kill -9 is a supported way to stop: nothing is lost, nothing is doubled, and few calls are repeated."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamflow.storage import inspect
from tests.faults.engines import Engine, chance, engines
from tests.faults.fire import PAPERS

ENGINE = "tests.faults.fire"
KILLS = 50
TABLES = {
    "refs": "n, raw",
    "works": "work, title, seen_in",
    "citations": "n, work",
    "downloads": "work, size",
}
CALLS = PAPERS + PAPERS + PAPERS // 2
"""Of an undisturbed run, its finalizer not counted."""


class CountingServer:
    """Answers each path with a text of its own, and counts. `on_call` is told of each call before its answer."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.on_call: Callable[[str], None] = lambda path: None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> CountingServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *details: object) -> None:
        self._server.close()
        await self.disconnected()

    async def disconnected(self) -> None:
        """Until all clients have gone and all that they had sent is counted."""
        while self._open:
            await asyncio.wait(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()[1:]
                self.calls[path] += 1
                self.on_call(path)
                body = f"answer to {path}".encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(task)
            with suppress(ConnectionError):
                writer.close()


@pytest.mark.asyncio
async def test_fifty_kills_over_two_thousand_items_leave_the_tables_of_an_undisturbed_run(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Invariants: no admitted item is lost; effects in the database happen exactly once; external calls that are
    repeated are those that items not yet committed at a kill had made, counted one by one."""
    root = pytestconfig.rootpath
    calm, fire = tmp_path / "calm", tmp_path / "fire"
    calm.mkdir()
    fire.mkdir()

    async with CountingServer() as server, engines(root, ENGINE) as make:
        undisturbed = await make(calm, server.port)
        await undisturbed.begin()
        assert await undisturbed.gone() == 0
    assert server.calls.total() == CALLS + 1
    assert set(server.calls.values()) == {1}

    owed: Counter[str] = Counter()  # calls that are to be repeated: made, and their items not committed at a kill
    async with CountingServer() as server, engines(root, ENGINE) as make:
        following = await make(fire, server.port)
        for plan in _plans(chance()):
            engine, following = following, await make(fire, server.port)
            before = server.calls.copy()
            await _run_and_kill(engine, server, plan)
            await server.disconnected()
            owed += _uncommitted(fire, server.calls - before)
        await following.begin()
        assert await following.gone() == 0
        if set_aside := inspect.requeue(fire):
            # Three kills hit one innocent item, at the last one alone: as a user does, bring it back.
            print(f"set aside and brought back: {set_aside}")
            again = await make(fire, server.port)
            await again.begin()
            assert await again.gone() == 0

    assert _tables(fire) == _tables(calm)
    assert _journal(fire) == _journal(calm), "every item ended, exactly once"
    assert (fire / "summary.txt").read_text() == (calm / "summary.txt").read_text() == "2000 1000 2000 1000"
    finalized = server.calls.pop("summarize/0")
    assert finalized >= 1
    repeated = Counter({path: count - 1 for path, count in server.calls.items() if count > 1})
    owed.pop("summarize/0", None)
    assert repeated == owed
    assert server.calls.total() == CALLS + owed.total()
    print(f"{repeated.total()} calls repeated")


@dataclass(frozen=True)
class Plan:
    """When to kill: at the `calls`-th call, before its answer or `turns` turns of the loop after it."""

    calls: int
    turns: int | None


def _plans(chance: random.Random) -> list[Plan]:
    """Kills spread over the whole run, some at its very beginning (no call) and some at its end."""
    kinds = [None, *range(0, 60, 5)]
    cuts = sorted(chance.sample(range(1, CALLS - KILLS), KILLS - 5))
    lengths = [later - earlier for earlier, later in zip([0, *cuts], cuts, strict=False)]
    plans = [Plan(calls, chance.choice(kinds)) for calls in [*lengths, 0, 0, 0]]
    chance.shuffle(plans)
    # The rest of the calls, then the finalizer's: killed within what should end the run.
    return [Plan(0, 0), *plans, Plan(CALLS - sum(plan.calls for plan in plans) + 1, None)]


async def _run_and_kill(engine: Engine, server: CountingServer, plan: Plan) -> None:
    """Run an engine and kill it as planned, or at its end if it makes fewer calls than that."""
    loop = asyncio.get_running_loop()
    counted = 0

    def later(turns: int) -> None:
        if turns:
            loop.call_soon(later, turns - 1)
        else:
            engine.kill()

    def count(path: str) -> None:
        nonlocal counted
        counted += 1
        if path.startswith("summarize"):
            engine.kill()
        elif counted == plan.calls:
            if plan.turns is None:
                engine.kill()
            else:
                later(plan.turns)

    server.on_call = count
    await engine.begin()
    if not plan.calls:
        await engine.hear(b"began\n")
        later(plan.turns or 0)
    status = await engine.gone()
    assert status == -9, "the engine is never done before its last kill"
    server.on_call = lambda path: None


def _uncommitted(folder: Path, calls: Counter[str]) -> Counter[str]:
    """Of these calls, those whose items the journal does not hold as done."""
    done = {f"{stage}/{key}" for stage, key, state in _journal(folder) if state == "done"}
    return Counter({path: count for path, count in calls.items() if path not in done})


def _journal(folder: Path) -> list[tuple[Any, ...]]:
    return _read(folder, "SELECT stage, key, state FROM streamflow_items ORDER BY stage, key")


def _tables(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    assert _read(folder, "PRAGMA integrity_check") == [("ok",)]
    return {table: _read(folder, f"SELECT {names} FROM {table} ORDER BY 1") for table, names in TABLES.items()}  # noqa: S608


def _read(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    database = folder / "streamflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()
