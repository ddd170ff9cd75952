"""The rules of conditional requests, as tables."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from yarl import URL

from streamflow.http.answers import Response
from streamflow.http.conditional import conditions, headers_to_keep, request_key, secret_values, unchanged
from streamflow.storage.cache import LARGEST, CachedAnswer

HERE = URL("https://api.example.org/works?b=2&a=1")
EARLIER = "Sat, 21 Nov 2026 10:00:00 GMT"
NOW = "Sun, 22 Nov 2026 10:00:00 GMT"


def response(headers: Mapping[str, str], *, status: int = 200, body: bytes = b"{}") -> Response:
    return Response(status, headers, body, HERE)


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({}, {}),
        ({"etag": '"abc"'}, {"If-None-Match": '"abc"'}),
        ({"etag": 'W/"abc"'}, {"If-None-Match": 'W/"abc"'}),
        ({"etag": '""'}, {"If-None-Match": '""'}),
        ({"last-modified": EARLIER}, {"If-Modified-Since": EARLIER}),
        ({"etag": '"abc"', "last-modified": EARLIER}, {"If-None-Match": '"abc"', "If-Modified-Since": EARLIER}),
        # no entity tags: the first would match whatever there is
        ({"etag": "*"}, {}),
        ({"etag": "abc"}, {}),
        ({"etag": '"abc", "def"'}, {}),
        ({"etag": 'w/"abc"'}, {}),
        ({"etag": '"a\r\nb"'}, {}),
        ({"etag": f'"{"a" * 5000}"'}, {}),
        ({"last-modified": "yesterday"}, {}),
        ({"last-modified": "0"}, {}),
    ],
)
def test_what_is_sent_to_ask(headers: Mapping[str, str], asked: Mapping[str, str]) -> None:
    assert conditions(headers) == asked


TAG = {"etag": '"1"'}


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        (response(TAG), True),
        (response({**TAG, "cache-control": "private, max-age=60"}), True),
        (response({**TAG, "cache-control": "no-cache"}), True),
        (response({**TAG, "vary": "Accept, Authorization, Accept-Encoding"}), True),
        (response({"last-modified": EARLIER, "date": NOW}), True),
        (response({}), False),
        (response({"etag": "unquoted"}), False),
        (response({**TAG, "cache-control": "private, No-Store"}), False),
        (response({**TAG, "vary": "*"}), False),
        (response({**TAG, "vary": "Accept, User-Agent"}), False),
        (response(TAG, status=206), False),
        (response(TAG, status=203), False),
        (response(TAG, body=bytes(LARGEST)), True),
        (response(TAG, body=bytes(LARGEST + 1)), False),
        (response({**TAG, "x-long": "a" * 20_000}), False),
        # another change in the second of the answer would have the same date
        (response({"last-modified": NOW, "date": NOW}), False),
        (response({"last-modified": EARLIER}), False),
        # no text column holds it
        (response({**TAG, "x-name": "caf\udce9"}), False),
        # it repeats a secret
        (response(TAG, body=b'{"next": "/works?api_key=hunter22"}'), False),
        (response({**TAG, "link": '<https://api.example.org/?token=me%40example.org>; rel="next"'}), False),
    ],
)
def test_what_is_kept(given: Response, is_kept: bool) -> None:
    assert (headers_to_keep(given, ["hunter22", "me@example.org"]) is not None) is is_kept


def test_headers_of_the_message_and_the_moment_are_not_kept() -> None:
    sent = {
        "ETag": '"1"',
        "Content-Type": "application/json",
        "Link": '<https://api.example.org/works?page=2>; rel="next"',
        "Content-Encoding": "gzip",
        "Content-Length": "20",
        "Transfer-Encoding": "chunked",
        "Date": NOW,
        "Set-Cookie": "session=secret",
        "X-RateLimit-Remaining": "4999",
        "x-rate-limit-limit": "10",
        "anthropic-ratelimit-requests-remaining": "1",
        "Retry-After": "5",
    }
    assert headers_to_keep(response({name.lower(): value for name, value in sent.items()}), ()) == {
        "etag": '"1"',
        "content-type": "application/json",
        "link": '<https://api.example.org/works?page=2>; rel="next"',
    }


@pytest.mark.parametrize(
    ("known", "told", "holds"),
    [
        ('"1"', '"1"', True),
        ('"1"', None, True),
        ('W/"1"', '"1"', True),  # compared weakly, RFC 9110 §13.1.2
        ('"1"', 'W/"1"', True),
        ('"1"', '"2"', False),
        (None, '"2"', True),
    ],
)
def test_a_304_stands_for_the_answer_it_names(known: str | None, told: str | None, holds: bool) -> None:
    cached = CachedAnswer("api", {"etag": known} if known else {"last-modified": EARLIER}, b'{"n": 1}', 1)
    found = unchanged(response({"etag": told} if told else {}, status=304, body=b""), cached)
    assert (found is not None) is holds
    if found is not None:
        assert (found.status, found.body, found.url, found.unchanged) == (200, b'{"n": 1}', HERE, True)


def test_the_key_tells_requests_apart_and_holds_nothing_to_be_read() -> None:
    sent = {"Accept": "application/json", "Authorization": "Bearer one", "User-Agent": "streamflow/1"}
    key = request_key("GET", HERE, sent)
    assert key == request_key("GET", URL("https://api.example.org/works?a=1&b=2#top"), sent)
    assert key == request_key("GET", HERE, {**sent, "User-Agent": "streamflow/2"})
    assert key == request_key("GET", HERE, {"authorization": "Bearer one", "accept": "application/json"})
    others = [
        request_key("GET", HERE.with_query(a="1"), sent),
        request_key("GET", HERE.with_query([("a", "1"), ("b", "2"), ("b", "3")]), sent),
        request_key("GET", HERE.with_query([("a", "1"), ("b", "3"), ("b", "2")]), sent),
        request_key("GET", HERE.with_path("/work").with_query(HERE.query), sent),
        request_key("GET", HERE.with_port(8443), sent),
        request_key("GET", HERE.with_scheme("http"), sent),
        request_key("GET", HERE, {**sent, "Authorization": "Bearer two"}),
        request_key("GET", HERE, {**sent, "Accept": "text/plain"}),
        request_key("HEAD", HERE, sent),
    ]
    assert len({key, *others}) == len(others) + 1
    assert len(key) == 16


def test_what_is_secret_in_a_request() -> None:
    headers = {"Authorization": "Bearer hunter22", "X-Api-Key": "swordfish", "X-GitHub-Api-Version": "2022-11-28"}
    found = secret_values(headers, URL("https://api.example.org/?mailto=me@example.org&rows=1000&key=xyz"))
    assert found == {"Bearer hunter22", "hunter22", "swordfish", "me@example.org"}
    own = secret_values({"X-Institution": "opensesame"}, URL("https://api.example.org/"), ["opensesame", ""])
    assert own == {"opensesame"}, "whatever the name of what the client was given"
