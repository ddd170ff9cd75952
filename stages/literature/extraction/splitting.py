"""Lists without markers: where each entry begins, read from indents, gaps and the look of the first words.

Every way of setting a list (hanging indent, indented first line, a gap between entries, nothing at all) is tried;
the one whose entries most look like references wins.
"""

from __future__ import annotations

import operator
import re
from collections import Counter, defaultdict
from itertools import pairwise

from stages.literature.extraction.authors import read_authors, read_organisation
from stages.literature.extraction.glyphs import HYPHEN
from stages.literature.extraction.layout import Line
from stages.literature.extraction.likeness import (
    dated,
    ends_like,
    likeness,
    starts_like,
    starts_with_author,
    starts_with_authors,
)

_LEAST_INDENT = 3.0
_WIDEST_INDENT = 60.0
_SEEN = 1.08
"""What the page shows (indents, gaps) is trusted a little more than what the words suggest."""
_SEEN_TWICE = 1.2
"""Where indents and gaps agree."""
_NO_START = re.compile(
    r"https?:|www\.|doi\b|\[online\]|available\b|accessed\b|retrieved\b|arxiv:|in:?\s|pp?\.\s", re.IGNORECASE
)


def entry_starts(lines: list[Line]) -> list[int]:
    """The lines on which entries begin, the first line always being one."""
    if not lines:
        return []
    offsets, indent = _offsets(lines)
    tries: list[tuple[list[bool], float]] = []
    if indent:
        tries.append(([offset < indent / 2 for offset in offsets], _SEEN))
        tries.append(([offset >= indent / 2 for offset in offsets], _SEEN))
    gaps = _after_gaps(lines)
    if sum(gaps) > 3:
        # Where both show nearly the same, each mends the other: no gap stands at the top of a column, and a rule in
        # place of repeated authors moves a line's beginning.
        twice = [flags for flags, _ in tries if sum(map(operator.ne, gaps, flags)) <= 1 + len(lines) // 50]
        tries += [(list(map(operator.or_, gaps, flags)), _SEEN_TWICE) for flags in twice]
    tries.append((gaps, _SEEN))
    tries.append((_after_breaks(lines), 1.0))
    tries.append((_by_words(lines), 1.0))
    ranked = [(worth(lines, starts) * trust, starts) for starts, trust in ((_only(lines, f), t) for f, t in tries)]
    return max(ranked, key=lambda pair: pair[0])[1]


def entries(lines: list[Line], starts: list[int]) -> list[list[Line]]:
    """The lines of each entry."""
    return [lines[here:after] for here, after in pairwise([*starts, len(lines)])]


def goodness(entry: list[Line]) -> float:
    """1 for what reads like one reference, down to -1 for what does not; less for each further one inside."""
    text = " ".join(line.text for line in entry)
    value = 0.4 * starts_like(text) + 0.3 * dated(text) + 0.3 * (likeness(text) >= 0.5) + 0.2 * ends_like(text)
    value = 1.0 if value >= 0.9 else value * 2 - 1
    if len(text) < 25:
        value -= 0.8
    for before, line in pairwise(entry):
        if starts_with_author(line.text) and ends_like(before.text) and dated(line.text[:160]):
            value -= 0.35
    if len(entry) > 14:
        value -= 0.1 * (len(entry) - 14)
    return max(value, -2.0)


def worth(lines: list[Line], starts: list[int]) -> float:
    """How good a splitting is: the sum over its entries, up to where the list seems to end."""
    best = total = 0.0
    for entry in entries(lines, starts):
        total += goodness(entry)
        best = max(best, total)
    return best


def _only(lines: list[Line], flags: list[bool]) -> list[int]:
    return [0, *(index for index in range(1, len(lines)) if flags[index])]


def _offsets(lines: list[Line]) -> tuple[list[float], float]:
    """How far each line stands from its column's edge, and the list's indent (0 when there is none)."""
    by_column: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_column[line.column].append(line)
    lefts = {column: min(line.x0 for line in members) for column, members in by_column.items()}
    shifts = Counter(
        round(line.x0 - lefts[line.column])
        for line in lines
        if _LEAST_INDENT <= line.x0 - lefts[line.column] <= _WIDEST_INDENT
    )
    if not shifts:
        return [0.0] * len(lines), 0.0
    counts = {shift: shifts[shift - 1] + shifts[shift] + shifts[shift + 1] for shift in shifts}
    indent = float(max(counts, key=lambda shift: (counts[shift], shifts[shift])))
    if counts[round(indent)] < max(1, len(lines) // 40):
        return [line.x0 - lefts[line.column] for line in lines], 0.0
    both = {
        round(lefts[column]) for column, members in by_column.items()
        if any(abs(line.x0 - lefts[column] - indent) < 1.5 for line in members)
    }  # fmt: skip
    for column, members in by_column.items():
        # A column that holds one level only: its place tells which, by the columns above or below it.
        left = lefts[column]
        alone = all(abs(line.x0 - left) < 1.5 for line in members)
        if alone and not _near(left, both) and _near(left - indent, both):
            lefts[column] = left - indent
    return [line.x0 - lefts[line.column] for line in lines], indent


def _near(value: float, places: set[int]) -> bool:
    return any(abs(value - place) < 2 for place in places)


def leading(lines: list[Line]) -> float:
    """The usual distance between baselines; 0 when no line stands below another."""
    gaps = sorted(line.gap for line in lines if line.gap is not None and line.gap > 0.5 * line.size)
    if not gaps:
        return 0.0
    # The smallest common gap: in a list of short entries the wider gaps between entries may be in the majority.
    low = gaps[len(gaps) // 10]
    near = [gap for gap in gaps if gap < 1.12 * low]
    return near[len(near) // 2]


def _after_gaps(lines: list[Line]) -> list[bool]:
    usual = leading(lines)
    flags = []
    for index, line in enumerate(lines):
        if index and line.gap is not None and lines[index - 1].column == line.column:
            flags.append(usual > 0 and line.gap > 1.18 * usual)
        else:
            named = starts_with_author(line.text) or read_authors(line.text) is not None
            flags.append(index == 0 or (named and ends_like(lines[index - 1].text)))
    return flags


def _after_breaks(lines: list[Line]) -> list[bool]:
    """Starts after lines that were ended early: the first word of the next line would have had room on them."""
    edges: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        edges[line.column].append(line.x1)
    rights = {column: sorted(values)[int(0.85 * (len(values) - 1))] for column, values in edges.items()}
    flags = [True]
    for before, line in pairwise(lines):
        window, first = line.text[:160], line.words[0]
        room = rights[before.column] - before.x1 - 0.4 * before.size
        if room > first.x1 - first.x0 and not before.text.endswith((",", ";", ":", "-", HYPHEN, " and", " &")):
            named = starts_like(window) or read_authors(window) is not None or read_organisation(window) is not None
            flags.append((named or window[:1].isupper()) and not _NO_START.match(window))
        else:
            sure = dated(window) or starts_with_authors(window)
            flags.append(starts_with_author(window) and ends_like(before.text) and sure)
    return flags


def _by_words(lines: list[Line]) -> list[bool]:
    """Starts by the look alone: an author's name after a line that may end an entry."""
    flags = [True]
    for before, line in pairwise(lines):
        window = line.text[:160]
        short = before.right - before.x1 > 0.12 * (before.right - before.left)
        sure = short or dated(window) or starts_with_authors(window)
        flags.append(starts_with_author(window) and ends_like(before.text) and sure)
    return flags
