"""The title of a cited work, guessed from a reference as printed."""

from __future__ import annotations

import re

from stages.literature.extraction.likeness import UPPER
from stages.literature.extraction.names import FAMILY_FIRST, authors_end, is_title

_QUOTED = re.compile(
    r"[“„«]\s*([^”“»]{4,400}?)\s*[,.]?\s*[”“»]|\"([^\"]{4,400}?)[,.]?\"|‘([^’‘]{12,400}?)[,.]?’(?!\w)"
    r"|``(.{4,400}?)[,.]?''"
)
_AFTER_YEAR = re.compile(
    r"^.{2,400}?[\s,(\[]\(?(?:1[5-9]"
    r"|20)\d\d[a-z]?(?:,\s*[^\W\d_]{3,10}(?:\s\d{1,2})?)?\s*[)\]]?\s*[.,:;]\s+",
    re.DOTALL,
)
_ABBREVIATED = re.compile(
    rf"(?:^|[\s(.\-])(?:(?-i:[{UPPER}])|(?<=\.-)[a-z]|(?<![{UPPER}]\.\s)(?-i:[{UPPER}][hjuat])|al|eds?|jr|sr|st|vs|cf|no|vol"
    rf"|pp?|fig|proc|conf|int|trans|dr|prof|dept|univ|ltd|inc|co|approx|i\.e|e\.g)\.$",
    re.IGNORECASE,
)
_STOP = re.compile(r"[.?!]\s+(?=\S)|[.?!]$")
_VENUE = re.compile(
    r"^(?:in:?\s|proc\b|proceedings|arxiv|corr\b|phys\.|j\.|ieee|acm|lect\.|ann\.|nature\b|science\b|https?:"
    r"|doi\b|vol\b|pp?\.|pages?\b"
    r"|technical report|ph\.?\s?d|master|\(|\d|url\b|issn|isbn|available|accessed|retrieved|in press|submitted"
    r"|to appear|a&a|forthcoming)",
    re.IGNORECASE,
)
_ABBREVIATIONS = re.compile(r"\b[^\W\d_]{1,8}\.(?=[\s,])")
_LOWER_WORD = re.compile(r"(?<!\S)[a-zà-ÿа-я]{3,}(?!\S*\.)")
_SEGMENT = re.compile(r",\s+")
_NAMES_ONLY = re.compile(r"(?:and|&|et|al\.?|jr\.?|eds?\.?|und|y|и)$", re.IGNORECASE)
_NUMBERED = re.compile(r"\b\d+\s*[,:(]\s*[\dA-Z]")
_FAMILY_INITIALS = re.compile(rf"(?:[\w'’-]{{1,30}}\s){{1,3}}[{UPPER}]{{1,4}}(?:-[{UPPER}])?([,.])\s+")
_OTHERS = re.compile(r"(?:et al|and others)\.?\s+|и др\.\s+")
_YEAR_ONLY = re.compile(r"(?:[^\W\d_]{3,9}\.?\s)?(?:1[5-9]|20)\d\d")
_IN_BRACKETS = re.compile(r"\s*\([^()]{0,80}(?:1[5-9]|20)\d\d[a-z]?\)\s*$")
_TRAILING_YEAR = re.compile(r"[\s,(\[]*(?:1[5-9]|20)\d\d[^\d]{0,30}$")
_NAME_WORDS = frozenset(("and", "und", "with", "van", "von", "der", "den", "for", "the", "del", "della", "dos"))
_LONGEST_ABBREVIATION = 12
_LEAST, _MOST = 8, 400


def title(raw: str) -> str | None:
    """The title; None where a reference prints none, as many in physics do."""
    text = raw[:1500]
    if found := _QUOTED.search(text):
        return _clean(next(group for group in found.groups() if group))
    if (found := _AFTER_YEAR.match(text)) and _only_authors(found.group()):
        made = _sentence(text[found.end() :])
        return _clean(made) if made and not _VENUE.match(made) and not _looks_like_journal(made) else None
    if (start := _after_initials_last(text)) is not None:
        made = _sentence(text[start:])
        return _clean(made) if made and not _VENUE.match(made) and not _looks_like_journal(made) else None
    if (start := authors_end(text)) is not None:
        return _leading(text[start:])
    sentences = _sentences(text)
    if len(sentences) >= 2:
        made = sentences[1]
        if not _VENUE.match(made) and not _looks_like_journal(made) and len(made.split()) >= 2:
            return _clean(made)
    return _by_commas(sentences[0] if sentences else text)


def _leading(text: str) -> str | None:
    """The title that a text begins with: up to a full stop, or to the comma before a journal."""
    made = _sentence(text)
    if (" " not in made and len(made) < _LONGEST_ABBREVIATION) or _VENUE.match(made) or _looks_like_journal(made):
        return None
    head, _, tail = made.partition(", ")
    leaves = _VENUE.match(tail) or _ABBREVIATIONS.match(tail) or _YEAR_ONLY.match(tail)
    if tail and (leaves or _looks_like_journal(tail)):
        made = head
    return _clean(_IN_BRACKETS.sub("", made))


def _after_initials_last(text: str) -> int | None:
    """Where the title begins behind authors written `Family IN, Family IN.` or `Family I. I.`; None for other forms."""
    if family := FAMILY_FIRST.match(text):
        return family.end()
    place = 0
    while found := _FAMILY_INITIALS.match(text, place):
        alone, place = not place, found.end()
        if found[1] == ".":  # one author alone may be "Given I. Family"
            return place if not alone or is_title(text[place:]) else None
    if place and (found := _OTHERS.match(text, place)):
        return found.end()
    return None


def _only_authors(head: str) -> bool:
    """Whether nothing but names stands before the year that ends `head`: one sentence, no ordinary words."""
    names = _TRAILING_YEAR.sub("", head)
    ordinary = [word for word in _LOWER_WORD.findall(names) if word not in _NAME_WORDS]
    return len(_sentence(names)) >= len(names) - 2 and len(ordinary) < 3


def _sentences(text: str) -> list[str]:
    parts: list[str] = []
    rest = text
    while rest and len(parts) < 4:
        made = _sentence(rest)
        if not made:
            break
        parts.append(made)
        rest = rest[len(made) :].lstrip(" .?!")
    return parts


def _sentence(text: str) -> str:
    """Up to the first full stop that is not an initial's or an abbreviation's."""
    for found in _STOP.finditer(text):
        if found.group()[0] != "." or not _ABBREVIATED.search(text[: found.start() + 1][-12:]):
            return text[: found.start()] + (found.group()[0] if found.group()[0] in "?!" else "")
    return text


def _looks_like_journal(text: str) -> bool:
    """`Phys. Rev. Lett. 12, 34`: abbreviations and numbers, few ordinary words."""
    abbreviated, ordinary = len(_ABBREVIATIONS.findall(text)), len(_LOWER_WORD.findall(text))
    return (abbreviated >= 2 and ordinary < 3) or (bool(_NUMBERED.search(text)) and ordinary < 3)


def _by_commas(text: str) -> str | None:
    """`A. Author and B. Author, Title of the work, Journal 1, 2`: the first part with ordinary words in it."""
    for part in _SEGMENT.split(text)[1:8]:
        words = part.split()
        ordinary = [word for word in _LOWER_WORD.findall(part) if not _NAMES_ONLY.match(word)]
        if _VENUE.match(part) or len(words) < 3:
            continue
        if len(ordinary) >= 2 and not _looks_like_journal(part):
            return _clean(part)
    return None


def _clean(text: str) -> str | None:
    made = " ".join(text.split()).strip(" ,.;:")
    letters = sum(sign.isalpha() or sign.isspace() for sign in made)
    return made if _LEAST <= len(made) <= _MOST and letters > 0.7 * len(made) and "://" not in made else None
