"""A client that asks whether answers have changed, against real servers on loopback and a real database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from yarl import URL

from streamflow.errors import BadAnswer
from streamflow.http.answers import Response
from streamflow.http.cache import Cache
from streamflow.http.client import Client
from streamflow.http.service import Service
from streamflow.http.session import open_session
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Plan
from tests.http.serving import serving

pytestmark = pytest.mark.asyncio


class Work(msgspec.Struct):
    doi: str


class Listing(msgspec.Struct):
    items: list[int]


class Shelf:
    """A server of documents with validators. `asked` are the conditions that came, `statuses` what was answered."""

    def __init__(self, body: bytes = b'{"doi": "10.5555/a"}', **headers: str) -> None:
        self.body = body
        self.headers = headers or {"ETag": '"1"'}
        self.asked: list[tuple[str | None, str | None]] = []
        self.statuses: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        condition = request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since")
        self.asked.append(condition)
        known = (self.headers.get("ETag") or "-", self.headers.get("Last-Modified") or "-")
        holds = condition[0] == known[0] if condition[0] else condition[1] == known[1]
        answer = web.Response(status=304) if holds else web.Response(body=self.body, content_type="application/json")
        answer.headers.update(self.headers)
        self.statuses.append(answer.status)
        return answer


@asynccontextmanager
async def client(base: URL, folder: Path, *, limit: Limit | None = None, **options: Any) -> AsyncIterator[Client]:
    """A client of a process of its own: with a store that is opened and closed."""
    own = {name: options.pop(name) for name in ("headers", "params") if name in options}
    options = {"conditional": True, **options}
    async with AsyncExitStack() as stack:
        store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
        await store.open(Plan("test", {}))
        stack.push_async_callback(store.close)
        cache = Cache(store)
        await stack.enter_async_context(cache.saving())
        session = await stack.enter_async_context(open_session())
        service = Service("api", str(base), **options)
        yield Client(service, session=session, limit=limit or Limit("api"), cache=cache, **own)


async def test_an_unchanged_answer_is_the_earlier_one_also_after_a_restart(tmp_path: Path) -> None:
    shelf = Shelf()
    limit = Limit("api")
    async with serving(shelf.answer) as base:
        for _ in range(2):
            async with client(base, tmp_path, limit=limit) as api:
                for _ in range(2):
                    assert await api.json("/works", type=Work) == Work("10.5555/a")
    assert shelf.statuses == [200, 304, 304, 304]
    assert shelf.asked[1:] == [('"1"', None)] * 3
    assert (limit.snapshot().granted, limit.snapshot().unchanged) == (4, 3)


async def test_a_changed_answer_is_the_new_one_and_kept_in_its_turn(tmp_path: Path) -> None:
    shelf = Shelf()
    async with serving(shelf.answer) as base:
        async with client(base, tmp_path) as api:
            await api.json("/works", type=Work)
        shelf.body, shelf.headers = b'{"doi": "10.5555/b"}', {"ETag": 'W/"2"'}
        for _ in range(2):
            async with client(base, tmp_path) as api:
                assert await api.json("/works", type=Work) == Work("10.5555/b")
    assert shelf.statuses == [200, 200, 304]


async def test_a_date_alone_will_do_where_it_is_old_enough(tmp_path: Path) -> None:
    shelf = Shelf(**{"Last-Modified": "Sat, 21 Nov 2020 10:00:00 GMT"})
    async with serving(shelf.answer) as base, client(base, tmp_path) as api:
        for _ in range(2):
            assert await api.json("/works", type=Work) == Work("10.5555/a")
    assert shelf.statuses == [200, 304]


async def test_only_a_service_that_says_so_is_asked(tmp_path: Path) -> None:
    shelf = Shelf()
    async with serving(shelf.answer) as base, client(base, tmp_path, conditional=False) as api:
        for _ in range(2):
            await api.json("/works", type=Work)
    assert shelf.statuses == [200, 200]


async def test_other_parameters_other_credentials_and_other_methods_are_other_requests(tmp_path: Path) -> None:
    shelf = Shelf()
    async with serving(shelf.answer) as base:
        async with client(base, tmp_path, headers={"Authorization": "Bearer first"}) as api:
            await api.json("/works", type=Work, params={"a": "1", "b": "2"})
            await api.json("/works", type=Work, params={"a": "2", "b": "2"})
            await api.json("/works", type=Work, params={"a": "1", "b": "2"}, method="POST", data=b"x")
            await api.json("/works", type=Work, params={"a": "1", "b": "2"}, headers={"Accept": "application/vnd+json"})
        async with client(base, tmp_path, headers={"Authorization": "Bearer second"}) as api:
            await api.json("/works", type=Work, params={"a": "1", "b": "2"})
        assert shelf.statuses == [200] * 5
        async with client(base, tmp_path, headers={"Authorization": "Bearer first"}) as api:
            await api.json("/works", type=Work, params={"b": "2", "a": "1"})
    assert shelf.statuses[5:] == [304]


async def test_a_304_that_speaks_of_another_answer_is_asked_again_without_a_condition(tmp_path: Path) -> None:
    shelf = Shelf()

    async def confused(request: web.Request) -> web.StreamResponse:
        if "If-None-Match" in request.headers:
            shelf.statuses.append(304)
            return web.Response(status=304, headers={"ETag": '"other"'})
        return await shelf.answer(request)

    async with serving(confused) as base, client(base, tmp_path) as api:
        for _ in range(2):
            assert await api.json("/works", type=Work) == Work("10.5555/a")
    assert shelf.statuses == [200, 304, 200]


async def test_a_304_that_nobody_asked_for_is_a_bad_answer(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=304)

    async with serving(handler) as base, client(base, tmp_path) as api:
        with pytest.raises(BadAnswer, match="304"):
            await api.json("/works", type=Work)


async def test_a_kept_answer_that_no_longer_fits_is_asked_for_anew(tmp_path: Path) -> None:
    class Later(msgspec.Struct):
        title: str

    shelf = Shelf(b'{"doi": "10.5555/a"}')
    async with serving(shelf.answer) as base, client(base, tmp_path) as api:
        await api.json("/works", type=Work)
        shelf.body = b'{"doi": "10.5555/a", "title": "A"}'  # and its tag the same
        assert await api.json("/works", type=Later) == Later("A")
        assert await api.json("/works", type=Later) == Later("A")
    assert shelf.statuses == [200, 304, 200, 304]


async def test_an_answer_that_does_not_fit_is_not_kept(tmp_path: Path) -> None:
    shelf = Shelf(b'{"message": "try again later"}')
    async with serving(shelf.answer) as base, client(base, tmp_path) as api:
        for _ in range(2):
            with pytest.raises(BadAnswer):
                await api.json("/works", type=Work)
    assert shelf.statuses == [200, 200]


async def test_pages_are_answers_with_their_links(tmp_path: Path) -> None:
    statuses: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        page = int(request.query.get("page", "1"))
        tag = f'"page-{page}"'
        if request.headers.get("If-None-Match") == tag:
            statuses.append(304)
            return web.Response(status=304, headers={"ETag": tag})  # without a Link, as RFC 9110 §15.4.5 allows
        statuses.append(200)
        link = {"Link": f'<{request.url.with_query(page=page + 1)}>; rel="next"'} if page < 3 else {}
        return web.json_response({"items": [page]}, headers={"ETag": tag, **link})

    async with serving(handler) as base:
        for _ in range(2):
            async with client(base, tmp_path) as api:
                assert [page.items async for page in api.pages("/list", type=Listing)] == [[1], [2], [3]]
    assert statuses == [200, 200, 200, 304, 304, 304]


async def test_a_redirect_is_followed_and_what_it_leads_to_asked_about(tmp_path: Path) -> None:
    shelf = Shelf()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/old":
            return web.Response(status=301, headers={"Location": "/new", "ETag": '"old"'})
        return await shelf.answer(request)

    async with serving(handler) as base, client(base, tmp_path) as api:
        for _ in range(2):
            assert await api.json("/old", type=Work) == Work("10.5555/a")
    assert shelf.statuses == [200, 304]


async def test_a_whole_response_says_that_it_is_unchanged_and_keeps_its_headers(tmp_path: Path) -> None:
    shelf = Shelf(**{"ETag": '"1"', "X-Total-Count": "7"})
    async with serving(shelf.answer) as base, client(base, tmp_path) as api:
        first = await api.request("/works")
        again = await api.request("/works")
    assert (first.unchanged, again.unchanged) == (False, True)
    for response in (first, again):
        assert (response.status, response.body, response.url) == (200, shelf.body, base / "works")
        assert response.headers["x-total-count"] == response.headers["X-Total-Count"] == "7"
        assert response.content_type == "application/json"


async def test_no_secret_comes_into_the_database(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/echo":
            return web.json_response({"doi": str(request.url)}, headers={"ETag": '"1"'})
        return web.json_response({"doi": "10.5555/a"}, headers={"ETag": '"1"', "Set-Cookie": "session=swordfish"})

    secrets = {"headers": {"Authorization": "Bearer hunter22"}, "params": {"api_key": "open sesame"}}
    async with serving(handler) as base:
        async with client(base, tmp_path, **secrets) as api:
            await api.json("/echo", type=Work)
            await api.json("/works", type=Work)
        with closing(sqlite3.connect(tmp_path / "streamflow.db")) as connection:
            assert connection.execute("SELECT count(*) FROM streamflow_cache").fetchone() == (1,)
            told = " ".join(connection.iterdump())
        assert [secret for secret in ("hunter22", "sesame", "swordfish") if secret in told] == []


def _github(response: Response) -> dict[str, float]:
    """A 304 is no request of the hour's, and a point of the minute's like any other."""
    return {"requests": 0} if response.status == 304 else {}


async def test_an_unchanged_answer_costs_what_the_service_says(tmp_path: Path) -> None:
    """GitHub's rule: an authorised 304 is not counted by the primary limit."""
    shelf = Shelf()
    windows = (Window(2, 3600), Window(900, 60, "points"))
    limit = Limit("api", windows=windows)
    async with (
        serving(shelf.answer) as base,
        client(base, tmp_path, limit=limit, cost={"points": 1}, true_cost=_github) as api,
        asyncio.timeout(20),
    ):
        for _ in range(10):
            await api.json("/works", type=Work)
    assert shelf.statuses == [200] + [304] * 9
    hour, minute = limit.snapshot().windows
    assert (hour.used, minute.used) == (1, 10)


async def test_what_the_service_says_is_left_is_believed_of_a_304_too(tmp_path: Path) -> None:
    shelf = Shelf(
        **{"ETag": '"1"', "x-ratelimit-limit": "60", "x-ratelimit-remaining": "50", "x-ratelimit-reset": "600"}
    )
    limit = Limit("api")
    async with serving(shelf.answer) as base, client(base, tmp_path, limit=limit) as api:
        for _ in range(3):
            await api.json("/works", type=Work)
    assert shelf.statuses == [200, 304, 304]
    (learnt,) = limit.snapshot().windows
    assert learnt.remaining == 50
