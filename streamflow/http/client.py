"""The client of one external API: every call under its limit, every answer typed, every failure one of our
errors.

A call waits for its grant, tells it when it is sent, and gives it back as soon as the body is read: decoding happens
outside, because a service that allows three calls in flight would otherwise wait for our processor. Nothing
is retried here; the engine does that by item. A redirect is a call of its own.

Credentials (headers and parameters given to the client) are sent to the API's own origin only, and appear
neither in messages nor in logs.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import metadata
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from streamflow.errors import BadAnswer, Overloaded, PermanentError, ServiceError, TooLarge, Unreachable
from streamflow.http.answers import (
    MAX_REDIRECTS,
    REDIRECTS,
    Redaction,
    Response,
    climbs,
    error_for,
    origin,
    redirect_target,
)
from streamflow.http.body import Silent, next_chunk
from streamflow.http.failures import failure
from streamflow.http.sending import telling
from streamflow.http.service import Service
from streamflow.limits.headers import retry_after
from streamflow.limits.limit import Grant, Limit

T = TypeVar("T")

_ERROR_BYTES = 65_536  # of the body of an error: enough for its message
_MOST_PAGES = 100_000


@functools.cache
def user_agent(email: str | None = None) -> str:
    """How we introduce ourselves, with the address at which the user can be reached, if one is set."""
    try:
        version = metadata.version("streamflow-engine")
    except metadata.PackageNotFoundError:
        version = "0"
    return f"streamflow/{version} (mailto:{email})" if email else f"streamflow/{version}"


def open_session(*, trust_env: bool = False) -> aiohttp.ClientSession:
    """The session that the clients of a run share: no cookies, and no cap on connections, as limits do that. It
    tells grants when their requests are sent.

    Proxies and `.netrc` of the environment are used with `trust_env` only.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=trust_env,
        trace_configs=[telling()],
    )


class Client:
    """Calls one API. `headers` and `params` go with every call to the API's origin and count as secrets.

    Raises `CostTooLarge` when a call that costs what the service declares could never be granted.
    """

    def __init__(
        self,
        service: Service,
        *,
        session: aiohttp.ClientSession,
        limit: Limit,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        email: str | None = None,
    ) -> None:
        self.service = service
        self.limit = limit
        limit.check(**service.cost)
        self._session = session
        self._base = URL((base_url or service.base_url).rstrip("/"))
        self._origin = origin(self._base)
        self._own_headers = dict(headers or {})
        self._own_params = dict(params or {})
        self._agent = user_agent(email)
        self._redaction = Redaction(
            [*self._own_headers.values(), *self._own_params.values(), self._base.password or ""]
        )
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=service.timeout)

    async def json(
        self,
        path: str,
        *,
        type: type[T],
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Mapping[str, float] | None = None,
        method: str = "GET",
        data: Any = None,
    ) -> T:
        """Call, and decode the JSON answer into `type`; unknown fields are ignored.

        `path` is below the base URL, or a whole URL. Raises the errors of `request`, and `BadAnswer` for an
        answer that is no JSON or does not fit.
        """
        accepting = {"Accept": "application/json", **(headers or {})}
        response = await self._request(method, path, params, accepting, cost, data, self._check_json)
        return self._decode(response, type)

    async def text(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Mapping[str, float] | None = None,
        method: str = "GET",
        data: Any = None,
    ) -> str:
        """Call, and return the body as text."""
        response = await self.request(path, params=params, headers=headers, cost=cost, method=method, data=data)
        return response.text()

    async def pages(
        self,
        path: str,
        *,
        type: type[T],
        next: Callable[[T], Mapping[str, str] | str | None] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Mapping[str, float] | None = None,
    ) -> AsyncIterator[T]:
        """All pages of a listing, each decoded into `type`.

        `next` names what the page after one needs: parameters to change, or a URL, or `None` at the end.
        Without it the `Link` header's `rel="next"` is followed. Raises `BadAnswer` when the same page is
        named again.
        """
        accepting = {"Accept": "application/json", **(headers or {})}
        here, query = path, dict(params or {})
        seen: set[int] = set()
        while len(seen) < _MOST_PAGES:
            seen.add(hash((here, frozenset(query.items()))))
            response = await self._request("GET", here, query, accepting, cost, None, self._check_json)
            page = self._decode(response, type)
            yield page
            further = next(page) if next is not None else response.next_link
            if further is None:
                return
            if isinstance(further, str):
                here, query = str(response.url.join(URL(further))), {}
            else:
                query |= further
            if hash((here, frozenset(query.items()))) in seen:
                break
        raise BadAnswer(
            f"{self.service.name} names a page after {len(seen)} that was read before: {self._shown(response.url)}",
            service=self.service.name,
        )

    async def request(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cost: Mapping[str, float] | None = None,
        method: str = "GET",
        data: Any = None,
    ) -> Response:
        """Call, following at most 5 redirects, and return the successful response.

        `data` is what aiohttp takes as a body. `cost` is by kind, such as `{"tokens": 1200}`. Raises, by the answer:

        - `NotFound`, `PermanentError`, `TooLarge`: the same call will fail again;
        - `Overloaded` (which also pauses the limit as long as the service asks), `TransientError`,
          `Unreachable`, `BadAnswer`: trying again may help;
        - `CredentialsRefused`, of the API's own origin only: elsewhere our credentials are not sent;
        - `Unavailable`, when the API was away for longer than `outage`.
        """
        return await self._request(method, path, params, headers, cost, data)

    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        cost: Mapping[str, float] | None,
        data: Any,
        check: Callable[[Response], None] | None = None,
    ) -> Response:
        if climbs(path):
            raise PermanentError(
                f"The path {path[:200]!r} has a segment `.` or `..`, which would lead to another place of "
                f"{self.service.name}; leave out what goes there, or do not make a path of it",
                service=self.service.name,
            )
        try:
            url = self._url(path)
        except ValueError:
            raise PermanentError(f"No URL can be made of {path[:200]!r}", service=self.service.name) from None
        query = dict(params or {})
        price = {**self.service.cost, **(cost or {})}
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._call(method, url, query, headers or {}, price, data, check)
            if response.status not in REDIRECTS or "location" not in response.headers:
                return response
            url, query = self._redirected(response, method), {}
        raise PermanentError(
            f"{self.service.name} redirected more than {MAX_REDIRECTS} times, last to {self._shown(url)}",
            service=self.service.name,
        )

    # One call

    async def _call(
        self,
        method: str,
        url: URL,
        query: dict[str, str],
        headers: Mapping[str, str],
        cost: Mapping[str, float],
        data: Any,
        check: Callable[[Response], None] | None,
    ) -> Response:
        """One request and its answer, under the limit. Redirects are returned, other failures raised.

        `check` raises while the limit can still see that an answer is none.
        """
        service = self.service
        sent = {"User-Agent": self._agent, **headers}
        if origin(url) == self._origin:
            sent = {"User-Agent": self._agent, **self._own_headers, **headers}
            # A redirect may bring our parameters along; they are not to be there twice.
            query = {**{k: v for k, v in self._own_params.items() if k not in url.query}, **query}
        else:
            sent = {name: value for name, value in sent.items() if name.lower() in ("accept", "user-agent")}
        try:
            target = url.update_query(query) if query else url
        except (ValueError, TypeError):
            raise PermanentError(f"No URL can be made of the parameters for {url.path}", service=service.name) from None
        async with self.limit(**cost) as grant:
            if origin(url) != self._origin:
                grant.elsewhere()
            try:
                async with asyncio.timeout(service.timeout):
                    response = await self._exchange(method, target, sent, data, grant)
            except TimeoutError:
                raise self._unreachable(target, f"did not answer within {service.timeout:g} s") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise failure(error, service.name, self._shown(target)) from None
            self._raise_for_status(response)
            if check is not None and response.status not in REDIRECTS:
                check(response)
            if service.true_cost is not None and response.status not in REDIRECTS:
                grant.cost(**service.true_cost(response))
        return response

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str], data: Any, grant: Grant) -> Response:
        async with self._session.request(
            method,
            url,
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=self._timeout,
            trace_request_ctx=grant,
        ) as answer:
            body = await self._body(answer)
            return Response(answer.status, answer.headers, body, url)

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        """The decoded body. That of an error may be cut short: its status has said what matters."""
        failed = not answer.ok
        cap = _ERROR_BYTES if failed else self.service.max_bytes
        chunks: list[bytes] = []
        size = 0
        try:
            while (answer.content_length or 0) <= cap:
                chunk = await next_chunk(answer.content, self.service.idle_timeout)
                if not chunk:
                    return b"".join(chunks)
                size += len(chunk)
                if size > cap:
                    break
                chunks.append(chunk)
        except (aiohttp.ClientError, Silent) as error:
            if not failed:
                if isinstance(error, Silent):
                    what = f"fell silent for {self.service.idle_timeout:g} s within a body"
                    raise self._unreachable(answer.url, what) from None
                raise
        answer.close()  # the rest of the body is not wanted, so the connection cannot be used again
        if failed:
            return b"".join(chunks)
        shown = self._shown(answer.url)
        raise TooLarge(f"{self.service.name} sent more than {cap:,} bytes for {shown}", service=self.service.name)

    def _raise_for_status(self, response: Response) -> None:
        """Raise what an answer means. A host that a redirect led to speaks for itself only: neither our limit nor
        our credentials are its business.
        """
        own = origin(response.url) == self._origin
        if own:
            self.limit.learn(response.headers)
        status = response.status
        if 200 <= status < 300 or (status in REDIRECTS and "location" in response.headers):
            return
        if not own:
            raise self._foreign_error(response)
        asked = None
        if status in (403, 429) or status >= 500:
            asked = self.limit.refused(response.headers, too_fast=status == 429)
        judged = self.service.judge(response) if self.service.judge else None
        if isinstance(judged, Overloaded) and asked is None:
            self.limit.refused(response.headers, too_fast=True)
        shown = self._shown(response.url)
        error = judged or error_for(response, self.service.name, shown, self._redaction, asked)
        if error is not None:
            raise error

    def _foreign_error(self, response: Response) -> ServiceError:
        """What the failure of a host other than the API's means to the item."""
        name, status, shown = self.service.name, response.status, self._shown(response.url)
        if status in (401, 403):
            message = f"{name} led to another host, which answered {status}: {shown}"
            return PermanentError(message, service=name, status=status)
        error = error_for(response, name, shown, self._redaction, retry_after(response.headers, time.time()))
        return error or BadAnswer(f"{name} answered {status} to {shown}", service=name, status=status)

    # Helpers

    def _url(self, path: str) -> URL:
        if path.startswith(("http://", "https://")):
            return URL(path)
        return URL(f"{self._base}/{path.lstrip('/')}" if path else str(self._base))

    def _redirected(self, response: Response, method: str) -> URL:
        shown = self._shown(response.url)
        if method not in ("GET", "HEAD"):
            raise PermanentError(
                f"{self.service.name} redirected a {method} of {shown}; check [services.{self.service.name}] base_url.",
                service=self.service.name,
                status=response.status,
            )
        target = redirect_target(response.url, response.headers["location"])
        if target is None:
            raise BadAnswer(
                f"{self.service.name} redirected {shown} to something that is no web address",
                service=self.service.name,
                status=response.status,
            )
        return target

    def _check_json(self, response: Response) -> None:
        """Raise `BadAnswer` for what cannot be JSON, such as a page that says to come back later."""
        start = response.body[:64].lstrip()
        if not start or start.startswith(b"<"):
            raise self._no_json(response, "it is a page of markup" if start else "it is empty")

    def _decode(self, response: Response, type: type[T]) -> T:
        decoder = self._decoders.get(type)
        if decoder is None:
            decoder = self._decoders[type] = msgspec.json.Decoder(type)
        try:
            decoded: T = decoder.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            what = self._redaction.text(str(error)) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8"
            raise self._no_json(response, what) from None
        return decoded

    def _no_json(self, response: Response, what: str) -> BadAnswer:
        kind = response.content_type or "no content type"
        return BadAnswer(
            f"{self.service.name} answered {self._shown(response.url)} with {kind},"
            f" {len(response.body)} bytes, which is not the JSON that was expected: {what}",
            service=self.service.name,
            status=response.status,
        )

    def _shown(self, url: URL) -> str:
        return self._redaction.url(url)

    def _unreachable(self, url: URL, what: str) -> Unreachable:
        return Unreachable(f"{self.service.name} {what}: {self._shown(url)}", service=self.service.name)
