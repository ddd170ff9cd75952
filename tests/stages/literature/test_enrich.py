"""Which service is asked, in which order, and what becomes of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from stages.literature.enrich import enrich
from stages.literature.records import Alias, Citation, Reference, Unresolved, Work
from streamflow.errors import Unreachable
from tests.stages.literature.fakes import FakeCrossref, FakeOpenAlex, crossref_work, openalex_work

pytestmark = pytest.mark.asyncio

TITLE = "Slow cooling of granite under ice sheets"
RAW = f"J. Doe, {TITLE}, Journal of Invented Geology 12, 345 (2014)."


def reference(raw: str = RAW, **guessed: Any) -> Reference:
    return Reference(paper="a" * 64, position=7, paper_file="paper.pdf", raw=raw, **guessed)


async def enriched(
    given: Reference, crossref: FakeCrossref, openalex: FakeOpenAlex | None = None
) -> tuple[Work, Citation, list[Alias]]:
    found = await enrich(given, crossref=crossref(), openalex=(openalex or FakeOpenAlex())())
    assert not isinstance(found, Unresolved), found
    return found


async def test_a_doi_costs_one_call_and_is_stored_in_one_form() -> None:
    crossref, openalex = FakeCrossref({"10.5555/abc": crossref_work("10.5555/ABC", TITLE)}), FakeOpenAlex()
    work, citation, aliases = await enriched(reference(doi="https://doi.org/10.5555/ABC"), crossref, openalex)
    assert (work.work, work.doi, work.title) == ("10.5555/abc", "10.5555/abc", TITLE)
    assert (work.first_author, work.authors, work.year) == ("Doe", ("Doe, Jane",), 2014)
    assert (citation.work, citation.position, citation.matched_by, citation.score) == ("10.5555/abc", 7, "doi", 1.0)
    assert aliases == []
    assert crossref.asked == ["10.5555/abc"]
    assert openalex.asked == []


async def test_without_a_doi_one_search_is_enough() -> None:
    hits = [crossref_work("10.5555/other", "Another title altogether"), crossref_work("10.5555/abc", TITLE)]
    crossref, openalex = FakeCrossref(hits=hits), FakeOpenAlex()
    work, citation, _ = await enriched(reference(), crossref, openalex)
    assert work.work == "10.5555/abc"
    assert (citation.matched_by, citation.score) == ("title", 1.0)
    assert (crossref.asked, openalex.asked) == (["search"], [])


async def test_a_work_is_the_same_by_doi_and_by_search() -> None:
    told = crossref_work("10.5555/abc", TITLE)
    by_doi, *_ = await enriched(reference(doi="10.5555/abc"), FakeCrossref({"10.5555/abc": told}))
    by_search, *_ = await enriched(reference(), FakeCrossref(hits=[told]))
    via_openalex, *_ = await enriched(
        reference(title=TITLE),
        FakeCrossref({"10.5555/abc": told}),
        FakeOpenAlex(hits=[openalex_work("W1", TITLE, doi="https://doi.org/10.5555/ABC")]),
    )
    assert by_doi == by_search == via_openalex


async def test_the_order_of_the_hits_does_not_matter() -> None:
    hits = [crossref_work("10.5555/b", TITLE), crossref_work("10.5555/a", TITLE)]
    one, *_ = await enriched(reference(), FakeCrossref(hits=hits))
    other, *_ = await enriched(reference(), FakeCrossref(hits=hits[::-1]))
    assert one == other


async def test_a_doi_unknown_to_crossref_is_asked_of_openalex() -> None:
    openalex = FakeOpenAlex({"10.5555/data": openalex_work("W9", TITLE, doi="https://doi.org/10.5555/data")})
    crossref = FakeCrossref()
    work, citation, aliases = await enriched(reference(doi="10.5555/data"), crossref, openalex)
    assert (work.work, work.openalex_id, work.metadata_source) == ("10.5555/data", "W9", "openalex")
    assert (work.first_author, citation.matched_by, aliases) == ("Doe", "doi", [])
    assert crossref.asked == ["10.5555/data"]


async def test_a_renamed_doi_is_logged() -> None:
    crossref = FakeCrossref({"10.5555/old": crossref_work("10.5555/new", TITLE)})
    work, citation, aliases = await enriched(reference(doi="10.5555/old"), crossref)
    assert work.work == citation.work == "10.5555/new"
    assert [(alias.work, alias.alias) for alias in aliases] == [("10.5555/new", "10.5555/old")]


async def test_a_doi_that_openalex_renames_ends_at_the_work_that_crossref_tells() -> None:
    crossref = FakeCrossref({"10.5555/new": crossref_work("10.5555/new", TITLE)})
    openalex = FakeOpenAlex({"10.5555/old": openalex_work("W1", TITLE, doi="https://doi.org/10.5555/new")})
    work, _, aliases = await enriched(reference(doi="10.5555/old"), crossref, openalex)
    assert (work.work, work.metadata_source) == ("10.5555/new", "crossref")
    assert [alias.alias for alias in aliases] == ["10.5555/old"]


async def test_a_preprint_is_its_published_version() -> None:
    relation = {"is-preprint-of": [{"id-type": "doi", "id": "10.5555/published", "asserted-by": "subject"}]}
    crossref = FakeCrossref(
        {
            "10.5555/pre": crossref_work("10.5555/pre", TITLE, type="posted-content", relation=relation),
            "10.5555/published": crossref_work("10.5555/published", TITLE),
        }
    )
    work, _, aliases = await enriched(reference(doi="10.5555/pre"), crossref)
    assert work.work == "10.5555/published"
    assert [(alias.alias, alias.reason) for alias in aliases] == [("10.5555/pre", "Crossref: is preprint of")]


async def test_two_dois_that_are_the_same_work_end_at_one_whichever_was_cited() -> None:
    def twin(own: str, other: str) -> Any:
        return crossref_work(own, TITLE, relation={"is-identical-to": [{"id-type": "doi", "id": other}]})

    known = {"10.5555/a": twin("10.5555/a", "10.5555/b"), "10.5555/b": twin("10.5555/b", "10.5555/a")}
    from_a, *_ = await enriched(reference(doi="10.5555/a"), FakeCrossref(known))
    from_b, _, aliases = await enriched(reference(doi="10.5555/b"), FakeCrossref(known))
    assert from_a == from_b
    assert [alias.alias for alias in aliases] == ["10.5555/b"]


async def test_an_arxiv_paper_that_was_published_is_the_published_work() -> None:
    crossref = FakeCrossref({"10.5555/abc": crossref_work("10.5555/abc", TITLE)})
    openalex = FakeOpenAlex(
        {"10.48550/arxiv.2007.14289": openalex_work("W1", TITLE, doi="https://doi.org/10.5555/abc")}
    )
    work, citation, aliases = await enriched(reference(arxiv_id="2007.14289v2"), crossref, openalex)
    assert (work.work, citation.matched_by) == ("10.5555/abc", "arxiv")
    assert [alias.alias for alias in aliases] == ["arxiv:2007.14289"]


async def test_arxiv_dois_are_never_asked_of_crossref() -> None:
    doi = "10.48550/arxiv.2007.14289"
    crossref, openalex = FakeCrossref(), FakeOpenAlex({doi: openalex_work("W1", TITLE, doi=f"https://doi.org/{doi}")})
    work, *_ = await enriched(reference(doi="10.48550/arXiv.2007.14289"), crossref, openalex)
    assert (work.work, work.arxiv_id) == (doi, "2007.14289")
    assert crossref.asked == []


async def test_an_arxiv_paper_that_nobody_describes_is_kept() -> None:
    work, citation, _ = await enriched(reference("J. Doe, arXiv:2007.14289.", arxiv_id="2007.14289"), FakeCrossref())
    assert (work.work, work.arxiv_id, citation.matched_by) == ("arxiv:2007.14289", "2007.14289", "arxiv")


async def test_a_work_without_a_doi_is_kept_under_its_openalex_id() -> None:
    openalex = FakeOpenAlex(hits=[openalex_work("W77", TITLE)])
    work, *_ = await enriched(reference(title=TITLE), FakeCrossref(), openalex)
    assert (work.work, work.doi, work.openalex_id) == ("openalex:W77", None, "W77")


async def test_a_doi_of_another_work_is_not_trusted() -> None:
    wrong = crossref_work("10.5555/wrong", "A history of paper mills", family="Smith", year=1999)
    crossref = FakeCrossref({"10.5555/wrong": wrong}, hits=[wrong, crossref_work("10.5555/abc", TITLE)])
    work, citation, aliases = await enriched(reference(doi="10.5555/wrong", title=TITLE), crossref)
    assert (work.work, citation.matched_by, aliases) == ("10.5555/abc", "title", [])


async def test_what_nobody_knows_is_unresolved_with_the_reasons() -> None:
    wrong = crossref_work("10.5555/wrong", "A history of paper mills", family="Smith", year=1999)
    crossref = FakeCrossref({"10.5555/wrong": wrong}, hits=[crossref_work("10.5555/x", TITLE, year=2004)])
    found = await enrich(reference(doi="10.5555/wrong", title=TITLE), crossref=crossref(), openalex=FakeOpenAlex()())
    assert isinstance(found, Unresolved)
    assert (found.position, found.raw) == (7, RAW)
    assert "10.5555/wrong is of another work" in found.reason
    assert "the year is another" in found.reason
    assert "OpenAlex found nothing" in found.reason


async def test_a_part_of_a_work_is_no_work() -> None:
    crossref = FakeCrossref(hits=[crossref_work("10.5555/abc.g001", TITLE, type="component")])
    found = await enrich(reference(), crossref=crossref(), openalex=FakeOpenAlex()())
    assert isinstance(found, Unresolved)


@pytest.mark.parametrize("raw", ["", "???", "ibid.", "[12]"])
async def test_nothing_to_search_for_costs_no_call(raw: str) -> None:
    crossref, openalex = FakeCrossref(), FakeOpenAlex()
    assert isinstance(await enrich(reference(raw), crossref=crossref(), openalex=openalex()), Unresolved)
    assert crossref.asked == openalex.asked == []


async def test_a_passing_error_is_left_to_the_engine() -> None:
    crossref = FakeCrossref({"10.5555/abc": Unreachable("no connection", service="crossref")})
    with pytest.raises(Unreachable):
        await enrich(reference(doi="10.5555/abc"), crossref=crossref(), openalex=FakeOpenAlex()())


async def test_a_record_without_a_title_is_told_by_openalex() -> None:
    crossref = FakeCrossref({"10.5555/abc": crossref_work("10.5555/abc", "")})
    openalex = FakeOpenAlex({"10.5555/abc": openalex_work("W1", TITLE, doi="https://doi.org/10.5555/abc")})
    work, *_ = await enriched(reference(doi="10.5555/abc"), crossref, openalex)
    assert (work.work, work.title, work.metadata_source) == ("10.5555/abc", TITLE, "openalex")
    assert crossref.asked == ["10.5555/abc"]
