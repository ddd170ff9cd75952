from __future__ import annotations

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from stages.services.arxiv import Arxiv
from stages.services.unpaywall import Unpaywall
from streamflow.errors import CredentialsRefused, NotFound
from tests.stages.services.serving import context, serving

pytestmark = pytest.mark.asyncio

ADDRESS = "me@example.org"
BEST = {"url_for_pdf": None, "url": "https://a.example/landing", "host_type": "publisher"}
OTHER = {"url_for_pdf": "https://b.example/1.pdf", "url": "https://b.example/1.pdf", "host_type": "repository"}


async def test_the_copies_come_best_first_and_the_address_is_sent() -> None:
    answer = {"doi": "10.5555/abc", "is_oa": True, "best_oa_location": BEST, "oa_locations": [OTHER, BEST]}
    answers = {"/v2/10.5555/abc": answer, "/v2/10.5555/closed": {"best_oa_location": None}}
    async with serving(answers) as server, context(server, email=ADDRESS) as made, Unpaywall(made) as unpaywall:
        copies = await unpaywall.locations("10.5555/abc")
        assert [copy.url_for_pdf for copy in copies] == [None, "https://b.example/1.pdf"]
        assert await unpaywall.locations("10.5555/closed") == []
        with pytest.raises(NotFound):
            await unpaywall.locations("10.5555/unknown")
    assert {query["email"] for _, query in server.requests} == {ADDRESS}


async def test_without_an_address_it_is_left_out_and_that_is_said_once() -> None:
    async with serving({}) as server, context(server) as made:
        with capture_logs() as logs:
            async with Unpaywall(made) as unpaywall:
                assert not unpaywall.available
                assert await unpaywall.locations("10.5555/abc") == []
                assert await unpaywall.locations("10.5555/def") == []
    assert len(logs) == 1
    assert server.requests == []


async def test_a_refused_address_stops_the_run_instead_of_losing_works() -> None:
    answers = {"/v2/10.5555/abc": lambda: web.json_response({"error": True}, status=422)}
    async with serving(answers) as server, context(server, email=ADDRESS) as made, Unpaywall(made) as unpaywall:
        with pytest.raises(CredentialsRefused, match="email"):
            await unpaywall.locations("10.5555/abc")


async def test_arxiv_links_are_made_without_a_call() -> None:
    async with serving({}) as server, context(server) as made, Arxiv(made) as arxiv:
        assert arxiv.pdf_url("hep-th/9901001") == f"{server.url}/pdf/hep-th/9901001"
    assert server.requests == []
