"""Lines joined into one text; glyphs mended into characters."""

from __future__ import annotations

from pathlib import Path

import pytest
from fpdf import FPDF

from stages.literature.extraction import glyphs, pdftext
from stages.literature.extraction.joining import cleaned, text_of
from stages.literature.extraction.layout import Line
from stages.literature.extraction.pdftext import Word

WORDS = frozenset({"recognizing", "self-supervised", "long-term"})


def _line(text: str, *, full: bool = True) -> Line:
    word = Word(text, 0.0, 200.0 if full else 120.0, 0.0, 10.0, bold=False)
    return Line([word], 0, "0", 0.0, word.x1, 0.0, 10.0, 0.0, 200.0, None, text)


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        ("Detecting and Recog-", "nizing activities", "Detecting and Recognizing activities"),
        ("a case of self-", "supervised learning", "a case of self-supervised learning"),
        ("E. Ohn-", "Bar and M. Trivedi", "E. Ohn-Bar and M. Trivedi"),
        ("pages 2818-", "2826", "pages 2818-2826"),
        ("pages 2818–", "2826", "pages 2818–2826"),
        ("arXiv:2007.14289 [hep-", "ex].", "arXiv:2007.14289 [hep-ex]."),
        ("Oxford\u00ad", "shire", "Oxfordshire"),
        ("of deep", "water", "of deep water"),
        ("https:", "//doi.org/10.1/x", "https://doi.org/10.1/x"),
        ("see https://example.org/a/", "b.pdf.", "see https://example.org/a/b.pdf."),
        ("https://example.org/files/final_5-8-", "18.pdf?m=15", "https://example.org/files/final_5-8-18.pdf?m=15"),
        ("https://example.org/x.pdf?m=152552", "4921", "https://example.org/x.pdf?m=1525524921"),
        ("doi:10.1109/FSKD.2016.", "7603248. URL", "doi:10.1109/FSKD.2016.7603248. URL"),
        ("https://doi.org/10.18429/JACoW", "-HP071", "https://doi.org/10.18429/JACoW-HP071"),
        ("https://example.org/page.html.", "Accessed 2020", "https://example.org/page.html. Accessed 2020"),
        ("https://example.org/page,", "2020.", "https://example.org/page, 2020."),
        ("计算机科学", "与技术", "计算机科学与技术"),
    ],
)
def test_two_lines(first: str, second: str, whole: str) -> None:
    assert text_of([_line(first), _line(second)], WORDS) == whole


def test_an_address_that_ends_early_in_its_line_does_not_go_on() -> None:
    lines = [_line("https://example.org/page", full=False), _line("visited in 2020")]
    assert text_of(lines, WORDS) == "https://example.org/page visited in 2020"


def test_ligatures_and_control_codes_of_old_fonts() -> None:
    assert [glyphs.mended(code, drawn=True) for code in (0xFB01, 0xFB03, 0x0C, 0x0E)] == ["fi", "ffi", "fi", "ffi"]
    assert glyphs.mended(0x0D, drawn=False) == " "
    assert glyphs.mended(0xD800, drawn=True) == ""


@pytest.mark.parametrize("pair_and_whole", ["e´é", "ı´í", "c¸ç", "sˇš", "A˚Å"])
def test_accents(pair_and_whole: str) -> None:
    letter, accent, whole = list(pair_and_whole)
    assert glyphs.accented(letter, accent) == whole


def test_no_accent_makes_two_characters() -> None:
    assert glyphs.accented("q", "´") is None


@pytest.mark.parametrize("accent_first", [True, False])
def test_an_accent_drawn_over_its_letter_is_one_character(tmp_path: Path, accent_first: bool) -> None:
    pdf = FPDF(unit="pt")
    pdf.add_page()
    pdf.set_font("Times", size=10)
    width = pdf.get_string_width("Fern")
    accent = (50 + width + (pdf.get_string_width("a") - pdf.get_string_width("´")) / 2, 100, "´")
    pieces = [(50.0, 100, "Fern"), (50 + width, 100, "andez")]
    for x, y, text in [accent, *pieces] if accent_first else [*pieces, accent]:
        pdf.text(x, y, text)
    pdf.output(str(tmp_path / "accent.pdf"))
    with pdftext.opened(tmp_path / "accent.pdf") as opened:
        assert "".join(word.text for word in opened.page(0).words) == "Fernández"


@pytest.mark.parametrize(
    ("printed", "meant"),
    [
        ("Nature 3, doi: 10 . 1000 / nature8 . 31576. Next", "Nature 3, doi: 10.1000/nature8.31576. Next"),
        ("url: https : / / example . org / a _ b (visited on 3)", "url: https://example.org/a_b (visited on 3)"),
        ("Nature 10 . See https://example.org : a note", "Nature 10 . See https://example.org : a note"),
    ],
)
def test_addresses_that_a_line_has_drawn_apart_are_closed_up(printed: str, meant: str) -> None:
    assert cleaned(printed) == meant
