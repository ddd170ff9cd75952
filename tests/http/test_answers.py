"""What statuses mean, and what may be shown."""

from __future__ import annotations

import pytest
from yarl import URL

from streamflow.errors import (
    BadAnswer,
    CredentialsRefused,
    NotFound,
    Overloaded,
    PermanentError,
    ServiceError,
    TransientError,
)
from streamflow.http.answers import Redaction, Response, error_for

SHOWN = Redaction()


def response(status: int = 200, body: bytes = b"", **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, URL("http://h/"))


@pytest.mark.parametrize(
    ("status", "retry_after", "kind"),
    [
        (200, None, None),
        (204, None, None),
        (304, None, BadAnswer),
        (400, None, PermanentError),
        (401, None, CredentialsRefused),
        (403, None, CredentialsRefused),
        (403, 60.0, Overloaded),
        (404, None, NotFound),
        (408, None, TransientError),
        (409, None, PermanentError),
        (410, None, NotFound),
        (413, None, PermanentError),
        (422, None, PermanentError),
        (425, None, TransientError),
        (429, None, Overloaded),
        (451, None, PermanentError),
        (500, None, TransientError),
        (502, None, TransientError),
        (503, 5.0, Overloaded),
        (529, None, Overloaded),
    ],
)
def test_statuses(status: int, retry_after: float | None, kind: type[ServiceError] | None) -> None:
    error = error_for(response(status), "api", "http://h/", SHOWN, retry_after)
    assert type(error) is (kind or type(None))
    if error is not None:
        assert error.status == status
        assert error.service == "api"
    if isinstance(error, Overloaded):
        assert error.retry_after == retry_after


def test_an_error_quotes_text_and_json_but_no_page_of_html() -> None:
    quoted = error_for(
        response(400, b'{"message":\n "bad  rows"}', content_type="application/json"), "api", "u", SHOWN, None
    )
    assert '400 to u: {"message": "bad rows"}' in str(quoted)
    page = error_for(response(500, b"<html>sorry</html>", content_type="text/html"), "api", "u", SHOWN, None)
    assert "sorry" not in str(page)
    long = error_for(response(400, b"x" * 5000, content_type="text/plain; charset=utf-8"), "api", "u", SHOWN, None)
    assert len(str(long)) < 300


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/works?rows=5&query.author=Ann", "http://h/works?rows=5&query.author=Ann"),
        ("http://h/works?mailto=me@example.org", "http://h/works?mailto=[redacted]"),
        ("http://h/?api_key=k&apikey=k&token=k&email=k&X-Amz-Signature=k&access_token=k", None),
        ("http://user:k-word@h/p#frag", "http://h/p"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str | None) -> None:
    result = Redaction().url(URL(url))
    if shown is not None:
        assert result == shown
    assert "=k" not in result
    assert "k-word" not in result


def test_the_punctuation_after_a_secret_value_is_kept() -> None:
    text = "404 to http://h/?mailto=me@example.org: no such work (see http://h/?api_key=k-word)."
    shown = Redaction().text(text)
    assert shown == "404 to http://h/?mailto=[redacted]: no such work (see http://h/?api_key=[redacted])."
    assert Redaction().text(shown) == shown


def test_known_secrets_are_taken_out_in_every_form() -> None:
    redaction = Redaction(["p+w/d é!", "abc"])
    assert redaction.text("p+w/d é! p%2Bw%2Fd%20%C3%A9%21 p%2Bw%2Fd+%C3%A9%21") == "[redacted] [redacted] [redacted]"
    assert redaction.text("abc") == "abc"  # too short to be told from a word


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ('<https://api/x?page=2>; rel="next", <https://api/x?page=9>; rel="last"', "https://api/x?page=2"),
        ('<https://api/x?a=1,2>; rel="prev", </x?page=3>; title="a, b"; rel=next', "/x?page=3"),
        ('<https://api/x>; rel="last next"', "https://api/x"),
        ('<https://api/x>; rel="nextish"', None),
        ("", None),
        ("<" * 9000, None),
    ],
)
def test_next_link(link: str, following: str | None) -> None:
    assert response(link=link).next_link == following


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=klingon", b"\xff", "\ufffd"),
    ],
)
def test_text_follows_the_charset(kind: str, body: bytes, text: str) -> None:
    assert response(200, body, content_type=kind).text() == text
