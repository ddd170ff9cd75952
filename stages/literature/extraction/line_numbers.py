"""The line numbers that manuscripts print in the margins, found and left out.

A number beside a line proves nothing: lists are numbered too. Line numbers are known by their layout: they stand below
each other in a strip that holds nothing else, rise evenly whatever the text does, number every line (or every fifth)
of the column beside them, headings too, and do so on most pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from stages.literature.extraction.headings import begins_references
from stages.literature.extraction.pdftext import Word

_STEPS = (1, 2, 5, 10)
_MOST_DIGITS = 5
_SLIP = 2.0
"""Points that the edges of numbers in one strip may differ by."""
_NEAR = 9.0
"""Type sizes between a number and its line: wider margins are not seen."""
_SMALL = 0.85
"""Of the text's size: numbers this small may stand in a gutter so narrow that they touch the text of both columns."""
_LEAST = 8
"""Numbered lines on a page that prove something by themselves."""
_COVERED = 0.8
_EVEN = 0.9
_CLEAR = 0.97
_FULL = 60
"""Words on a page that counts."""
_MOST_PAGES = 0.6
"""The share of full pages that must be numbered."""
_SAME_PLACE = 8.0


@dataclass(frozen=True, slots=True)
class _Strip:
    """Numbers below each other. `side` is -1 when they stand left of their lines, 1 when right."""

    numbers: tuple[Word, ...]
    edge: float
    side: int
    covered: float  # of the lines beside it, the share that is numbered

    @property
    def lines(self) -> int:
        """About how many lines the strip numbers."""
        first, second, last = (int(self.numbers[at].text) for at in (0, 1, -1))
        return last - first + (second - first)


def without_line_numbers(pages: list[list[Word]]) -> list[list[Word]]:
    """The words of consecutive pages without line numbers; the same lists when the pages have none."""
    strips = [_strips(words) for words in pages]
    full = [number for number, words in enumerate(pages) if len(words) >= _FULL]
    sure = [
        [strip for strip in found if strip.lines >= _LEAST and strip.covered >= _COVERED and not _is_list(words, strip)]
        for words, found in zip(pages, strips, strict=True)
    ]
    if not full or sum(bool(sure[number]) for number in full) < _MOST_PAGES * len(full):
        return pages
    places = [(strip.side, strip.edge) for found in sure for strip in found]
    kept = [
        [strip for strip in found if strip in certain or _at(strip, places)]
        for found, certain in zip(strips, sure, strict=True)
    ]
    neighbours = _neighbours([strip for found in kept for strip in found])
    return [_without(words, found, places, neighbours) for words, found in zip(pages, kept, strict=True)]


def _neighbours(strips: list[_Strip]) -> set[int]:
    """The numbers that would come before and after each strip: one of them may stand alone in a short column."""
    made = set()
    for strip in strips:
        first, second, last = (int(strip.numbers[at].text) for at in (0, 1, -1))
        made |= {first - (second - first), last + (second - first)}
    return made


def _at(strip: _Strip, places: list[tuple[int, float]]) -> bool:
    return any(side == strip.side and abs(edge - strip.edge) < _SAME_PLACE for side, edge in places)


def _without(
    words: list[Word], strips: list[_Strip], places: list[tuple[int, float]], neighbours: set[int]
) -> list[Word]:
    gone = {id(number) for strip in strips for number in strip.numbers}
    for word in words:
        if word.text.isdecimal() and len(word.text) <= _MOST_DIGITS and int(word.text) in neighbours:
            edges = {-1: (word.x1, word.x0), 1: (word.x0, word.x1)}
            if any(abs(edges[side][0] - edge) <= _SLIP or abs(edges[side][1] - edge) <= _SLIP for side, edge in places):
                gone.add(id(word))
    return [word for word in words if id(word) not in gone] if gone else words


def _strips(words: list[Word]) -> list[_Strip]:
    """All strips of evenly rising numbers on a page, long ones first."""
    numbers = [word for word in words if word.text.isdecimal() and len(word.text) <= _MOST_DIGITS]
    if len(numbers) < 2:
        return []
    ordered = sorted(words, key=lambda word: word.y)
    baselines = [word.y for word in ordered]
    found: list[_Strip] = []
    taken: set[int] = set()
    flush_right, flush_left = _groups(numbers, lambda word: word.x1), _groups(numbers, lambda word: word.x0)
    for chain in sorted(map(_evenly_rising, [*flush_right, *flush_left]), key=len, reverse=True):
        if len(chain) < 2 or any(id(word) in taken for word in chain):
            continue
        strip = _strip(ordered, baselines, chain)
        if strip is not None:
            found.append(strip)
            taken.update(id(word) for word in strip.numbers)
    return found


def _groups(numbers: list[Word], edge: Callable[[Word], float]) -> list[list[Word]]:
    """Numbers that share an edge."""
    left = sorted(numbers, key=edge)
    groups: list[list[Word]] = []
    here: list[Word] = []
    for word in left:
        if here and edge(word) - edge(here[-1]) > _SLIP:
            groups.append(here)
            here = []
        here.append(word)
    groups.append(here)
    return [group for group in groups if len(group) >= 2]


def _evenly_rising(group: list[Word]) -> list[Word]:
    """The longest run of numbers downwards that rises by one step; a few strangers between are passed over."""
    group = sorted(group, key=lambda word: word.y)
    values = [int(word.text) for word in group]
    best: list[int] = []
    for step in _STEPS:
        ends: dict[int, tuple[int, int]] = {}  # by value: length of the run that ends in it, the last place
        before: list[int] = []
        for place, value in enumerate(values):
            length, other = ends.get(value - step, (0, -1))
            before.append(other)
            if length + 1 >= ends.get(value, (0, -1))[0]:
                ends[value] = (length + 1, place)
        length, place = max(ends.values())
        if length > len(best):
            best = []
            while place >= 0:
                best.append(place)
                place = before[place]
            best.reverse()
    return [group[place] for place in best] if len(best) >= _EVEN * len(group) - 1 else []


def _strip(ordered: list[Word], baselines: list[float], chain: list[Word]) -> _Strip | None:
    """The strip of a chain when it stands clear of all text; `covered` is 0 where too few lines stand beside it."""
    members = {id(word) for word in chain}
    x0, x1 = min(word.x0 for word in chain), max(word.x1 for word in chain)
    size = median(word.size for word in chain)
    first = bisect_left(baselines, chain[0].y - 0.6 * size)
    last = bisect_right(baselines, chain[-1].y + 0.6 * size)
    others = [word for word in ordered[first:last] if id(word) not in members]
    small = bool(others) and size < _SMALL * median(word.size for word in others)
    crossing = sum(word.x0 < x1 + 0.25 * size and word.x1 > x0 - 0.25 * size for word in others)
    if crossing > (1 - _CLEAR) * len(others) and not (small and len(chain) >= _LEAST):
        return None
    step = int(chain[1].text) - int(chain[0].text)
    best: _Strip | None = None
    for side in (-1, 1):
        beside = [
            word for word in ordered
            if id(word) not in members
            and (0 <= word.x0 - x1 < _NEAR * word.size if side < 0 else 0 <= x0 - word.x1 < _NEAR * word.size)
        ]  # fmt: skip
        reach = _rows(beside, chain[0].y - 4 * size * step, chain[-1].y + 4 * size * step)
        met = sum(any(abs(word.y - row) < 0.6 * size for row in reach) for word in chain)
        if not reach or met < 0.5 * len(chain):
            continue
        covered = met * step / max(len(reach), met)
        edge = x1 if side < 0 else x0
        if best is None or covered > best.covered:
            best = _Strip(tuple(chain), edge, side, min(covered, 1.0) if _regular(chain) else 0.0)
    return best


def _rows(words: list[Word], top: float, bottom: float) -> list[float]:
    """The baselines of the lines between two heights."""
    made: list[float] = []
    for word in words:
        if top <= word.y <= bottom and (not made or word.y - made[-1] > 0.6 * word.size):
            made.append(word.y)
    return made


def _regular(chain: list[Word]) -> bool:
    """Whether most numbers stand one usual distance apart, as lines of text do."""
    gaps = [after.y - before.y for before, after in pairwise(chain)]
    usual = median(gaps)
    return sum(abs(gap - usual) <= max(1.5, 0.15 * usual) for gap in gaps) >= 0.5 * len(gaps)


def _is_list(words: list[Word], strip: _Strip) -> bool:
    """Whether the strip numbers a reference list of short entries: it begins under the heading, which has no number."""
    first = strip.numbers[0]
    if first.text not in ("0", "1"):
        return False
    above = sorted((word for word in words if word.y < first.y - 0.6 * first.size), key=lambda word: (-word.y, word.x0))
    row = [word for word in above if above[0].y - word.y < 0.3 * first.size]
    return bool(row) and begins_references(" ".join(word.text for word in sorted(row, key=lambda word: word.x0)))
