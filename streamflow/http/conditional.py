"""Conditional requests (RFC 9110 §13, RFC 9111 §4.3): has an answer changed since it was given?

Pure functions: which answers may be kept and with which headers, what is sent to ask about one, and what a 304 says of
it. An answer is never used without having asked: freshness by age (`max-age`) is not looked at, because a refresh is
meant to ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from urllib.parse import quote, quote_plus

from multidict import CIMultiDict
from yarl import URL

from streamflow.http.answers import Response, is_secret_name
from streamflow.storage.cache import LARGEST, CachedAnswer

# An entity tag as RFC 9110 §8.8.3 writes it. What is not quoted is none: a bare `*` would match whatever there is.
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e]{0,200}")', re.ASCII)
_SURE = 60.0
"""Seconds between the last change and the answer from which on a `Last-Modified` tells one content from another (RFC
9110 §8.8.2.2): a second change within the same second would not be seen."""
_MOST_HEADERS = 16_384
# Of the message or the connection, or of the moment; or a secret. The body is kept decoded.
_OF_THE_MOMENT = re.compile(
    r"connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-(?:encoding|length|range|md5)|digest|"
    r"age|date|expires|retry-after|server-timing|x-runtime|x-request-id|(?:x-)?rate-?limit-.*|.*-ratelimit-.*|"
    r"www-authenticate|authentication-info|set-cookie2?"
)
_SHORTEST_SECRET = 4


def request_key(method: str, url: URL, headers: Mapping[str, str]) -> bytes:
    """What tells a request from others: a hash, from which neither address nor credentials can be read.

    All headers that are sent count, so an answer that varies by one of them, credentials too, is another answer. The
    order of differently named parameters does not count. `User-Agent` does not: it changes with each of our releases.
    """
    query = sorted(url.query.items(), key=lambda pair: pair[0])
    told = sorted((name.lower(), value) for name, value in headers.items() if name.lower() != "user-agent")
    text = repr((method, str(url.with_query(None).with_fragment(None)), query, told))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that ask whether an answer with these `headers` has changed; none where it has no validator."""
    asked = {}
    if _TAG.fullmatch(tag := headers.get("etag", "")):
        asked["If-None-Match"] = tag
    if _date(changed := headers.get("last-modified", "")) is not None:
        asked["If-Modified-Since"] = changed
    return asked


def headers_to_keep(response: Response, secrets: Iterable[str]) -> dict[str, str] | None:
    """The headers to keep with an answer; `None` where it is not to be kept.

    Not kept is what has no validator, or a weak one by its times; what is larger than `LARGEST`, what forbids it
    (`no-store`), what varies by things that its key does not hold, and what repeats one of the `secrets`.
    """
    headers = response.headers
    if response.status != 200 or len(response.body) > LARGEST:
        return None
    varies = {name.strip() for name in headers.get("vary", "").lower().split(",")}
    directives = {part.partition("=")[0].strip() for part in headers.get("cache-control", "").lower().split(",")}
    if varies & {"*", "user-agent"} or "no-store" in directives:
        return None
    kept: dict[str, str] = {}
    for name, value in ((name.lower(), value) for name, value in headers.items()):
        if not _OF_THE_MOMENT.fullmatch(name):
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    if "If-None-Match" not in (asked := conditions(kept)):
        kept.pop("etag", None)
        if not asked or not _is_sure(headers):
            return None
    try:
        told = "\n".join((*kept, *kept.values())).encode()
    except UnicodeEncodeError:  # bytes that are no text, which a client reads as lone surrogates
        return None
    if len(told) > _MOST_HEADERS or _holds(told + b"\n" + response.body, secrets):
        return None
    return kept


def unchanged(response: Response, cached: CachedAnswer) -> Response | None:
    """The answer that a 304 stands for, `None` where it speaks of another one (RFC 9111 §4.3.4)."""
    told, known = _TAG.fullmatch(response.headers.get("etag", "")), _TAG.fullmatch(cached.headers.get("etag", ""))
    if told is not None and known is not None and told[1] != known[1]:
        return None
    return Response(200, CIMultiDict(cached.headers), cached.body, response.url, unchanged=True)


def secret_values(headers: Mapping[str, str], url: URL, own: Iterable[str] = ()) -> set[str]:
    """What of a request is secret by its name, such as the token in `Authorization: Bearer …`, and the client's `own`
    credentials, whatever their names."""
    found = set(own)
    for name, value in (*headers.items(), *url.query.items()):
        if is_secret_name(name):
            found |= {value, *value.split()[-1:]}
    return {value for value in found if len(value) >= _SHORTEST_SECRET}


def _holds(text: bytes, secrets: Iterable[str]) -> bool:
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))}
    return any(form.encode("utf-8", "replace") in text for form in forms)


def _is_sure(headers: Mapping[str, str]) -> bool:
    changed, sent = _date(headers.get("last-modified", "")), _date(headers.get("date", ""))
    return changed is not None and sent is not None and (sent - changed).total_seconds() >= _SURE


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if 0 < len(text) <= 64 else None
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
