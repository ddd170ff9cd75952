"""Files that are trouble: each ends with a reason, the others are processed, nothing is left half-written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stages.literature.identifiers import normal_doi
from stages.simulators.catalogue import catalogue
from stages.simulators.entry import Entry
from tests.integration import odd_pdfs
from tests.integration.literature import SAMPLES, Ran, world

pytestmark = pytest.mark.asyncio

GOOD = "zhang2023_calibration.pdf"
KNOWN = [catalogue().by_key[key] for key in ("w0001", "w0003", "w0007")]


def printed(number: int, entry: Entry) -> list[str]:
    names = ", ".join(author.display for author in entry.authors)
    return [f"[{number}] {names}, {entry.title},", f"{entry.venue} ({entry.year}), doi:{entry.doi}."]


def reference_list() -> list[str]:
    entries = enumerate(KNOWN, start=1)
    return ["References", *(line for number, entry in entries for line in printed(number, entry))]


async def run(tmp_path: Path, **files: bytes) -> Ran:
    """A run over these files and a good paper. What must hold whatever the files are is asserted here."""
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / GOOD).write_bytes((SAMPLES / GOOD).read_bytes())
    for name, content in files.items():
        (folder / f"{name}.pdf").write_bytes(content)
    async with world() as made:
        ran = await made.run(tmp_path / "workspace", folder)
    assert ran.summary.error is None
    assert [row for row in ran.rows("no_metadata") if row["paper_file"] == GOOD], "the good paper is processed"
    assert {stage for stage, _, state in ran.states if state == "pending"} == set()
    assert ran.rows("downloaded_references")
    for name in ran.files():
        if name.startswith("files/sha256/"):
            assert hashlib.sha256((ran.workspace / name).read_bytes()).hexdigest() == Path(name).name
        else:
            assert name.endswith(".pdf"), "nothing half-written"
    return ran


REJECTED = {
    "encrypted": (odd_pdfs.encrypted, "encrypted and needs a password"),
    "truncated": (lambda: (SAMPLES / GOOD).read_bytes()[:700], "damaged or cut short"),
    "scanned": (odd_pdfs.scanned, "a scan"),
    "page": (lambda: b"<!DOCTYPE html><html><body>Sign in to read</body></html>", "not a PDF"),
    "archive": (lambda: b"PK\x03\x04" + bytes(5000), "not a PDF"),
    "empty": (lambda: b"", "empty"),
    "bomb": (lambda: odd_pdfs.bomb(257), "decompression bomb"),
}


async def test_files_that_are_no_papers_are_dead_letters_that_say_why_and_what_to_do(tmp_path: Path) -> None:
    ran = await run(tmp_path, **{name: make() for name, (make, _) in REJECTED.items()})
    reasons = {reason.partition(" ")[0]: reason for reason in ran.dead.values()}
    assert reasons.keys() == {f"{name}.pdf" for name in REJECTED}, "each reason begins with the name of its file"
    for name, (_, said) in REJECTED.items():
        assert said in reasons[f"{name}.pdf"]
    assert {row["paper_file"] for row in ran.rows("no_metadata")} == {GOOD}
    assert ran.summary.stages["extract"].retries == 0, "what never works is not tried again"


async def test_papers_without_references_are_skipped_and_say_why(tmp_path: Path) -> None:
    prose = ["A note on drift", "The drift of slow waves in layered media is weak."]
    ran = await run(tmp_path, note=odd_pdfs.pdf([prose]), headed=odd_pdfs.pdf([[*prose, "References"]]))
    assert ran.dead == {}
    assert {(stage, state) for stage, _, state in ran.states if state == "skipped"} == {("extract", "skipped")}
    headed, note = sorted(ran.skipped.values())
    assert headed.startswith("headed.pdf: the reference section holds no references; ")
    assert note.startswith("note.pdf: no reference section was found; ")


async def test_a_document_of_two_thousand_pages_is_read_from_its_end(tmp_path: Path) -> None:
    ran = await run(tmp_path, book=odd_pdfs.pdf([reference_list()], filler=1999))
    assert ran.dead == {}
    own = [row for row in ran.rows("no_metadata") if row["paper_file"] == "book.pdf"]
    own.sort(key=lambda row: row["position"])
    assert [row["doi"] for row in own] == [normal_doi(entry.doi) for entry in KNOWN]
    cited = {row["work"] for row in ran.rows("citations") if row["paper_file"] == "book.pdf"}
    assert cited == {normal_doi(entry.doi) for entry in KNOWN}


async def test_a_bibliography_that_cannot_be_read_costs_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "broken.bib").write_bytes(b"\xff\xfe@article{a, title = {")
    (folder / "binary.bib").write_bytes(bytes(range(256)) * 64)
    (folder / GOOD).write_bytes((SAMPLES / GOOD).read_bytes())
    async with world() as made:
        ran = await made.run(tmp_path / "workspace", folder)
    assert ran.summary.error is None
    assert {row["paper_file"] for row in ran.rows("no_metadata")} == {GOOD}
    assert ran.dead == {}
