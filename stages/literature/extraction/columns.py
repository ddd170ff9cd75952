"""The columns of a page: which words stand in which column, in the order they are read.

A gutter is a strip that no word crosses over several lines, with words on both sides. A line that crosses it (a title,
a wide caption) ends the columns above it and starts new ones below. Columns are cut again, so three columns are found.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from stages.literature.extraction.pdftext import Word

_STEP = 1.0
_LEAST_GUTTER = 0.7
"""In type sizes. The space between words is 0.25 to 0.5, the usual gutter 1.0 to 2.5."""
_LEAST_LINES = 3.2
_NARROWEST = 9.0
"""In type sizes: narrower strips are numbers in front of a list, not columns."""
_TALL = 12
"""Lines. In a column of justified lines the wide spaces of a few may lie above each other, never those of so many."""
_ALIGNED = 0.55
"""The share of lines that begin at one place, where a strip is less tall."""
_DEEPEST = 3
_LEAST_OVERFULL = 6
_LONGEST_WORD = 20
_ADDRESS = re.compile(r"//|www\.|[\w.-]/[\w.-]|@|\w\.\w+\.\w")
"""What words that cannot be broken look like; from `_LONGEST_WORD` letters on they are taken to be overfull."""


@dataclass(slots=True)
class Column:
    """Words of one column between two full lines; `path` says which cuts led to it ("" is the whole page)."""

    words: list[Word]
    path: str = ""


@dataclass(slots=True)
class _Zone:
    top: float
    bottom: float
    left: list[Word] = field(default_factory=list)
    right: list[Word] = field(default_factory=list)


def columns(words: list[Word], known: list[float], path: str = "") -> list[Column]:
    """The words in columns, in reading order. Words within a column are ordered by baseline.

    `known` are gutters that were seen beyond doubt, on this page or an earlier one; new ones are added.
    """
    words = sorted(words, key=lambda word: word.y)
    if len(path) >= _DEEPEST or len(words) < 12:
        return [Column(words, path)] if words else []
    size = median(word.size for word in words)
    zones = _best_gutter(words, size, known)
    if not zones:
        return [Column(words, path)]
    parts: list[Column] = []
    inside = {id(word) for zone in zones for word in (*zone.left, *zone.right)}
    rest = [word for word in words if id(word) not in inside]
    for zone in zones:
        above = [word for word in rest if word.y < zone.top]
        rest = [word for word in rest if word.y >= zone.top]
        parts += columns(above, known, path + "-") if above else []
        parts += columns(zone.left, known, path + "L")
        parts += columns(zone.right, known, path + "R")
    return parts + (columns(rest, known, path + "-") if rest else [])


def _best_gutter(words: list[Word], size: float, known: list[float]) -> list[_Zone]:
    """The zones of the gutter that parts most words; none when the words stand in one column."""
    left_edge = min(word.x0 for word in words)
    right_edge = max(word.x1 for word in words)
    narrowest = _NARROWEST * size
    half = _LEAST_GUTTER * size / 2
    first, last = left_edge + narrowest, right_edge - narrowest
    if last <= first:
        return []
    bins = int((last - first) / _STEP) + 1
    crossing: list[list[float]] = [[] for _ in range(bins)]
    overfull = _overfull(words)
    for word in words:
        if id(word) in overfull:
            continue
        low = max(0, int((word.x0 - half - first) / _STEP) + 1)
        high = min(bins - 1, int((word.x1 + half - first) / _STEP))
        for index in range(low, high + 1):
            crossing[index].append(word.y)
    baselines = [word.y for word in words]
    top, bottom = baselines[0] - size, baselines[-1] + size
    best: tuple[float, float, list[_Zone]] = (0.0, 0.0, [])
    seen: set[tuple[float, ...]] = set()
    for index, ys in enumerate(crossing):
        clear = _clear(ys, top, bottom, _LEAST_LINES * 1.15 * size)
        key = tuple(edge for pair in clear for edge in pair)
        if not clear or key in seen:
            continue
        seen.add(key)  # every place in a strip has the same zones
        x = first + index * _STEP
        score, zones = _scored(words, baselines, clear, x, size, known, overfull)
        if score > best[0]:
            best = (score, x, zones)
    if any(len(_rows(zone.left, size)) >= _TALL <= len(_rows(zone.right, size)) for zone in best[2]):
        known.append(best[1])
    return best[2]


def _overfull(words: list[Word]) -> set[int]:
    """Words that run out of their column, as long addresses do: over the next column's text, or unbreakable."""
    found: set[int] = set()
    for at, word in enumerate(words):
        if len(word.text) < _LEAST_OVERFULL:
            continue
        if len(word.text) >= _LONGEST_WORD and _ADDRESS.search(word.text):
            found.add(id(word))
            continue
        for step in (-1, 1):
            place = at + step
            while 0 <= place < len(words) and abs(words[place].y - word.y) < 0.6 * word.size:
                other = words[place]
                if word.x0 + 2 * word.size < other.x0 < word.x1 - 0.3 * word.size and other.size > 0.85 * word.size:
                    found.add(id(word))
                place += step
    return found


def _clear(ys: list[float], top: float, bottom: float, least: float) -> list[tuple[float, float]]:
    edges = [top, *ys, bottom]
    return [(upper, lower) for upper, lower in pairwise(edges) if lower - upper >= least]


def _scored(
    words: list[Word],
    baselines: list[float],
    clear: list[tuple[float, float]],
    x: float,
    size: float,
    known: list[float],
    overfull: set[int],
) -> tuple[float, list[_Zone]]:
    """How many letters stand beside letters across the strip at `x`, and the zones where they do."""
    zones: list[_Zone] = []
    score = 0.0
    sure = any(abs(x - other) < 2 * size for other in known)
    for upper, lower in clear:
        zone = _Zone(upper + 0.01, lower)
        for word in words[bisect_left(baselines, upper + 0.01) : bisect_left(baselines, lower - 0.01)]:
            left = word.x1 < x or (id(word) in overfull and word.x0 < x)
            (zone.left if left else zone.right).append(word)
        if not zone.left or not zone.right:
            continue
        wide = [max(word.x1 for word in side) - min(word.x0 for word in side) for side in (zone.left, zone.right)]
        lines = [_rows(side, size) for side in (zone.left, zone.right)]
        if min(map(len, lines)) < 2 or max(map(len, lines)) < 3 or min(wide) < _NARROWEST * size:
            continue
        if not sure and max(map(len, lines)) < _TALL and _aligned(lines[1]) < _ALIGNED:
            continue
        # Height and number decide between places in one strip: the best lets the widest lines pass, in one zone.
        score += min(sum(len(word.text) for word in side) for side in (zone.left, zone.right))
        score += 0.01 * (lower - upper) - 2
        zones.append(zone)
    return score, zones


def _rows(words: list[Word], size: float) -> list[float]:
    """Where each line begins."""
    begins: dict[int, float] = {}
    for word in words:
        row = round(word.y / (0.6 * size))
        begins[row] = min(word.x0, begins.get(row, word.x0))
    return list(begins.values())


def _aligned(places: list[float]) -> float:
    """The share of lines that begin where most begin; 0 for too few to tell."""
    most = max(sum(abs(place - other) < 1.5 for other in places) for place in places)
    return most / len(places) if most >= 4 else 0.0
