"""The client of one external API: every call under its limit, every answer typed, every failure one of our
errors.

A call waits for its grant, tells it when it is sent, and gives it back as soon as the body is read: decoding happens
outside, because a service that allows three calls in flight would otherwise wait for our processor. Nothing
is retried here; the engine does that by item. A redirect is a call of its own.

Of a service that sends validators, answers are kept and asked about (`conditional`). A call with effects carries a key
where the service takes one, so that it knows the call when the engine makes it again (`idempotency`).

Credentials (headers and parameters given to the client) are sent to the API's own origin only, and appear
neither in messages nor in logs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from streamflow.errors import BadAnswer, Overloaded, PermanentError, PipelineError, ServiceError, TransientError
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
from streamflow.http.cache import Cache
from streamflow.http.conditional import conditions, headers_to_keep, request_key, secret_values, unchanged
from streamflow.http.decoding import Decoding
from streamflow.http.exchange import Call, Exchange, unsendable
from streamflow.http.idempotency import METHODS, idempotency_key
from streamflow.http.service import Service
from streamflow.http.session import user_agent
from streamflow.limits.headers import retry_after
from streamflow.limits.limit import Limit
from streamflow.storage.cache import CachedAnswer

T = TypeVar("T")

_MOST_PAGES = 100_000


class Client:
    """Calls one API. `headers` and `params` go with every call to the API's origin and count as secrets.

    Raises `CostTooLarge` when a call that costs what the service declares could never be granted, and `PipelineError`
    for a header that cannot be sent.
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
        cache: Cache | None = None,
        identity: Callable[[], str] = lambda: "",
    ) -> None:
        self.service = service
        self.limit = limit
        limit.check(**service.cost)
        self._base = URL((base_url or service.base_url).rstrip("/"))
        self._origin = origin(self._base)
        self._own_headers = dict(headers or {})
        if wrong := unsendable(self._own_headers):
            raise PipelineError(
                f"The header {wrong!r} of the client of {service.name} holds a line break or other control sign. "
                f"Where it comes from [services.{service.name}], mend it there"
            )
        self._own_params = dict(params or {})
        self._agent = user_agent(email)
        self._secrets = [*self._own_headers.values(), *self._own_params.values(), self._base.password or ""]
        self._redaction = Redaction(self._secrets)
        self._decoding = Decoding(service.name, self._redaction)
        self._cache = cache if service.conditional else None
        self._identity = identity
        self._exchange = Exchange(service, session, self._redaction)

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
        decode = functools.partial(self._decoding.decode, type=type)
        return await self._request(method, path, params, accepting, cost, data, decode, self._decoding.check)

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
        return await self._request(method, path, params, headers, cost, data, Response.text)

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

        def read(response: Response) -> tuple[Response, T]:
            return response, self._decoding.decode(response, type)

        accepting = {"Accept": "application/json", **(headers or {})}
        here, query = path, dict(params or {})
        seen: set[int] = set()
        while len(seen) < _MOST_PAGES:
            seen.add(hash((here, frozenset(query.items()))))
            response, page = await self._request("GET", here, query, accepting, cost, None, read, self._decoding.check)
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
        return await self._request(method, path, params, headers, cost, data, lambda response: response)

    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        cost: Mapping[str, float] | None,
        data: Any,
        read: Callable[[Response], T],
        check: Callable[[Response], None] | None = None,
    ) -> T:
        """What `read` makes of the response, outside of the limit. `check` raises within it, for what is no answer."""
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
        given = {**self._key_of(method, path, query, headers or {}, data), **(headers or {})}
        price = {**self.service.cost, **(cost or {})}
        if wrong := unsendable(given):
            raise PermanentError(
                f"The header {wrong!r} of a call of {self.service.name} holds a line break or other control sign",
                service=self.service.name,
            )
        for _ in range(MAX_REDIRECTS + 1):
            target, sent = self._outgoing(url, query, given)
            call = Call(method, target, sent, data, price, check)
            key = self._cache_key(call)
            known = await self._cache.find(key) if self._cache is not None and key is not None else None
            response = await self._call(call, known)
            if response.status in REDIRECTS and "location" in response.headers:
                url, query = self._redirected(response, method), {}
                continue
            try:
                value = read(response)
            except BadAnswer:
                if not response.unchanged:
                    raise
                response = await self._call(call, None)  # what was kept is of no use, so it is asked for
                value = read(response)
            if key is not None:
                self._keep(key, call, known, response)
            return value
        raise PermanentError(
            f"{self.service.name} redirected more than {MAX_REDIRECTS} times, last to {self._shown(url)}",
            service=self.service.name,
        )

    # One call

    def _outgoing(self, url: URL, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[URL, dict[str, str]]:
        """Where a call goes, and with which headers: ours are the API's own origin's only."""
        sent = {"User-Agent": self._agent, **headers}
        if origin(url) == self._origin:
            sent = {"User-Agent": self._agent, **self._own_headers, **headers}
            # A redirect may bring our parameters along; they are not to be there twice.
            query = {**{k: v for k, v in self._own_params.items() if k not in url.query}, **query}
        else:
            sent = {name: value for name, value in sent.items() if name.lower() in ("accept", "user-agent")}
        try:
            return url.update_query(query) if query else url, sent
        except (ValueError, TypeError):
            name = self.service.name
            raise PermanentError(f"No URL can be made of the parameters for {url.path}", service=name) from None

    async def _call(self, call: Call, known: CachedAnswer | None) -> Response:
        """One request and its answer, under the limit; where an answer is `known`, asking whether it has changed.
        Redirects are returned, other failures raised.
        """
        service, asked = self.service, conditions(known.headers) if known is not None else {}
        async with self.limit(**call.cost) as grant:
            if origin(call.url) != self._origin:
                grant.elsewhere()
            response = await self._exchange(call, asked, grant)
            is_unchanged = bool(asked) and response.status == 304
            self._raise_for_status(response, call, is_unchanged)
            if is_unchanged:
                grant.unchanged()
            elif call.check is not None and response.status not in REDIRECTS:
                call.check(response)
            if service.true_cost is not None and response.status not in REDIRECTS:
                grant.cost(**service.true_cost(response))
        if known is None or not is_unchanged:
            return response
        # What is not about the answer that we know has told nothing.
        return unchanged(response, known) or await self._call(call, None)

    def _raise_for_status(self, response: Response, call: Call, is_unchanged: bool) -> None:
        """Raise what an answer means. A host that a redirect led to speaks for itself only: neither our limit nor
        our credentials are its business.
        """
        own = origin(response.url) == self._origin
        if own:
            self.limit.learn(response.headers)
        status = response.status
        if is_unchanged or 200 <= status < 300 or (status in REDIRECTS and "location" in response.headers):
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
        if judged is None and status == 409 and self.service.idempotency in call.headers:
            told = f"{self.service.name} is still at the first of these calls (409): {shown}"
            raise TransientError(told, service=self.service.name, status=status)
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

    def _key_of(
        self, method: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], data: Any
    ) -> dict[str, str]:
        """The header by which the service knows this call when it is made again, where it takes one."""
        name = self.service.idempotency
        if name is None or method not in METHODS or name.lower() in map(str.lower, headers):
            return {}
        return {name: idempotency_key(self._identity(), self.service.name, method, path, params, data)}

    def _cache_key(self, call: Call) -> bytes | None:
        """Under which key the answer is kept, `None` where it is not."""
        is_plain = call.method == "GET" and call.data is None and origin(call.url) == self._origin
        if self._cache is None or not is_plain or any(name.lower().startswith("if-") for name in call.headers):
            return None
        return request_key(call.method, call.url, call.headers)

    def _keep(self, key: bytes, call: Call, known: CachedAnswer | None, response: Response) -> None:
        if self._cache is None:
            return
        if response.unchanged:
            if known is not None:
                self._cache.used(key, known)
        elif (headers := headers_to_keep(response, secret_values(call.headers, call.url, self._secrets))) is not None:
            self._cache.keep(key, self.service.name, headers, response.body)

    def _shown(self, url: URL) -> str:
        return self._redaction.url(url)
