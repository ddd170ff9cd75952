"""OpenAlex: an open catalogue of works, with and without DOIs, and where free copies of them lie.

https://developers.openalex.org; a single work is free of charge, a search costs $1 a thousand, out of a daily
allowance ($0.01 without a key, $1 with a free one; `[services.openalex] api_key`).
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec

from streamflow.engine.context import Context
from streamflow.errors import NotFound, Overloaded, PermanentError, ServiceError
from streamflow.http.answers import Response
from streamflow.http.service import Service


def _judge(response: Response) -> ServiceError | None:
    """A 403 means too many calls a second, or an id with signs that OpenAlex does not take; only one that speaks of
    the key is about the key (https://docs.openalex.org/how-to-use-the-api/get-single-entities).
    """
    if response.status != 403:
        return None
    said = response.text()[:2000].lower()
    if "api_key" in said or "api key" in said:
        return None
    if any(word in said for word in ("too many", "too fast", "rate", "limit", "exceed", "slow")):
        return Overloaded("openalex answered 403: calls come too fast", service="openalex", status=403)
    return PermanentError("openalex answered 403: it does not take this request", service="openalex", status=403)


# https://developers.openalex.org/api-reference/authentication: at most 100 requests a second; 90 leaves room for
# clocks that differ. No limit of requests in flight is published; ours keeps the load civil.
SERVICE = Service("openalex", "https://api.openalex.org", rate=90, per=1, concurrency=16, judge=_judge)

LONGEST_QUERY = 400
_FIELDS = (
    "id,doi,title,display_name,publication_year,type,authorships,biblio,primary_location,best_oa_location,locations"
)
_WORD = re.compile(r"\w+")
_OPERATORS = {"AND", "OR", "NOT"}
_ID = re.compile(r"W\d{1,15}", re.IGNORECASE)


class Person(msgspec.Struct, frozen=True):
    display_name: str | None = None


class Authorship(msgspec.Struct, frozen=True):
    author: Person | None = None
    raw_author_name: str | None = None


class Source(msgspec.Struct, frozen=True):
    display_name: str | None = None
    host_organization_name: str | None = None


class Location(msgspec.Struct, frozen=True):
    """A place where a version of the work lies. `pdf_url` is null where only a landing page is known."""

    is_oa: bool | None = None
    pdf_url: str | None = None
    landing_page_url: str | None = None
    source: Source | None = None


class Biblio(msgspec.Struct, frozen=True):
    volume: str | int | None = None
    issue: str | int | None = None
    first_page: str | int | None = None
    last_page: str | int | None = None


class OpenAlexWork(msgspec.Struct, frozen=True):
    """A work as OpenAlex tells it. `id` and `doi` are URLs; anything but the id may be missing or null."""

    id: str
    doi: str | None = None
    title: str | None = None
    display_name: str | None = None
    publication_year: int | None = None
    type: str | None = None
    authorships: list[Authorship | None] | None = None
    biblio: Biblio | None = None
    primary_location: Location | None = None
    best_oa_location: Location | None = None
    locations: list[Location | None] | None = None

    @property
    def key(self) -> str:
        """`W…`, the id without its URL."""
        return self.id.rstrip("/").rsplit("/", 1)[-1].upper()


class _Found(msgspec.Struct):
    results: list[OpenAlexWork] | None = None


class OpenAlex:
    """The catalogue; `api_key` in `[services.openalex]` raises the daily allowance."""

    def __init__(self, context: Context) -> None:
        key = context.settings.services[SERVICE.name].api_key
        self._client = context.client(SERVICE, params={"api_key": key.get_secret_value()} if key else None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def work_by_doi(self, doi: str) -> OpenAlexWork:
        """The work of a DOI. Free of charge. Raises NotFound."""
        return await self._single(f"doi:{quote(doi, safe='/')}")

    async def work(self, key: str) -> OpenAlexWork:
        """The work of an OpenAlex id (`W…`); of two that were merged, the one that is left. Raises NotFound."""
        if not _ID.fullmatch(key):
            raise ValueError(f"{key!r} is no OpenAlex id of a work: W and a number")
        return await self._single(key.upper())

    async def search(self, text: str, *, rows: int = 5) -> list[OpenAlexWork]:
        """The works that have all words of `text` in title, abstract or full text, best first. Costs money."""
        words = (word for word in _WORD.findall(text[:LONGEST_QUERY]) if word not in _OPERATORS)
        if not (query := " ".join(words)):
            return []
        params = {"search": query, "per_page": str(rows), "select": _FIELDS}
        answer = await self._client.json("/works", type=_Found, params=params)
        return answer.results or []

    async def _single(self, id: str) -> OpenAlexWork:
        try:
            return await self._client.json(f"/works/{id}", type=OpenAlexWork, params={"select": _FIELDS})
        except PermanentError as error:
            if error.status in (400, 403):
                raise NotFound(
                    f"OpenAlex does not take the id {id}", service=SERVICE.name, status=error.status
                ) from error
            raise
