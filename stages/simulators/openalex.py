"""OpenAlex: single works by key or DOI, searches and filters with cursor paging.

As its pages say (2026): 100 requests a second, beyond which it answers 403; a daily budget, which searches (1 $ for
1,000) and filters (0.1 $) use and single works do not, beyond which it answers 429; 301 for merged works; `per_page`
up to 100; `api_key` as a parameter, `mailto` ignored. The words of a search must all occur.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from stages.simulators.catalogue import Catalogue, catalogue, normal_doi
from stages.simulators.entry import Copy, Entry
from stages.simulators.locations import landing_url, pdf_url
from streamflow.testing.simulator import Allowance, Call, Reply, Simulator

ANYBODY = Allowance("anybody", requests=100, per=1.0)
SEARCH_COST, FILTER_COST = 0.001, 0.0001  # dollars a call
TYPES = {"journal-article": "article", "proceedings-article": "article", "posted-content": "preprint"}
FILTERS = {"title.search", "display_name.search", "default.search", "doi", "publication_year", "type", "openalex",
           "ids.openalex", "is_oa", "open_access.is_oa"}  # fmt: skip
MAX_PER_PAGE = 100

Record = dict[str, Any]


class OpenAlexSimulator(Simulator):
    """`publisher` gives the address at which the copies lie; `budget` is the daily one in dollars, None for no end;
    `api_key`, when set, is the only one accepted."""

    name: ClassVar[str] = "openalex"

    def __init__(
        self, works: Catalogue | None = None, *, publisher: Callable[[], str] = lambda: "",
        budget: float | None = None, api_key: str | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(**settings)
        self.works = works or catalogue()
        self.publisher = publisher
        self.budget = budget
        self.api_key = api_key
        self.spent = 0.0
        self._bodies: dict[tuple[str, str], bytes] = {}

    def identify(self, call: Call) -> tuple[str, str]:
        if call.path.startswith("/works/"):
            return "works", re.sub(r"^https?://openalex\.org/(?:works/)?", "", normal_doi(call.path[7:]))
        if call.path == "/works":
            query = call.query
            return "search", " ".join(query[name] for name in ("search", "filter", "cursor") if name in query)
        return "other", call.path

    def allowance(self, call: Call) -> Allowance:
        return ANYBODY

    def refusal(self, allowance: Allowance | None, reason: str, wait: float) -> Reply:
        if reason == "fault":
            return _error(429, "Too many requests", "Rate limit exceeded", {"Retry-After": str(max(1, round(wait)))})
        return _error(403, "Rate limit exceeded", "More than 100 requests per second: slow down")

    def answer(self, call: Call, key: str) -> Reply:
        if self.api_key is not None and call.query.get("api_key", self.api_key) != self.api_key:
            return _error(401, "Invalid API key", "The API key is not known")
        if call.path.startswith("/works/"):
            return self._single(call.path[7:], call.query)
        if call.path != "/works":
            return _error(404, "Not found", f"There is no {call.path}")
        cost = SEARCH_COST if "search" in call.query or ".search:" in call.query.get("filter", "") else FILTER_COST
        if self.budget is not None and self.spent + cost > self.budget:
            told = {"Retry-After": "86400", "X-RateLimit-Remaining-USD": "0"}
            return _error(429, "Rate limit exceeded", "Insufficient budget: it resets at midnight UTC", told)
        self.spent += cost
        return self._list(call.query)

    def _single(self, name: str, query: Mapping[str, str]) -> Reply:
        asked = re.sub(r"^https?://openalex\.org/(?:works/)?", "", name, flags=re.IGNORECASE)
        if re.fullmatch(r"[Ww]\d+", asked):
            entry = self.works.by_openalex.get(asked.upper())
            moved = entry is not None and entry.openalex != asked.upper()
        elif re.match(r"doi:|https?://(?:dx\.)?doi\.org/|10\.", asked, re.IGNORECASE):
            entry = self.works.doi(asked)
            moved = entry is not None and normal_doi(entry.doi or "") != normal_doi(asked)
        else:
            entry, moved = None, False
        if entry is None or entry.openalex is None:
            return _error(404, "Not found", f"Work {name} not found")
        if moved:
            return Reply(301, b"", "text/html", {"Location": f"{self.url}/works/{entry.openalex}"})
        select = query.get("select", "")
        body = self._bodies.get((entry.key, select))
        if body is None:
            chosen = _selected([work_object(entry, self.publisher())], select)
            if isinstance(chosen, Reply):
                return chosen
            body = self._bodies[entry.key, select] = msgspec.json.encode(chosen[0])
        return Reply(body=body)

    def _list(self, query: Mapping[str, str]) -> Reply:
        per_page = query.get("per_page") or query.get("per-page") or "25"
        if not per_page.isdecimal() or not 1 <= int(per_page) <= MAX_PER_PAGE:
            return _error(400, "Invalid query parameters error", f"per_page must be from 1 to {MAX_PER_PAGE}")
        found = [(None, entry) for entry in self.works.openalex.entries]
        scored: list[tuple[float | None, Entry]] = list(found)
        if "search" in query:
            scored = [*self.works.openalex.search(query["search"], all_words=True)]
        for part in (part for part in query.get("filter", "").split(",") if part):
            # A comma divides filters; one within a text leaves a part without a name.
            name, colon, value = part.partition(":")
            if not colon or name.strip() not in FILTERS:
                return _error(400, "Invalid filter", f"Unknown filter field: {name}")
            scored = self._filter(scored, name.strip(), value)
        cursor = query.get("cursor")
        start = 0
        if cursor not in (None, "*"):
            if not re.fullmatch(r"IlsxNjA5-\d+", cursor):
                return _error(400, "Invalid query parameters error", "The cursor is not valid")
            start = int(cursor.rpartition("-")[2])
        elif cursor is None:
            start = (int(query.get("page", "1")) - 1) * int(per_page) if query.get("page", "1").isdecimal() else 0
        page = scored[start : start + int(per_page)]
        meta: Record = {"count": len(scored), "db_response_time_ms": 20, "per_page": int(per_page)}
        if cursor is None:
            meta["page"] = start // int(per_page) + 1
        else:
            more = start + len(page) < len(scored)
            meta |= {"page": None, "next_cursor": f"IlsxNjA5-{start + len(page)}" if more and page else None}
        publisher = self.publisher()
        results = []
        for score, entry in page:
            result = work_object(entry, publisher)
            results.append(result if score is None else {"relevance_score": round(score * 10, 4), **result})
        chosen = _selected(results, query.get("select", ""))
        if isinstance(chosen, Reply):
            return chosen
        return Reply.json({"meta": meta, "results": chosen, "group_by": []})

    def _filter(
        self, scored: list[tuple[float | None, Entry]], name: str, value: str
    ) -> list[tuple[float | None, Entry]]:
        if name.endswith(".search"):
            hits = {entry.key: score for score, entry in self.works.openalex.search(value, all_words=True)}
            kept = [(hits[entry.key], entry) for _, entry in scored if entry.key in hits]
            return [*sorted(kept, key=lambda pair: -pair[0])]
        values = {part.strip().lower() for part in value.split("|")}

        def passes(entry: Entry) -> bool:
            if name == "doi":
                wanted = {normal_doi(part) for part in values}
                return entry.doi is not None and normal_doi(entry.doi) in wanted
            if name == "publication_year":
                low, dash, high = value.partition("-")
                return str(entry.year) in values or bool(dash and low <= str(entry.year) <= high)
            if name == "type":
                return TYPES.get(entry.kind, entry.kind) in values
            if name in ("is_oa", "open_access.is_oa"):
                return str(bool(_known(entry))).lower() in values
            return (entry.openalex or "").lower() in {part.rpartition("/")[2] for part in values}

        return [pair for pair in scored if passes(pair[1])]


def _error(status: int, error: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply.json({"error": error, "message": message}, status, headers)


def _selected(results: list[Record], select: str) -> list[Record] | Reply:
    """Only the root fields that `select` names; an error for one that there is not."""
    if not select or not results:
        return results
    names = [name.strip() for name in select.split(",")]
    unknown = [name for name in names if name not in results[0]]
    if unknown:
        return _error(400, "Invalid query parameters error", f"{unknown[0]} is not a valid select field")
    return [{name: result[name] for name in names} for result in results]


def _known(entry: Entry) -> list[Copy]:
    return [copy for copy in entry.copies if "openalex" in copy.known_to]


def _position(number: int, count: int) -> str:
    return "first" if number == 0 else "last" if number == count - 1 else "middle"


def work_object(entry: Entry, publisher: str) -> Record:
    """A work as OpenAlex tells it. `best_oa_location` and its `pdf_url` may be null."""
    doi = f"https://doi.org/{normal_doi(entry.doi)}" if entry.doi else None
    key = f"https://openalex.org/{entry.openalex}"
    source: Record = {"id": f"https://openalex.org/S99{entry.number(10**7):07d}", "display_name": entry.venue,
                      "type": "repository" if entry.kind in ("posted-content", "dataset") else "journal"}  # fmt: skip
    own: Record = {"is_oa": False, "landing_page_url": doi, "pdf_url": None, "source": source, "license": None,
                   "version": "publishedVersion", "is_accepted": True, "is_published": True}  # fmt: skip
    free = []
    for copy in _known(entry):
        location = {**own, "is_oa": True, "landing_page_url": landing_url(entry, copy, publisher),
                    "pdf_url": pdf_url(entry, copy, publisher) if copy.pdf else None, "license": "cc-by"}  # fmt: skip
        if copy.host != "publisher":
            where = "arXiv (Cornell University)" if copy.host == "arxiv" else "Open Repository"
            place = {"id": "https://openalex.org/S9999", "display_name": where, "type": "repository"}
            location |= {"version": "submittedVersion", "is_published": False, "source": place}
        free.append(location)
    published = [location for location in free if location["version"] == "publishedVersion"]
    locations = [*(published or [own]), *(location for location in free if location not in published)]
    first, _, last = (entry.pages or "").partition("-")
    status = "closed" if not free else "gold" if published else "green"
    return {
        "id": key,
        "doi": doi,
        "title": entry.title,
        "display_name": entry.title,
        "publication_year": entry.year,
        "publication_date": f"{entry.year}-{1 + entry.number(12, 'month'):02d}-01",
        "ids": {"openalex": key, **({"doi": doi} if doi else {})},
        "language": entry.language,
        "primary_location": locations[0],
        "type": TYPES.get(entry.kind, entry.kind),
        "indexed_in": ["crossref"] if entry.in_crossref else [],
        "open_access": {
            "is_oa": bool(free),
            "oa_status": status,
            "oa_url": next((location["pdf_url"] or location["landing_page_url"] for location in free), None),
            "any_repository_has_fulltext": any(copy.host != "publisher" for copy in _known(entry)),
        },
        "authorships": [
            {
                "author_position": _position(position, len(entry.authors)),
                "author": {
                    "id": f"https://openalex.org/A99{entry.number(10**6):06d}{position}",
                    "display_name": author.display,
                    "orcid": None,
                },
                "institutions": [],
                "raw_author_name": author.display,
            }
            for position, author in enumerate(entry.authors)
        ],
        "cited_by_count": entry.number(150, "cited"),
        "biblio": {"volume": entry.volume, "issue": entry.issue, "first_page": first or None,
                   "last_page": last or first or None},
        "is_retracted": False,
        "is_paratext": False,
        "locations_count": len(locations),
        "locations": locations,
        "best_oa_location": free[0] if free else None,
        "referenced_works": [],
    }  # fmt: skip
