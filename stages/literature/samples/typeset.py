"""Sets a paper in one or two columns: running heads, hyphenation, hanging indents, figures, line numbers.

Text is marked up by two control characters: ITALIC and BOLD switch their style on and off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

ITALIC, BOLD = "\x01", "\x02"
CREATED = datetime(2025, 3, 14, 9, 30, tzinfo=UTC)  # fixed, so that the same paper has the same bytes
TOP, BOTTOM = 66.0, 64.0  # margins in points

Run = tuple[str, str]  # a piece of a word and its style: "", "I", "B" or "BI"


def plain(text: str) -> str:
    """The text without its markup."""
    return text.replace(ITALIC, "").replace(BOLD, "")


def words(text: str) -> Iterator[list[Run]]:
    """The words of a marked-up text, each in pieces of one style."""
    style = {ITALIC: False, BOLD: False}
    for word in text.split(" "):
        runs: list[Run] = []
        for piece in re.split(f"([{ITALIC}{BOLD}])", word):
            if piece in style:
                style[piece] = not style[piece]
            elif piece:
                runs.append((piece, ("B" if style[BOLD] else "") + ("I" if style[ITALIC] else "")))
        if runs:
            yield runs


def break_points(word: str) -> list[int]:
    """Where a word may be divided: between a vowel and the consonant before the next vowel, three letters from
    each end. Not as good as a dictionary, but what comes out looks like print."""
    if not re.fullmatch(r"[^\W\d_]+[.,;:]?", word):
        return []
    return [found.start() + 1 for found in re.finditer(r"[aeiouyäöüé](?=[^\Waeiouyäöüé][aeiouy])", word)
            if 3 <= found.start() + 1 <= len(word.rstrip(".,;:")) - 3]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How a paper looks. Sizes are in points; `fonts` is the folder with DejaVu, None for the core font Times."""

    columns: int = 1
    size: float = 10.0
    margin: float = 62.0
    gap: float = 20.0
    hyphenate: bool = True
    line_numbers: bool = False
    ligatures: bool = False  # fi and fl as one sign, as TeX prints them
    decomposed: bool = False  # letter and accent as two signs
    fonts: Path | None = None
    paper: str = "A4"


class Typesetter:
    """Flows lines through the columns and pages of one document. `head` makes the running head of a page."""

    def __init__(self, look: Look, head: Callable[[int], str], title: str, author: str) -> None:
        self.look = look
        self.head = head
        self.pdf = FPDF(unit="pt", format=look.paper)
        self.pdf.set_auto_page_break(False)
        self.pdf.set_creation_date(CREATED)
        self.pdf.set_producer("streamflow samples")
        self.pdf.set_title(title)
        self.pdf.set_author(author)
        self.family = "Times"
        self.pdf.core_fonts_encoding = "windows-1252"
        if look.fonts is not None:
            self.family = "DejaVu"
            for style, name in (("", "DejaVuSerif"), ("B", "DejaVuSerif-Bold"), ("I", "DejaVuSerif-Italic")):
                self.pdf.add_font(self.family, style, str(look.fonts / f"{name}.ttf"))
        self.top = TOP
        self.column = 0
        self.floats: list[tuple[str, float, list[float]]] = []
        self.y = 0.0
        self.new_page()

    # Places

    @property
    def full_width(self) -> float:
        return float(self.pdf.w) - 2 * self.look.margin

    @property
    def width(self) -> float:
        return (self.full_width - self.look.gap * (self.look.columns - 1)) / self.look.columns

    @property
    def left(self) -> float:
        return self.look.margin + self.column * (self.width + self.look.gap)

    @property
    def bottom(self) -> float:
        return float(self.pdf.h) - BOTTOM

    def new_page(self) -> None:
        self.pdf.add_page()
        number = self.pdf.page_no()
        self.column, self.top = 0, TOP
        self.y = self.top
        self._font("", 8.0)
        self.pdf.text(self.look.margin, 42.0, self.head(number))
        self.pdf.text(float(self.pdf.w) / 2 - 4, float(self.pdf.h) - 34.0, str(number))
        self._lines = 0

    def next_column(self) -> None:
        if self.column + 1 < self.look.columns:
            self.column += 1
            self.y = self.top
        else:
            self.new_page()
        if self.floats:
            self.figure(*self.floats.pop())

    def need(self, height: float) -> None:
        if self.y + height > self.bottom:
            self.next_column()

    # Lines

    def _font(self, style: str, size: float) -> None:
        # The embedded family has no bold italic; bold says more.
        self.pdf.set_font(self.family, "B" if self.family == "DejaVu" and style == "BI" else style, size)

    def _measure(self, runs: list[Run], size: float) -> float:
        total = 0.0
        for text, style in runs:
            self._font(style, size)
            total += self.pdf.get_string_width(text)
        return total

    def _put(self, x: float, line: list[list[Run]], size: float) -> None:
        """Writes a line of words, each stretch of one style at once."""
        if self.look.line_numbers and self.column == 0:
            self._lines += 1
            self._font("", 6.5)
            self.pdf.text(self.look.margin - 26, self.y + size * 0.85, str(self._lines))
        stretches: list[list[str]] = []
        for number, runs in enumerate(line):
            for position, (text, style) in enumerate(runs):
                text = f" {text}" if number and not position else text
                if stretches and stretches[-1][1] == style:
                    stretches[-1][0] += text
                else:
                    stretches.append([text, style])
        for text, style in stretches:
            self._font(style, size)
            self.pdf.text(x, self.y + size * 0.85, text)
            x += self.pdf.get_string_width(text)

    def block(
        self, text: str, *, size: float | None = None, first: float = 0.0, rest: float = 0.0, after: float = 0.0,
        wide: bool = False, leading: float = 1.18,
    ) -> None:  # fmt: skip
        """A paragraph. `first` and `rest` are the indents of its first and its other lines, `wide` spans all
        columns."""
        size = size or self.look.size
        room = self.full_width if wide else self.width
        self._font("", size)
        space = self.pdf.get_string_width(" ")
        line: list[list[Run]] = []
        used, indent = 0.0, first

        def flush() -> None:
            nonlocal line, used, indent
            if not wide:
                self.need(size * leading)
            self._put((self.look.margin if wide else self.left) + indent, line, size)
            self.y += size * leading
            line, used, indent = [], 0.0, rest

        for runs in words(self._signs(text)):
            length = self._measure(runs, size)
            if line and used + space + length > room - indent:
                head, tail = self._divide(runs, room - indent - used - space, size)
                if head:
                    line.append(head)
                flush()
                runs, length = tail, self._measure(tail, size)
            while length > room - indent:  # an address longer than a line
                head, runs = self._cut(runs, room - indent, size)
                line.append(head)
                flush()
                length = self._measure(runs, size)
            used += length + (space if line else 0.0)
            line.append(runs)
        if line:
            flush()
        self.y += after

    def _signs(self, text: str) -> str:
        if self.look.ligatures:
            text = " ".join(
                word if "/" in word else word.replace("fi", "\ufb01").replace("fl", "\ufb02")
                for word in text.split(" ")
            )
        return unicodedata.normalize("NFD", text) if self.look.decomposed else text

    def _divide(self, runs: list[Run], room: float, size: float) -> tuple[list[Run], list[Run]]:
        """Hyphenates a word so that its beginning fits into the room left; nothing and all of it when it cannot."""
        if self.look.hyphenate and len(runs) == 1:
            text, style = runs[0]
            for point in reversed(break_points(text)):
                if self._measure([(text[:point] + "-", style)], size) <= room:
                    return [(text[:point] + "-", style)], [(text[point:], style)]
            found = re.match(r"(https?://[^/]+/|10\.\d{4,}/)(.+)", text) if room > 60 else None
            if found and self._measure([(found[1], style)], size) <= room:
                return [(found[1], style)], [(found[2], style)]
        return [], runs

    def _cut(self, runs: list[Run], room: float, size: float) -> tuple[list[Run], list[Run]]:
        (text, style), *others = runs
        for point in range(len(text) - 1, 1, -1):
            if self._measure([(text[:point], style)], size) <= room and (text[point - 1] in "/-." or point < 8):
                return [(text[:point], style)], [(text[point:], style), *others]
        return [(text, style)], others

    def start_columns(self) -> None:
        """What was written so far spans the page; what follows goes into columns below it."""
        self.top = self.y

    # Figures

    def float_figure(self, caption: str, height: float, curve: list[float]) -> None:
        """A figure at the top of the next column, wherever the text is then: in the middle of a reference, too."""
        self.floats.append((caption, height, curve))

    def figure(self, caption: str, height: float, curve: list[float]) -> None:
        """A plot of `curve` (values 0 to 1) with its caption below, kept together in one column."""
        size = self.look.size - 1.5
        self.need(height + 5 * size)
        left, width = self.left, self.width
        self.pdf.set_line_width(0.6)
        self.pdf.rect(left + 24, self.y, width - 30, height - 18)
        step = (width - 30) / (len(curve) - 1)
        points = [
            (left + 24 + number * step, self.y + (height - 18) * (1 - value)) for number, value in enumerate(curve)
        ]
        self.pdf.polyline(points)
        self._font("", 6.0)
        for number in range(5):
            self.pdf.text(left + 24 + number * (width - 30) / 4.2, self.y + height - 10, f"{number * 10}")
            self.pdf.text(left + 8, self.y + (height - 18) * (1 - number / 4.2), f"{number * 0.25:.2f}")
        self.y += height
        self.block(caption, size=size, after=8.0)

    def save(self, path: Path) -> None:
        path.write_bytes(bytes(self.pdf.output()))
