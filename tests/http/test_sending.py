"""When grants are told that their requests leave: over real connections that take their time to open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from streamflow.http import addresses
from streamflow.http.client import Client
from streamflow.http.download import Downloader
from streamflow.http.service import Service
from streamflow.http.session import open_session
from streamflow.limits.limit import Limit
from tests.http.serving import serving

Call = Callable[[int], Awaitable[object]]
Caller = Callable[[URL, Limit, Path], Any]

CALLS = 6
WINDOW = 2  # calls
SPACING = 0.01 / 0.98  # seconds; a window is short, so that many of them pass soon


class Slow(AbstractResolver):
    """Knows where every name leads, and tells it when it may."""

    asked: asyncio.Event
    answer: asyncio.Event

    def __init__(self, **options: object) -> None: ...

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.set()
        await self.answer.wait()
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None: ...


@asynccontextmanager
async def clients(base: URL, limit: Limit, folder: Path) -> AsyncIterator[Call]:
    async with open_session() as session:
        client = Client(Service("api", str(base)), session=session, limit=limit)
        yield lambda number: client.text(f"/{number}")


@asynccontextmanager
async def downloads(base: URL, limit: Limit, folder: Path) -> AsyncIterator[Call]:
    async with Downloader(limit=limit, allow=[f"{base.host}:{base.port}"]) as downloader:
        yield lambda number: downloader.fetch(f"{base}{number}", folder / str(number))


@pytest.mark.asyncio
@pytest.mark.parametrize("caller", [clients, downloads])
async def test_a_request_counts_from_when_it_leaves(
    caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While connections open, no more than a window is granted, for all of it may arrive at once. Once requests have
    left, the next are granted although nothing was answered."""
    Slow.asked, Slow.answer = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", Slow)
    monkeypatch.setattr(addresses, "DefaultResolver", Slow)
    arrived, all_arrived = 0, asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        nonlocal arrived
        arrived += 1
        if arrived == CALLS:
            all_arrived.set()
        await all_arrived.wait()
        return web.Response(body=b"whole")

    limit = Limit("api", rate=WINDOW, per=WINDOW * SPACING * 0.98)
    async with (
        serving(handler) as local,
        caller(local.with_host("slow.test"), limit, tmp_path) as call,
        asyncio.timeout(60),
        asyncio.TaskGroup() as group,
    ):
        for number in range(CALLS):
            group.create_task(call(number))
        await Slow.asked.wait()
        loop = asyncio.get_running_loop()
        later = loop.create_future()
        loop.call_later(10 * SPACING, later.set_result, None)  # time enough for the others, were they let
        await later
        assert limit.snapshot().granted == WINDOW
        Slow.answer.set()
        await all_arrived.wait()
    assert limit.snapshot().granted == CALLS
