"""Lines of text in reading order, without page furniture: running heads, page numbers, line numbers."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from statistics import median

from stages.literature.extraction.columns import Column, columns
from stages.literature.extraction.line_numbers import without_line_numbers
from stages.literature.extraction.pdftext import Link, Page, Word

_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"(?:(?:page|p\.|seite|pagina|página|стр\.?|第)\s*)?[-–—\[(|]*\s*(?:[A-Z]{1,3}[-.]?)?(?:\d{1,5}|[ivxlc]{1,7})"
    r"\s*[-–—\])|]*(?:\s*(?:/|of|von|de|sur|из)\s*\d{1,5})?(?:\s*页)?",
    re.IGNORECASE,
)
_EDGE_ROWS = 4
_LONGEST_NUMBER = 40
"""Running heads and feet are looked for in so many rows from the top and the bottom of a page."""


@dataclass(slots=True)
class Line:
    """One line of a column. `left` and `right` are the column's edges, `gap` the distance from the baseline above."""

    words: list[Word]
    page: int
    column: str
    x0: float
    x1: float
    y: float
    size: float
    left: float = 0.0
    right: float = 0.0
    gap: float | None = None
    text: str = ""
    links: list[Link] = field(default_factory=list)

    @property
    def bold(self) -> bool:
        """Whether all of it is set bold."""
        return all(word.bold for word in self.words)

    def tail(self, count: int) -> Line:
        """The line without its first `count` words."""
        words = self.words[count:]
        return Line(
            words, self.page, self.column, words[0].x0, self.x1, self.y, self.size, self.left, self.right, self.gap,
            joined(words), self.links,
        )  # fmt: skip


def lines(pages: list[Page]) -> list[Line]:
    """The lines of consecutive pages in reading order, furniture left out."""
    bodies = without_line_numbers(_without_furniture(pages))
    found: list[Line] = []
    gutters: list[float] = []
    for page, words in zip(pages, bodies, strict=True):
        for number, column in enumerate(columns(words, gutters)):
            found += _column_lines(page, column, number)
    return found


def joined(words: list[Word]) -> str:
    """The words of a line as text, with spaces where the page shows them."""
    parts: list[str] = []
    last: Word | None = None
    for word in words:
        if last is not None:
            gap = word.x0 - last.x1
            least = 0.3 if word.glued else 0.05 if word.size < 0.85 * last.size else -0.1
            if gap > least * max(word.size, last.size):
                parts.append(" ")
        parts.append(word.text)
        last = word
    return "".join(parts)


def rows(words: list[Word]) -> list[list[Word]]:
    """Words grouped by baseline, top first, each row from left to right.

    Raised and lowered small signs join the row of the larger text beside them.
    """
    made: list[tuple[float, int, list[Word]]] = []  # baseline, a number to keep order, words
    for number, word in enumerate(sorted(words, key=lambda word: -round(word.size, 1))):
        at = bisect_left(made, (word.y - word.size * 1.2,))
        best: tuple[float, list[Word]] | None = None
        while at < len(made) and made[at][0] <= word.y + word.size * 1.2:
            baseline, _, members = made[at]
            at += 1
            largest = members[0].size
            distance = abs(word.y - baseline)
            alike = word.size > 0.88 * largest
            raised = -0.25 * largest < baseline - word.y < 0.62 * largest and not alike
            if distance < 0.3 * word.size or (raised and _beside(word, members, largest)):
                best = (distance, members) if best is None or distance < best[0] else best
        if best is not None:
            best[1].append(word)
        else:
            insort(made, (word.y, number, [word]))
    return [sorted(members, key=lambda word: word.x0) for _, _, members in made]


def _beside(word: Word, members: list[Word], size: float) -> bool:
    return any(
        -0.5 * size < word.x0 - other.x1 < 0.6 * size or -0.5 * size < other.x0 - word.x1 < 1.2 * size
        for other in members
    )


def _column_lines(page: Page, column: Column, number: int) -> list[Line]:
    name = f"{page.index}:{number}{column.path}"
    made: list[Line] = []
    for row in rows(column.words):
        weight: dict[float, int] = {}
        for word in row:
            weight[round(word.size, 1)] = weight.get(round(word.size, 1), 0) + len(word.text)
        size = max(weight, key=lambda value: weight[value])
        largest = [word for word in row if word.size > 0.88 * size]
        x0, x1 = row[0].x0, max(word.x1 for word in row)
        made.append(Line(row, page.index, name, x0, x1, median(word.y for word in largest), size, text=joined(row)))
    made.sort(key=lambda line: line.y)
    left = min((line.x0 for line in made), default=0.0)
    right = max((line.x1 for line in made), default=0.0)
    above: Line | None = None
    for line in made:
        line.left, line.right = left, right
        line.gap = line.y - above.y if above is not None else None
        above = line
        line.links = [
            link for link in page.links
            if link.top - 1 < line.y - 0.3 * line.size < link.bottom + 1 and link.x0 < line.x1 and link.x1 > line.x0
        ]  # fmt: skip
    return made


def _without_furniture(pages: list[Page]) -> list[list[Word]]:
    """The words of each page without running heads, running feet and page numbers.

    A row at a page's edge is furniture when a page near by has the same row, numbers aside, in the same place.
    """
    all_rows = [rows(page.words) for page in pages]
    edges: list[dict[str, float]] = []
    for found in all_rows:
        edge = found[:_EDGE_ROWS] + found[-_EDGE_ROWS:]
        edges.append({_shape(joined(row)): row[0].y for row in edge})
    bodies: list[list[Word]] = []
    for index, found in enumerate(all_rows):
        near = [edges[other] for other in range(max(0, index - 4), min(len(pages), index + 5)) if other != index]
        drop: set[int] = set()
        last = len(found) - 1
        for places in (range(min(_EDGE_ROWS, len(found))), range(last, max(-1, last - _EDGE_ROWS), -1)):
            for place in places:
                row = found[place]
                text = joined(row)
                shape = _shape(text)
                alike = sum(abs(other.get(shape, -1e9) - row[0].y) < 2.5 for other in near)
                apart = _set_apart(found, place, places.step)
                wordy = sum(sign.isalpha() for sign in shape) > 3
                if (
                    (wordy and (alike >= 2 or (alike and apart)))
                    or ((alike or apart) and len(text) <= _LONGEST_NUMBER and _PAGE_NUMBER.fullmatch(text))
                    or (apart and len(text) <= 4)
                ):
                    drop.add(place)
                else:
                    break  # furniture starts at the edge; what is repeated further in is chance
        kept = [word for place, row in enumerate(found) if place not in drop for word in row]
        order = {id(word) for word in kept}
        bodies.append([word for word in pages[index].words if id(word) in order])
    return bodies


def _set_apart(found: list[list[Word]], place: int, inwards: int) -> bool:
    """Whether a row stands well away from the next towards the middle of the page."""
    if not 0 <= place + inwards < len(found):
        return False
    other = found[place + inwards]
    return abs(other[0].y - found[place][0].y) > 1.6 * max(other[0].size, found[place][0].size)


def _shape(text: str) -> str:
    return _DIGITS.sub("#", text).replace(" ", "").lower()
