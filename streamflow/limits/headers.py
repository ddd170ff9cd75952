"""What a service says about its limits in its response headers.

Pure functions from headers to numbers. Nothing here trusts the sender: what does not parse is ignored, no rate is
slower than a call a minute, and no pause is longer than `MAX_PAUSE`. Header names are looked up in lower case, so a
plain dict must have lower-case keys (aiohttp's own mapping ignores case).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from streamflow.limits.window import REQUESTS

MAX_PAUSE = 86_400.0
"""Seconds. Budgets are at most daily; a longer pause would be a mistake of the service or an attack."""

_FURTHEST = 60.0
"""Seconds. Calls are spaced evenly by what a service tells of its rate, and waiting for that is no outage. What would
put them further apart is a budget, told by what is left of it, or a mistake, and could hold a run for ever: it is
ignored. If it was true, the service refuses, which pauses."""

_MOST_BUDGETS = 8
"""As many budgets are read from one response; services tell of up to four."""

_EPOCH = 1e9  # a reset above this is a point in time (2001 or later), one below it a number of seconds
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,6}(?:\.\d{1,9})?)(ms|s|m|h|d))", re.ASCII)
_REMAINING = re.compile(
    r"(x-ratelimit|x-rate-limit|anthropic-ratelimit)-(?:([a-z][a-z-]{0,30})-)?remaining(?:-([a-z][a-z-]{0,30}))?",
    re.ASCII,
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Told(NamedTuple):
    """The limits that one response named; `None` for what it did not name."""

    rate: float | None = None
    per: float | None = None
    concurrency: int | None = None


class Left(NamedTuple):
    """What one response said is left of a budget of one kind of cost.

    `resource` is the part of the API that it is for (GitHub), empty for all. `reset` is in seconds from the
    response; then a budget that `refills` is full, and one that does not returns as a whole.
    """

    kind: str
    remaining: float
    reset: float
    limit: float | None = None
    refills: bool = False
    resource: str = ""


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by `Retry-After` (RFC 9110 §10.2.3), or `None`.

    A date is compared with the response's own `Date`, so the two clocks need not agree; only without one is
    `now` (Unix time) used.
    """
    value = headers.get("retry-after", "").strip()
    seconds = _number(value)
    if seconds is None:
        moment = _date(value)
        if moment is None:
            return None
        seconds = moment - _sent(headers, now)
    return _bounded(seconds)


def budgets(headers: Mapping[str, str], now: float) -> list[Left]:
    """What is left of each budget that the response names with its remainder and its reset.

    Read are `x-ratelimit-{limit,remaining,reset}` (GitHub; `x-rate-limit-…` too), of requests, which reset; and
    `x-ratelimit-{limit,remaining,reset}-KIND` (OpenAI) and `anthropic-ratelimit-KIND-{limit,remaining,reset}`, which
    refill. A reset is Unix time or a date (RFC 3339), both compared with the response's `Date`; or a number of
    seconds, or a duration such as `6m0s`.
    """
    found = []
    for name in headers:
        if "remaining" not in name.lower() or (named := _REMAINING.fullmatch(name.lower())) is None:
            continue
        kind, lowered = named[2] or named[3], name.lower()
        remaining = _number(headers[name].strip())
        reset = _reset(headers.get(lowered.replace("remaining", "reset"), "").strip(), headers, now)
        if remaining is None or reset is None:
            continue
        limit = _number(headers.get(lowered.replace("remaining", "limit"), "").strip())
        resource = "" if kind else headers.get(f"{named[1]}-resource", "").strip().lower()[:40]
        kind_named = kind.replace("-", "_") if kind else REQUESTS
        found.append(Left(kind_named, remaining, reset, limit, kind is not None, resource))
        if len(found) == _MOST_BUDGETS:
            break
    return found


def told(headers: Mapping[str, str]) -> Told:
    """The limits in `x-rate-limit-limit`, `x-rate-limit-interval` and `x-concurrency-limit` (Crossref's
    names).
    """
    rate = _number(headers.get("x-rate-limit-limit", "").strip())
    per = duration(headers.get("x-rate-limit-interval", "").strip())
    concurrency = _number(headers.get("x-concurrency-limit", "").strip())
    if not rate or not per or per > MAX_PAUSE or per / rate > _FURTHEST:
        rate = per = None
    return Told(
        rate=rate,
        per=per,
        concurrency=int(concurrency) if concurrency and concurrency >= 1 else None,
    )


def duration(text: str) -> float | None:
    """Seconds in `1s`, `6m0s`, `250ms` or a plain number; `None` if it is none of these."""
    plain = _number(text)
    if plain is not None:
        return plain
    parts = _DURATION.findall(text) if len(text) <= 64 else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _reset(value: str, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a reset, however it is written."""
    seconds = duration(value)
    if seconds is None:
        moment = _rfc3339(value)
        return None if moment is None else _bounded(moment - _sent(headers, now))
    return _bounded(seconds - _sent(headers, now) if seconds > _EPOCH else seconds)


def _rfc3339(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text) if 0 < len(text) <= 40 else None
        return None if moment is None or moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        return None


def _date(text: str) -> float | None:
    if not 0 < len(text) <= 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _sent(headers: Mapping[str, str], now: float) -> float:
    sent = _date(headers.get("date", ""))
    return now if sent is None else sent


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_PAUSE) if math.isfinite(seconds) else MAX_PAUSE
