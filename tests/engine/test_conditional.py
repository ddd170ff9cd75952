"""A refresh asks whether answers have changed: from one process to the next, over loopback, with the same tables."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from streamflow.storage import inspect
from tests.cli.harness import environment
from tests.http.serving import serving

pytestmark = pytest.mark.asyncio

PIPELINE = """
import os
from collections.abc import AsyncIterator

import msgspec

from streamflow import Context, Inputs, Pipeline, Service, Stage, record

SHELF = Service("shelf", os.environ["SHELF"], conditional=True)


@record(key="number")
class Number:
    number: int


@record(key="number", table="titles")
class Title:
    number: int
    title: str


class Answer(msgspec.Struct):
    title: str


class Shelf:
    def __init__(self, context: Context) -> None:
        self.client = context.client(SHELF)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        return None


async def numbers(inputs: Inputs) -> AsyncIterator[Number]:
    for number in range(40):
        yield Number(number)


async def look_up(number: Number, *, shelf: Shelf) -> Title:
    answer = await shelf.client.json(f"/{number.number}", type=Answer)
    return Title(number.number, answer.title)


pipeline = Pipeline(
    "shelf", sources=[numbers], stages=[Stage(look_up, workers=4)], resources=[Shelf], services=["shelf"]
)
"""


class Shelf:
    """Titles by number, each with its entity tag. `ended_after` so many answers, it ends the process that asks."""

    def __init__(self) -> None:
        self.titles = {number: f"Title {number} with ümlauts" for number in range(40)}
        self.statuses: Counter[int] = Counter()
        self.ended_after: int | None = None
        self.process: asyncio.subprocess.Process | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        title = self.titles[int(request.path[1:])]
        tag = f'"{hash(title):x}"'
        status = 304 if request.headers.get("If-None-Match") == tag else 200
        self.statuses[status] += 1
        if self.statuses.total() == self.ended_after and self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
        return web.Response(
            status=status,
            body=json.dumps({"title": title}).encode() if status == 200 else None,
            headers={"ETag": tag, "Content-Type": "application/json"},
        )

    async def run(self, folder: Path, base: str, *more: str) -> int:
        """A process of its own, to its end."""
        (folder / "shelf.py").write_text(PIPELINE, encoding="utf-8")
        command = [sys.executable, "-m", "streamflow.cli", "run", "shelf:pipeline", "-w", "workspace", "--quiet"]
        variables = environment({"SHELF": base})
        self.statuses.clear()
        self.process = await asyncio.create_subprocess_exec(*command, *more, cwd=folder, env=variables)
        return await self.process.wait()


async def test_a_refresh_of_what_has_not_changed_transfers_nothing_and_leaves_the_same_tables(tmp_path: Path) -> None:
    shelf = Shelf()
    async with serving(shelf.answer) as base, asyncio.timeout(60):
        assert await shelf.run(tmp_path, str(base)) == 0
        assert shelf.statuses == {200: 40}
        first = inspect.contents(tmp_path / "workspace")

        assert await shelf.run(tmp_path, str(base), "--refresh") == 0
        assert shelf.statuses == {304: 40}
        assert inspect.contents(tmp_path / "workspace") == first

        shelf.titles[7] = "Another title"
        assert await shelf.run(tmp_path, str(base), "--refresh") == 0
        assert shelf.statuses == {304: 39, 200: 1}
        rows = dict(inspect.contents(tmp_path / "workspace")["titles"])
        assert rows == shelf.titles


async def test_after_a_kill_what_was_not_kept_is_asked_for_and_nothing_else(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.ended_after = 20
    async with serving(shelf.answer) as base, asyncio.timeout(60):
        assert await shelf.run(tmp_path, str(base)) == -signal.SIGKILL
        shelf.ended_after = None
        assert await shelf.run(tmp_path, str(base)) == 0
        assert await shelf.run(tmp_path, str(base), "--refresh") == 0
    assert shelf.statuses.total() == 40
    assert shelf.statuses[304] >= 20  # those that the second process kept at its end, and what the first had time to
    assert dict(inspect.contents(tmp_path / "workspace")["titles"]) == shelf.titles
