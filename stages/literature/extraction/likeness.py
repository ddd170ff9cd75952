"""How much a text reads like the beginning of a reference, or like a whole one. Any style, most scripts."""

from __future__ import annotations

import re

UPPER = "A-ZÀ-ÖØ-ÞĀ-ŽȘȚẞА-ЯЁЄІЇҐΑ-Ω"
_PARTICLE = r"(?:(?:van|von|de|der|den|del|della|di|da|dos|das|du|la|le|el|al|ter|ten|zu|af|av|bin|ibn|O|D|L)[\s'’]+)"
_NAME = rf"(?:{_PARTICLE}{{0,3}}[{UPPER}](?:[\w'’]|-(?=\w)|‐){{0,30}})"
_INITIAL = rf"(?:[{UPPER}][a-zà-ÿ]?\.)"
_YEAR = r"(?:1[5-9]\d\d|20\d\d)"

YEAR = re.compile(rf"(?<![\d./-]){_YEAR}[a-z]?(?![\d/])")
_STARTS = re.compile(
    rf"(?:{_NAME}(?:\s+{_NAME}){{0,2}},?\s*,\s*(?:{_INITIAL}|[{UPPER}]{{1,3}}\b"
    rf"|{_NAME}\b)"  # Family, I. or Family, Given
    rf"|(?:{_INITIAL}\s*-?\s*){{1,4}}{_NAME}"  # I. Family
    rf"|{_NAME}(?:\s+{_NAME})?\s+[{UPPER}]{{1,3}}(?:-[{UPPER}])?\s*[,.:;(]"  # Family IN,
    rf"|{_NAME}(?:\s+{_INITIAL}){{0,3}}(?:\s+{_NAME}){{1,3}}\s*(?:,|\.|and\b|&|\()"  # Given I. Family,
    rf"|{_NAME}(?:\s+{_NAME})?,?\s+(?:et\s+al|and\b|&|und\b|et\b|y\b|e\b|и\b)"
    rf"|{_NAME}(?:[\s,]+(?:{_NAME}|of|for|the|and|on|&)){{0,9}}[.,]?\s*[(\[]?{_YEAR}"  # An Organisation. 2015
    rf"|{_NAME}\s+{_INITIAL}"  # Family I.
    r"|[—–_-]{2,}|[“\"„«‘']|https?://"
    r"|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{1,12}[,，、.．;；·\s])"
)
_PLACE = re.compile(
    r"\bet al\b|\beds?\.|\bpp?\.|\bvol\.|\bno\.|\bproc\b|\bproceedings\b|\bconf(?:erence)?\b|\bjournal\b|\bpress\b"
    r"|\barxiv\b|\bdoi\b|https?:|\bin press\b|\bsubmitted\b|\buniv|\bthesis\b|\bissn\b|\bisbn\b|\btrans(?:actions)?\b"
    r"|\blett(?:ers)?\b|\brev(?:iew)?\b|\bphys\b|\bspringer\b|\belsevier\b|\bwiley\b|\bieee\b|\bacm\b|\bpreprint\b"
    r"|\breport\b|\bverlag\b|\bed\.|\bin:|\bunpublished\b|\bforthcoming\b|\bn\.d\.|\bавт|\bизд|\bжурн|\bс\."
    r"|\[[JMCDRN](?:/OL)?\]",
    re.IGNORECASE,
)
_NUMBERS = re.compile(
    r"\d{1,4}\s*(?:\(\d{1,4}(?:[-–]\d+)?\))?\s*[,:]\s*(?:p{1,2}\.?\s*)?[A-Za-z]?\d{1,6}"
    r"|\d{1,6}\s?[–—-]{1,2}\s?\d{1,6}"
)
_INITIALS = re.compile(rf"\b{_INITIAL}|\b[{UPPER}][\w'’-]+\s+[{UPPER}]{{1,2}}\b")
_UNDATED = re.compile(
    r"\bin press\b|\bsubmitted\b|\bforthcoming\b|\bto appear\b|\bunpublished\b|\bin prep|\bn\.\s?d\."
    r"|\bin review\b|\baccepted\b"
    r"|\bprivate communication\b|\bund(?:ated)?\b|https?:|\bdoi\b|\barxiv\b|\bo\.\s?j\.|\bs\.\s?d\.",
    re.IGNORECASE,
)
_ENDS = re.compile(r"(?:[.\]);”\"»]|\d[a-z]?|/|[\u3002．])\s*$")


_INITIAL_ENDS = re.compile(rf"(?:^|[\s.-])[{UPPER}]\.$")
_JOURNAL = re.compile(
    rf"(?:[\w.’'&-]+\s+){{0,4}}?(?:Journal|Review|Letters|Transactions|Proceedings|Annals|Nature|Science"
    rf"|University|Press|Springer|Elsevier"
    rf"|Wiley|IEEE|ACM|Academy|Society|Notices|Conference|Symposium|Workshop|Cambridge|Oxford|New York|Available"
    rf"|Accessed|Retrieved)\b"
    rf"|[^,]{{2,40}},\s*(?:vol\.?\s*)?\d|(?:[{UPPER}][\w]{{0,9}}\.\s*){{2,}}\d|[{UPPER}]\.\s[{UPPER}]\w+\.\s"
)
_AUTHORS = re.compile(
    rf"(?:(?:{_INITIAL}\s*-?\s*){{1,4}}{_NAME}(?:\s{_NAME})?(?:,\s+(?:(?:and|&)\s+)?{_INITIAL}|\s+(?:and|&|et al))"
    rf"|{_NAME}(?:\s{_NAME})?,\s+(?:{_INITIAL}\s*-?\s*){{1,4}}(?:,|&|and\b|\(|{_YEAR}))"
)
_BIOGRAPHY = re.compile(
    rf"(?:(?:Dr|Prof|Mr|Ms)\.?\s+)?{_NAME}(?:\s+(?:{_NAME}|{_INITIAL}"
    rf"|{_PARTICLE})){{1,5}}\s*(?:\([^)]{{1,60}}\)\s*)?,?\s*"
    r"\b(?:received|is (?:a|an|the|currently|now|with|working|pursuing)\b|was born|obtained|earned|graduated"
    r"|joined|holds|has been)\b"
)


def starts_like(text: str) -> bool:
    """Whether a line begins as a reference does: with authors, an organisation and a year, a title in quotes, a URL."""
    return _STARTS.match(text[:160]) is not None


def starts_with_author(text: str) -> bool:
    """As `starts_like`, without what lines inside an entry often begin with too: quotes, dashes, URLs, journals."""
    return text[:1].isalpha() and not text.startswith("http") and starts_like(text) and not _JOURNAL.match(text[:80])


def starts_with_authors(text: str) -> bool:
    """Whether a line begins with what can only be a list of authors."""
    return _AUTHORS.match(text[:160]) is not None and starts_with_author(text)


def ends_like(text: str) -> bool:
    """Whether a line may be the last of a reference."""
    return _ENDS.search(text[-12:]) is not None and _INITIAL_ENDS.search(text[-4:]) is None


def is_biography(text: str) -> bool:
    """Whether a text begins the note about an author that journals print after the references."""
    return _BIOGRAPHY.match(text[:200]) is not None


def dated(text: str) -> bool:
    """Whether a text carries a year, or says why it has none."""
    return YEAR.search(text) is not None or _UNDATED.search(text) is not None


def likeness(text: str) -> float:
    """From 0 to 1: how much a text reads like one whole reference."""
    text = text[:1500]
    value = 0.35 * (YEAR.search(text) is not None)
    value += 0.2 * (_INITIALS.search(text) is not None)
    value += 0.15 * (_NUMBERS.search(text) is not None)
    value += 0.3 * (_PLACE.search(text) is not None)
    return value
