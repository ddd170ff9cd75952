"""A server that answers from a dict, and what a resource is made from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web

from streamflow.engine.context import Context
from streamflow.http.client import Client, Service, open_session
from streamflow.limits.limit import Limit
from streamflow.settings import ServiceSettings

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
async def context(server: Server, **settings: Any) -> AsyncIterator[Context]:
    """What a run gives to a resource, with every service at `server`. `settings` are those of any service."""
    async with open_session() as session:
        configured = ServiceSettings(base_url=server.url, **settings)

        def client(
            service: Service, *, headers: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
        ) -> Client:
            limit = Limit(service.name, concurrency=service.concurrency)
            return Client(
                service, session=session, limit=limit, base_url=configured.base_url, headers=headers, params=params
            )

        services = dict.fromkeys(("crossref", "openalex", "unpaywall", "arxiv"), configured)
        made = SimpleNamespace(client=client, settings=SimpleNamespace(services=services), session=session)
        yield cast("Context", made)
