"""What interrupts a reference list without belonging to it: figures and tables with their captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from stages.literature.extraction.headings import is_caption
from stages.literature.extraction.layout import Line
from stages.literature.extraction.likeness import likeness, starts_with_author
from stages.literature.extraction.splitting import leading

_MARKER = re.compile(r"[\[(]?\d{1,4}[\]).]?\s*")


def usual_size(lines: list[Line]) -> float:
    """The type size of a list: that of most lines that begin like a reference, else of most letters."""
    sizes: Counter[float] = Counter()
    begins: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.size, 1)] += len(line.text)
        begins[round(line.size, 1)] += starts_with_author(_MARKER.sub("", line.text, count=1))
    if begins.total() >= 3:
        return begins.most_common(1)[0][0]
    return sizes.most_common(1)[0][0] if sizes else 0.0


def without_floats(lines: list[Line], begins_entry: Callable[[Line], bool]) -> list[Line]:
    """The lines without captions and what stands in the figure above them.

    A caption is set apart by a gap, another size or the start of a column, and ends at the next gap or entry.
    """
    usual, size = leading(lines), usual_size(lines)
    drop: set[int] = set()
    index = 0
    while index < len(lines):
        line = lines[index]
        apart = line.gap is None or line.gap > 1.25 * usual or abs(line.size - size) > 0.06 * size
        if not (apart and is_caption(line.text)) or begins_entry(line):
            index += 1
            continue
        drop.update(_figure_above(lines, index, usual, size, begins_entry))
        drop.add(index)
        index += 1
        while index < len(lines):
            after = lines[index]
            if after.column != line.column or after.gap is None or begins_entry(after):
                break
            if after.gap > max(1.25 * usual, 1.45 * line.size) and not _tabular(after):
                break
            drop.add(index)
            index += 1
    kept: list[Line] = []
    for index, line in enumerate(lines):
        if index in drop:
            continue
        if index - 1 in drop:
            line.gap = None
        kept.append(line)
    return kept


def _figure_above(
    lines: list[Line], caption: int, usual: float, size: float, begins_entry: Callable[[Line], bool]
) -> list[int]:
    """Labels inside the figure: short or oddly sized lines over the caption, up to the column's top or a text line."""
    found = []
    for index in range(caption - 1, -1, -1):
        line = lines[index]
        if line.column != lines[caption].column or begins_entry(line) or likeness(line.text) >= 0.5:
            break
        narrow = line.x1 - line.x0 < 0.5 * (line.right - line.left)
        odd = abs(line.size - size) > 0.08 * size
        if not odd and not (narrow and line.gap is not None and abs(line.gap - usual) > 0.15 * usual):
            break
        found.append(index)
    return found


def _tabular(line: Line) -> bool:
    """Whether a line looks like the row of a table: several wide gaps, or mostly numbers."""
    wide = sum(after.x0 - before.x1 > 1.2 * line.size for before, after in pairwise(line.words))
    numeric = sum(any(sign.isdigit() for sign in word.text) for word in line.words)
    return wide >= 2 or (len(line.words) > 2 and numeric > 0.7 * len(line.words))
