"""Fetching files of others: streamed, capped, checked, and from public addresses only.

Nothing about the source is trusted. It may redirect to anywhere (every hop is checked anew, where it
connects), send without end (caps on decoded bytes and on time), send something else than it promised (the
head is looked at before a byte is kept), or stop halfway (no file is left then). No cookies, credentials or
proxies are ever used: a proxy would resolve the names itself, and no address could be checked.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from streamflow.errors import BadAnswer, ForbiddenAddress, PermanentError, ServiceError, TooLarge, Unreachable
from streamflow.http.addresses import Guard, odd_literal
from streamflow.http.answers import MAX_REDIRECTS, REDIRECTS, Redaction, Response, error_for, origin, redirect_target
from streamflow.http.body import Silent, next_chunk
from streamflow.http.failures import failure
from streamflow.http.sending import telling
from streamflow.http.session import user_agent
from streamflow.limits.grant import Grant
from streamflow.limits.headers import retry_after
from streamflow.limits.limit import Limit
from streamflow.storage.files import in_thread

_HEAD = 1024
_BLOCK = 2**20  # bytes that are hashed and written at once, in a thread
_LONGEST_URL = 8192
_HEADER = 32_768  # bytes; the security policies of some publishers are longer than the usual 8 KB


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A whole file at `path`, of `size` bytes. `content_type` is the server's word, `final_url` the last
    hop's.
    """

    path: Path
    sha256: str
    size: int
    content_type: str
    final_url: str


class Downloader:
    """Fetches files under one limit. An async context manager, which holds its connections.

    `timeout` is the time in seconds for a whole download, waiting for the limit apart; `idle_timeout` the
    longest silence of the server. `max_bytes` caps the decoded size. `allow_private` and `allow`
    (`host:port`) let it connect to addresses that are not public. `base_url` is the limit's own service: what
    its origin refuses, or fails to answer, is the limit's matter; that of any other host is only that host's.
    Without one, the limit is for many hosts.

    Raises `CostTooLarge` when no download could ever be granted.
    """

    def __init__(
        self,
        *,
        limit: Limit,
        max_bytes: int = 200 * 2**20,
        timeout: float = 300.0,
        idle_timeout: float = 30.0,
        allow_private: bool = False,
        allow: Collection[str] = (),
        base_url: str | None = None,
        email: str | None = None,
    ) -> None:
        self.limit = limit
        limit.check()
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._idle_timeout = idle_timeout
        self._allow_private = allow_private
        self._allow = frozenset(allow)
        self._own = origin(URL(base_url)) if base_url else None
        self._headers = {"User-Agent": user_agent(email), "Accept-Encoding": "identity"}
        self._redaction = Redaction()
        self._session: aiohttp.ClientSession | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        guard = Guard(allow_private=self._allow_private, allow=self._allow)
        self._stack.push_async_callback(guard.close)
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, resolver=guard, socket_factory=guard.socket)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=_HEADER,
            max_field_size=_HEADER,
            trace_configs=[telling()],
        )
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        await self._stack.aclose()

    async def fetch(
        self,
        url: str,
        into: Path,
        *,
        max_bytes: int | None = None,
        accept: Callable[[bytes], None] | None = None,
    ) -> Downloaded:
        """Fetch `url` into the file `into`, which is replaced; on any failure there is no file.

        `accept` is called with the first 1024 bytes (fewer only of a smaller file) before anything is
        written, and raises if it does not want them. Raises the errors of `Client.request`, except that a
        refusal (401, 403) is a `PermanentError`; and `ForbiddenAddress` for addresses that are not public
        and schemes other than http and https. Syncing and renaming are left to the caller.
        """
        name = self.limit.name
        target = self._start(url)
        left = self._timeout
        clock = asyncio.get_running_loop().time
        whole = False
        try:
            for _ in range(MAX_REDIRECTS + 1):
                shown = self._redaction.url(target)
                self._check(target, shown)
                async with self.limit() as grant:
                    if self._own is None:
                        grant.one_of_many(target.host or "")
                    elif origin(target) != self._own:
                        grant.elsewhere()
                    began = clock()
                    try:
                        async with asyncio.timeout(left):
                            result = await self._hop(target, shown, into, max_bytes or self._max_bytes, accept, grant)
                    except TimeoutError:
                        raise Unreachable(
                            f"{name} did not send the whole file within {self._timeout:g} s: {shown}", service=name
                        ) from None
                    left -= clock() - began
                if isinstance(result, Downloaded):
                    whole = True
                    return result
                target = result
            raise PermanentError(f"{name} redirected more than {MAX_REDIRECTS} times: {shown}", service=name)
        finally:
            if not whole:
                _discard(into)

    def _start(self, url: str) -> URL:
        try:
            target = URL(url) if len(url) <= _LONGEST_URL else URL()
            target.port  # noqa: B018 - a port that is no number is only found out here
            return target.with_user(None) if target.absolute else target
        except ValueError:
            return URL()

    def _check(self, url: URL, shown: str) -> None:
        """What can be said before connecting; the addresses are the guard's matter."""
        name = self.limit.name
        if url.scheme not in ("http", "https"):
            what = f"the scheme {url.scheme}" if url.scheme else "no web address"
            raise ForbiddenAddress(f"{name} downloads over http and https only, this is {what}: {shown}", service=name)
        if not url.host:
            raise PermanentError(f"{name} cannot download this, it names no host: {shown}", service=name)
        if odd_literal(url.host):
            raise ForbiddenAddress(f"{name} leads to an address in an unusual notation: {shown}", service=name)

    async def _hop(
        self, url: URL, shown: str, into: Path, cap: int, accept: Callable[[bytes], None] | None, grant: Grant
    ) -> Downloaded | URL:
        """One request: the file, or where to go on."""
        if self._session is None:
            raise RuntimeError("a Downloader is to be entered first: async with downloader")
        name = self.limit.name
        try:
            async with asyncio.timeout(self._idle_timeout) as silence:
                answer = await self._session.get(
                    url,
                    headers=self._headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                    trace_request_ctx=grant,
                )
            async with answer:
                if answer.status in REDIRECTS and "location" in answer.headers:
                    target = redirect_target(answer.url, answer.headers["location"])
                    answer.close()
                    if target is None:
                        raise ForbiddenAddress(
                            f"{name} redirected to something other than http and https: {shown}", service=name
                        )
                    return target
                if answer.status != 200:
                    answer.close()
                    raise self._refusal(answer, shown)
                return await self._keep(answer, shown, into, cap, accept)
        except TimeoutError:
            if not silence.expired():
                raise
            raise self._silent(shown) from None
        except Silent:
            raise self._silent(shown) from None
        except (aiohttp.ClientError, ConnectionError, UnicodeError) as error:
            raise failure(error, name, shown) from None

    async def _keep(
        self, answer: aiohttp.ClientResponse, shown: str, into: Path, cap: int, accept: Callable[[bytes], None] | None
    ) -> Downloaded:
        """The body, written to its end. Raises without having opened the file if its head is not accepted."""
        name = self.limit.name
        buffer = bytearray()
        digest = hashlib.sha256()
        size = 0
        begun = False
        accepted = accept is None
        while True:
            too_large = (answer.content_length or 0) > cap
            chunk = b"" if too_large else await next_chunk(answer.content, self._idle_timeout)
            size += len(chunk)
            if too_large or size > cap:
                answer.close()
                raise TooLarge(f"{name} sent more than {cap:,} bytes: {shown}", service=name)
            buffer += chunk
            if not accepted and (len(buffer) >= _HEAD or not chunk):
                assert accept is not None  # noqa: S101 - for the type checker
                accept(bytes(buffer[:_HEAD]))
                accepted = True
            if accepted and (len(buffer) >= _BLOCK or not chunk):
                await in_thread(partial(_write, into, begun, digest, bytes(buffer)))
                begun = True
                buffer.clear()
            if not chunk:
                break
        if size == 0:
            raise BadAnswer(f"{name} sent an empty file: {shown}", service=name, status=answer.status)
        final = answer.url.with_fragment(None)
        return Downloaded(into, digest.hexdigest(), size, answer.content_type, str(final))

    def _silent(self, shown: str) -> Unreachable:
        name = self.limit.name
        return Unreachable(f"{name} was silent for {self._idle_timeout:g} s: {shown}", service=name)

    def _refusal(self, answer: aiohttp.ClientResponse, shown: str) -> ServiceError:
        name, status = self.limit.name, answer.status
        response = Response(status, answer.headers, b"", answer.url)
        asked = retry_after(answer.headers, time.time())
        if self._own is not None and origin(answer.url) == self._own:
            self.limit.refused(answer.headers, too_fast=status == 429)
        if status in (401, 402, 403):
            message = f"{name} does not give this file away ({status}): {shown}"
            return PermanentError(message, service=name, status=status)
        error = error_for(response, name, shown, self._redaction, asked)
        message = f"{name} answered {status} without a file: {shown}"
        return error or BadAnswer(message, service=name, status=status)


def expect_pdf(head: bytes) -> None:
    """For `accept`: `%PDF-` within the first 1024 bytes (PDF Reference 1.7, appendix H, note 13). Raises
    `PermanentError`.
    """
    if b"%PDF-" in head:
        return
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise BadAnswer("the file is empty")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<!--")) or b"<html" in start:
        raise PermanentError("an HTML page where a PDF was promised (a landing page, or one to log in?)")
    raise PermanentError("not a PDF: %PDF- is not within its first 1024 bytes")


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _write(path: Path, begun: bool, digest: hashlib._Hash, block: bytes, stop: threading.Event) -> None:
    """Write a block to the end of the file, or make it with one. The file is open in here only, so a download that
    is cancelled leaves no descriptor, and closes none that a thread still writes to.
    """
    if stop.is_set():
        raise InterruptedError
    digest.update(block)
    with path.open("r+b" if begun else "wb", 0) as sink:
        if begun:
            sink.seek(0, os.SEEK_END)
        view = memoryview(block)
        while view:  # an unbuffered file may take less than it was given
            view = view[sink.write(view) :]
    if stop.is_set():  # nobody may be waiting any more who would remove it
        _discard(path)
