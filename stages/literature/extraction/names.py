"""The first author's family name, guessed from how a reference begins."""

from __future__ import annotations

import re

from stages.literature.extraction.authors import ORGANISATION, PARTICLES, read_authors, read_organisation
from stages.literature.extraction.likeness import UPPER

_INITIAL = rf"(?:[{UPPER}]|Yu|Ch|Zh|Sh|Ph|Th|Ya|Kh)\."
_INITIALS_FIRST = re.compile(rf"((?:{_INITIAL}[\s-]*){{1,5}}(?:(?:de|da|del|van|von)\s+(?=[{UPPER}]\.))?)(?=\S)")
_FAMILY_INITIALS = re.compile(rf"((?:[\w'’-]{{1,30}}\s){{1,3}})[{UPPER}]{{1,4}}(?:-[{UPPER}])?([,.])\s+")
_INITIALS = re.compile(rf"(?:{_INITIAL}[\s-]*){{1,5}}$|[{UPPER}]{{1,3}}\.?$")
_ANDS = frozenset({"and", "und", "et", "with"})
_VANCOUVER = re.compile(rf"(.+?)\s+[{UPPER}]{{1,4}}(?:-[{UPPER}])?$")
_SUFFIX = re.compile(r"\s+(?:Jr|Sr|II|III|IV)\.?$")
_BREAK = re.compile(r"\s*(?:[;:&(\[“\"„«（]|\bet\.?\s+al\b|\band\b|\bund\b|\bwith\b|,?\s+et\s+(?=[A-Z])|\bи др\b|等)")
_YEAR = re.compile(r"[\s,.(]*\b(?:1[5-9]|20)\d\d[a-z]?\b")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{1,12}")
_NOT_A_NAME = re.compile(
    r"(?:https?:|www\.|doi\b|arxiv\b|see\b|for\b|in\b|the\b|this\b|these\b|note\b|we\b|here\b|a\b|an\b|cf\b|ibid)",
    re.IGNORECASE,
)
_LONGEST = 80


def first_author(raw: str) -> str | None:
    """The family name of the first author, or the name of the organisation; None when a reference names neither.

    >>> first_author("J. van der Berg and K. Li, Phys. Rev. 1, 2 (2003)")
    'van der Berg'
    """
    text = raw[:300].strip(" ,;:")
    if not text or text[0] in "“\"„«‘'(" or (_NOT_A_NAME.match(text) and not re.match(rf"A\.|In [{UPPER}]", text)):
        return None
    if found := _CJK.match(text):
        return found.group()
    if authors := read_authors(text) or read_organisation(text):
        return _clean(authors.first)
    if found := _INITIALS_FIRST.match(text):
        return _clean(_until(text[found.end() :]))
    if (found := _FAMILY_INITIALS.match(text)) and (found[2] == "," or _is_title(text[found.end() :])):
        return _clean(found[1])
    head = _BREAK.split(text, maxsplit=1)[0]
    head = _YEAR.split(head, maxsplit=1)[0]
    parts = [part.strip() for part in head.split(",")]
    name = parts[0]
    if not name or not name[0].isalpha():
        return None
    if ORGANISATION.search(name.split(". ")[0]):
        return _clean(name.split(". ")[0])
    if len(parts) > 1 and _INITIALS.fullmatch(parts[1].split(". ")[0] + "."):
        return _clean(name)  # Family, I. I.
    name = re.split(rf"(?<=[{UPPER.replace('А-ЯЁЄІЇҐΑ-Ω', '')}a-zà-ÿ]{{3}})\.\s", name, maxsplit=1)[0]
    name = _SUFFIX.sub("", name.rstrip(" ."))
    if found := _VANCOUVER.match(name):
        return _clean(found.group(1))
    if found := re.match(rf"(\S+(?:\s\S+)?)\s+(?:[{UPPER}]\.[\s-]*)+$", name + "."):
        return _clean(found.group(1))  # Family I.
    words = name.split()
    if len(words) == 1 or (len(parts) > 1 and len(words) <= 3 and words[0].lower() in PARTICLES):
        return _clean(name)
    if len(parts) > 1 and len(words) == 2 and re.fullmatch(rf"[{UPPER}][\w'’-]+(?:\s[{UPPER}]\.)*", parts[1]):
        return _clean(words[-1])  # Given Family, and …
    return _clean(_family(words)) if len(words) <= 5 else None


def _is_title(text: str) -> bool:
    """Whether a text goes on like a title rather than with the rest of a name."""
    words = re.split(r"[,.]", text, maxsplit=1)[0].split()
    ordinary = [word for word in words if word[0].islower() and word not in PARTICLES and word not in _ANDS]
    return bool(words) and words[0][0].isupper() and (bool(ordinary) or len(words) >= 5)


def _until(text: str) -> str:
    """What stands before the sign that ends a name."""
    return re.split(r"[,;:.(\[&]|\s(?:and|und|et|with|y|e|и)\s|\set\sal", text, maxsplit=1)[0]


def _family(words: list[str]) -> str:
    """The family name of a full name: from the first particle on, else the last word."""
    for at, word in enumerate(words[1:], start=1):
        if word.lower() in PARTICLES and word[0].islower() and at < len(words) - 1:
            return " ".join(words[at:])
    return words[-1]


def _clean(name: str) -> str | None:
    name = _SUFFIX.sub("", " ".join(name.split()).strip(" .,;:*†‡§"))
    return name if name and len(name) <= _LONGEST and any(sign.isalpha() for sign in name) else None
