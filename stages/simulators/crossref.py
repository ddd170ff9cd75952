"""Crossref's REST API: `/works/{doi}` and `/works?query.bibliographic=…`, with its two pools.

Wire format and limits as sent by the service in 2026: 5 requests a second and one under way for the public, 10 and
3 for the polite, who give an address in `mailto` or in the User-Agent.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from stages.simulators.catalogue import Catalogue, catalogue, normal_doi
from stages.simulators.entry import Entry
from streamflow.testing.simulator import Allowance, Call, Reply, Simulator

PUBLIC = Allowance("public", requests=5, per=1.0, concurrency=1)
POLITE = Allowance("polite", requests=10, per=1.0, concurrency=3)
MAX_ROWS = 1000
PARAMETERS = {"query", "query.bibliographic", "query.title", "query.author", "query.container-title", "rows",
              "offset", "cursor", "select", "filter", "mailto"}  # fmt: skip
SELECTABLE = {
    "abstract", "accepted", "alternative-id", "approved", "archive", "article-number", "assertion", "author", "chair",
    "clinical-trial-number", "container-title", "content-created", "content-domain", "created", "degree", "deposited",
    "DOI", "editor", "event", "funder", "group-title", "indexed", "ISBN", "ISSN", "issn-type", "issue", "issued",
    "is-referenced-by-count", "license", "link", "member", "original-title", "page", "posted", "prefix", "published",
    "published-online", "published-print", "publisher", "publisher-location", "reference", "references-count",
    "relation", "resource", "score", "short-container-title", "short-title", "standards-body", "subject", "subtitle",
    "title", "translator", "type", "update-policy", "update-to", "updated-by", "URL", "volume",
}  # fmt: skip
FILTERS = {"from-pub-date", "until-pub-date", "type"}

Record = dict[str, Any]


class CrossrefSimulator(Simulator):
    name: ClassVar[str] = "crossref"

    def __init__(self, works: Catalogue | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.works = works or catalogue()
        self._records: dict[str, Record] = {}
        self._bodies: dict[str, bytes] = {}

    @property
    def environment(self) -> dict[str, str]:
        # With an address one is in the polite pool, as everybody should be.
        return {**super().environment, f"{self.variable}__EMAIL": "reader@example.org"}

    def identify(self, call: Call) -> tuple[str, str]:
        if call.path.startswith("/works/"):
            return "works", normal_doi(call.path[7:])
        if call.path == "/works":
            query = call.query
            text = query.get("query.bibliographic") or query.get("query") or query.get("query.title") or ""
            return "search", f"{text} {query['cursor']}" if "cursor" in query else text
        return "other", call.path

    def allowance(self, call: Call) -> Allowance:
        polite = "mailto=" in call.query_string or "mailto:" in call.headers.get("User-Agent", "")
        return POLITE if polite else PUBLIC

    def allowance_headers(self, allowance: Allowance) -> Mapping[str, str]:
        return {
            "x-api-pool": allowance.name,
            "x-rate-limit-limit": str(allowance.requests),
            "x-rate-limit-interval": f"{allowance.per:g}s",
            "x-concurrency-limit": str(allowance.concurrency),
            "access-control-allow-origin": "*",
        }

    def refusal(self, allowance: Allowance | None, reason: str, wait: float) -> Reply:
        page = "<html><body><h1>429 Too Many Requests</h1>\nSlow down.\n</body></html>\n"
        reply = Reply.text(page, 429, "text/html")
        reply.headers = {"Retry-After": str(max(1, round(wait)))}
        return reply

    def answer(self, call: Call, key: str) -> Reply:
        if call.path == "/works":
            return self._list(call.query)
        if not call.path.startswith("/works/"):
            return Reply.text("Resource not found.", 404, "application/json;charset=utf-8")
        refused = [name for name in call.query if name.startswith("query") or name == "filter"]
        if refused:
            return _invalid("parameter-not-allowed", refused[0], "This route does not support field query parameters")
        entry = self.works.doi(key)
        if entry is None or not entry.in_crossref or entry.doi is None:
            return Reply.text("Resource not found.", 404)
        body = self._bodies.get(entry.key)
        if body is None:
            record = {**self.record(entry), "score": 1}
            body = self._bodies[entry.key] = msgspec.json.encode(_envelope("work", record))
        return Reply(body=body)

    def record(self, entry: Entry) -> Record:
        if entry.key not in self._records:
            self._records[entry.key] = _record(entry)
        return self._records[entry.key]

    def _list(self, query: Mapping[str, str]) -> Reply:
        unknown = sorted(query.keys() - PARAMETERS)
        if unknown:
            return _invalid("parameter-not-allowed", unknown[0], f"This route does not support {unknown[0]}")
        rows, offset = query.get("rows", "20"), query.get("offset", "0")
        if not rows.isdecimal() or int(rows) > MAX_ROWS:
            return _invalid("integer-not-valid", rows, f"Integer specified as {rows} must be between 0 and {MAX_ROWS}")
        if not offset.isdecimal():
            return _invalid("integer-not-valid", offset, "Offset must be a positive integer")
        found = self._search(query)
        filters = [part.partition(":")[::2] for part in query.get("filter", "").split(",") if part]
        for name, value in filters:
            if name not in FILTERS:
                return _invalid("filter-not-available", name, f"Filter {name} specified but there is no such filter")
            found = [pair for pair in found if _passes(pair[1], name, value)]
        start = int(offset)
        cursor = query.get("cursor")
        if cursor not in (None, "*"):
            if not re.fullmatch(r"DnF1ZXJ5-\d+", cursor):
                return _invalid("cursor-not-valid", cursor, "The cursor is not valid or has expired")
            start = int(cursor.rpartition("-")[2])
        page = found[start : start + int(rows)]
        items = [{**self.record(entry), "score": round(score, 6)} for score, entry in page]
        if "select" in query:
            wanted = query["select"].split(",")
            if strange := sorted(set(wanted) - SELECTABLE):
                return _invalid("parameter-not-allowed", strange[0], f"Select {strange[0]} is not available")
            items = [{name: item[name] for name in wanted if name in item} for item in items]
        message: Record = {"facets": {}}
        if cursor is not None:
            message["next-cursor"] = f"DnF1ZXJ5-{start + len(page)}"
        message |= {"total-results": len(found), "items": items, "items-per-page": int(rows)}
        message["query"] = {"start-index": start, "search-terms": query.get("query")}
        return Reply.json(_envelope("work-list", message))

    def _search(self, query: Mapping[str, str]) -> Sequence[tuple[float, Entry]]:
        text = " ".join(query[name] for name in sorted(query) if name.startswith("query"))
        if not text.strip():
            return [(1.0, entry) for entry in self.works.crossref.entries]
        return self.works.crossref.search(text)


def _envelope(kind: str, message: Record) -> Record:
    return {"status": "ok", "message-type": kind, "message-version": "1.0.0", "message": message}


def _invalid(kind: str, value: str, message: str) -> Reply:
    failures = [{"type": kind, "value": value, "message": message}]
    return Reply.json({"status": "failed", "message-type": "validation-failure", "message": failures}, 400)


def _passes(entry: Entry, name: str, value: str) -> bool:
    if name == "type":
        return entry.kind == value
    year = int(value[:4]) if value[:4].isdecimal() else 0
    return entry.year >= year if name == "from-pub-date" else entry.year <= year


def _moment(year: int, month: int, day: int) -> Record:
    return {
        "date-parts": [[year, month, day]],
        "date-time": f"{year}-{month:02d}-{day:02d}T08:30:00Z",
        "timestamp": calendar.timegm((year, month, day, 8, 30, 0)) * 1000,
    }


def _record(entry: Entry) -> Record:
    """A work as Crossref tells it: lists where one would expect single values, dates in parts, nothing for nothing."""
    month, day = 1 + entry.number(12, "month"), 1 + entry.number(28, "day")
    title, subtitle = entry.title, ""
    if ": " in title and entry.number(6) == 0:  # some publishers deposit it in two parts
        title, _, subtitle = title.partition(": ")
    doi = normal_doi(entry.doi or "")
    landing = f"https://journals.example.org/article/{entry.key}"
    people: list[Record] = [
        {
            **({"given": author.given} if author.given else {}),
            **({"family": author.family} if author.given else {"name": author.family}),
            "sequence": "additional" if position else "first",
            "affiliation": [],
        }
        for position, author in enumerate(entry.authors)
    ]
    issued = [entry.year] if entry.kind in ("book", "book-chapter") else [entry.year, month]
    count = entry.number(60, "references")
    record: Record = {
        "indexed": {**_moment(2026, month, day), "version": "3.54.1"},
        "reference-count": count,
        "publisher": entry.publisher,
        "issue": entry.issue,
        "content-domain": {"domain": [], "crossmark-restriction": False},
        "short-container-title": [entry.short_venue] if entry.short_venue else [],
        "published-print": {"date-parts": [issued]},
        "DOI": doi,
        "type": entry.kind,
        "created": _moment(entry.year, month, day),
        "page": entry.pages,
        "source": "Crossref",
        "is-referenced-by-count": entry.number(120, "cited"),
        "title": [title.replace("Arabidopsis", "<i>Arabidopsis</i>")],
        "prefix": doi.partition("/")[0],
        "volume": entry.volume,
        "author": people,
        "member": "7000",
        "container-title": [] if entry.kind in ("book", "posted-content") else [entry.venue],
        "original-title": [],
        "language": entry.language,
        "link": [
            {
                "URL": f"{landing}.pdf",
                "content-type": "unspecified",
                "content-version": "vor",
                "intended-application": "similarity-checking",
            }
        ],
        "deposited": _moment(min(entry.year + 1, 2026), month, day),
        "resource": {"primary": {"URL": landing}},
        "subtitle": [subtitle] if subtitle else [],
        "short-title": [],
        "issued": {"date-parts": [issued]},
        "references-count": count,
        "journal-issue": {"issue": entry.issue} if entry.issue else None,
        "URL": f"https://doi.org/{doi}",
        "relation": {},
        "ISSN": [f"2999-{entry.number(9000) + 1000}"] if entry.kind == "journal-article" else None,
        "subject": [],
        "published": {"date-parts": [issued]},
    }
    if entry.kind == "posted-content":
        record |= {"subtype": "preprint", "institution": [{"name": entry.venue}]}
    if entry.preprint_of is not None:
        published = {"id-type": "doi", "id": normal_doi(entry.preprint_of), "asserted-by": "subject"}
        record["relation"] = {"is-preprint-of": [published]}
    return {name: value for name, value in record.items() if value is not None}
