"""Crossref: what publishers registered about works with a DOI.

https://api.crossref.org/swagger-ui, https://www.crossref.org/documentation/retrieve-metadata/rest-api/
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec

from streamflow.engine.context import Context
from streamflow.errors import NotFound, PermanentError
from streamflow.http.service import Service

# As `x-rate-limit-limit` and `x-concurrency-limit` told in November 2026 (announced in
# https://doi.org/10.64000/wadve-3tj60): the public pool, and the polite one for callers who give an address.
SERVICE = Service("crossref", "https://api.crossref.org", rate=5, per=1, concurrency=1)
POLITE = replace(SERVICE, rate=10, concurrency=3)

LONGEST_QUERY = 600
_FIELDS = (
    "DOI,type,title,subtitle,original-title,author,published-print,published-online,issued,container-title,"
    "short-container-title,volume,issue,page,article-number,publisher,relation"
)


class Date(msgspec.Struct, frozen=True):
    """`{"date-parts": [[2014, 3]]}`; an unknown date is `[[null]]`."""

    parts: list[list[int | None] | None] | None = msgspec.field(default=None, name="date-parts")

    @property
    def year(self) -> int | None:
        first = self.parts[0] if self.parts else None
        return first[0] if first else None


class Contributor(msgspec.Struct, frozen=True):
    """A person (family and given name) or an organisation (name)."""

    family: str | None = None
    given: str | None = None
    name: str | None = None


class Related(msgspec.Struct, frozen=True, rename="kebab"):
    """The other end of a relation; `id_type` is `doi`, `arxiv`, `issn`, …"""

    id_type: str | None = None
    id: str | None = None


class CrossrefWork(msgspec.Struct, frozen=True, rename="kebab"):
    """A work as Crossref tells it. Anything but the DOI may be missing or null; names follow the service."""

    doi: str = msgspec.field(name="DOI")
    type: str | None = None
    title: list[str | None] | None = None
    subtitle: list[str | None] | None = None
    original_title: list[str | None] | None = None
    author: list[Contributor | None] | None = None
    published_print: Date | None = None
    published_online: Date | None = None
    issued: Date | None = None
    container_title: list[str | None] | None = None
    short_container_title: list[str | None] | None = None
    volume: str | int | None = None
    issue: str | int | None = None
    page: str | int | None = None
    article_number: str | int | None = None
    publisher: str | None = None
    relation: dict[str, list[Related | None] | None] | None = None


class _Single(msgspec.Struct):
    message: CrossrefWork


class _Page(msgspec.Struct):
    items: list[CrossrefWork] | None = None


class _Found(msgspec.Struct):
    message: _Page


class Crossref:
    """`email` in `[services.crossref]` buys the polite pool."""

    def __init__(self, context: Context) -> None:
        email = context.settings.services[SERVICE.name].email
        self._client = context.client(POLITE if email else SERVICE, params={"mailto": email} if email else None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def work(self, doi: str) -> CrossrefWork:
        """The work of a DOI. After a renaming it tells its present one. Raises NotFound."""
        try:
            answer = await self._client.json(f"/works/{quote(doi, safe='/')}", type=_Single)
        except PermanentError as error:
            if error.status == 400:
                raise NotFound(f"Crossref does not take {doi} as a DOI", service=SERVICE.name, status=400) from error
            raise
        return answer.message

    async def search(self, text: str, *, rows: int = 5) -> list[CrossrefWork]:
        """The works that best fit a reference as printed, best first."""
        params = {"query.bibliographic": text[:LONGEST_QUERY], "rows": str(rows), "select": _FIELDS}
        answer = await self._client.json("/works", type=_Found, params=params)
        return answer.message.items or []
