"""What a service says about its limits in its response headers.

Pure functions from headers to numbers. Nothing here trusts the sender: what does not parse is ignored, and
no pause is longer than `MAX_PAUSE`. Header names are looked up in lower case, so a plain dict must have
lower-case keys (aiohttp's own mapping ignores case).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

MAX_PAUSE = 86_400.0
"""Seconds. Budgets are at most daily; a longer pause would be a mistake of the service or an attack."""

_EPOCH = 1e9  # a reset above this is a point in time (2001 or later), one below it a number of seconds
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,6}(?:\.\d{1,9})?)(ms|s|m|h|d))", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Told(NamedTuple):
    """The limits that one response named; `None` for what it did not name."""

    rate: float | None = None
    per: float | None = None
    concurrency: int | None = None


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


def exhausted(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a used-up budget returns, by `x-ratelimit-remaining: 0` and `x-ratelimit-reset`, or
    `None`.

    The reset is Unix time (GitHub; compared with the response's `Date`), or a number of seconds, or a
    duration such as `6m0s`.
    """
    if _number(headers.get("x-ratelimit-remaining", "").strip()) != 0:
        return None
    value = headers.get("x-ratelimit-reset", "").strip()
    seconds = _number(value)
    if seconds is None:
        seconds = duration(value)
    elif seconds > _EPOCH:
        seconds -= _sent(headers, now)
    return None if seconds is None else _bounded(seconds)


def told(headers: Mapping[str, str]) -> Told:
    """The limits in `x-rate-limit-limit`, `x-rate-limit-interval` and `x-concurrency-limit` (Crossref's
    names).
    """
    rate = _number(headers.get("x-rate-limit-limit", "").strip())
    per = duration(headers.get("x-rate-limit-interval", "").strip())
    concurrency = _number(headers.get("x-concurrency-limit", "").strip())
    complete = bool(rate) and bool(per)
    return Told(
        rate=rate if complete else None,
        per=per if complete else None,
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
