"""Numbered and labelled reference lists: the markers in front of the entries, found as one rising sequence.

A marker alone proves little ("12." may end a page range); a run 1, 2, 3, … of one style, standing at one place, does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from stages.literature.extraction.layout import Line
from stages.literature.extraction.likeness import UPPER, likeness

_STYLES = {
    "bracket": re.compile(r"[\[［〔【]\s*(\d{1,4})\s*[\]］〕】]\s*[.:]?"),
    "paren": re.compile(r"[(（]\s*(\d{1,4})\s*[)）]\s*[.:]?"),
    "dot": re.compile(r"(\d{1,4})\s?[.．](?![\d])(?=\s*\S|\s*$)"),
    "rparen": re.compile(r"(\d{1,4})\s?[)）](?=\s|$)"),
    "bare": re.compile(rf"(\d{{1,4}})[\s:](?=\s*[{UPPER}a-z“\"„«‘(\u3040-\uffef])"),
}
_LABEL = re.compile(rf"\[((?:[{UPPER}][\w’'+*.&,;:\s-]{{0,38}}|[a-z][\w+*]{{1,20}}\d\d[a-z]?))\]\s*")
_MOST_SKIPPED = 3
_FURTHEST = 90
"""Lines between two neighbouring markers: a page of figures may lie between."""


@dataclass(frozen=True, slots=True)
class Marker:
    """The marker of one entry: on which line it stands and where the entry's text begins on that line."""

    line: int
    number: int
    end: int
    x: float  # where the text after it stands, from the column's left edge


@dataclass(frozen=True, slots=True)
class Chain:
    """Markers of one style that number a list."""

    style: str
    markers: tuple[Marker, ...]
    score: float


def best_chain(lines: list[Line], *, headed: bool) -> Chain | None:
    """The sequence of markers that numbers most entries, or None.

    `headed`: the lines follow a heading, so that the list starts near the first of them and may be short.
    """
    found = _found(lines)
    chains = []
    for style, markers in found.items():
        chain = _labels(markers) if style == "label" else _rising(lines, markers, style)
        if chain and (not headed or chain.markers[0].line <= 12):
            chains.append(chain)
    chains = [chain for chain in chains if _believable(lines, chain, headed=headed)]
    return max(chains, key=lambda chain: chain.score, default=None)


def _found(lines: list[Line]) -> dict[str, list[Marker]]:
    found: dict[str, list[Marker]] = defaultdict(list)
    for index, line in enumerate(lines):
        first = line.words[0]
        if len(line.words) > 1:
            small = first.size < 0.85 * line.size and line.y - first.y > 0.12 * line.size
            if small and first.text.rstrip(".,").isdecimal() and len(first.text) <= 4:
                place = line.words[1].x0 - line.left
                found["raised"].append(Marker(index, int(first.text.rstrip(".,")), len(first.text), place))
                continue
        for style, pattern in _STYLES.items():
            if match := pattern.match(line.text):
                found[style].append(Marker(index, int(match[1]), match.end(), _place(line, match.end())))
        if match := _LABEL.match(line.text):
            found["label"].append(Marker(index, len(found["label"]) + 1, match.end(), _place(line, match.end())))
    return found


def _place(line: Line, end: int) -> float:
    """Where the first word after the first `end` letters of a line begins, from the column's left edge."""
    seen = 0
    want = len(line.text[:end].replace(" ", ""))
    for word in line.words:
        if seen >= want:
            return word.x0 - line.left
        seen += len(word.text.replace(" ", ""))
    return line.words[-1].x0 - line.left


def _rising(lines: list[Line], markers: list[Marker], style: str) -> Chain | None:
    """The best chain by numbers: most members, few skipped, all at one place."""
    places: dict[int, int] = defaultdict(int)
    for marker in markers:
        places[round(lines[marker.line].x0 - lines[marker.line].left)] += 1
        places[-1000 - round(marker.x)] += 1
    best: dict[int, list[tuple[float, int, int]]] = defaultdict(list)  # by number: score, marker, the one before
    whole: tuple[float, int] = (0.0, -1)
    back: dict[int, int] = {}
    for at, marker in enumerate(markers):
        line = lines[marker.line]
        offset = round(line.x0 - line.left)
        # Numbers are set flush left, or flush right so that the texts are: one of the two places is common.
        shared = max(
            sum(places[offset + shift] for shift in (-1, 0, 1)),
            sum(places[-1000 - round(marker.x) + shift] for shift in (-1, 0, 1)),
        )
        text = _text(lines, marker, marker.line + 8)
        own = 0.3 + 0.3 * min(1.0, shared / (0.5 * len(markers) + 1)) + 0.4 * (likeness(text) >= 0.5)
        score, before = (own if marker.number <= 1 else own - 0.4 * marker.number, -1)
        for skipped in range(_MOST_SKIPPED + 1):
            for reached, other, _ in best[marker.number - 1 - skipped][-6:]:
                far = marker.line - markers[other].line
                penalty = 0.5 * skipped + min(0.5, 0.005 * far) + (0.3 if far > _FURTHEST else 0.0)
                if reached + own - penalty > score and (far <= _FURTHEST or skipped == 0):
                    score, before = reached + own - penalty, other
        best[marker.number].append((score, at, before))
        back[at] = before
        if score > whole[0]:
            whole = (score, at)
    if whole[1] < 0:
        return None
    members: list[Marker] = []
    at = whole[1]
    while at >= 0:
        members.append(markers[at])
        at = back[at]
    return Chain(style, tuple(reversed(members)), whole[0])


def _text(lines: list[Line], marker: Marker, end: int) -> str:
    """The beginning of what stands behind a marker, about as much as an entry is long."""
    return " ".join(line.text for line in lines[marker.line : end])[marker.end : marker.end + 300]


def _labels(markers: list[Marker]) -> Chain | None:
    return Chain("label", tuple(markers), 0.9 * len(markers)) if markers else None


def _believable(lines: list[Line], chain: Chain, *, headed: bool) -> bool:
    first = chain.markers[0]
    if first.number > 5:
        return False
    texts = []
    for here, after in zip(chain.markers, [*chain.markers[1:], None], strict=True):
        texts.append(_text(lines, here, min(after.line if after else here.line + 8, here.line + 12)))
    like = sum(likeness(text) >= 0.5 for text in texts) / len(texts)
    if headed:
        return like >= (0.4 if chain.style in ("bracket", "label", "paren") else 0.5) or len(texts) == 1
    return len(texts) >= 4 and like >= 0.6
