"""Small papers set with fpdf2, in the styles that journals use, for the tests of extraction."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fpdf import FPDF

_TEXT = (
    "drift of slow waves in layered media with weak damping and the onset of mixing under periodic forcing near a wall "
    "where heat is lost by diffusion while salt remains so that fingers form grow and merge into sheets"
)
_WORDS = _TEXT.split()


@dataclass
class Style:
    """How a paper is set. `marker` is a format of the number, or None for lists by author and year."""

    marker: str | None = "[{}]"
    heading: str | None = "References"
    columns: int = 1
    hanging: float = 18.0
    gap: float = 2.0
    running_head: str = ""
    line_numbers: bool = False
    number_every: int = 1
    number_side: str = "left"
    number_pages: bool = False
    body_pages: int = 1
    after: Sequence[str] = ()
    figure_before: int | None = None
    raised: bool = False
    size: float = 9.0


@dataclass
class _Page:
    pdf: FPDF
    style: Style
    column: int = 0
    y: float = 0.0
    number: int = 0
    words: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def width(self) -> float:
        return (595 - 100 - 18 * (self.style.columns - 1)) / self.style.columns

    @property
    def left(self) -> float:
        return 50 + self.column * (self.width + 18)

    def open(self) -> None:
        self.pdf.add_page()
        self.column, self.y = 0, 70
        if self.style.number_pages:
            self.number = 0
        self.pdf.set_font("Times", size=8)
        if self.style.running_head:
            self.pdf.text(50, 40, f"{self.style.running_head}   {self.pdf.page_no()}")
        self.pdf.text(295, 815, str(self.pdf.page_no()))

    def room(self, height: float) -> None:
        if self.y + height <= 790:
            return
        if self.column + 1 < self.style.columns:
            self.column, self.y = self.column + 1, 70
        else:
            self.open()

    def line(self, text: str, *, indent: float = 0.0, size: float, bold: bool = False, marker: str = "") -> None:
        self.room(size * 1.2)
        self.y += size * 1.2
        self.pdf.set_font("Times", style="B" if bold else "", size=size)
        if self.style.line_numbers:
            self.number += 1
            right = self.style.number_side == "right" or self.column > 0
            if self.number % self.style.number_every == 0:
                self.pdf.text(562 if right else 30, self.y, str(self.number))
        if marker and self.style.raised:
            self.pdf.set_font_size(size * 0.65)
            self.pdf.text(self.left, self.y - size * 0.35, marker)
            self.pdf.set_font_size(size)
        elif marker:
            self.pdf.text(self.left, self.y, marker)
        self.pdf.text(self.left + indent, self.y, text)

    def wrapped(self, text: str, *, size: float, first: float = 0.0, rest: float = 0.0, marker: str = "") -> None:
        self.pdf.set_font("Times", size=size)
        line, indent = "", first
        for word in text.split():
            if self.pdf.get_string_width(f"{line} {word}") > self.width - indent and line:
                self.line(line, indent=indent, size=size, marker=marker)
                line, indent, marker = word, rest, ""
            else:
                line = f"{line} {word}".strip()
        self.line(line, indent=indent, size=size, marker=marker)

    def prose(self, lines: int) -> None:
        words = " ".join(self.words.choice(_WORDS) for _ in range(lines * 10 // self.style.columns))
        self.wrapped(words.capitalize() + ".", size=self.style.size + 1)


def write(path: Path, references: Sequence[str], style: Style) -> Path:
    """Write a paper that ends with the references, and return its path."""
    pdf = FPDF(unit="pt", format=(595, 842))
    pdf.set_auto_page_break(False)
    page = _Page(pdf, style)
    page.open()
    for number in range(style.body_pages):
        if number:
            page.open()
        page.prose(25 * style.columns)
    if style.heading:
        page.y += 14
        page.line(style.heading, size=style.size + 2, bold=True)
        page.y += 4
    else:
        page.y += 25
    for number, reference in enumerate(references, start=1):
        if style.figure_before == number:
            page.room(120)
            page.y += 20
            page.line("0.0    0.5    1.0", size=6)
            page.y += 40
            page.wrapped("Figure 3. The share of mixed water against time for three depths. Lines are fits.", size=8)
            page.y += 14
        marker = style.marker.format(number) if style.marker else ""
        first = style.hanging if marker else 0.0
        page.wrapped(reference, size=style.size, first=first, rest=style.hanging, marker=marker)
        page.y += style.gap
    for text in style.after:
        page.y += 16
        if len(text) < 60:
            page.line(text, size=style.size + 2, bold=True)
        else:
            page.wrapped(text, size=style.size + 1)
    pdf.output(str(path))
    return path


def numbered(count: int) -> list[str]:
    """References as in physics and engineering, each with its own text."""
    return [
        f"A. B. Author{_letters(number)}, C. Writer, and D. van der Berg, A study of mixing in layer "
        f"{_letters(number)} with a rather long title that wraps, J. Fluid Mech. {number}, {number + 100} "
        f"({1950 + number % 70})."
        for number in range(1, count + 1)
    ]


def by_author(count: int) -> list[str]:
    """References by author and year."""
    return [
        f"Author{_letters(number)}, A. B., Writer, C., & Berg, D. ({1950 + number % 70}). A study of mixing in layer "
        f"{_letters(number)} with a rather long title that wraps. Journal of Fluid Mechanics, {number}"
        f"({number % 9 + 1}), {number}-{number + 12}."
        for number in range(1, count + 1)
    ]


def _letters(number: int) -> str:
    return chr(97 + number // 26 % 26) + chr(97 + number % 26)
