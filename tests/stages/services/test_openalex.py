from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from stages.services.openalex import OpenAlex
from streamflow.errors import CredentialsRefused, NotFound, Overloaded
from tests.stages.services.serving import context, serving

pytestmark = pytest.mark.asyncio

WORK: dict[str, Any] = {
    "id": "https://openalex.org/W123",
    "doi": "https://doi.org/10.5555/abc",
    "title": "Granite",
    "publication_year": 2014,
    "authorships": [
        {"author_position": "first", "author": {"id": None, "display_name": "Jane Doe"}, "institutions": []}
    ],
    "best_oa_location": {"is_oa": True, "pdf_url": None, "landing_page_url": "https://a.example", "source": None},
    "primary_location": None,
    "locations": [],
    "biblio": {"volume": "12", "issue": None, "first_page": None, "last_page": None},
}


async def test_a_work_is_decoded_by_doi_and_by_id() -> None:
    answers = {"/works/doi:10.5555/abc": WORK, "/works/W123": WORK}
    async with serving(answers) as server, context(server) as made, OpenAlex(made) as openalex:
        work = await openalex.work_by_doi("10.5555/abc")
        assert (work.key, work.title, work.publication_year) == ("W123", "Granite", 2014)
        assert work.best_oa_location is not None
        assert work.best_oa_location.pdf_url is None
        assert await openalex.work("w123") == work


async def test_a_merged_work_is_followed() -> None:
    moved = {"Location": "/works/W123"}
    answers = {"/works/W99": lambda: web.Response(status=301, headers=moved), "/works/W123": WORK}
    async with serving(answers) as server, context(server) as made, OpenAlex(made) as openalex:
        assert (await openalex.work("W99")).key == "W123"


@pytest.mark.parametrize("key", ["", "W", "A123", "W1/../W2", "https://openalex.org/W1"])
async def test_only_ids_of_works_are_asked_for(key: str) -> None:
    async with serving({}) as server, context(server) as made, OpenAlex(made) as openalex:
        with pytest.raises(ValueError, match="no OpenAlex id"):
            await openalex.work(key)
    assert server.requests == []


async def test_a_search_holds_plain_words_only_and_the_key_is_sent() -> None:
    answers = {"/works": {"results": [WORK], "meta": {}}}
    async with serving(answers) as server, context(server, api_key="a-key") as made, OpenAlex(made) as openalex:
        (hit,) = await openalex.search('NOT "Ice" AND (granite): 冰川, Größe?')
        assert hit.key == "W123"
        assert await openalex.search(" ?! ") == []
    ((_, query),) = server.requests
    assert query["search"] == "Ice granite 冰川 Größe"
    assert query["api_key"] == "a-key"


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (403, '{"error": "Too many requests per second"}', Overloaded),
        (403, '{"error": "Invalid api_key"}', CredentialsRefused),
        (403, "forbidden characters", NotFound),
        (429, "daily budget used up", Overloaded),
        (404, "", NotFound),
    ],
)
async def test_refusals_are_told_apart(status: int, text: str, error: type[Exception]) -> None:
    answers = {"/works/doi:10.5555/abc": lambda: web.Response(status=status, text=text)}
    async with serving(answers) as server, context(server) as made, OpenAlex(made) as openalex:
        with pytest.raises(error):
            await openalex.work_by_doi("10.5555/abc")
