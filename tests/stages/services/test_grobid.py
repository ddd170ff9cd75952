"""What is read from a GROBID server's answers, and what is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stages.services import grobid
from stages.services.grobid import Grobid, ParsedReference, Unreadable, read_tei
from stages.simulators.grobid import GrobidSimulator, tei
from streamflow.engine.context import Context
from streamflow.errors import BadAnswer, Overloaded
from streamflow.http.session import open_session
from streamflow.limits.registry import Registry
from streamflow.settings import load_settings
from streamflow.storage.files import FileStore

PDF = b"%PDF-1.4 a paper"
ENTRY = {
    "raw": "[1] J. Doe. 2014. Ice & snow. J. Ice 3, 4. doi:10.5555/ABC",
    "title": "Ice & snow",
    "first_author": "Doe",
    "year": 2014,
    "doi": "10.5555/ABC",
    "arxiv_id": "1401.00001",
}
HEAD = '<TEI xmlns="http://www.tei-c.org/ns/1.0"><text><back><listBibl>'
TAIL = "</listBibl></back></text></TEI>"


def document(entries: str) -> bytes:
    return f"{HEAD}{entries}{TAIL}".encode()


def test_an_entry_is_read_with_what_the_server_found_in_it() -> None:
    assert read_tei(tei([ENTRY]).encode()) == [
        ParsedReference(
            raw=ENTRY["raw"],  # type: ignore[arg-type]
            title="Ice & snow",
            first_author="Doe",
            year=2014,
            doi="10.5555/ABC",
            arxiv_id="arXiv:1401.00001",
        )
    ]


def test_a_book_has_its_title_and_author_in_another_place() -> None:
    book = (
        '<biblStruct><monogr><title level="m">Frost</title><author><persName><forename>A</forename>'
        '<surname>Roe</surname></persName></author><imprint><date when="1999-05"/></imprint></monogr>'
        '<ptr target="https://example.org/frost"/>'
        '<note type="raw_reference">Roe,\n A.  Frost. 1999.</note></biblStruct>'
    )
    (found,) = read_tei(document(book))
    assert (found.raw, found.title, found.first_author, found.year) == ("Roe, A. Frost. 1999.", "Frost", "Roe", 1999)
    assert found.url == "https://example.org/frost"


def test_without_the_printed_text_that_of_the_parts_stands_in() -> None:
    (found,) = read_tei(tei([ENTRY], raw=False).encode())
    assert found.raw.startswith("Ice & snow")
    assert "Doe" in found.raw


def test_the_paper_itself_and_empty_entries_are_no_references() -> None:
    whole = (
        '<TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><sourceDesc><biblStruct><analytic>'
        '<title level="a">The paper</title></analytic></biblStruct></sourceDesc></teiHeader>'
        "<text><listBibl><biblStruct><analytic/></biblStruct></listBibl></text></TEI>"
    )
    assert read_tei(whole.encode()) == []


def test_what_is_sent_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grobid, "MOST_REFERENCES", 3)
    found = read_tei(tei([{"raw": "x" * 10_000}] * 5).encode())
    assert [len(entry.raw) for entry in found] == [4_000] * 3


BILLION = '<!DOCTYPE TEI [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)
)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no element found"),
        (b"<html><body>Sign in</body></html>", "no TEI"),
        (b"<!DOCTYPE html><html></html>", "document type"),
        (tei([ENTRY]).encode()[:300], "not plain XML"),
        (b'{"error": 1}', "not plain XML"),
        (b"%PDF-1.4", "not plain XML"),
        (f"{BILLION}]><TEI>&m;</TEI>".encode(), "document type"),
        (b'<!DOCTYPE TEI [<!ENTITY x SYSTEM "file:///etc/passwd">]><TEI>&x;</TEI>', "document type"),
        (b"<TEI>&unknown;</TEI>", "undefined entity"),
        (b'<?xml version="1.0" encoding="no-such"?><TEI/>', "not plain XML"),
    ],
)
def test_an_answer_that_is_no_plain_tei_is_refused(answer: bytes, said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        read_tei(answer)


def test_deep_nesting_costs_nothing_but_itself() -> None:
    assert read_tei(document("<div>" * 100_000 + "</div>" * 100_000)) == []


async def asked(server: GrobidSimulator, tmp_path: Path, content: bytes) -> list[ParsedReference]:
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(content)
    settings = load_settings(tmp_path, {"services": {"grobid": {"base_url": server.url}}})
    async with open_session() as session:
        context = Context(tmp_path, settings, session, Registry(), FileStore(tmp_path / "files"))
        async with Grobid(context) as client:
            return await client.references(paper)


@pytest.mark.asyncio
async def test_the_file_is_sent_whole_and_the_printed_text_asked_for(tmp_path: Path) -> None:
    async with GrobidSimulator({hashlib.sha256(PDF).hexdigest(): [ENTRY]}) as server:
        (found,) = await asked(server, tmp_path, PDF)
        assert server.fields == [{"includeRawCitations": b"1", "consolidateCitations": b"0"}]
    assert found.raw == ENTRY["raw"]


@pytest.mark.asyncio
async def test_a_paper_without_references_has_none(tmp_path: Path) -> None:
    async with GrobidSimulator({}) as server:
        assert await asked(server, tmp_path, PDF) == []


@pytest.mark.asyncio
async def test_a_file_that_the_server_cannot_read_is_not_sent_again(tmp_path: Path) -> None:
    async with GrobidSimulator({}) as server:
        with pytest.raises(Unreadable, match="damaged"):
            await asked(server, tmp_path, b"no paper")


@pytest.mark.asyncio
async def test_a_busy_server_is_left_alone_as_long_as_its_manual_says(tmp_path: Path) -> None:
    async with GrobidSimulator({}, faults="503=1") as server:
        with pytest.raises(Overloaded) as refused:
            await asked(server, tmp_path, PDF)
    assert refused.value.retry_after == 5.0
