"""What a response means: its status as an error of ours, its text without our secrets.

Pure functions; the client and the downloader raise what they return.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote

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

MARK = "[redacted]"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5

_SECRET_PARAMETER = re.compile(
    r"(?i)(?:^|[_-])(?:api[_-]?key|key|token|mailto|e?-?mail|password|secret|sig|signature|credential|auth)(?:$|[_-])"
)
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
_PAIR = re.compile(r"([\w.-]{1,40})=([^&#\s\"'<>]+)", re.ASCII)
_PUNCTUATION = ".,:;!?)"
_SHORTEST = 4  # a shorter secret would blank out ordinary words
_SNIPPET = 200
_LONGEST_URL = 500
_NEXT = re.compile(
    r'<([^<>]{1,2000})>((?:\s*;\s*[a-z*-]{1,20}\s*=\s*(?:"[^"]{0,200}"|[^\s",;]{0,200})){0,10})', re.IGNORECASE
)
_REL_NEXT = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next\b)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """A response, read to its end. `body` is decoded; `url` is where it came from, after redirects.

    `headers` ignores case when it comes from the network. An `unchanged` one was given earlier, and is told by the
    service to hold still: of its headers only those are left that go with the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: URL
    unchanged: bool = False

    @property
    def content_type(self) -> str:
        """Such as `application/json`, in lower case and without parameters; empty if the service did not
        say.
        """
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def next_link(self) -> str | None:
        """The URL of the `Link` header's `rel="next"` (RFC 8288), as it was sent."""
        for found in _NEXT.finditer(self.headers.get("link", "")[:8192]):
            if _REL_NEXT.search(found[2]):
                return found[1]
        return None

    def text(self) -> str:
        """The body as text, by the charset it names, else UTF-8; what does not decode is replaced."""
        charset = re.search(r'charset\s*=\s*"?([\w.:-]{1,40})', self.headers.get("content-type", ""))
        try:
            return self.body.decode(charset[1] if charset else "utf-8", "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")


class Redaction:
    """Takes known secrets, and query values whose names tell that they are secret, out of what is shown."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {
            form
            for secret in secrets
            if len(secret) >= _SHORTEST
            for form in (secret, secret.replace(" ", "+"), quote(secret, safe=""), quote(secret), quote_plus(secret))
        }
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def url(self, url: URL) -> str:
        """The URL for people: no user or password, no fragment, no secret query values."""
        shown = url.with_user(None) if url.absolute else url
        # Before unquoting no value holds a space or an ampersand, after it the known secrets stand as we
        # know them.
        text = self.text(unquote(self.text(str(shown.with_fragment(None)))))
        text = "".join(character if character.isprintable() else "?" for character in text)
        return text if len(text) <= _LONGEST_URL else f"{text[:_LONGEST_URL]}…"

    def text(self, text: str) -> str:
        """The text without known secrets, and without the values of `name=value` pairs that look secret."""
        if self._known:
            text = self._known.sub(MARK, text)
        return _PAIR.sub(_without_value, text)


def _without_value(pair: re.Match[str]) -> str:
    """The pair without a secret value. What may be the sentence's punctuation is left to it."""
    if not _SECRET_PARAMETER.search(pair[1]):
        return pair[0]
    return f"{pair[1]}={MARK}{pair[2][len(pair[2].rstrip(_PUNCTUATION)) :]}"


def is_secret_name(name: str) -> bool:
    """Whether a header or a parameter of this name holds a secret."""
    return name.lower() in _SECRET_HEADERS or _SECRET_PARAMETER.search(name) is not None


def origin(url: URL) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what must be equal for credentials to be sent along."""
    return url.scheme, url.host, url.port


def climbs(path: str) -> bool:
    """Whether a path or URL has a segment `.` or `..`, encoded or not: text from outside could choose what is called.

    `URL` resolves such segments (RFC 3986, 5.2.4) after leaving out tabs and line ends, so what it made tells nothing.
    """
    own = re.sub(r"[\t\r\n]", "", re.split(r"[?#]", path, maxsplit=1)[0])
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(own)))


def error_for(
    response: Response, service: str, shown: str, redaction: Redaction, retry_after: float | None
) -> ServiceError | None:
    """The error that a response's status means, `None` for success. `shown` is the URL for people."""
    status = response.status
    if 200 <= status < 300:
        return None
    said = _snippet(response, redaction)
    message = f"{service} answered {status} to {shown}{said}"
    if status == 401 or (status == 403 and retry_after is None):
        return CredentialsRefused(
            f"{message}. Check the credentials in [services.{service}].", service=service, status=status
        )
    if status in (404, 410):
        return NotFound(message, service=service, status=status)
    if status in (403, 429, 503, 529):
        return Overloaded(message, service=service, status=status, retry_after=retry_after)
    if status in (408, 425) or status >= 500:
        return TransientError(message, service=service, status=status)
    if status < 400:
        return BadAnswer(message, service=service, status=status)
    return PermanentError(message, service=service, status=status)


def redirect_target(response_url: URL, location: str) -> URL | None:
    """Where a redirect leads, without user and password; `None` if that is not on the web."""
    try:
        target = response_url.join(URL(location))
        target.port  # noqa: B018 - a port that is no number is only found out here
    except ValueError:
        return None
    return target.with_user(None) if target.scheme in ("http", "https") and target.host else None


def _snippet(response: Response, redaction: Redaction) -> str:
    """The start of what the service said, where it is meant to be read: plain text or JSON, not a page of
    HTML.
    """
    kind = response.content_type
    if not response.body or not (kind == "text/plain" or kind.endswith("json")):
        return ""
    text = redaction.text(" ".join(response.text()[:2000].split()))
    text = "".join(character for character in text if character.isprintable())
    return f": {text[:_SNIPPET]}{'…' if len(text) > _SNIPPET else ''}" if text else ""
