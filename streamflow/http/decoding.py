"""JSON answers as typed values, and what is none as `BadAnswer`."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from streamflow.errors import BadAnswer
from streamflow.http.answers import Redaction, Response

T = TypeVar("T")


class Decoding:
    """Decodes the answers of one API. Unknown fields are ignored."""

    def __init__(self, service: str, redaction: Redaction) -> None:
        self._service = service
        self._redaction = redaction
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}

    def check(self, response: Response) -> None:
        """Raise `BadAnswer` for what cannot be JSON, such as a page that says to come back later."""
        start = response.body[:64].lstrip()
        if not start or start.startswith(b"<"):
            raise self._no_json(response, "it is a page of markup" if start else "it is empty")

    def decode(self, response: Response, type: type[T]) -> T:
        """The answer as `type`. Raises `BadAnswer` for one that does not fit."""
        decoder = self._decoders.get(type)
        if decoder is None:
            decoder = self._decoders[type] = msgspec.json.Decoder(type)
        try:
            decoded: T = decoder.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            what = self._redaction.text(str(error)) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8"
            raise self._no_json(response, what) from None
        return decoded

    def _no_json(self, response: Response, what: str) -> BadAnswer:
        kind = response.content_type or "no content type"
        return BadAnswer(
            f"{self._service} answered {self._redaction.url(response.url)} with {kind},"
            f" {len(response.body)} bytes, which is not the JSON that was expected: {what}",
            service=self._service,
            status=response.status,
        )
