"""The client of one API, against real servers on loopback."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from yarl import URL

from streamflow.errors import (
    BadAnswer,
    CostTooLarge,
    CredentialsRefused,
    NotFound,
    Overloaded,
    PermanentError,
    PipelineError,
    ServiceError,
    TooLarge,
    TransientError,
    Unreachable,
)
from streamflow.http.answers import Response
from streamflow.http.client import Client
from streamflow.http.service import Service
from streamflow.http.session import open_session
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window
from tests.http.serving import sending, serving

pytestmark = pytest.mark.asyncio


class Work(msgspec.Struct):
    doi: str
    year: int | None = None


class Listing(msgspec.Struct):
    items: list[int]
    cursor: str | None = None


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came")


@asynccontextmanager
async def client(base: URL, *, limit: Limit | None = None, **options: Any) -> AsyncIterator[Client]:
    own = {name: options.pop(name) for name in ("headers", "params", "email") if name in options}
    async with open_session() as session:
        yield Client(Service("api", str(base), **options), session=session, limit=limit or Limit("api"), **own)


async def test_an_answer_is_typed_and_unknown_fields_are_ignored() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept"] == "application/json"
        assert request.rel_url.raw_path == "/v1/works/10.5555/a%2Fb"
        assert dict(request.query) == {"rows": "5", "mailto": "me@example.org"}
        assert request.headers["User-Agent"].startswith("streamflow/")
        assert request.headers["User-Agent"].endswith("(mailto:me@example.org)")
        return web.json_response({"doi": "10.5555/a", "year": 2014, "new": [1]})

    async with (
        serving(handler) as base,
        client(base / "v1", params={"mailto": "me@example.org"}, email="me@example.org") as api,
    ):
        work = await api.json("/works/10.5555/a%2Fb", type=Work, params={"rows": "5"})
    assert work == Work("10.5555/a", 2014)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"doi": 5}', "application/json"),
        (b'{"year": 2014}', "application/json"),
        (b'{"doi": "10.5', "application/json"),
        (b"", "application/json"),
        (b'{"doi": "\xff"}', "application/json"),
        (b"<html>Sign in to the wireless network</html>", "text/html"),
        (b"[" * 100_000, "application/json"),
    ],
)
async def test_an_answer_that_does_not_fit_is_a_bad_answer(body: bytes, kind: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind)

    async with serving(handler) as base, client(base) as api:
        with pytest.raises(BadAnswer, match=f"{kind}, {len(body)} bytes"):
            await api.json("/", type=Work)


@pytest.mark.parametrize(
    "identifier",
    ["10.1/../../etc", "..", ".", "10.1/%2e%2E/x", "%2e./x", "a/..%2f..%2fx", "a/.\t./x", "a/\n../x", "..?a=b", "..#c"],
)
async def test_an_identifier_cannot_choose_another_place_of_the_api(identifier: str) -> None:
    called: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.json_response({"doi": "x"})

    async with serving(handler) as base, client(base / "v1") as api:
        for path in (f"/works/{identifier}", f"{base}/v1/works/{identifier}"):
            with pytest.raises(PermanentError, match=r"segment `\.` or `\.\.`"):
                await api.json(path, type=Work)
        await api.json("/works/10.5555/a..b/...?next=/../x", type=Work)
    assert called == ["/v1/works/10.5555/a..b/..."]


async def test_the_slot_is_free_before_the_answer_is_decoded() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"doi": "10.5555/a"})

    limit = Limit("api", concurrency=1)
    seen: list[int] = []

    class Watching(msgspec.Struct):
        doi: str

        def __post_init__(self) -> None:
            seen.append(limit.snapshot().in_use)

    async with serving(handler) as base, client(base, limit=limit) as api:
        await api.json("/", type=Watching)
    assert seen == [0]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "paused"),
    [
        (404, {}, NotFound, 0),
        (400, {}, PermanentError, 0),
        (401, {}, CredentialsRefused, 0),
        (403, {}, CredentialsRefused, 0),
        (403, {"Retry-After": "60"}, Overloaded, 60),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "50"}, Overloaded, 0),  # its budget holds it
        (429, {"Retry-After": "30"}, Overloaded, 30),
        (429, {}, Overloaded, 1),
        (
            503,
            {"Retry-After": "Sun, 22 Nov 2026 12:00:40 GMT", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"},
            Overloaded,
            40,
        ),
        (503, {}, Overloaded, 0),
        (500, {}, TransientError, 0),
    ],
)
async def test_refusals_become_errors_and_pause_the_limit(
    status: int, headers: dict[str, str], kind: type[ServiceError], paused: float
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, text="as it is")

    limit = Limit("api")
    async with serving(handler) as base, client(base, limit=limit) as api:
        with pytest.raises(kind, match=f"api answered {status} to http://127.0.0.1.*: as it is") as caught:
            await api.json("/works", type=Work)
    assert type(caught.value) is kind
    state = limit.snapshot()
    assert state.in_use == 0
    assert state.paused_for == pytest.approx(paused, abs=5 if paused > 5 else 1)
    if isinstance(caught.value, Overloaded) and headers:
        assert caught.value.retry_after == pytest.approx(paused)


async def test_a_service_may_judge_its_own_errors() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=403)

    def judge(response: Response) -> ServiceError | None:
        return Overloaded("too fast", status=403) if response.status == 403 else None

    limit = Limit("api")
    async with serving(handler) as base, client(base, limit=limit, judge=judge) as api:
        with pytest.raises(Overloaded, match="too fast"):
            await api.json("/", type=Work)
    assert limit.snapshot().paused_for > 0


async def test_limits_are_learnt_from_every_answer() -> None:
    async def handler(request: web.Request) -> web.Response:
        told = {"X-Rate-Limit-Limit": "10", "X-Rate-Limit-Interval": "2s", "X-Concurrency-Limit": "3"}
        return web.Response(status=404, headers=told)

    limit = Limit("api", rate=50)
    async with serving(handler) as base, client(base, limit=limit) as api:
        with pytest.raises(NotFound):
            await api.json("/", type=Work)
    effective = limit.snapshot().effective
    assert (effective.rate, effective.per, effective.concurrency) == (10, 2, 3)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", BadAnswer),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", BadAnswer),
        (b"", Unreachable),
    ],
)
async def test_broken_answers(raw: bytes, kind: type[ServiceError]) -> None:
    limit = Limit("api", concurrency=1)
    async with sending(raw) as base, client(base, limit=limit) as api:
        with pytest.raises(kind) as caught:
            await api.json("/", type=Work)
    assert type(caught.value) is kind
    assert limit.snapshot().in_use == 0


async def test_a_broken_body_does_not_hide_what_the_status_said() -> None:
    raw = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 100\r\n\r\n{"
    for hang in (True, False):
        async with sending(raw, then_hang=hang) as base, client(base, idle_timeout=0.05) as api:
            with pytest.raises(Overloaded) as caught:
                await api.json("/", type=Work)
            assert caught.value.retry_after == 30


async def test_nobody_listening_and_no_such_host() -> None:
    async with sending(b"") as base:
        pass
    async with client(base) as api:
        with pytest.raises(Unreachable, match="could not be reached"):
            await api.json("/", type=Work)
    async with client(URL("http://" + "a" * 70 + ".invalid/")) as api:
        with pytest.raises((PermanentError, Unreachable)):
            await api.json("/", type=Work)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"did not answer within 0\.2 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", r"fell silent for 0\.05 s"),
    ],
)
async def test_deadlines_of_the_whole_call_and_of_silence(raw: bytes, message: str) -> None:
    limit = Limit("api", concurrency=1)
    async with (
        sending(raw, then_hang=True) as base,
        client(base, limit=limit, timeout=0.2, idle_timeout=0.05) as api,
    ):
        with pytest.raises(Unreachable, match=message):
            await api.json("/", type=Work)
    assert limit.snapshot().in_use == 0


async def test_waiting_for_the_limit_is_not_counted_against_the_call() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"doi": "x"})

    limit = Limit("api", concurrency=1)
    released = asyncio.Event()

    async def hold() -> None:
        async with limit():
            await released.wait()

    async with serving(handler) as base, client(base, limit=limit, timeout=5) as api:
        holder = asyncio.create_task(hold())
        await asyncio.sleep(0)
        call = asyncio.create_task(api.json("/", type=Work))
        await until(lambda: limit.snapshot().waiting == 1)
        released.set()
        assert (await call).doi == "x"
        await holder


async def test_a_cancelled_call_gives_its_slot_back() -> None:
    limit = Limit("api", concurrency=1)
    async with sending(b"", then_hang=True) as base, client(base, limit=limit) as api:
        call = asyncio.create_task(api.json("/", type=Work))
        await until(lambda: limit.snapshot().in_use == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert limit.snapshot().in_use == 0


@pytest.mark.parametrize("encoding", ["gzip", "identity", "chunked"])
async def test_a_body_over_the_cap_is_refused_by_its_decoded_size(encoding: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        bomb = b" " * 50_000_000
        if encoding == "gzip":
            return web.Response(body=gzip.compress(bomb, 1), headers={"Content-Encoding": "gzip"})
        if encoding == "identity":
            return web.Response(body=bomb)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(500):
                await response.write(bomb[:100_000])
        except ConnectionError:
            pass
        return response

    async with serving(handler) as base, client(base, max_bytes=1_000_000) as api:
        with pytest.raises(TooLarge, match="more than 1,000,000 bytes"):
            await api.json("/", type=Work)


async def test_an_endless_error_page_is_cut_off() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65_536)
        except ConnectionError:
            pass
        return response

    async with serving(handler) as base, client(base) as api:
        with pytest.raises(TransientError, match="answered 500"):
            await api.json("/", type=Work)


SECRETS: dict[str, Any] = {
    "headers": {"X-Api-Key": "sesame-1", "Authorization": "Bearer sesame-2"},
    "params": {"api_key": "sesame-3"},
}


async def test_a_redirect_within_the_api_keeps_credentials_and_one_across_origins_drops_them() -> None:
    seen: list[tuple[str, str | None, str | None, str | None]] = []

    def note(where: str, request: web.Request) -> None:
        seen.append(
            (
                where,
                request.headers.get("X-Api-Key"),
                request.headers.get("Authorization"),
                request.query.get("api_key"),
            )
        )

    async def elsewhere(request: web.Request) -> web.Response:
        note("elsewhere", request)
        return web.json_response({"doi": "moved"})

    async with serving(elsewhere) as other:

        async def handler(request: web.Request) -> web.Response:
            note(request.path, request)
            if request.path == "/old":
                return web.Response(status=301, headers={"Location": "/new?fresh=1"})
            return web.Response(status=302, headers={"Location": str(other / "there")})

        limit = Limit("api")
        async with serving(handler) as base, client(base, limit=limit, **SECRETS) as api:
            assert await api.json("/old", type=Work, params={"rows": "1"}) == Work("moved")
    credentials = ("sesame-1", "Bearer sesame-2", "sesame-3")
    assert seen == [("/old", *credentials), ("/new", *credentials), ("elsewhere", None, None, None)]
    assert limit.snapshot().granted == 3


@pytest.mark.parametrize(
    ("location", "kind", "message"),
    [
        ("/again", PermanentError, "more than 5 times"),
        ("file:///etc/passwd", BadAnswer, "no web address"),
        ("http://[", BadAnswer, "no web address"),
    ],
)
async def test_redirects_that_lead_nowhere(location: str, kind: type[ServiceError], message: str) -> None:
    calls = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.Response(status=302, headers={"Location": location})

    async with serving(handler) as base, client(base) as api:
        with pytest.raises(kind, match=message):
            await api.json("/", type=Work)
    assert calls <= 6


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, PermanentError),
        (403, PermanentError),
        (404, NotFound),
        (429, Overloaded),
        (503, Overloaded),
        (500, TransientError),
    ],
)
async def test_a_host_that_a_redirect_led_to_speaks_for_itself_only(status: int, kind: type[ServiceError]) -> None:
    told = {
        "Retry-After": "30",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "50",
        "X-Rate-Limit-Limit": "1",
        "X-Rate-Limit-Interval": "60s",
    }

    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=status, headers=told if status != 401 else {})

    limit = Limit("api", rate=50)
    async with serving(elsewhere) as other:

        async def handler(request: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": str(other / "there")})

        def judge(response: Response) -> ServiceError | None:
            return CredentialsRefused("not asked about others")

        async with serving(handler) as base, client(base, limit=limit, judge=judge) as api:
            with pytest.raises(kind) as caught:
                await api.json("/", type=Work)
    assert type(caught.value) is kind
    assert caught.value.status == status
    if isinstance(caught.value, Overloaded):
        assert caught.value.retry_after == 30  # this item heeds it, nobody else
    state = limit.snapshot()
    assert state.paused_for == 0
    assert (state.effective.rate, state.effective.per) == (50, 1)


async def test_secrets_are_in_no_error() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if request.path == "/json":
            return web.json_response({"doi": 5})
        status = int(request.path[1:])
        return web.Response(status=status, text=f"you sent {request.query_string} and {request.headers['X-Api-Key']}")

    limit = Limit("api", rate=1000, per=0.01)  # so that the pause after the 429 is short
    async with serving(handler) as base, client(base, limit=limit, timeout=5, **SECRETS) as api:
        for path in ("/drop", "/json", "/400", "/401", "/404", "/429", "/500", "http://[", "http://h.invalid:99999/"):
            with pytest.raises(ServiceError) as caught:
                await api.json(path, type=Work, params={"token": "sesame-4"})
            assert "sesame" not in f"{caught.value!r} {caught.value}", path
            assert caught.value.__cause__ is None, path
            assert caught.value.__suppress_context__ or caught.value.__context__ is None, path


async def test_pages_by_cursor() -> None:
    async def handler(request: web.Request) -> web.Response:
        at = {"*": 0, "b": 2, "c": 4}[request.query["cursor"]]
        assert request.query["rows"] == "2"
        return web.json_response({"items": [at, at + 1], "cursor": {0: "b", 2: "c", 4: None}[at]})

    def following(page: Listing) -> dict[str, str] | None:
        return {"cursor": page.cursor} if page.cursor else None

    async with serving(handler) as base, client(base) as api:
        pages = api.pages("/works", type=Listing, params={"rows": "2", "cursor": "*"}, next=following)
        assert [page.items async for page in pages] == [[0, 1], [2, 3], [4, 5]]


async def test_pages_by_link_header() -> None:
    async def handler(request: web.Request) -> web.Response:
        number = int(request.query.get("page", "1"))
        headers = {"Link": f'</items?page={number + 1}>; rel="next"'} if number < 3 else {}
        return web.json_response({"items": [number]}, headers=headers)

    async with serving(handler) as base, client(base) as api:
        assert [page.items async for page in api.pages("/items", type=Listing)] == [[1], [2], [3]]


async def test_a_cursor_that_stands_still_ends_with_an_error() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"items": [1], "cursor": "same"})

    async with serving(handler) as base, client(base) as api:
        with pytest.raises(BadAnswer, match="read before"):
            async for _ in api.pages("/", type=Listing, next=lambda page: {"cursor": page.cursor or ""}):
                pass


async def test_posting_and_text() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {await request.text()}")

    async with serving(handler) as base, client(base) as api:
        assert await api.text("/echo", method="POST", data=b"hello") == "POST hello"


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"doi": "direct"})

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(handler) as base, client(base) as api:
        assert (await api.json("/", type=Work)).doi == "direct"


async def test_a_call_costs_what_it_says_or_what_its_service_declares_and_is_settled_by_its_answer() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"items": [int(request.query["used"])]})

    def true_cost(response: Response) -> dict[str, float]:
        return {"tokens": msgspec.json.decode(response.body, type=Listing).items[0]}

    limit = Limit("api", windows=[Window(1000, 60, "tokens"), Window(10, 60, "points")])
    async with (
        serving(handler) as base,
        client(base, limit=limit, cost={"points": 1, "tokens": 500}, true_cost=true_cost) as api,
    ):
        await api.text("/", params={"used": "200"})
        await api.text("/", params={"used": "300"}, cost={"points": 5, "tokens": 800})
    assert {window.kind: window.used for window in limit.snapshot().windows} == {"tokens": 500, "points": 6}


async def test_a_declared_cost_that_could_never_be_granted_is_refused_at_the_start() -> None:
    limit = Limit("api", windows=[Window(1000, 60, "tokens")])
    with pytest.raises(CostTooLarge, match=r"raise \[services.api\]"):
        async with client(URL("http://127.0.0.1:9"), limit=limit, cost={"tokens": 8192}):
            pass


@pytest.mark.parametrize("value", ["a\nX: b", "a\r", "a\0b"])
async def test_a_header_that_cannot_be_sent_is_refused_and_is_no_failure_of_the_service(value: str) -> None:
    with pytest.raises(PipelineError, match="'Authorization'") as refused:
        async with client(URL("http://127.0.0.1:9"), headers={"Authorization": value}):
            pass
    assert value not in str(refused.value)
    async with client(URL("http://127.0.0.1:9")) as api:
        with pytest.raises(PermanentError, match="'X-Word'"):
            await api.text("/", headers={"X-Word": value})
        assert api.limit.snapshot().granted == 0


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (lambda: web.Response(status=503), True),
        (lambda: web.Response(status=500), True),
        (lambda: web.Response(status=429), True),
        (lambda: web.Response(text="<html>back soon</html>", content_type="text/html"), True),
        (lambda: web.Response(body=b""), True),
        (lambda: web.Response(status=404), False),
        (lambda: web.Response(status=400), False),
        (lambda: web.json_response({"other": "types"}), False),
        (lambda: web.json_response({"doi": "10.1/a"}), False),
    ],
)
async def test_what_opens_the_breaker(answer: Callable[[], web.Response], opens: bool) -> None:
    async def handler(request: web.Request) -> web.Response:
        return answer()

    limit = Limit("api", rate=1000, per=0.1, random=lambda: 0.5)
    async with serving(handler) as base, client(base, limit=limit) as api:
        for _ in range(5):
            try:
                await api.json("/works/1", type=Work)
            except ServiceError as error:
                last: ServiceError | None = error
            else:
                last = None
    assert limit.snapshot().breaker == ("open" if opens else "closed")
    assert (last is not None and last.outage) is opens


async def test_a_service_that_is_gone_opens_the_breaker() -> None:
    async with sending(b"") as base:
        pass
    limit = Limit("api", random=lambda: 0.5)
    async with client(base, limit=limit) as api:
        for _ in range(5):
            with pytest.raises(Unreachable):
                await api.request("/")
    state = limit.snapshot()
    assert state.breaker == "open"
    assert state.failure is not None
    assert "could not be reached" in state.failure


async def test_a_host_that_a_redirect_leads_to_does_not_move_the_apis_breaker() -> None:
    async with sending(b"") as gone:
        pass

    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPFound(str(gone))

    limit = Limit("api")
    async with serving(handler) as base, client(base, limit=limit) as api:
        for _ in range(8):
            with pytest.raises(Unreachable):
                await api.request("/")
    assert limit.snapshot().breaker == "closed"
