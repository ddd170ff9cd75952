"""The downloader, against real servers on loopback."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from yarl import URL

from streamflow.errors import (
    BadAnswer,
    CostTooLarge,
    ForbiddenAddress,
    NotFound,
    Overloaded,
    PermanentError,
    ServiceError,
    TooLarge,
    TransientError,
    Unreachable,
)
from streamflow.http import addresses
from streamflow.http.download import Downloader, expect_pdf
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window
from tests.http.serving import Handler, sending, serving
from tests.http.test_addresses import Told

pytestmark = pytest.mark.asyncio

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 12_000  # over two blocks of writing


@asynccontextmanager
async def downloader(*allowed: URL, **options: Any) -> AsyncIterator[Downloader]:
    origins = [f"{url.host}:{url.port}" for url in allowed]
    async with Downloader(limit=options.pop("limit", Limit("publisher")), allow=origins, **options) as ready:
        yield ready


def answering(body: bytes, **options: Any) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body, **options)

    return handler


async def test_a_limit_that_could_never_grant_a_download_is_refused_at_the_start() -> None:
    with pytest.raises(CostTooLarge, match=r"raise \[services.publisher\]"):
        async with downloader(limit=Limit("publisher", windows=[Window(0.5, 10)])):
            pass


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_file_is_fetched_whole(tmp_path: Path, encoding: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["User-Agent"].startswith("streamflow/")
        if encoding == "gzip":
            return web.Response(body=gzip.compress(PDF), headers={"Content-Encoding": "gzip"})
        return web.Response(body=PDF, content_type="application/pdf")

    heads: list[bytes] = []
    into = tmp_path / "part"
    async with serving(handler) as base, downloader(base) as files:
        got = await files.fetch(f"{base}a.pdf#page=3", into, accept=heads.append)
    assert into.read_bytes() == PDF
    assert heads == [PDF[:1024]]
    assert (got.path, got.sha256, got.size) == (into, hashlib.sha256(PDF).hexdigest(), len(PDF))
    assert got.content_type == ("application/pdf" if encoding == "identity" else "application/octet-stream")
    assert got.final_url == str(base / "a.pdf")


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        (b"%PDF-1.4", None, ""),
        (b"\r\n junk " * 20 + b"%PDF-1.4", None, ""),
        (b"<!DOCTYPE html><html>", PermanentError, "HTML page"),
        (b"\xef\xbb\xbf\n <HTML lang=en>", PermanentError, "HTML page"),
        (b"PK\x03\x04", PermanentError, "not a PDF"),
        (b"", BadAnswer, "empty"),
    ],
)
async def test_heads_of_pdfs(head: bytes, error: type[ServiceError] | None, message: str) -> None:
    if error is None:
        expect_pdf(head)
    else:
        with pytest.raises(error, match=message):
            expect_pdf(head)


@pytest.mark.parametrize("size", [0, 30, 2_000_000])
async def test_a_file_whose_head_is_not_accepted_is_not_kept(tmp_path: Path, size: int) -> None:
    page = b"<!doctype html><html>Sign in</html>" + b" " * size
    into = tmp_path / "part"
    async with serving(answering(page, content_type="application/pdf")) as base, downloader(base) as files:
        with pytest.raises(PermanentError, match="HTML page"):
            await files.fetch(str(base / "a.pdf"), into, accept=expect_pdf)
    assert not into.exists()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(b"%PDF-" + b" " * 65_531)
    except ConnectionError:
        pass
    return response


@pytest.mark.parametrize(
    ("handler", "options", "error"),
    [
        (answering(b" " * 3_000_000), {}, TooLarge),
        (answering(gzip.compress(b" " * 100_000_000, 1), headers={"Content-Encoding": "gzip"}), {}, TooLarge),
        (endless, {}, TooLarge),
        (endless, {"max_bytes": 10**12, "timeout": 0.3}, Unreachable),
        (answering(b""), {}, BadAnswer),
        (answering(b"", status=204), {}, BadAnswer),
        (answering(b"no", status=404), {}, NotFound),
        (answering(b"no", status=401), {}, PermanentError),
        (answering(b"no", status=403), {}, PermanentError),
        (answering(b"no", status=429, headers={"Retry-After": "30"}), {}, Overloaded),
        (answering(b"no", status=500), {}, TransientError),
        (answering(b"part", status=206), {}, BadAnswer),
        (answering(b"", status=302, headers={"Location": "/again"}), {}, PermanentError),
        (answering(b"", status=302, headers={"Location": "file:///etc/passwd"}), {}, ForbiddenAddress),
        (answering(b"", status=302, headers={"Location": "http://["}), {}, ForbiddenAddress),
        (answering(b"", status=302), {}, BadAnswer),
    ],
)
async def test_no_file_is_left_after_a_failure(
    tmp_path: Path, handler: Handler, options: dict[str, Any], error: type[ServiceError]
) -> None:
    into = tmp_path / "part"
    limit = Limit("publisher", concurrency=1)
    async with (
        serving(handler) as base,
        downloader(base, **{"max_bytes": 2_500_000, "limit": limit, **options}) as files,
    ):
        with pytest.raises(error) as caught:
            await files.fetch(str(base), into)
    assert type(caught.value) is error
    assert not os.listdir(tmp_path)
    state = limit.snapshot()
    assert (state.in_use, state.paused_for) == (0, 0)


@pytest.mark.parametrize(
    ("raw", "hang", "error"),
    [
        (b"", True, Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1_500_000, True, Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1_500_000, False, BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip at all", False, BadAnswer),
        (b"", False, Unreachable),
        (b"* OK IMAP4rev1 ready\r\n", False, BadAnswer),
    ],
)
async def test_no_file_is_left_when_the_server_fails_halfway(
    tmp_path: Path, raw: bytes, hang: bool, error: type[ServiceError]
) -> None:
    async with sending(raw, then_hang=hang) as base, downloader(base, idle_timeout=0.2) as files:
        with pytest.raises(error) as caught:
            await files.fetch(str(base), tmp_path / "part")
    assert type(caught.value) is error
    assert not os.listdir(tmp_path)


async def test_no_file_is_left_after_a_cancellation(tmp_path: Path) -> None:
    into = tmp_path / "part"
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 2_000_000
    written = asyncio.Event()
    limit = Limit("publisher", concurrency=1)
    async with sending(raw, then_hang=True) as base, downloader(base, limit=limit) as files:
        task = asyncio.create_task(files.fetch(str(base), into, accept=lambda head: written.set()))
        await written.wait()
        for _ in range(20):
            await asyncio.to_thread(lambda: None)  # gives the first block time to be written, in the same way
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not os.listdir(tmp_path)
    assert limit.snapshot().in_use == 0


class Gated(type(Path())):  # type: ignore[misc]
    """A path on a disk that is slow to open: the thread waits at the gate, then `discards` counts its removals."""

    def gate(self) -> Self:
        self.reached, self.opened, self.discards = threading.Event(), threading.Event(), 0
        return self

    def open(self, *args: Any, **options: Any) -> Any:
        self.reached.set()
        assert self.opened.wait(30)
        return super().open(*args, **options)

    def unlink(self, missing_ok: bool = False) -> None:
        self.discards += 1
        super().unlink(missing_ok)


@pytest.mark.parametrize("cancellations", [1, 2])
async def test_a_cancelled_download_leaves_nothing_of_the_thread_that_writes(
    tmp_path: Path, cancellations: int
) -> None:
    into = Gated(tmp_path / "part").gate()
    async with serving(answering(PDF)) as base, downloader(base) as files:
        task = asyncio.create_task(files.fetch(str(base), into))
        await asyncio.to_thread(into.reached.wait, 30)
        for _ in range(cancellations):
            task.cancel()
            for _ in range(20):
                await asyncio.sleep(0)
            assert not task.done(), "it waits for the thread, however often it is cancelled"
        into.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [one for one in asyncio.all_tasks() if "run_sync" in repr(one.get_coro())]
    assert not os.listdir(tmp_path)
    assert into.discards == 2  # by the thread and by the caller, whoever is last
    gc.collect()  # a descriptor that was left would be told as a ResourceWarning


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
async def test_a_full_disk_is_not_blamed_on_the_server(tmp_path: Path) -> None:
    into = tmp_path / "part"
    os.symlink("/dev/full", into)
    async with serving(answering(PDF)) as base, downloader(base) as files:
        with pytest.raises(OSError, match="No space left"):
            await files.fetch(str(base), into)
    assert not os.listdir(tmp_path)


async def test_redirects_are_followed_and_nothing_is_carried_along(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    async def last(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(body=PDF)

    async with serving(last) as other:

        async def first(request: web.Request) -> web.Response:
            seen.append(dict(request.headers))
            hop = int(request.query.get("hop", "0"))
            there = f"/?hop={hop + 1}" if hop < 4 else f"http://user:word@127.0.0.1:{other.port}/file"
            return web.Response(status=302, headers={"Location": there, "Set-Cookie": "session=1"})

        limit = Limit("publisher")
        async with serving(first) as base, downloader(base, other, limit=limit) as files:
            got = await files.fetch(str(base.with_user("me").with_password("secret")), tmp_path / "part")
    assert got.final_url == str(other / "file")
    assert len(seen) == 6
    assert limit.snapshot().granted == 6
    for headers in seen:
        assert not {"Authorization", "Cookie", "Referer"} & set(headers)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "0.0.0.0",  # noqa: S104
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "１２７.0.0.1",
    ],
)
@pytest.mark.parametrize("hop", [0, 1])
async def test_special_addresses_are_refused_at_every_hop(tmp_path: Path, host: str, hop: int) -> None:
    reached = False

    async def secret(request: web.Request) -> web.Response:
        nonlocal reached
        reached = True
        return web.Response(body=PDF)

    async with serving(secret) as inner:
        url = f"http://{host}:{inner.port}/"
        async with (
            serving(answering(b"", status=302, headers={"Location": url})) as outer,
            downloader(outer) as files,
        ):
            with pytest.raises(ForbiddenAddress):
                await files.fetch(url if hop == 0 else str(outer), tmp_path / "part")
    assert not reached
    assert not os.listdir(tmp_path)


async def test_a_name_that_changes_its_mind_is_caught_when_it_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: whatever a name resolved to before, only the address of the connection counts."""
    monkeypatch.setattr(addresses, "DefaultResolver", Told)
    async with serving(answering(PDF)) as inner, downloader() as files:
        for answers in (["127.0.0.1"], ["127.0.0.1", "::1", "10.0.0.1"], ["::ffff:127.0.0.1"]):
            Told.answers = answers
            with pytest.raises(ForbiddenAddress, match="not public"):
                await files.fetch(f"http://paper{len(answers)}.example.org:{inner.port}/", tmp_path / "part")


async def test_special_addresses_are_allowed_by_a_setting(tmp_path: Path) -> None:
    async with serving(answering(PDF)) as base, downloader(allow_private=True) as files:
        got = await files.fetch(f"http://localhost:{base.port}/", tmp_path / "part")
    assert got.size == len(PDF)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/a", "data:,x", "a.pdf", "", "http://[", "//h/p"]
)
async def test_other_schemes_are_refused(tmp_path: Path, url: str) -> None:
    async with downloader() as files:
        with pytest.raises(ForbiddenAddress, match="http and https only"):
            await files.fetch(url, tmp_path / "part")


@pytest.mark.parametrize("url", ["http:///p", "http://a..b/", "http://" + "a" * 64 + ".invalid/", "http://h:99999/"])
async def test_malformed_urls_end_as_errors_of_ours(tmp_path: Path, url: str) -> None:
    async with downloader() as files:
        with pytest.raises(ServiceError):
            await files.fetch(url, tmp_path / "part")


@pytest.mark.parametrize("own", [True, False])
async def test_a_refusal_pauses_the_limit_only_if_it_is_the_services_own(tmp_path: Path, own: bool) -> None:
    limit = Limit("arxiv")
    handler = answering(b"", status=503, headers={"Retry-After": "30"})
    async with (
        serving(handler) as base,
        downloader(base, limit=limit, base_url=str(base if own else "http://arxiv.example.org")) as files,
    ):
        with pytest.raises(Overloaded) as caught:
            await files.fetch(str(base), tmp_path / "part")
    assert caught.value.retry_after == 30
    assert (limit.snapshot().paused_for > 0) is own


async def test_no_proxy_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(answering(PDF)) as base, downloader(base) as files:
        assert (await files.fetch(str(base), tmp_path / "part")).size == len(PDF)


async def refused_port() -> URL:
    """An address at which nobody listens."""
    async with serving(answering(b"")) as base:
        return base


@pytest.mark.parametrize("own", [True, False])
async def test_a_dead_host_opens_the_breaker_only_where_it_is_the_services_own(tmp_path: Path, own: bool) -> None:
    limit, dead = Limit("arxiv", random=lambda: 0.5), await refused_port()
    errors: list[ServiceError] = []
    async with (
        serving(answering(PDF)) as base,
        downloader(base, dead, limit=limit, base_url=str(dead) if own else None) as files,
    ):
        for _ in range(5):
            with pytest.raises(Unreachable) as caught:
                await files.fetch(str(dead), tmp_path / "part")
            errors.append(caught.value)
        assert limit.snapshot().breaker == ("open" if own else "closed")
        assert errors[-1].outage is own
        if not own:
            await files.fetch(str(base), tmp_path / "part")
    assert all(not error.outage for error in errors[:-1])


async def test_other_hosts_than_the_services_own_neither_open_nor_close_its_breaker(tmp_path: Path) -> None:
    limit, dead = Limit("arxiv", random=lambda: 0.5), await refused_port()
    async with (
        serving(answering(PDF)) as base,
        downloader(base, dead, limit=limit, base_url=str(base)) as files,
    ):
        for _ in range(8):
            with pytest.raises(Unreachable):
                await files.fetch(str(dead), tmp_path / "part")
        assert limit.snapshot().breaker == "closed"
