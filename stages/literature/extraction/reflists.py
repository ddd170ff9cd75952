"""The reference lists of a paper: where each begins, its entries line by line, and where it ends."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

from stages.literature.extraction.floats import usual_size, without_floats
from stages.literature.extraction.headings import LONGEST_HEADING, begins_references, follows_references, is_lettered
from stages.literature.extraction.layout import Line
from stages.literature.extraction.likeness import ends_like, is_biography, likeness, starts_like, starts_with_author
from stages.literature.extraction.markers import Chain, best_chain
from stages.literature.extraction.splitting import entries, entry_starts, goodness, leading, worth

MOST_LISTS = 200
_RUN_IN = re.compile(r"(?:references?|bibliography|literature cited)\s*[:.]?\s*(?=\[\s*1\s*\]|1\.\s)", re.IGNORECASE)
_LONGEST_PLAUSIBLE = 25
"""Lines of one entry; a longer one has swallowed what follows the list."""

Entry = list[Line]


@dataclass(frozen=True, slots=True)
class Found:
    """One reference list: its entries, and whether a heading stands over it."""

    entries: list[Entry]
    headed: bool


def reference_lists(lines: list[Line]) -> list[Found]:
    """All reference lists in reading order; each entry without its marker. Empty when there is none."""
    heads = _heads(lines)
    found = []
    for here, after in pairwise([*heads[:MOST_LISTS], len(lines)]):
        body = lines[here:after]
        run_in = _RUN_IN.match(body[0].text[:LONGEST_HEADING])
        body = [replace(body[0], text=body[0].text[run_in.end() :]), *body[1:]] if run_in else body[1:]
        if made := _entries(body, headed=True):
            found.append(Found(made, headed=True))
    return found or _headless(lines)


def has_heading(lines: list[Line]) -> bool:
    """Whether a heading of a reference list stands among the lines."""
    return bool(_heads(lines))


def _heads(lines: list[Line]) -> list[int]:
    heads = []
    for index, line in enumerate(lines):
        if _RUN_IN.match(line.text[:LONGEST_HEADING]):
            heads.append(index)
        elif begins_references(line.text):
            # A column of a table may be called "Reference": a heading has its column to itself and text below.
            heads.append(index)
    return heads


def _headless(lines: list[Line]) -> list[Found]:
    """Lists without a heading, as in Physical Review Letters: found by their markers or by their look."""
    found: list[tuple[int, Found]] = []
    spans = [(0, len(lines))]
    while spans and len(found) < 5:
        start, end = spans.pop()
        body = lines[start:end]
        chain = best_chain(body, headed=False) if len(body) >= 4 else None
        if chain is None:
            continue
        listed = body[: chain.markers[0].line] + _without_other_text(body[chain.markers[0].line :])
        if gone := len(body) - len(listed):
            lines = lines[:start] + listed + lines[end:]
            spans = [(here - gone, after - gone) if here >= end else (here, after) for here, after in spans]
            spans.append((start, end - gone))
            continue
        found.append((start, Found(_numbered(*_without_floats(body, chain, headed=False)), headed=False)))
        first, last = chain.markers[0].line, chain.markers[-1].line
        spans += [(start, start + first), (start + last + 1, end)]
    if found:
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]
    return _by_look(lines)


def _by_look(lines: list[Line]) -> list[Found]:
    """The longest run of entries at the end of the paper that read like references."""
    size_runs: list[list[Line]] = []
    for line in lines[-1500:]:
        if size_runs and abs(size_runs[-1][-1].size - line.size) < 0.3:
            size_runs[-1].append(line)
        else:
            size_runs.append([line])
    best: list[Entry] = []
    for run in size_runs:
        if len(run) < 6:
            continue
        split = entries(run, entry_starts(run))
        values = [1.0 if goodness(entry) > 0.4 else -1.5 for entry in split]
        first, last, total = _best_span(values)
        if total >= 5 and total > len(best):
            best = split[first:last]
    return [Found(best, headed=False)] if best else []


def _best_span(values: list[float]) -> tuple[int, int, float]:
    best, total, start = (0, 0, 0.0), 0.0, 0
    for index, value in enumerate(values):
        if total <= 0:
            total, start = 0.0, index
        total += value
        if total > best[2]:
            best = (start, index + 1, total)
    return best


def _without_other_text(body: list[Line]) -> list[Line]:
    """The lines without text of another size that stands over the list at the top of a later column.

    Journals that balance columns set the end of the text and the list below it on one page, both in two columns.
    """
    if not body:
        return body
    size = usual_size(body)
    columns: dict[str, list[Line]] = defaultdict(list)
    for line in body:
        columns[line.column].append(line)
    drop: set[int] = set()
    for name, members in columns.items():
        odd = [abs(line.size - size) > 0.06 * size for line in members]
        last = max((at for at in range(1, len(odd)) if odd[at] and odd[at - 1]), default=0)
        over = members[: last + 1]
        other = sum(odd[: last + 1]) >= max(3, 0.5 * len(over)) and odd[0] and last + 1 < len(members)
        if name != body[0].column and other and not any(begins_references(line.text) for line in over):
            drop.update(id(line) for line in over)
    for before, line in pairwise(body):
        if id(before) in drop and id(line) not in drop:
            line.gap = None
    return [line for line in body if id(line) not in drop]


def _entries(body: list[Line], *, headed: bool) -> list[Entry]:
    body = _without_other_text(body)
    chain = best_chain(body, headed=headed)
    if chain is None:
        return _unnumbered(without_floats(body, lambda line: starts_with_author(line.text)))
    body, chain = _without_floats(body, chain, headed=headed)
    numbered = _numbered(body, chain)
    if len(chain.markers) >= 3 and (chain.style in ("bracket", "label", "raised") or chain.markers[0].line < 3):
        return numbered
    plain = _unnumbered(body)
    return numbered if sum(map(goodness, numbered)) >= 0.6 * sum(map(goodness, plain)) else plain


def _without_floats(body: list[Line], chain: Chain, *, headed: bool) -> tuple[list[Line], Chain]:
    marked = {id(body[marker.line]) for marker in chain.markers}
    bare = without_floats(body, lambda line: id(line) in marked)
    again = best_chain(bare, headed=headed) if len(bare) < len(body) else None
    return (bare, again) if again else (body, chain)


def _numbered(body: list[Line], chain: Chain) -> list[Entry]:
    markers = chain.markers
    spans = [
        (here.line, after) for here, after in zip(markers, [*(m.line for m in markers[1:]), len(body)], strict=True)
    ]
    shape = _Shape.of(body, chain)
    made = []
    for number, ((first, after), marker) in enumerate(zip(spans, markers, strict=True)):
        last = number == len(spans) - 1
        entry = shape.kept(body[first:after], last=last)
        head = replace(entry[0], text=entry[0].text[marker.end :].strip())
        made.append([line for line in (head, *entry[1:]) if line.text])
    return [entry for entry in made if entry]


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a numbered list is set: type size, distance of baselines, where lines stand that go on an entry."""

    size: float
    leading: float
    text_x: dict[str, float]  # by column: where texts stand behind their markers
    steps: frozenset[int]  # usual distances from there, of lines that go on

    @classmethod
    def of(cls, body: list[Line], chain: Chain) -> _Shape:
        starts = {marker.line: marker for marker in chain.markers}
        places: dict[str, list[float]] = defaultdict(list)
        for at, marker in starts.items():
            places[body[at].column].append(body[at].left + marker.x)
        text_x = {column: sorted(values)[len(values) // 2] for column, values in places.items()}
        inner = body[chain.markers[0].line : chain.markers[-1].line + 1]
        steps: Counter[int] = Counter()
        for index in range(chain.markers[0].line, chain.markers[-1].line):
            line = body[index]
            if index not in starts and line.column in text_x:
                steps[round((line.x0 - text_x[line.column]) / 2)] += 1
        total = sum(steps.values())
        usual = frozenset(step for step, count in steps.items() if count >= max(1, 0.06 * total))
        return cls(usual_size(inner), leading(inner) or leading(body), text_x, usual)

    def kept(self, entry: Entry, *, last: bool) -> Entry:
        """The lines that belong to an entry. The last entry ends at the first sign of something else."""
        strict = last or len(entry) > _LONGEST_PLAUSIBLE
        kept = entry[:1]
        for before, line in pairwise(entry):
            if is_heading(line, self.size, self.leading) or (strict and self._foreign(before, line)):
                break
            odd = abs(line.size - self.size) > 0.08 * self.size
            if odd and (line.gap is None or line.gap > 1.35 * self.leading):
                continue
            kept.append(line)
        return kept

    def _foreign(self, before: Line, line: Line) -> bool:
        if line.column != before.column:
            return ends_like(before.text) or abs(line.size - self.size) > 0.05 * self.size
        if line.gap is not None and self.leading and line.gap > 1.5 * self.leading:
            return True
        if line.size > 1.06 * self.size:
            return True
        here = self.text_x.get(line.column)
        if here is None or not self.steps:
            return False
        step = (line.x0 - here) / 2
        return all(abs(step - usual) > 1.5 for usual in self.steps)


def is_heading(line: Line, size: float, usual: float) -> bool:
    """Whether a line is the heading of another part, by its words and by how it is set off from a list."""
    text = line.text
    if is_biography(text):
        return True
    apart = line.gap is None or (usual > 0 and line.gap > 1.3 * usual)
    if not apart or len(text) > 90 or text.endswith(","):
        return False
    larger = line.size > 1.08 * size
    capitals = text.isupper() and len(text) > 5
    if follows_references(text):
        return larger or line.bold or capitals or line.gap is not None or not text.endswith(".")
    if larger and line.size > 1.15 * size:
        return line.gap is not None or is_lettered(text) or line.bold
    if line.bold and line.gap is not None and line.gap > 1.4 * usual:
        return not starts_like(text) or is_lettered(text)
    return capitals and line.gap is not None and line.gap > 1.5 * usual and likeness(text) < 0.3


def _unnumbered(body: list[Line]) -> list[Entry]:
    size, usual = usual_size(body[:200]), leading(body[:200])
    end = len(body)
    for index, line in enumerate(body):
        if index and is_heading(line, size, usual):
            end = index
            break
        # Another type size for good: the text after the list.
        if index > 3 and all(abs(other.size - size) > 0.08 * size for other in body[index : index + 4]):
            end = index
            break
    body = [
        line for line in body[:end]
        if abs(line.size - size) <= 0.2 * size or (line.gap is not None and line.gap < 1.35 * usual)
    ]  # fmt: skip
    if not body:
        return []
    split = entries(body, entry_starts(body))
    values = [goodness(entry) for entry in split]
    kept, total, best = 0, 0.0, 0.0
    for index, value in enumerate(values):
        total += 1.0 if value > 0.2 else -0.8
        if total >= best:
            kept, best = index + 1, total
    if kept and kept == len(split) - 1 and likeness(" ".join(line.text for line in split[-1])) >= 0.3:
        kept += 1
    good = sum(value > 0.2 for value in values[:kept])
    if not kept or good < 0.5 * kept or (worth(body, [0]) < -5 and kept < 2):
        return []
    split = split[:kept]
    split[-1] = _ended(split[-1], size, usual)
    return split


def _ended(entry: Entry, size: float, usual: float) -> Entry:
    """The last entry without what stands below it behind a wide gap."""
    kept = entry[:1]
    for before, line in pairwise(entry):
        wide = line.gap is not None and usual and line.gap > 1.7 * usual
        if wide or (line.column != before.column and ends_like(before.text)) or line.size > 1.06 * size:
            break
        kept.append(line)
    return kept
