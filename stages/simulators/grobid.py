"""GROBID's `POST /api/processReferences`: TEI for the PDFs that it knows, as the server writes it.

https://grobid.readthedocs.io/en/latest/Grobid-service/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from xml.sax.saxutils import escape, quoteattr

from streamflow.testing.simulator import Allowance, Call, Reply, Simulator

Entry = Mapping[str, Any]
"""A reference: `raw`, and what of `doi`, `arxiv_id`, `year`, `first_author`, `title` the server reads in it."""


class GrobidSimulator(Simulator):
    """`lists` maps the sha256 of a PDF to its references; others have none. `threads` is how many it works on at once;
    more are refused with 503."""

    name: ClassVar[str] = "grobid"

    def __init__(self, lists: Mapping[str, Sequence[Entry]], *, threads: int = 10, **settings: Any) -> None:
        super().__init__(**settings)
        self.lists = lists
        self.threads = threads
        self.fields: list[Mapping[str, bytes]] = []

    def identify(self, call: Call) -> tuple[str, str]:
        return call.path.rpartition("/")[2], hashlib.sha256(_fields(call).get("input", b"")).hexdigest()

    def allowance(self, call: Call) -> Allowance:
        return Allowance("threads", concurrency=self.threads)

    def refusal(self, allowance: Allowance | None, reason: str, wait: float) -> Reply:
        return Reply(503)

    def answer(self, call: Call, key: str) -> Reply:
        if call.method not in ("POST", "PUT") or call.path != "/api/processReferences":
            return Reply.text("HTTP 404 Not Found", 404)
        fields = _fields(call)
        self.fields.append({name: value for name, value in fields.items() if name != "input"})
        if "input" not in fields:
            return Reply(400)
        if not fields["input"].startswith(b"%PDF-"):
            return Reply.text("[BAD_INPUT_DATA] PDF to XML conversion failed with error code: 1", 500)
        entries = self.lists.get(key)
        if entries is None:
            return Reply(204)
        raw = fields.get("includeRawCitations") == b"1"
        return Reply(body=tei(entries, raw=raw).encode(), content_type="application/xml")


def tei(entries: Sequence[Entry], *, raw: bool = True) -> str:
    """The answer for a list of references."""
    listed = "\n".join(_entry(number, entry, raw=raw) for number, entry in enumerate(entries))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<TEI xml:space="preserve" xmlns="http://www.tei-c.org/ns/1.0">\n'
        '\t<teiHeader>\n\t\t<fileDesc xml:id="_0"/>\n\t</teiHeader>\n\t<text>\n\t\t<front/>\n\t\t<body/>\n\t\t<back>\n'
        f"\t\t\t<div>\n\t\t\t\t<listBibl>\n{listed}\n\t\t\t\t</listBibl>\n\t\t\t</div>\n\t\t</back>\n\t</text>\n</TEI>\n"
    )


def _entry(number: int, entry: Entry, *, raw: bool) -> str:
    def element(value: object, form: str) -> str:
        return form.format(escape(str(value))) if value else ""

    title = element(entry.get("title"), '<title level="a" type="main">{}</title>')
    author = element(entry.get("first_author"), "<author><persName><surname>{}</surname></persName></author>")
    doi = element(entry.get("doi"), '<idno type="DOI">{}</idno>')
    arxiv = element(entry.get("arxiv_id"), '<idno type="arXiv">arXiv:{}</idno>')
    date = f'<date type="published" when={quoteattr(str(entry["year"]))} />' if entry.get("year") else ""
    note = element(entry["raw"], '<note type="raw_reference">{}</note>') if raw else ""
    return (
        f'<biblStruct xml:id="b{number}">\n\t<analytic>{title}{author}{doi}{arxiv}</analytic>\n'
        f'\t<monogr><title level="j"/><imprint>{date}</imprint></monogr>\n\t{note}\n</biblStruct>'
    )


def _fields(call: Call) -> dict[str, bytes]:
    """The parts of a multipart body by name."""
    boundary = re.search(r'boundary="?([^";]+)', call.headers.get("Content-Type", ""))
    if boundary is None:
        return {}
    fields = {}
    for part in call.body.split(b"--" + boundary[1].encode()):
        head, _, value = part.partition(b"\r\n\r\n")
        if name := re.search(rb'name="(\w+)"', head):
            fields[name[1].decode()] = value.removesuffix(b"\r\n")
    return fields
