"""A server that answers from a dict, and what a resource is made from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from streamflow.engine.context import Context
from streamflow.http.session import open_session
from streamflow.limits.registry import Registry
from streamflow.settings import load_settings
from streamflow.storage.files import FileStore

SERVICES = ("crossref", "openalex", "unpaywall", "arxiv", "publisher")

Answer = Any
"""What to send: something JSON can hold, or a whole response."""


class Server:
    """`answers` maps a raw path to what is sent; `requests` are those that came, with their query."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        self.requests.append((path, dict(request.query)))
        answer = self.answers.get(path)
        if answer is None:
            return web.Response(status=404, text="Resource not found.")
        if callable(answer):
            answer = answer()
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@asynccontextmanager
async def serving(answers: Mapping[str, Answer]) -> AsyncIterator[Server]:
    """A server on a free port of loopback, until the block ends."""
    server = Server(answers)
    app = web.Application()
    app.router.add_get("/{path:.*}", server._answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def context(server: Server, workspace: Path | None = None, **settings: Any) -> AsyncIterator[Context]:
    """What a run gives to a resource, with every service at `server`. `settings` are those of any service."""
    folder = workspace or Path("/nonexistent")
    known = {"base_url": server.url, "rate": 10_000.0} | settings
    overrides = {"services": dict.fromkeys(SERVICES, known), "download": {"allow_private": True}}
    async with open_session() as session:
        yield Context(folder, load_settings(folder, overrides), session, Registry(), FileStore(folder / "files"))
