"""What `streamflow limits` shows, live and kept."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamflow.cli import limits
from streamflow.engine.control.answers import controlled
from streamflow.engine.run import Run
from streamflow.limits.rates import Kept, KeptWindow
from streamflow.limits.registry import Registry
from streamflow.limits.window import Window
from streamflow.storage.memory import MemoryStore
from tests.cli.harness import cli, read_until, started, write_pipeline, write_words
from tests.engine.flows import flow

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    return tmp_path


def state(**more: Any) -> dict[str, Any]:
    nothing = {"rate": None, "per": None, "concurrency": None, "burst": None, "windows": []}
    return {
        "name": "github",
        "configured": {**nothing, "rate": 5, "per": 1},
        "learnt": nothing,
        "effective": {**nothing, "rate": 5, "per": 1, "concurrency": 3},
        "in_use": 2,
        "waiting": 7,
        "granted": 1234,
        "paused_for": 0.0,
        "paused_reason": None,
        "held": 9.0,
        "windows": [],
        **more,
    }


def shown(capsys: pytest.CaptureFixture[str], *states: dict[str, Any]) -> str:
    limits._show(states)
    return " ".join(capsys.readouterr().out.split())


def test_what_is_allowed_used_and_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    points = {"kind": "points", "size": 900, "per": 60, "used": 120.0, "remaining": 780.0, "learnt": False}
    told = {"kind": "requests", "size": None, "per": 200.0, "used": None, "remaining": 12.0, "learnt": True}
    text = shown(capsys, state(windows=[points, told], paused_for=12.0, paused_reason="429 \x1b[31m"))
    assert "github 5 in 1 s, 3 at once 2 7 1,234 paused for 12 s: 429 \\x1b[31m" in text
    assert "github 900 points in 60 s 120 780" in text
    assert "github requests, until 3 min 20 s from now ? 12 told by the service" in text
    assert "github: configured 5 in 1 s" in text
    assert "learnt" not in text
    assert "effective" not in text


def test_fields_that_come_later_are_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, state(breaker="open", away_for=12.25, failure=None, slots=4, gradient={"low": 0.5, "n": 3}))
    assert "breaker open; away for 12.2; slots 4; gradient low 0.5, n 3" in text
    assert "failure" not in text


@pytest.mark.asyncio
async def test_they_come_from_the_process_through_its_socket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry()
    limit = registry.limit("github", concurrency=3, windows=[Window(900, 60, "points")])
    run = Run(flow(), MemoryStore(), resources={}, workspace=tmp_path)
    async with controlled(tmp_path, run, MemoryStore(), registry, lambda event: None), limit(points=5) as grant:
        grant.sent()
        await asyncio.to_thread(limits.limits, tmp_path)
    text = " ".join(capsys.readouterr().out.split())
    assert "github 3 at once 1 0 1" in text
    assert "github 900 points in 60 s 5 895" in text


def test_a_run_without_limits_says_so(folder: Path) -> None:
    write_words(folder, "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        told = cli(folder, "limits", "-w", "ws")
        assert (told.returncode, told.stdout, told.stderr) == (0, "", "The run has no limits.\n")
        assert json.loads(cli(folder, "limits", "-w", "ws", "--json").stdout)["running"] is True


def test_without_a_process_it_tells_what_is_kept(folder: Path) -> None:
    assert cli(folder, "limits", "-w", "ws").returncode == 2
    write_words(folder, "a")
    cli(folder, *RUN)
    told = cli(folder, "limits", "-w", "ws")
    assert (told.returncode, told.stdout) == (0, "")
    assert "No process works in the workspace ws." in told.stderr
    assert "nothing. Only windows of a minute or more are kept." in told.stderr

    now = time.time()
    sends = [(now - 7200, 7.0), (now - 60, 40.0), (now - 1, 2.0)]
    kept = msgspec.json.encode(Kept(None, [KeptWindow("points", 3600.0, sends, 18.0)])).decode()
    with closing(sqlite3.connect(folder / "ws" / "streamflow.db")) as connection, connection:
        values = [("kept:limit:github", kept), ("kept:limit:torn", "{")]
        connection.executemany("INSERT INTO streamflow_meta VALUES (?, ?)", values)
    assert "github  points in 3600 s    42                   18" in cli(folder, "limits", "-w", "ws").stdout
    found = json.loads(cli(folder, "limits", "-w", "ws", "--json").stdout)
    window = {"kind": "points", "per": 3600.0, "used": 42.0, "reserved": 18.0}
    assert (found["running"], found["limits"]) == (False, [])
    assert found["kept"] == [
        {"name": "github", "ended": None, "windows": [window]},
        {"name": "torn", "ended": None, "windows": []},
    ]
