from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pypdfium2
import pytest
from yarl import URL

from stages.simulators.catalogue import catalogue, normal_doi
from stages.simulators.crossref import CrossrefSimulator
from stages.simulators.entry import Entry
from stages.simulators.literature import SERVICES, literature_simulators
from stages.simulators.openalex import OpenAlexSimulator
from stages.simulators.publisher import BOMB_SIZE, PublisherSimulator
from stages.simulators.unpaywall import UnpaywallSimulator
from streamflow.settings import load_settings

pytestmark = pytest.mark.asyncio
ENTRIES = catalogue().entries
ANY = ENTRIES[3]
RENAMED = next(entry for entry in ENTRIES if entry.aliases)
AWKWARD = next(entry for entry in ENTRIES if "<" in (entry.doi or ""))


def behaving(behaviour: str) -> Entry:
    return next(entry for entry in ENTRIES for copy in entry.copies if copy.behaviour == behaviour)


class Frozen:
    def __call__(self) -> float:
        return 5.0


async def get(url: str, **options: Any) -> tuple[int, aiohttp.ClientResponse, Any]:
    # Raw, so that an encoded slash stays one.
    async with aiohttp.ClientSession() as session, session.get(URL(url, encoded="%" in url), **options) as response:
        body: Any = await response.read()
        if response.content_type == "application/json" and body[:1] in (b"{", b"["):
            body = await response.json()
        return response.status, response, body


@pytest.mark.parametrize("safe", ["/", ""])
async def test_crossref_answers_a_doi_however_it_is_encoded(safe: str) -> None:
    async with CrossrefSimulator(scale=1000) as crossref:
        for entry in (ANY, AWKWARD):
            assert entry.doi is not None
            status, _, body = await get(f"{crossref.url}/works/{quote(entry.doi.upper(), safe=safe)}")
            assert status == 200
            assert body["message-type"] == "work"
            assert body["message"]["DOI"] == normal_doi(entry.doi)
            assert [author["family"] for author in body["message"]["author"]] == [a.family for a in entry.authors]
            assert body["message"]["issued"]["date-parts"][0][0] == entry.year
        assert crossref.calls[normal_doi(ANY.doi or "")] == 1


async def test_crossref_answers_a_former_doi_with_the_new_one() -> None:
    async with CrossrefSimulator() as crossref:
        _, _, body = await get(f"{crossref.url}/works/{RENAMED.aliases[0]}")
        assert body["message"]["DOI"] == normal_doi(RENAMED.doi or "")


async def test_crossref_errors() -> None:
    async with CrossrefSimulator(scale=1000) as crossref:
        status, response, body = await get(f"{crossref.url}/works/10.5555/nobody")
        assert (status, response.content_type, body) == (404, "text/plain", b"Resource not found.")
        for path in (f"/works/{ANY.doi}?query.author=x", "/works?rows=1001", "/works?rows=x", "/works?cursor=zz",
                     "/works?colour=red", "/works?select=colour", "/works?filter=colour:red"):  # fmt: skip
            status, _, body = await get(crossref.url + path)
            assert status == 400
            assert (body["status"], body["message-type"]) == ("failed", "validation-failure")


async def test_crossref_searches_with_scores_select_and_rows() -> None:
    async with CrossrefSimulator() as crossref:
        query = {"query.bibliographic": f"{ANY.authors[0].display} {ANY.title}", "rows": "3", "mailto": "a@example.org"}
        _, _, body = await get(f"{crossref.url}/works", params={**query, "select": "DOI,title,score"})
        items = body["message"]["items"]
        assert [sorted(item) for item in items] == [["DOI", "score", "title"]] * 3
        assert items[0]["DOI"] == normal_doi(ANY.doi or "")
        assert items[0]["score"] > items[1]["score"] >= items[2]["score"] > 0
        assert body["message"]["total-results"] > 3


async def test_crossref_pages_by_cursor_through_all_it_knows() -> None:
    async with CrossrefSimulator(scale=1000) as crossref:
        cursor, seen = "*", []
        while True:
            _, _, body = await get(f"{crossref.url}/works", params={"cursor": cursor, "rows": "100"})
            if not body["message"]["items"]:
                break
            seen += [item["DOI"] for item in body["message"]["items"]]
            cursor = body["message"]["next-cursor"]
        assert len(seen) == len(set(seen)) == len(crossref.works.crossref.entries)


@pytest.mark.parametrize(
    ("headers", "params", "pool", "rate", "concurrency"),
    [
        ({}, {}, "public", 5, 1),
        ({}, {"mailto": "a@example.org"}, "polite", 10, 3),
        ({"User-Agent": "x/1 (mailto:a@example.org)"}, {}, "polite", 10, 3),
    ],
)
async def test_crossref_tells_and_enforces_the_limits_of_its_pools(
    headers: dict[str, str], params: dict[str, str], pool: str, rate: int, concurrency: int
) -> None:
    async with CrossrefSimulator(clock=Frozen()) as crossref:
        for _ in range(rate):
            status, response, _ = await get(f"{crossref.url}/works/{ANY.doi}", headers=headers, params=params)
            assert status == 200
            assert response.headers["x-api-pool"] == pool
            assert response.headers["x-rate-limit-limit"] == str(rate)
            assert response.headers["x-rate-limit-interval"] == "1s"
            assert response.headers["x-concurrency-limit"] == str(concurrency)
        status, response, _ = await get(f"{crossref.url}/works/{ANY.doi}", headers=headers, params=params)
        assert (status, crossref.refused) == (429, 1)
        assert response.headers["Retry-After"] == "1"


async def test_openalex_finds_a_work_by_every_name() -> None:
    async with OpenAlexSimulator(publisher=lambda: "http://publisher") as openalex:
        for name in (
            f"doi:{ANY.doi}",
            f"https://doi.org/{ANY.doi}",
            ANY.openalex,
            f"https://openalex.org/{ANY.openalex}",
        ):
            status, _, body = await get(f"{openalex.url}/works/{name}")
            assert status == 200
            assert body["id"] == f"https://openalex.org/{ANY.openalex}"
            assert body["doi"] == f"https://doi.org/{normal_doi(ANY.doi or '')}"
            assert body["authorships"][0]["author"]["display_name"] == ANY.authors[0].display
            assert body["publication_year"] == ANY.year
            assert body["best_oa_location"]["pdf_url"].startswith("http://publisher/")
        status, _, _ = await get(f"{openalex.url}/works/doi:10.5555/nobody")
        assert status == 404


@pytest.mark.parametrize("name", [f"doi:{RENAMED.aliases[0]}", RENAMED.merged[0]])
async def test_openalex_redirects_from_a_merged_work(name: str) -> None:
    async with OpenAlexSimulator() as openalex:
        status, response, _ = await get(f"{openalex.url}/works/{name}", allow_redirects=False)
        assert status == 301
        assert response.headers["Location"] == f"{openalex.url}/works/{RENAMED.openalex}"
        _, _, body = await get(f"{openalex.url}/works/{name}")
        assert body["id"].endswith(f"/{RENAMED.openalex}")


async def test_openalex_searches_for_all_words_in_titles() -> None:
    unregistered = next(entry for entry in ENTRIES if entry.doi is None and entry.openalex)
    async with OpenAlexSimulator() as openalex:
        title = unregistered.title.replace(",", " ").replace(":", " ")
        for params in ({"search": title}, {"filter": f"title.search:{title}"}):
            _, _, body = await get(f"{openalex.url}/works", params=params)
            assert body["results"][0]["id"].endswith(f"/{unregistered.openalex}")
            assert body["results"][0]["doi"] is None
            _, _, body = await get(
                f"{openalex.url}/works", params={name: f"{text} xylophone" for name, text in params.items()}
            )
            assert body["meta"]["count"] == 0


async def test_openalex_selects_fields_of_single_works_and_lists() -> None:
    async with OpenAlexSimulator() as openalex:
        for select, expected in (("id,doi", 200), ("id,colour", 400)):
            status, _, body = await get(f"{openalex.url}/works/{ANY.openalex}", params={"select": select})
            assert status == expected
            assert expected == 400 or body.keys() == {"id", "doi"}
            query = {"filter": f"openalex:{ANY.openalex}", "select": select}
            status, _, body = await get(f"{openalex.url}/works", params=query)
            assert status == expected
            assert expected == 400 or [sorted(result) for result in body["results"]] == [["doi", "id"]]


async def test_openalex_filters_pages_and_refuses_what_is_wrong() -> None:
    dois = [entry.doi for entry in ENTRIES[:7] if entry.openalex]
    async with OpenAlexSimulator(scale=1000) as openalex:
        _, _, body = await get(f"{openalex.url}/works", params={"filter": f"doi:{'|'.join(map(str, dois))}"})
        assert body["meta"]["count"] == len(dois)
        seen: list[str] = []
        cursor: str | None = "*"
        while cursor is not None:
            params = {"filter": "publication_year:2015-2020", "per_page": "10", "cursor": cursor}
            _, _, body = await get(f"{openalex.url}/works", params=params)
            seen += [result["id"] for result in body["results"]]
            cursor = body["meta"]["next_cursor"]
        assert len(seen) == len(set(seen)) == body["meta"]["count"] > 50
        for wrong in (
            {"per_page": "101"},
            {"filter": "colour:red"},
            {"filter": "title.search:one, two"},
            {"cursor": "zz"},
        ):
            status, _, body = await get(f"{openalex.url}/works", params=wrong)
            assert status == 400
            assert "message" in body


async def test_openalex_answers_403_too_fast_and_429_when_the_budget_is_spent() -> None:
    async with OpenAlexSimulator(clock=Frozen(), budget=0.0015) as openalex:
        url = f"{openalex.url}/works"
        assert (await get(url, params={"search": "soil"}))[0] == 200
        assert (await get(url, params={"search": "soil"}))[0] == 429
        assert (await get(f"{url}/{ANY.openalex}"))[0] == 200
    async with OpenAlexSimulator(clock=Frozen(), scale=0.02) as openalex:
        url = f"{openalex.url}/works/{ANY.openalex}"
        assert [(await get(url))[0] for _ in range(3)] == [200, 200, 403]


async def test_unpaywall_wants_an_address_and_tells_locations() -> None:
    known = next(entry for entry in ENTRIES if [copy.pdf for copy in entry.copies] == [False, True])
    closed = next(entry for entry in ENTRIES if entry.closed)
    async with UnpaywallSimulator(publisher=lambda: "http://publisher") as unpaywall:
        assert (await get(f"{unpaywall.url}/v2/{known.doi}"))[0] == 422
        assert (await get(f"{unpaywall.url}/v2/{known.doi}?email=nobody"))[0] == 422
        assert (await get(f"{unpaywall.url}/v2/10.5555/nobody?email=a@example.org"))[0] == 404
        _, _, body = await get(f"{unpaywall.url}/v2/{known.doi}?email=a@example.org")
        assert body["is_oa"] is True
        assert body["best_oa_location"]["url_for_pdf"] is None
        assert body["oa_locations"][1]["url_for_pdf"].startswith("http://publisher/")
        _, _, body = await get(f"{unpaywall.url}/v2/{closed.doi}?email=a@example.org")
        assert (body["is_oa"], body["best_oa_location"], body["oa_locations"]) == (False, None, [])


async def test_openalex_and_unpaywall_know_different_copies() -> None:
    async with AsyncExitStack() as stack:
        simulators = literature_simulators(scale=1000)
        for simulator in simulators:
            await stack.enter_async_context(simulator)
        _, openalex, unpaywall, _ = simulators
        for entry in ENTRIES[:40]:
            for copy in entry.copies:
                if len(copy.known_to) == 1 and entry.openalex:
                    _, _, alex = await get(f"{openalex.url}/works/{entry.openalex}")
                    _, _, wall = await get(f"{unpaywall.url}/v2/{entry.doi}?email=a@example.org")
                    assert alex["open_access"]["is_oa"] is ("openalex" in copy.known_to)
                    assert wall["is_oa"] is ("unpaywall" in copy.known_to)


async def test_the_publisher_has_a_paper_of_its_own_for_every_work() -> None:
    async with PublisherSimulator() as publisher:
        papers = set()
        for entry in ENTRIES[::23]:
            status, response, body = await get(f"{publisher.url}/publisher/pdf/{entry.key}.pdf")
            assert (status, response.content_type) == (200, "application/pdf")
            document = pypdfium2.PdfDocument(body)
            try:
                assert document.get_metadata_dict()["Title"] == entry.title
                assert len(document) == 1
            finally:
                document.close()
            papers.add(body)
        assert len(papers) == len(ENTRIES[::23])


async def test_the_publisher_misbehaves_as_told() -> None:
    async with PublisherSimulator() as publisher:
        url = f"{publisher.url}/publisher"
        status, response, body = await get(f"{url}/html/{ANY.key}.pdf")
        assert (status, response.content_type) == (200, "text/html")
        assert (await get(f"{url}/missing/{ANY.key}.pdf"))[0] == 404
        assert (await get(f"{url}/closed/{ANY.key}.pdf"))[0] == 403
        assert (await get(f"{url}/pdf/nobody.pdf"))[0] == 404
        whole = (await get(f"{url}/pdf/{ANY.key}.pdf"))[2]
        part = (await get(f"{url}/truncated/{ANY.key}.pdf"))[2]
        assert whole.startswith(part)
        assert len(part) < len(whole)
        assert (await get(f"{url}/redirect/{ANY.key}.pdf"))[2] == whole
        _, response, _ = await get(f"{url}/private/{ANY.key}.pdf", allow_redirects=False)
        assert response.headers["Location"].startswith("http://169.254.169.254/")
        with pytest.raises(aiohttp.TooManyRedirects):
            await get(f"{url}/loop/{ANY.key}.pdf")
        status, response, body = await get(f"{url}/bomb/{ANY.key}.pdf")
        assert int(response.headers["Content-Length"]) < 100_000
        assert len(body) > BOMB_SIZE


async def test_arxiv_papers_are_served_where_its_variable_points() -> None:
    entry = next(entry for entry in ENTRIES if entry.arxiv and not entry.in_crossref)
    async with PublisherSimulator() as publisher:
        base = publisher.environment["STREAMFLOW_SERVICES__ARXIV__BASE_URL"]
        for name in (entry.arxiv, f"{entry.arxiv}v2", f"{entry.arxiv}.pdf"):
            _, response, _ = await get(f"{base}/pdf/{name}")
            assert response.content_type == "application/pdf"
        assert (await get(f"{base}/pdf/2101.00001"))[0] == 404


async def test_the_environment_is_what_the_settings_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        for simulator in literature_simulators():
            await stack.enter_async_context(simulator)
            environment |= simulator.environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(tmp_path)
    assert settings.services.keys() >= {*SERVICES, "arxiv"}
    assert all((settings.services[name].base_url or "").startswith("http://127.0.0.1:") for name in SERVICES)
    assert settings.services["unpaywall"].email
    assert settings.download.allow_private


async def test_faults_and_latency_by_service_and_unknown_services() -> None:
    simulators = literature_simulators(latency={"crossref": 0.5}, faults={"openalex": "503=0.1"})
    assert [simulator.name for simulator in simulators] == list(SERVICES)
    assert [simulator.latency for simulator in simulators] == [0.5, 0.0, 0.0, 0.0]
    assert [bool(simulator.faults) for simulator in simulators] == [False, True, False, False]
    with pytest.raises(ValueError, match="unknown services scholar"):
        literature_simulators(["scholar"])
