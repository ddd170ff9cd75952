"""The title of a cited work, guessed from a reference as printed.

What follows the authors is cut where the journal, the book or the publisher begins. Where authors end with a full stop,
a title is a sentence; where they end with a comma, a title may hold commas, and ends before the first part that looks
like a place of publication.
"""

from __future__ import annotations

import re

from stages.literature.extraction.authors import Authors, read_authors, read_organisation, read_same_authors
from stages.literature.extraction.likeness import UPPER

_QUOTED = re.compile(
    r"[“„«]\s*([^”“»]{4,400}?)\s*[,.]?\s*[”“»]|\"([^\"]{4,400}?)[,.]?\"|‘([^’‘]{12,400}?(?:’(?=\w)[^’‘]{1,200}?)*)[,.]?’(?!\w)"
    r"|``(.{4,400}?)[,.]?''"
)
_ABBREVIATED = re.compile(
    rf"(?:^|[\s(.\-])(?:(?-i:[{UPPER}])|(?<=\.-)[a-z]|(?<![{UPPER}]\.\s)(?-i:[{UPPER}][hjuat])|al|eds?|jr|sr|st|vs|cf|no|vol"
    rf"|pp?|fig|proc|conf|int|trans|dr|prof|dept|univ|ltd|inc|co|approx|i\.e|e\.g)\.$",
    re.IGNORECASE,
)
_PART = re.compile(r"\b(?:part|pt|teil|partie)\s(?:[IVXivx]{1,4}|\d{1,2}|[A-Z])\.$", re.IGNORECASE)
_SHORT = re.compile(rf"(?:^|[\s(])[{UPPER}]\w{{0,8}}\.$")
_STOP = re.compile(r"[.?!][”’»]?\s+(?=\S)|[.?!]$")
_VENUE = re.compile(
    r"^(?:in:?\s(?=(?:proc|adv|\d|the\s\d|[A-Z0-9][\w.-]*\s(?:ann|int|conf|work|symp|ieee|acm|trans|lect)|ieee|acm|icml"
    r"|cvpr|iccv|eccv|neurips|nips|iclr|acl|emnlp|aaai|ijcai|kdd|sig|workshop|conf|int|lecture|handbook|encyclop"
    r"|[A-Z]\.\s|[A-Z][\w’'-]+,\s[A-Z]\.))"
    r"|in:\s|proc\b|proceedings\b|arxiv\b|corr\b|biorxiv|medrxiv|ssrn|phys\.|j\.|ieee\b|acm\b|lect\.|ann\."
    r"|(?:nature|science)\b(?!\sof)|a&a\b|https?:|advances in\s|lecture notes|doi\b|url\b|issn|isbn"
    r"|vol\b|volume\s\d|pp?\.|pages?\s\d|no\.\s|number\s\d|\(|\[[A-Z]|\d{1,5}(?:[,.:;)\s]|$)"
    r"|technical report|tech\.|report\s(?:no|\S*\d)|working paper|version\s\d"
    r"|ph\.?\s?d|m\.?sc\.?\s|master|dissertation|doctoral|thesis|diploma"
    r"|available|accessed|retrieved|in press|submitted|preprint|to appear|forthcoming|unpublished|private comm"
    r"|personal comm|eds?\.|edited by|editors?\b|trans\.|\d(?:st|nd|rd|th)\sed|second edition"
    r"|(?:january|february|march|april|may|june|july|august|september|october|november|december)\b(?:\s\d|,|$|\.))",
    re.IGNORECASE,
)
_DATED_WORD = re.compile(r"\S+(?:\s\S+)?\s*\(?(?:1[5-9]|20)\d\d\)?\.?$")
_IN_VENUE = re.compile(rf"^(?:In|in|En|Em)\s(?=[{UPPER}0-9])")
_PUBLISHER = re.compile(
    r"\b(?:press|springer|wiley|elsevier|verlag|publish\w*|academic|north-holland|mcgraw|addison|prentice|oxford|cambridge"
    r"|mit|siam|birkh[aä]user|dover|freeman|routledge|sage|kluwer|univers\w+|institute?|editions?|editorial|éditions|books)\b",
    re.IGNORECASE,
)
_ABBREVIATIONS = re.compile(r"\b[^\W\d_]{1,9}\.(?=[\s,])")
_LOWER_WORD = re.compile(r"(?<!\S)[^\W\d_A-ZÀ-ÖØ-Þ]{3,}(?!\S*\.)")
_CONNECTORS = frozenset(
    {
        "and", "the", "for", "für", "und", "der", "die", "das", "des", "del", "della", "dos", "les", "sur", "van",
        "von", "zur", "with", "pour", "per", "och", "voor", "los", "las", "auf", "aus",
    }
)  # fmt: skip
_NUMBERED = re.compile(r"\b[A-Za-z]?\d+\s*(?:\(\d+\)\s*)?[,:(]\s*(?:no\.|pp?\.|nr\.)?\s*[\d(A-Za-z]")
_NUMBER_STARTS = re.compile(r"^(?:vol\.?\s|no\.?\s|bd\.?\s|\()?[A-Z]?\d")
_JOURNAL_TAIL = re.compile(rf"\s(?=(?:[{UPPER}]\w{{0,9}}\.\s?){{1,6}}(?:[{UPPER}]\s)?\d)")
_IN_BRACKETS = re.compile(r"\s*[(\[][^()\[\]]{0,80}(?:1[5-9]|20)\d\d[a-z]?[)\]]\s*$")
_EDITION = re.compile(
    r"\s*\((?:\d+(?:st|nd|rd|th)|second|third|fourth|revised)\s+ed(?:ition|n)?\.?\)\s*$", re.IGNORECASE
)
_REPORT = re.compile(
    r"\s*[(\[](?:tech|ph\.?\s?d|phd|master|doctoral|unpublished|report|dissertation|thesis|working)[^()]*[)\]]?\s*$",
    re.IGNORECASE,
)
_KIND = re.compile(r"\s*\[(?:[JMCDRNPS](?:/OL)?|online|book|software|computer software|data ?set)\]\s*$", re.IGNORECASE)
_COLLABORATION = re.compile(r"^[\[(][^\])]{2,60}(?:collaboration|consortium|group|team)[\])]\s*,?\s*", re.IGNORECASE)
_LEAST, _MOST = 8, 400


def title(raw: str) -> str | None:
    """The title; None where a reference prints none, as many in physics do."""
    text = raw[:1500].strip()
    if (found := _QUOTED.search(text)) and _before_venue(text[: found.start()]):
        return _clean(next(group for group in found.groups() if group))
    authors = read_same_authors(text) or read_authors(text) or read_organisation(text)
    if authors is not None:
        return _after_authors(text, authors)
    return _without_authors(text)


def _before_venue(head: str) -> bool:
    """Whether a quotation after `head` may be the title: not a word in quotes inside one."""
    return len(_LOWER_WORD.findall(head)) < 6 and not re.search(r"[,.]\s(?:in|In):?\s", head)


def _after_authors(text: str, authors: Authors) -> str | None:
    rest = _COLLABORATION.sub("", text[authors.end :], count=1).lstrip(" ,.;:")
    if not rest or rest.startswith("in "):
        return None
    if authors.stop in (".", ":") or (authors.stop == "" and not authors.dated):
        return _sentence_title(rest)
    if authors.stop == ",":
        return _comma_title(rest)
    cut = _JOURNAL_TAIL.search(rest)  # "Smith J 2010 Waves in layers J. Phys. A 12 34"
    return _clean(rest[: cut.start()]) if cut and cut.start() > 12 else _sentence_title(rest)


def _sentence_title(rest: str) -> str | None:
    made = _whole_sentence(rest)
    if _is_venue(made):
        return None
    # A title that no full stop ends runs into the journal: "Waves in layers, J. Phys. 3, 4".
    parts = re.split(r",\s+", made)
    for at in range(1, len(parts)):
        tail = ", ".join(parts[at:])
        if _VENUE.match(tail) or _abbreviated_journal(tail) or re.match(r"(?:1[5-9]|20)\d\d\b", tail):
            made = ", ".join(parts[:at])
            break
    return _clean(made)


def _comma_title(rest: str) -> str | None:
    """The parts up to the first that looks like a place of publication; None where that is the first one."""
    made = _whole_sentence(rest, abbreviations=True)
    parts = re.split(r"(?<=\w{3}[.])\s+(?=In:?\s|Ph\.?\s?D|[A-Z][^,]*\d)|,\s+", made)
    kept: list[str] = []
    for at, part in enumerate(parts):
        after = parts[at + 1] if at + 1 < len(parts) else ""
        if _is_place(part, after, first=not kept):
            break
        kept.append(part)
    if not kept:
        return None
    if len(kept) == len(parts) and len(kept) == 1 and len(_LOWER_WORD.findall(kept[0])) < 1:
        return None
    return _clean(", ".join(kept))


def _is_place(part: str, after: str, *, first: bool) -> bool:
    """Whether a part between commas names a journal, a book or a publisher, or counts something."""
    if _VENUE.match(part) or part.startswith("in ") or (not first and _IN_VENUE.match(part)):
        return True
    if _abbreviated_journal(part) or (not first and _DATED_WORD.match(part)):
        return True
    ordinary = [word for word in _LOWER_WORD.findall(part) if word not in _CONNECTORS]
    words = part.split()
    if ordinary or not words or not words[0][0].isupper():
        return False
    numbered = re.search(r"\s[A-Za-z]?\d+(?:\s*\(\d|$|[\s.:])", part) is not None or _NUMBER_STARTS.match(after)
    return bool(numbered) or (not first and (_PUBLISHER.search(part) is not None or len(part) <= 40 or not after))


def _opens_place(text: str) -> bool:
    return bool(_VENUE.match(text) or _IN_VENUE.match(text)) or _abbreviated_journal(text[:25])


def _abbreviated_journal(part: str) -> bool:
    """`Phys. Rev. Lett. 12`: abbreviations, few ordinary words."""
    head = part[:80]
    abbreviated = len(_ABBREVIATIONS.findall(f"{head} "))
    ordinary = [word for word in _LOWER_WORD.findall(head) if word not in _CONNECTORS]
    first = head.split(maxsplit=1)[0] if head.split() else ""
    opens = first.endswith(".") and first[:1].isupper() and len(first) <= 10
    return (abbreviated >= 2 and len(ordinary) < 2) or (opens and abbreviated >= 1 and len(ordinary) < 2)


def _is_venue(text: str) -> bool:
    """Whether a sentence names where something appeared instead of what it is called."""
    if _VENUE.match(text):
        return True
    head = text.split(",", maxsplit=1)[0]
    ordinary = [word for word in _LOWER_WORD.findall(text) if word not in _CONNECTORS]
    if len(_ABBREVIATIONS.findall(text)) >= 2 and len(ordinary) < 3:
        return True
    if _NUMBERED.search(text) and not [word for word in _LOWER_WORD.findall(head) if word not in _CONNECTORS]:
        return True
    return " " not in text and len(text) < 12


def _without_authors(text: str) -> str | None:
    """For references that begin with their title, or with names in a form of their own."""
    sentences = _sentences(text)
    if len(sentences) >= 2:
        made = sentences[1]
        if not _is_venue(made) and len(made.split()) >= 2 and _LOWER_WORD.search(made):
            return _clean(made)
        if len(sentences[0].split()) >= 4 and len(_LOWER_WORD.findall(sentences[0])) >= 2 and "," not in sentences[0]:
            return _clean(sentences[0])
    parts = re.split(r",\s+", sentences[0] if sentences else text)
    for at, part in enumerate(parts[1:8], start=1):
        ordinary = [word for word in _LOWER_WORD.findall(part) if word not in _CONNECTORS]
        if len(part.split()) >= 3 and len(ordinary) >= 2 and not _VENUE.match(part) and not _abbreviated_journal(part):
            return _comma_title(", ".join(parts[at:]))
    return None


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


def _whole_sentence(text: str, *, abbreviations: bool = False) -> str:
    """The first sentence; a question goes on with the sentence after it, unless that names a place."""
    made = _sentence(text, abbreviations=abbreviations)
    if made.endswith(("?", "!")):
        rest = text[len(made) :].lstrip()
        after = _sentence(rest, abbreviations=abbreviations)
        if len(_LOWER_WORD.findall(after.split(",", maxsplit=1)[0])) >= 2 and not _is_venue(after):
            return f"{made} {after}"
    return made


def _sentence(text: str, *, abbreviations: bool = False) -> str:
    """Up to the first full stop that is not an initial's or an abbreviation's.

    `abbreviations`: full stops behind short words in capitals end no sentence, as in `Ann. Math.`.
    """
    for found in _STOP.finditer(text):
        head = text[: found.start() + 1]
        if found.group()[0] == ".":
            if _PART.search(head[-14:]) and not _opens_place(text[found.end() :]):
                continue
            if _ABBREVIATED.search(head[-12:]) or (abbreviations and _SHORT.search(head[-12:])):
                continue
        return text[: found.start()] + (found.group()[0] if found.group()[0] in "?!" else "")
    return text


def _clean(text: str) -> str | None:
    made = " ".join(text.split()).strip(" ,.;:")
    for pattern in (_KIND, _IN_BRACKETS, _REPORT, _EDITION):
        made = pattern.sub("", made).strip(" ,.;:")
    letters = sum(sign.isalpha() or sign.isspace() for sign in made)
    return made if _LEAST <= len(made) <= _MOST and letters > 0.7 * len(made) and "://" not in made else None
