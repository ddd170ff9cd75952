"""Services that answer from a dict and count what they are asked."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from stages.services.arxiv import Arxiv
from stages.services.crossref import Crossref, CrossrefWork
from stages.services.openalex import OpenAlex, OpenAlexWork
from stages.services.unpaywall import Copy, Unpaywall
from streamflow.errors import NotFound


def crossref_work(doi: str, title: str, family: str = "Doe", year: int = 2014, **more: Any) -> CrossrefWork:
    """A work in Crossref's wire format."""
    told = {
        "DOI": doi,
        "title": [title],
        "author": [{"family": family, "given": "Jane", "sequence": "first"}],
        "issued": {"date-parts": [[year, 5]]},
        "type": "journal-article",
        "container-title": ["Journal of Invented Geology"],
        "score": 31.4,
    }
    return msgspec.convert(told | more, CrossrefWork)


def openalex_work(key: str, title: str, name: str = "Jane Doe", year: int = 2014, **more: Any) -> OpenAlexWork:
    """A work in OpenAlex's wire format."""
    told = {
        "id": f"https://openalex.org/{key}",
        "doi": None,
        "title": title,
        "publication_year": year,
        "authorships": [{"author_position": "first", "author": {"display_name": name}}],
        "best_oa_location": None,
    }
    return msgspec.convert(told | more, OpenAlexWork)


class Asked:
    """What was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, what: str, known: dict[str, Any]) -> Any:
        self.asked.append(what)
        found = known.get(what)
        if found is None:
            raise NotFound(f"{what} is not known", status=404)
        if isinstance(found, Exception):
            raise found
        return found


class FakeCrossref(Asked):
    def __init__(self, works: dict[str, Any] | None = None, hits: list[CrossrefWork] | None = None) -> None:
        super().__init__()
        self.works, self.hits = works or {}, hits or []

    async def work(self, doi: str) -> CrossrefWork:
        return cast("CrossrefWork", self.answer(doi, self.works))

    async def search(self, text: str, *, rows: int = 5) -> list[CrossrefWork]:
        self.asked.append("search")
        return self.hits

    def __call__(self) -> Crossref:
        return cast("Crossref", self)


class FakeOpenAlex(Asked):
    def __init__(self, works: dict[str, Any] | None = None, hits: list[OpenAlexWork] | None = None) -> None:
        super().__init__()
        self.works, self.hits = works or {}, hits or []

    async def work_by_doi(self, doi: str) -> OpenAlexWork:
        return cast("OpenAlexWork", self.answer(doi, self.works))

    async def work(self, key: str) -> OpenAlexWork:
        return cast("OpenAlexWork", self.answer(key, self.works))

    async def search(self, text: str, *, rows: int = 5) -> list[OpenAlexWork]:
        self.asked.append(f"search {text}")
        return self.hits

    def __call__(self) -> OpenAlex:
        return cast("OpenAlex", self)


class FakeUnpaywall(Asked):
    available = True

    def __init__(self, copies: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.copies = copies or {}

    async def locations(self, doi: str) -> list[Copy]:
        return cast("list[Copy]", self.answer(doi, self.copies))

    def __call__(self) -> Unpaywall:
        return cast("Unpaywall", self)


class FakeArxiv:
    def pdf_url(self, arxiv_id: str) -> str:
        return f"https://arxiv.example/pdf/{arxiv_id}"

    def __call__(self) -> Arxiv:
        return cast("Arxiv", self)
