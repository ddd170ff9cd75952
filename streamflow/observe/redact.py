"""Makes what is logged plain, bounded, and free of credentials.

Three nets, because each has holes: keys that name a secret, the known secrets wherever they turn up in a text
(exception texts and quoted URLs too), and the shapes in which credentials travel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MARK = "[redacted]"
_SHORTEST = 4  # a shorter secret would blank out ordinary words
_TEXT, _ENTRIES, _DEPTH, _NUMBER = 20_000, 100, 6, 2**63

_SECRET_KEY = re.compile(
    r"(?:^|_)(?:api_?key|apikey|token|password|passwd|secret|authorization|cookie|credentials?|private_key"
    r"|mailto|e_?mail|mail)(?:_|$)"
)
_PARAMETER = re.compile(
    r"(?i)([?&](?:api[_-]?key|key|access[_-]?token|token|mailto|e?mail|password|client[_-]?secret|secret"
    r"|sig|signature|x-amz-[a-z-]+)=)([^&#\s\"'<>]+)"
)
_PUNCTUATION = ".,:;!?)"
_SHAPES = (
    (re.compile(r"(?i)\b((?:bearer|basic|token)\s+)(?=\S*\d)[a-z0-9._~+/-]{12,}=*"), rf"\1{MARK}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^/@\s]+@"), rf"\1{MARK}@"),
)


class Redactor:
    """Holds the known secrets. Called with any value, it returns a plain one that may be written down."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                self._secrets |= {secret, repr(secret)[1:-1]}
                safe = secret.encode("utf-8", "replace").decode()
                self._secrets |= {quote(safe, safe=""), quote(safe), quote_plus(safe)}
        if self._secrets:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, value: object, depth: int = 0) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float) and abs(value) < _NUMBER:  # JSON has no infinity and no NaN
            return value
        if isinstance(value, str):
            return self.text(value)
        if depth < _DEPTH:
            if isinstance(value, Mapping):
                return self.mapping(value, depth)
            if isinstance(value, list | tuple | set | frozenset):
                entries = [self(entry, depth + 1) for entry, _ in zip(value, range(_ENTRIES), strict=False)]
                return entries if len(value) <= _ENTRIES else [*entries, f"… {len(value) - _ENTRIES} more"]
        return self.text(_describe(value))

    def mapping(self, values: Mapping[Any, object], depth: int = 0) -> dict[str, object]:
        plain: dict[str, object] = {}
        for key, value in values.items():
            if len(plain) == _ENTRIES:
                plain["…"] = f"{len(values) - _ENTRIES} more"
                break
            name = self.text(key if isinstance(key, str) else _describe(key))
            secret = value not in (None, "") and _SECRET_KEY.search(name.lower().replace("-", "_"))
            plain[name] = MARK if secret else self(value, depth + 1)
        return plain

    def text(self, text: str) -> str:
        # Cut roughly, then redact, then cut: the first cut may split a secret, and the second drops that part.
        cut = len(text) > 2 * _TEXT
        text = text[: 2 * _TEXT] if cut else text
        if self._known is not None:
            text = self._known.sub(MARK, text)
        text = _PARAMETER.sub(_without_value, text)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return f"{text[:_TEXT]}…" if cut or len(text) > _TEXT else text


def _without_value(pair: re.Match[str]) -> str:
    """The parameter without its value. What may be the sentence's punctuation is left to it."""
    return f"{pair[1]}{MARK}{pair[2][len(pair[2].rstrip(_PUNCTUATION)) :]}"


def _describe(value: object) -> str:
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return str(value)
    except Exception:  # noqa: BLE001  a value that cannot be shown must not cost the line
        return f"<{type(value).__name__}>"
