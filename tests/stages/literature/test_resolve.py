"""Where free copies are looked for, and in which order they are tried."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stages.literature.records import ClosedAccess, Download, Work
from stages.literature.resolve import resolve
from stages.services.unpaywall import Copy
from streamflow.errors import Overloaded
from tests.stages.literature.fakes import FakeArxiv, FakeOpenAlex, FakeUnpaywall, openalex_work

pytestmark = pytest.mark.asyncio

WORK = Work(work="10.5555/abc", doi="10.5555/abc", title="Granite", first_author="Doe", year=2014)


def place(url: str | None, **more: Any) -> dict[str, Any]:
    return {"is_oa": True, "pdf_url": url, "landing_page_url": "https://landing.example/1"} | more


def known(best: str | None, *others: str | None, **more: Any) -> FakeOpenAlex:
    best_place = place(best) if best else None
    answer = openalex_work(
        "W1", "Granite", best_oa_location=best_place, locations=[place(url) for url in others], **more
    )
    return FakeOpenAlex({"10.5555/abc": answer, "W1": answer})


def copies(*urls: str | None) -> FakeUnpaywall:
    return FakeUnpaywall({"10.5555/abc": [msgspec.convert({"url_for_pdf": url}, Copy) for url in urls]})


async def resolved(work: Work, openalex: FakeOpenAlex, unpaywall: FakeUnpaywall) -> Download | ClosedAccess:
    return await resolve(work, openalex=openalex(), unpaywall=unpaywall(), arxiv=FakeArxiv()())


async def test_candidates_come_best_first_each_once() -> None:
    openalex = known("https://a.example/1.pdf", "http://a.example/1.pdf", None)
    unpaywall = copies("https://a.example/1.pdf", "https://b.example/2.pdf", None)
    found = await resolved(WORK, openalex, unpaywall)
    assert isinstance(found, Download)
    assert found.candidates == ("https://a.example/1.pdf", "https://b.example/2.pdf")
    assert (found.work, found.title, found.first_author, found.year) == ("10.5555/abc", "Granite", "Doe", 2014)


async def test_unpaywall_is_not_asked_when_openalex_knows_enough() -> None:
    unpaywall = copies("https://c.example/3.pdf")
    found = await resolved(WORK, known("https://a.example/1.pdf", "https://b.example/2.pdf"), unpaywall)
    assert isinstance(found, Download)
    assert unpaywall.asked == []


async def test_the_arxiv_copy_comes_last() -> None:
    openalex = known("https://a.example/1.pdf", None)
    arxiv_place = place(None, landing_page_url="https://arxiv.org/abs/2007.14289v3")
    openalex.works["10.5555/abc"] = openalex_work(
        "W1", "Granite", locations=[place("https://a.example/1.pdf"), arxiv_place]
    )
    found = await resolved(WORK, openalex, FakeUnpaywall())
    assert isinstance(found, Download)
    assert found.candidates == ("https://a.example/1.pdf", "https://arxiv.example/pdf/2007.14289")


async def test_an_arxiv_doi_is_not_asked_of_unpaywall() -> None:
    work = Work(work="10.48550/arxiv.2007.14289", doi="10.48550/arxiv.2007.14289", arxiv_id="2007.14289", title="Ice")
    openalex, unpaywall = FakeOpenAlex(), FakeUnpaywall()
    found = await resolved(work, openalex, unpaywall)
    assert isinstance(found, Download)
    assert found.candidates == ("https://arxiv.example/pdf/2007.14289",)
    assert unpaywall.asked == []


async def test_a_work_without_a_doi_is_asked_for_by_its_openalex_id() -> None:
    work = Work(work="openalex:W1", openalex_id="W1", title="Granite")
    openalex, unpaywall = known("https://a.example/1.pdf"), FakeUnpaywall()
    assert isinstance(await resolved(work, openalex, unpaywall), Download)
    assert (openalex.asked, unpaywall.asked) == (["W1"], [])


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/1.pdf", "file:///etc/passwd", "javascript:alert(1)", "/1.pdf", "", "https://a.example/\n1.pdf"],
)
async def test_only_web_addresses_are_candidates(url: str) -> None:
    assert isinstance(await resolved(WORK, known(url), copies(url)), ClosedAccess)


async def test_closed_access_says_who_was_asked() -> None:
    found = await resolved(WORK, known(None), FakeUnpaywall())
    assert isinstance(found, ClosedAccess)
    assert found.reason == "OpenAlex knows no free PDF; Unpaywall does not know the DOI; it has no arXiv id"


async def test_without_an_address_unpaywall_is_left_out() -> None:
    unpaywall = copies("https://a.example/1.pdf")
    unpaywall.available = False
    found = await resolved(WORK, known(None), unpaywall)
    assert isinstance(found, ClosedAccess)
    assert "email address" in found.reason
    assert unpaywall.asked == []


async def test_a_passing_error_is_left_to_the_engine() -> None:
    openalex = FakeOpenAlex({"10.5555/abc": Overloaded("busy", service="openalex", status=429)})
    with pytest.raises(Overloaded):
        await resolved(WORK, openalex, FakeUnpaywall())
