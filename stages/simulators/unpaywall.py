"""Unpaywall: `GET /v2/{doi}?email=…`. The address is required (422); an unknown DOI is 404; about 100,000 calls
a day, here all in one window of a day. `best_oa_location` and its `url_for_pdf` may be null.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from stages.simulators.catalogue import Catalogue, catalogue, normal_doi
from stages.simulators.entry import Copy, Entry
from stages.simulators.locations import landing_url, pdf_url
from streamflow.testing.simulator import Allowance, Call, Reply, Simulator

DAILY = Allowance("day", requests=100_000, per=86_400.0)
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

Record = dict[str, Any]


class UnpaywallSimulator(Simulator):
    """`publisher` gives the address at which the copies lie."""

    name: ClassVar[str] = "unpaywall"

    def __init__(
        self, works: Catalogue | None = None, *, publisher: Callable[[], str] = lambda: "", **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.works = works or catalogue()
        self.publisher = publisher
        self._bodies: dict[str, bytes] = {}

    @property
    def environment(self) -> dict[str, str]:
        # The service answers only those who give an address.
        return {**super().environment, f"{self.variable}__EMAIL": "reader@example.org"}

    def identify(self, call: Call) -> tuple[str, str]:
        return ("doi", normal_doi(call.path[4:])) if call.path.startswith("/v2/") else ("other", call.path)

    def allowance(self, call: Call) -> Allowance:
        return DAILY

    def answer(self, call: Call, key: str) -> Reply:
        if not call.path.startswith("/v2/"):
            return _error(404, f"There is no {call.path}")
        if not EMAIL.fullmatch(call.query.get("email", "")):
            return _error(422, "Email address required in API call")
        entry = self.works.doi(key)
        # It knows what Crossref knows, nothing that another agency registered.
        if entry is None or not entry.in_crossref:
            return _error(404, f"'{key}' isn't in Unpaywall")
        body = self._bodies.get(entry.key)
        if body is None:
            body = self._bodies[entry.key] = msgspec.json.encode(_object(entry, self.publisher()))
        return Reply(body=body)


def _error(status: int, message: str) -> Reply:
    return Reply.json({"HTTP_status_code": status, "error": True, "message": message}, status)


def _object(entry: Entry, publisher: str) -> Record:
    doi = normal_doi(entry.doi or "")
    copies = [copy for copy in entry.copies if "unpaywall" in copy.known_to]
    locations = [_location(entry, copy, publisher, not position) for position, copy in enumerate(copies)]
    hosts = {copy.host for copy in copies}
    return {
        "doi": doi,
        "doi_url": f"https://doi.org/{doi}",
        "title": entry.title,
        "genre": entry.kind,
        "is_paratext": False,
        "published_date": f"{entry.year}-{1 + entry.number(12, 'month'):02d}-01",
        "year": entry.year,
        "journal_name": entry.venue,
        "journal_issns": None,
        "journal_issn_l": None,
        "journal_is_oa": False,
        "journal_is_in_doaj": False,
        "publisher": entry.publisher,
        "is_oa": bool(copies),
        "oa_status": "closed" if not copies else "hybrid" if "publisher" in hosts else "green",
        "has_repository_copy": bool(hosts - {"publisher"}),
        "best_oa_location": locations[0] if locations else None,
        "first_oa_location": locations[0] if locations else None,
        "oa_locations": locations,
        "oa_locations_embargoed": [],
        "updated": "2026-01-15T10:00:00",
        "data_standard": 2,
        "z_authors": [
            {"raw_author_name": author.display, "author_position": "additional" if position else "first"}
            for position, author in enumerate(entry.authors)
        ],
    }


def _location(entry: Entry, copy: Copy, publisher: str, best: bool) -> Record:
    pdf = pdf_url(entry, copy, publisher) if copy.pdf else None
    landing = landing_url(entry, copy, publisher)
    return {
        "updated": "2026-01-15T10:00:00",
        "url": pdf or landing,
        "url_for_pdf": pdf,
        "url_for_landing_page": landing,
        "evidence": "open (via free pdf)" if copy.host == "publisher" else "oa repository (via OAI-PMH doi match)",
        "license": "cc-by",
        "version": "publishedVersion" if copy.host == "publisher" else "submittedVersion",
        "host_type": "publisher" if copy.host == "publisher" else "repository",
        "endpoint_id": None,
        "is_best": best,
        "pmh_id": None,
        "repository_institution": None if copy.host == "publisher" else "Open Repository",
        "oa_date": f"{entry.year}-12-01",
    }
