"""The references of whole papers: found, split, ended where they end; papers that cannot be read."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from fpdf import FPDF

from stages.literature import extract as module
from stages.literature.extract import extract, extract_file
from stages.literature.extraction.pdftext import Pdf
from stages.literature.library import Library
from stages.literature.records import Paper
from streamflow.engine.context import WorkerContext
from streamflow.errors import Reject, Skip
from tests.stages.literature.papers import Style, by_author, numbered, write

STYLES = {
    "brackets": Style(),
    "brackets, two columns": Style(columns=2, body_pages=2, running_head="Mixing in layers"),
    "brackets, three columns": Style(columns=3, hanging=20),
    "dots": Style(marker="{}.", heading="REFERENCES"),
    "bare numbers": Style(marker="{}", heading="References and Notes"),
    "raised numbers": Style(marker="{}", raised=True, hanging=8, heading="References"),
    "no hanging": Style(marker="[{}]", hanging=0.01, heading="Bibliography"),
    "no heading": Style(heading=None, columns=2, body_pages=2),
    "another language": Style(heading="Literaturverzeichnis", marker="{}."),
    "numbered heading": Style(heading="VII. REFERENCES"),
    "line numbers": Style(line_numbers=True, body_pages=2),
    "a figure between": Style(columns=2, figure_before=7),
    "an appendix after": Style(after=["Appendix A. Proofs", "The proof follows from the bound on the energy. " * 12]),
    "a biography after": Style(
        after=["Anna Writer received the B.S. degree in physics in 2003 and works on mixing at sea since then."]
    ),
}


@pytest.mark.parametrize("name", STYLES)
def test_numbered_lists(tmp_path: Path, name: str) -> None:
    style = STYLES[name]
    expected = numbered(34)
    if style.hanging < 1:
        expected = [f"{style.marker} {text}".format(number) for number, text in enumerate(expected, start=1)]
        style = replace(style, marker=None)
    paper = write(tmp_path / "paper.pdf", expected, style)
    assert [one.text for one in extract_file(paper)] == numbered(34)


@pytest.mark.parametrize(
    "style",
    [
        Style(marker=None),
        Style(marker=None, gap=0),
        Style(marker=None, hanging=0, gap=6),
        Style(marker=None, hanging=0, gap=0),
        Style(marker=None, columns=2, gap=0, running_head="Mixing in layers", body_pages=3),
        Style(marker=None, columns=2, gap=3, figure_before=9),
        Style(marker=None, after=["Acknowledgements", "We thank the crew of the ship for their patience. " * 10]),
    ],
)
def test_lists_by_author_and_year(tmp_path: Path, style: Style) -> None:
    expected = by_author(28)
    paper = write(tmp_path / "paper.pdf", expected, style)
    assert [one.text for one in extract_file(paper)] == expected


def test_a_list_that_fills_many_pages(tmp_path: Path) -> None:
    expected = numbered(400)
    paper = write(tmp_path / "paper.pdf", expected, Style(columns=2, running_head="Mixing in layers"))
    assert [one.text for one in extract_file(paper)] == expected


def test_what_a_supplement_repeats_comes_once(tmp_path: Path) -> None:
    first, second = numbered(12), numbered(20)[8:]
    again = ["Supplementary References", *(f"[{number}] {text}" for number, text in enumerate(second, start=1))]
    paper = write(tmp_path / "paper.pdf", first, Style(after=again))
    assert [one.text for one in extract_file(paper)] == numbered(20)


def test_an_address_that_runs_out_of_its_column_leaves_the_columns_whole(tmp_path: Path) -> None:
    expected = numbered(40)
    expected[5] += " https://www.example.org/an/address/that/is/much/too/long/for/the/column/it/stands/in/index.html"
    paper = write(tmp_path / "paper.pdf", expected, Style(columns=2, body_pages=2))
    assert [one.text for one in extract_file(paper)] == expected


def test_the_stage_numbers_the_references_and_guesses(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    texts = [*numbered(3), "J. Li, Title of a book, https://doi.org/10.5555/AbC.12 (2011)."]
    write(tmp_path / "files" / "one.pdf", texts, Style())
    paper = Paper(paper="0" * 64, paper_file="one.pdf", path="files/one.pdf", size=1)
    with Library(WorkerContext(tmp_path)) as library:
        references = extract(paper, library=library)
    assert [one.position for one in references] == [1, 2, 3, 4]
    assert {one.paper_file for one in references} == {"one.pdf"}
    assert references[3].doi == "10.5555/abc.12"
    assert (references[3].first_author, references[3].year) == ("Li", 2011)


def _with_text(path: Path, *texts: str) -> Path:
    pdf = FPDF()
    for text in texts:
        pdf.add_page()
        pdf.set_font("Times", size=11)
        pdf.multi_cell(0, text=text)
    pdf.output(str(path))
    return path


def test_a_paper_without_references_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skip, match="no reference section was found"):
        extract_file(_with_text(tmp_path / "letter.pdf", "Dear colleague, thank you for the tea. " * 40))


def test_a_heading_without_references_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skip, match="holds no references"):
        extract_file(_with_text(tmp_path / "draft.pdf", "Some text of a draft.\n\nReferences\n\nto be added"))


def test_a_page_that_is_only_a_heading(tmp_path: Path) -> None:
    with pytest.raises(Skip):
        extract_file(_with_text(tmp_path / "one.pdf", "References"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!doctype html><title>Sign in</title>", "not a PDF"),
        (b"%PDF-1.7\n" + b"\x00" * 2000, "damaged"),
    ],
)
def test_files_that_are_no_papers_are_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.pdf"
    path.write_bytes(content)
    with pytest.raises(Reject, match=message):
        extract_file(path)


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="cannot be read"):
        extract_file(tmp_path / "gone.pdf")


def test_a_truncated_paper_is_rejected_or_read_in_part(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.pdf", numbered(60), Style())
    cut = tmp_path / "cut.pdf"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    with pytest.raises((Reject, Skip)):
        extract_file(cut)


def test_an_encrypted_paper_is_rejected_and_told_what_to_do(tmp_path: Path) -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_encryption(owner_password="a", user_password="b")
    pdf.output(str(tmp_path / "secret.pdf"))
    with pytest.raises(Reject, match="password"):
        extract_file(tmp_path / "secret.pdf")


def test_a_scan_is_rejected_and_told_what_to_do(tmp_path: Path) -> None:
    pdf = FPDF()
    pdf.add_page()
    pdf.rect(20, 20, 100, 100, style="F")
    pdf.output(str(tmp_path / "scan.pdf"))
    with pytest.raises(Reject, match="OCR"):
        extract_file(tmp_path / "scan.pdf")


def _bomb(path: Path, *, packed_twice: bool) -> Path:
    content = zlib.compress(b" " * (300 * 2**20 if not packed_twice else 600 * 2**20), 9)
    filters = b"/FlateDecode"
    if packed_twice:
        content, filters = zlib.compress(content, 9), b"[/FlateDecode /FlateDecode]"
    path.write_bytes(
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R>>endobj\n"
        b"4 0 obj<</Filter " + filters + b"/Length " + str(len(content)).encode() + b">>stream\n" + content
        + b"\nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )  # fmt: skip
    return path


@pytest.mark.parametrize("packed_twice", [False, True])
def test_a_decompression_bomb_is_not_opened(tmp_path: Path, packed_twice: bool) -> None:
    with pytest.raises(Reject, match="decompression bomb"):
        extract_file(_bomb(tmp_path / "bomb.pdf", packed_twice=packed_twice))


def test_a_very_long_document_is_read_from_the_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAGES_SEARCHED", 12)
    read: list[int] = []
    real = Pdf.text

    def text(self: Pdf, index: int) -> str:
        read.append(index)
        return real(self, index)

    monkeypatch.setattr(Pdf, "text", text)
    paper = write(tmp_path / "book.pdf", numbered(30), Style(body_pages=40))
    assert [one.text for one in extract_file(paper)] == numbered(30)
    assert len(read) == 12
    assert min(read) > 20


def test_the_number_and_length_of_references_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REFERENCES", 5)
    monkeypatch.setattr(module, "LONGEST_REFERENCE", 40)
    found = extract_file(write(tmp_path / "paper.pdf", numbered(9), Style()))
    assert len(found) == 5
    assert max(len(one.text) for one in found) == 40
