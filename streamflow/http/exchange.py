"""One request and its whole answer, within the API's timeouts; what goes wrong on the way as our errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from streamflow.errors import ServiceError, TooLarge, Unreachable
from streamflow.http.answers import Redaction, Response
from streamflow.http.body import Silent, next_chunk
from streamflow.http.failures import failure
from streamflow.http.service import Service
from streamflow.limits.grant import Grant

_ERROR_BYTES = 65_536  # of the body of an error: enough for its message


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header can hold (RFC 9110 §5.5)."""


def unsendable(headers: Mapping[str, str]) -> str | None:
    """The name of a header that cannot be sent, for a line break or another control character in it."""
    return next((name for name, value in headers.items() if _CONTROL.search(name) or _CONTROL.search(value)), None)


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it is to be sent, and its cost by kind. `check` raises for an answer that is none."""

    method: str
    url: URL
    headers: Mapping[str, str]
    data: Any
    cost: Mapping[str, float]
    check: Callable[[Response], None] | None


class Exchange:
    """Sends the requests of one API."""

    def __init__(self, service: Service, session: aiohttp.ClientSession, redaction: Redaction) -> None:
        self._service = service
        self._session = session
        self._redaction = redaction
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=service.timeout)

    async def __call__(self, call: Call, conditions: Mapping[str, str], grant: Grant) -> Response:
        """The answer, whatever its status. Raises Unreachable, BadAnswer, TooLarge and others of `failure`."""
        try:
            async with asyncio.timeout(self._service.timeout):
                return await self._exchange(call, conditions, grant)
        except TimeoutError:
            raise self._unreachable(call.url, f"did not answer within {self._service.timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(error, call.url) from None

    async def _exchange(self, call: Call, conditions: Mapping[str, str], grant: Grant) -> Response:
        async with self._session.request(
            call.method,
            call.url,
            headers={**call.headers, **conditions},
            data=call.data,
            allow_redirects=False,
            timeout=self._timeout,
            trace_request_ctx=grant,
        ) as answer:
            body = await self._body(answer)
            return Response(answer.status, answer.headers, body, call.url)

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        """The decoded body. That of an error may be cut short: its status has said what matters."""
        failed = not answer.ok
        cap = _ERROR_BYTES if failed else self._service.max_bytes
        chunks: list[bytes] = []
        size = 0
        try:
            while (answer.content_length or 0) <= cap:
                chunk = await next_chunk(answer.content, self._service.idle_timeout)
                if not chunk:
                    return b"".join(chunks)
                size += len(chunk)
                if size > cap:
                    break
                chunks.append(chunk)
        except (aiohttp.ClientError, Silent) as error:
            if not failed:
                if isinstance(error, Silent):
                    what = f"fell silent for {self._service.idle_timeout:g} s within a body"
                    raise self._unreachable(answer.url, what) from None
                raise
        answer.close()  # the rest of the body is not wanted, so the connection cannot be used again
        if failed:
            return b"".join(chunks)
        shown, name = self._redaction.url(answer.url), self._service.name
        raise TooLarge(f"{name} sent more than {cap:,} bytes for {shown}", service=name)

    def _failure(self, error: Exception, url: URL) -> ServiceError:
        return failure(error, self._service.name, self._redaction.url(url))

    def _unreachable(self, url: URL, what: str) -> Unreachable:
        return Unreachable(f"{self._service.name} {what}: {self._redaction.url(url)}", service=self._service.name)
