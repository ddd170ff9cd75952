"""GROBID: a server that reads reference lists of PDFs with trained models. https://grobid.readthedocs.io

Run by whoever wants it, so there is no address of its own: `[services.grobid] base_url` names the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

# Nothing but elements and text is taken from the answer: a document type, without which there are no entities, ends the
# parse before it is read (see `_Tree`). That is all that defusedxml would do here.
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

import aiohttp
from anyio import to_thread

from streamflow.engine.context import Context
from streamflow.errors import BadAnswer, Overloaded, PermanentError, ServiceError
from streamflow.http.answers import Response
from streamflow.http.service import Service

BUSY_SECONDS = 5.0
"""How long to leave a busy server alone: "3-6 seconds for the processReferences service" (the service's manual)."""
MOST_REFERENCES = 5_000
_LONGEST = 4_000
# The server's words for what is wrong with a file, in answers of status 500
# (https://grobid.readthedocs.io/en/latest/Troubleshooting/). Trying again does not mend a file.
_ABOUT_THE_FILE = {
    "NO_BLOCKS": "it found no text in it (a scan?): run OCR on it, such as ocrmypdf",
    "BAD_INPUT_DATA": "it is damaged, or no PDF",
    "TOO_MANY_BLOCKS": "it is too large for the server",
    "TOO_MANY_TOKENS": "it is too large for the server",
}


class Unreadable(PermanentError):
    """The server cannot read this file. The text completes "GROBID cannot read this file: …"."""


def _judge(response: Response) -> ServiceError | None:
    """Busy (503, which names no time), or not able to read the file (500)."""
    if response.status == 503 and "retry-after" not in response.headers:
        return Overloaded("grobid is busy (503)", service="grobid", status=503, retry_after=BUSY_SECONDS)
    if response.status == 500:
        said = response.text()[:2000]
        for word, meaning in _ABOUT_THE_FILE.items():
            if word in said:
                return Unreadable(meaning, service="grobid", status=500)
    return None


# A server works on as many files as it has threads and answers 503 to more; a small one has four.
SERVICE = Service("grobid", "http://localhost:8070", concurrency=4, timeout=180.0, idle_timeout=180.0, judge=_judge)


@dataclass(frozen=True, slots=True)
class ParsedReference:
    """One entry of a list: as printed, and what the server read in it, not normalised."""

    raw: str
    title: str | None = None
    first_author: str | None = None
    year: int | None = None
    doi: str | None = None
    arxiv_id: str | None = None
    url: str | None = None


class Grobid:
    """A client of one server."""

    def __init__(self, context: Context) -> None:
        self._client = context.client(SERVICE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def references(self, pdf: Path) -> list[ParsedReference]:
        """The reference list of a PDF, in order; none when the server found none. Raises Unreadable."""
        file = await to_thread.run_sync(pdf.open, "rb")
        try:
            # Looking works up is a stage's task, under its limits, not the server's.
            form = aiohttp.FormData({"includeRawCitations": "1", "consolidateCitations": "0"})
            form.add_field("input", file, filename="paper.pdf", content_type="application/pdf")
            response = await self._client.request(
                "/api/processReferences", method="POST", data=form, headers={"Accept": "application/xml"}
            )
        finally:
            await to_thread.run_sync(file.close)
        if response.status == 204:
            return []
        return await to_thread.run_sync(read_tei, response.body)


def read_tei(document: bytes) -> list[ParsedReference]:
    """The entries of all `listBibl` of a TEI document. Raises BadAnswer for what is none."""
    parser = XMLParser(target=_Tree())  # noqa: S314 - no document type, so no entities
    try:
        parser.feed(document)
        root: Element = parser.close()
    except (ParseError, _Forbidden, ValueError, LookupError) as error:
        raise BadAnswer(f"grobid sent what is not plain XML: {str(error)[:200]}", service="grobid") from None
    if not root.tag.endswith("TEI"):
        raise BadAnswer(f"grobid sent XML that is no TEI, but <{root.tag[:100]}>", service="grobid")
    return list(_entries(root))


class _Forbidden(Exception):
    """The document has a document type."""


class _Tree(TreeBuilder):
    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _Forbidden("it has a document type, which no answer of GROBID has")


def _entries(root: Element) -> Iterator[ParsedReference]:
    for count, entry in enumerate(root.iterfind(".//{*}listBibl/{*}biblStruct")):
        if count >= MOST_REFERENCES:
            return
        raw = _text(entry.find("{*}note[@type='raw_reference']")) or " ".join(entry.itertext())
        raw = " ".join(raw.split())[:_LONGEST]
        if not any(sign.isalpha() for sign in raw):
            continue
        title = entry.find("{*}analytic/{*}title[@level='a']")
        pointer = entry.find(".//{*}ptr[@target]")
        yield ParsedReference(
            raw=raw,
            title=_text(title if _text(title) else entry.find("{*}monogr/{*}title[@level='m']")),
            first_author=_text(entry.find(".//{*}author/{*}persName/{*}surname")),
            year=_year(entry.find(".//{*}imprint/{*}date[@when]")),
            doi=_text(entry.find(".//{*}idno[@type='DOI']")),
            arxiv_id=_text(entry.find(".//{*}idno[@type='arXiv']")),
            url=pointer.get("target") if pointer is not None else None,
        )


def _text(element: Element | None) -> str | None:
    if element is None:
        return None
    return " ".join("".join(element.itertext()).split())[:_LONGEST] or None


def _year(date: Element | None) -> int | None:
    """The year of an ISO 8601 date, which may be only that."""
    year = (date.get("when") or "")[:4] if date is not None else ""
    return int(year) if len(year) == 4 and year.isascii() and year.isdigit() and 1500 <= int(year) < 2200 else None
