"""What a printed reference says about its work: DOI, arXiv id, URL, year, first author, title.

All of these are guesses. The raw text stays beside them, and later stages check them against services.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from stages.literature.extraction.names import first_author
from stages.literature.extraction.titles import title
from stages.literature.identifiers import arxiv_of_doi, normal_arxiv_id, normal_doi

_DOI = re.compile(r"\b10\.\s?\d{4,9}(?:\.\d{1,9}){0,4}\s?/\s?[^\s\"“”«»]{1,200}")
_ARXIV = re.compile(
    r"arxiv(?:\.org/(?:abs|pdf|html)/|\s?(?:preprint\s?|e-?print\s?)?(?:arxiv\s?)?(?:[:.,]\s?)?(?:preprint\s?)?(?:arxiv:\s?)?)"
    r"((?:\d{4}\.\d{4,5}|[a-z]{2,8}(?:-[a-z]{2,4})?(?:\.[a-z]{2})?/\d{7})(?:v\d{1,3})?)(?!\d)",
    re.IGNORECASE,
)
_BARE_ARXIV = re.compile(
    r"(?<![\w/.])((?:hep-(?:th|ph|ex|lat)|astro-ph|gr-qc|quant-ph|cond-mat|math-ph|nucl-(?:th|ex)|physics|math|cs|alg-geom"
    r"|q-alg|dg-ga|solv-int|chao-dyn|patt-sol|nlin|q-bio|cmp-lg|funct-an)(?:\.[a-z]{2})?/\d{7})(?!\d)"
    r"|(?<![\w/.])(\d{4}\.\d{4,5})(?:v\d{1,3})?\s*\[(?:hep|astro|gr|quant|cond|math|nucl|physics|cs|stat|eess|q-|nlin|econ)",
    re.IGNORECASE,
)
_URL = re.compile(
    r"(?:https?|ftp)\s?:\s?//\s?[^\s<>\"“”«»]{3,500}|(?<![\w.@/])www\.[^\s<>\"“”«»]{3,500}", re.IGNORECASE
)
_YEAR = re.compile(r"(?<![\w./:\-–—])((?:19|20)\d\d|2100)([a-z]?)(?![\w/\-–—]|\.\d|['’]s)")
_IN_BRACKETS = re.compile(
    r"[(\[（]\s*((?:19|20)\d\d|2100)[a-z]?(?:\s*[,/;]\s*[^()\[\]]{1,30})?\s*[)\]）](?!\s*:)"  # (2015a), (2015, May 3)
)
_MONTH_IN_BRACKETS = re.compile(
    r"[(\[][^()\[\]]{0,60}?\b((?:19|20)\d\d)[a-z]?\s*[)\]](?!\s*:)"
)  # (May 2015), (Wiley, NY, 2015)
_QUOTED = re.compile(r"[“\"„«][^”\"»]{0,400}[”\"»]")
_ACCESSED = re.compile(
    r"\b(?:accessed|retrieved|visited|viewed|abgerufen|consulté|дата обращения|last checked)\b.{0,50}", re.IGNORECASE
)
_PAGES_BEFORE = re.compile(r"(?:\bpp?\.?|\b[Pp]ages?|\b[Nn]o\.?|\b[Aa]rt(?:icle)?\.?|#|№|\b[Vv]ol\.?|\b[Ii]d)\s*$")
LONGEST_RAW = 4_000
"""Characters of a reference that are looked at."""
LONGEST_LINK = 2_048
MOST_LINKS = 100
_WEB = ("http://", "https://")
_IDENTIFIER = re.compile(r"doi\.org/|arxiv\.org/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Guess:
    """What could be read off a reference; None for what could not."""

    doi: str | None
    arxiv_id: str | None
    url: str | None
    year: int | None
    first_author: str | None
    title: str | None


def guess(raw: str, links: Sequence[str] = ()) -> Guess:
    """Read a reference. `links` are the addresses that its text leads to in the PDF: exact where print is not."""
    raw, links = _bounded(raw, LONGEST_RAW), [_bounded(link, LONGEST_LINK) for link in links[:MOST_LINKS]]
    doi = _doi(raw) or next((found for link in links if (found := _doi_of_link(link))), None)
    arxiv_id = _arxiv(raw) or next(
        (found for link in links if "arxiv.org/" in link.lower() and (found := _arxiv(link))), None
    )
    if doi and (of_doi := arxiv_of_doi(doi)):
        arxiv_id = arxiv_id or of_doi
    return Guess(doi, arxiv_id, _url(raw, links), _year(raw), first_author(raw), title(raw))


def _bounded(text: str, longest: int) -> str:
    """Text with single spaces, cut off: what the patterns here may take grows with spaces that stand together."""
    return " ".join(text[:longest].split())


def _doi(text: str) -> str | None:
    for found in _DOI.finditer(text):
        if doi := normal_doi(found.group().replace(" ", "").rstrip("…")):
            # A DOI inside a longer URL ends where its query or fragment begins.
            return doi.split("?", 1)[0] if "?" in doi and "http" in text[: found.start()].lower() else doi
    return None


def _doi_of_link(link: str) -> str | None:
    if "doi.org/" not in link.lower() and not link.lower().startswith("doi:"):
        return None
    found = _DOI.search(unquote(link))
    return normal_doi(found.group().replace(" ", "")) if found else None


def _arxiv(text: str) -> str | None:
    if found := _ARXIV.search(text):
        return normal_arxiv_id(found.group(1))
    if found := _BARE_ARXIV.search(text):
        return normal_arxiv_id(found.group(1) or found.group(2))
    return None


def _url(raw: str, links: Sequence[str]) -> str | None:
    found = _URL.search(raw)
    if not found:
        return next((link for link in links if link.lower().startswith(_WEB) and not _IDENTIFIER.search(link)), None)
    url = re.sub(r"\s", "", found.group())
    while url and (url[-1] in ".,;:!?'’”»>" or (url[-1] in ")]}" and _unbalanced(url))):
        url = url[:-1]
    url = url if "://" in url[:8] else f"https://{url}"
    # Where the print broke the address, the link behind it is whole.
    return next((link for link in links if link.startswith(url) and len(link) > len(url) + 1), url) if links else url


def _unbalanced(url: str) -> bool:
    pairs = {")": "(", "]": "[", "}": "{"}
    return url.count(url[-1]) > url.count(pairs[url[-1]])


def _year(raw: str) -> int | None:
    """The year of publication: in brackets first, else right after the authors, else the last one that is no page."""
    text = _ACCESSED.sub(" ", _URL.sub(" ", _DOI.sub(" ", _ARXIV.sub(" ", raw))))
    unquoted = _QUOTED.sub(" ", text)
    if bracketed := _IN_BRACKETS.search(unquoted) or _MONTH_IN_BRACKETS.search(unquoted):
        return int(bracketed[1])
    for source in (unquoted, text):
        years = [found for found in _YEAR.finditer(source) if not _is_number(source, found)]
        if years:
            early = years[0]
            before = source[: early.start()]
            after_authors = before.rstrip().endswith((".", ",", "al")) and not re.search(
                r"(?<!\S)(?!and\b|et\b|al\b|eds?\b|und\b|with\b|for\b|the\b|of\b|van\b|von\b|der?\b|den\b|la\b|di\b)[a-zà-ÿ]{3,}",
                before,
            )
            return int((early if after_authors else years[-1])[1])
    return None


def _is_number(text: str, found: re.Match[str]) -> bool:
    """Whether four digits are a page, a volume or an article number rather than a year."""
    before, after = text[: found.start()], text[found.end() :]
    if _PAGES_BEFORE.search(before[-10:]):
        return True
    # "12, 2004 (1987)" is a page; "12:2004" and "2004:12" are volume and page.
    return (after[:1] == ":" and after[1:2].isdigit()) or before[-1:] == ":" or after.lstrip()[:1] == "("
