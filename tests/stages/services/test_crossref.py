from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from stages.services.crossref import POLITE, SERVICE, Crossref
from streamflow.errors import BadAnswer, NotFound, Overloaded
from tests.stages.services.serving import context, serving

pytestmark = pytest.mark.asyncio

WORK: dict[str, Any] = {
    "DOI": "10.5555/ABC",
    "title": ["Granite"],
    "subtitle": [],
    "author": [
        {"given": "Jane", "family": "Doe", "sequence": "first", "affiliation": []},
        {"name": "Ice Collaboration"},
    ],
    "issued": {"date-parts": [[None]]},
    "published-print": {"date-parts": [[2014, 3]]},
    "container-title": ["Journal of Invented Geology"],
    "volume": "12",
    "relation": {"is-preprint-of": [{"id-type": "doi", "id": "10.5555/def", "asserted-by": "subject"}]},
    "score": 1,
    "never-heard-of": {"x": [1]},
}


def single(work: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ok", "message-type": "work", "message-version": "1.0.0", "message": work}


async def test_a_work_is_decoded_whatever_is_missing() -> None:
    answers = {
        "/works/10.5555/abc": single(WORK),
        "/works/10.5555/bare": single({"DOI": "10.5555/bare", "title": None}),
    }
    async with serving(answers) as server, context(server) as made, Crossref(made) as crossref:
        work = await crossref.work("10.5555/abc")
        assert (work.doi, work.title, work.volume) == ("10.5555/ABC", ["Granite"], "12")
        assert work.issued is not None
        assert work.issued.year is None
        assert work.published_print is not None
        assert work.published_print.year == 2014
        assert work.relation is not None
        bare = await crossref.work("10.5555/bare")
        assert (bare.title, bare.author, bare.issued) == (None, None, None)


async def test_an_address_buys_the_polite_pool() -> None:
    assert (SERVICE.rate, SERVICE.concurrency) == (5, 1)
    assert (POLITE.rate, POLITE.concurrency) == (10, 3)
    async with serving({"/works/10.5555/abc": single(WORK)}) as server:
        async with context(server, email="me@example.org") as made, Crossref(made) as crossref:
            await crossref.work("10.5555/abc")
        async with context(server) as made, Crossref(made) as crossref:
            await crossref.work("10.5555/abc")
    assert [query for _, query in server.requests] == [{"mailto": "me@example.org"}, {}]


async def test_a_search_sends_the_reference_and_reads_the_hits() -> None:
    answer = {"status": "ok", "message": {"total-results": 1, "items": [WORK], "items-per-page": 5}}
    async with serving({"/works": answer}) as server, context(server) as made, Crossref(made) as crossref:
        (hit,) = await crossref.search("J. Doe & 冰, Granite (2014)")
    assert hit.doi == "10.5555/ABC"
    (_, query) = server.requests[0]
    assert (query["query.bibliographic"], query["rows"]) == ("J. Doe & 冰, Granite (2014)", "5")


async def test_odd_dois_arrive_as_they_are() -> None:
    doi = "10.1002/(sici)1097<1::aid-x>3.0.co;2-#?%41"
    async with serving({}) as server, context(server) as made, Crossref(made) as crossref:
        with pytest.raises(NotFound):
            await crossref.work(doi)
    assert unquote(server.requests[0][0]) == f"/works/{doi}"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: web.Response(status=404, text="Resource not found."), NotFound),
        (lambda: web.json_response({"status": "failed"}, status=400), NotFound),
        (lambda: web.Response(status=429, headers={"Retry-After": "1"}), Overloaded),
        (lambda: web.Response(text="<html>down</html>", content_type="text/html"), BadAnswer),
        (lambda: web.json_response({"message": {"DOI": 5}}), BadAnswer),
    ],
)
async def test_failures_are_told_apart(answer: Any, error: type[Exception]) -> None:
    async with serving({"/works/10.5555/abc": answer}) as server, context(server) as made, Crossref(made) as crossref:
        with pytest.raises(error):
            await crossref.work("10.5555/abc")
