"""What services tell in headers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.limits.headers import MAX_PAUSE, Left, Told, budgets, duration, retry_after, told

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC).timestamp()


def http_date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("999999999999", MAX_PAUSE),
        (http_date(NOW + 90), 90.0),
        (http_date(NOW - 90), 0.0),
        ("Sunday, 22-Nov-26 12:01:30 GMT", 90.0),
        ("Sun Nov 22 12:01:30 2026", 90.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("1e9", None),
        ("١٢", None),
        ("Sun, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


@pytest.mark.parametrize("skew", [-86_400.0, -3.0, 0.0, 86_400.0])
def test_a_clock_that_differs_from_the_servers_does_not_matter(skew: float) -> None:
    headers = {"date": http_date(NOW), "retry-after": http_date(NOW + 30)}
    assert retry_after(headers, NOW + skew) == 30.0


@given(st.integers(0, int(MAX_PAUSE)), st.integers(0, 4_000_000_000), st.integers(-(10**6), 10**6))
def test_every_date_in_range_is_understood(wait: int, sent: int, skew: int) -> None:
    headers = {"date": http_date(sent), "retry-after": http_date(sent + wait)}
    assert retry_after(headers, sent + skew) == wait


@given(st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text(max_size=80)), st.floats(0, 4e9))
def test_no_text_breaks_the_parser_or_pauses_longer_than_a_day(headers: dict[str, str], now: float) -> None:
    wait = retry_after(headers, now)
    assert wait is None or 0 <= wait <= MAX_PAUSE


OPENAI = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "6m0s",
}
GITHUB = {
    "date": http_date(NOW),
    "x-ratelimit-limit": "5000",
    "x-ratelimit-remaining": "4000",
    "x-ratelimit-used": "1000",
    "x-ratelimit-reset": str(int(NOW) + 60),
    "x-ratelimit-resource": "core",
}
ANTHROPIC = {
    "date": http_date(NOW),
    "anthropic-ratelimit-input-tokens-limit": "20000",
    "anthropic-ratelimit-input-tokens-remaining": "19000",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-22T12:00:03Z",
}


@pytest.mark.parametrize("skew", [-86_400.0, 0.0, 7.0])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (GITHUB, [Left("requests", 4000, 60, 5000, resource="core")]),
        (ANTHROPIC, [Left("input_tokens", 19_000, 3, 20_000, refills=True)]),
        (OPENAI, [Left("requests", 499, 0.12, 500, refills=True), Left("tokens", 0, 360, 30_000, refills=True)]),
        ({"x-rate-limit-remaining": "3", "x-rate-limit-reset": "9"}, [Left("requests", 3, 9)]),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "6m0s"}, [Left("requests", 0, 360)]),
        ({"x-ratelimit-remaining": "0"}, []),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "never"}, []),
        ({"x-ratelimit-reset": "45"}, []),
        ({"x-ratelimit-remaining": "3"}, []),
        ({"x-ratelimit-remaining": "some", "x-ratelimit-reset": "9"}, []),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "2026-11-22"}, []),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "9999-99-99T00:00:00Z"}, []),
    ],
)
def test_what_is_left(headers: dict[str, str], expected: list[Left], skew: float) -> None:
    assert budgets(headers, NOW + skew) == expected


@given(
    st.dictionaries(
        st.sampled_from([*OPENAI, *GITHUB, *ANTHROPIC]), st.text(max_size=60) | st.sampled_from(["0", "1e9", "9" * 12])
    )
)
def test_no_text_breaks_the_reading_of_budgets(headers: dict[str, str]) -> None:
    for left in budgets(headers, NOW):
        assert left.remaining >= 0
        assert 0 <= left.reset <= MAX_PAUSE


def test_only_so_many_budgets_are_read() -> None:
    many = {f"x-ratelimit-{what}-{chr(97 + n)}x": "9" for n in range(26) for what in ("remaining", "reset")}
    assert len(budgets(many, NOW)) == 8


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Told()),
        (
            {"x-rate-limit-limit": "10", "x-rate-limit-interval": "1s", "x-concurrency-limit": "3"},
            Told(10.0, 1.0, 3),
        ),
        ({"x-rate-limit-limit": "50"}, Told()),
        ({"x-rate-limit-limit": "0", "x-rate-limit-interval": "1s"}, Told()),
        ({"x-rate-limit-limit": "5", "x-rate-limit-interval": "0s"}, Told()),
        ({"x-rate-limit-limit": "60", "x-rate-limit-interval": "1h"}, Told(60.0, 3600.0)),
        ({"x-rate-limit-limit": "1", "x-rate-limit-interval": "61"}, Told()),
        ({"x-rate-limit-limit": "1", "x-rate-limit-interval": "999999999999"}, Told()),
        ({"x-rate-limit-limit": "0.000000001", "x-rate-limit-interval": "1s"}, Told()),
        ({"x-rate-limit-limit": "999999999999", "x-rate-limit-interval": "999999999999"}, Told()),
        ({"x-rate-limit-limit": "many", "x-rate-limit-interval": "1s", "x-concurrency-limit": "0"}, Told()),
    ],
)
def test_told_limits(headers: dict[str, str], expected: Told) -> None:
    assert told(headers) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("250ms", 0.25),
        ("1h30m", 5400.0),
        ("2", 2.0),
        ("", None),
        ("1 s", None),
        ("s", None),
    ],
)
def test_duration(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds
