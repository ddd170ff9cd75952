"""Identifiers of works: DOIs and arXiv ids, as people write them, in the one form that is stored.

A DOI is compared without case (DOI Handbook, 2.4), so it is stored in lower case. An arXiv id is stored without its
version. Every arXiv paper also has the DOI `10.48550/arXiv.ID`, registered with DataCite since 2022.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

LONGEST_DOI = 256
ARXIV_PREFIX = "10.48550/arxiv."

_LEADING = re.compile(r"^\s*(?:(?:https?:\s*//\s*)?(?:dx\.)?doi\.org/|info:doi/|doi\s*[:=]?\s*)", re.IGNORECASE)
_DOI = re.compile(r"10\.\d{4,9}(?:\.\d{1,9}){0,4}/[^\s\x00-\x20\x7f]+")
_PAIRS = {")": "(", "]": "[", "}": "{", ">": "<"}
_NEW_ARXIV = re.compile(r"(\d{4}\.\d{4,5})(?:v\d{1,3})?")
_OLD_ARXIV = re.compile(r"([a-z]{2,8}(?:-[a-z]{2,4})?)(?:\.[a-z]{2})?/(\d{7})(?:v\d{1,3})?")
_ARXIV_LEADING = re.compile(
    r"^\s*(?:https?://)?(?:(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/|arxiv\s*[:.]?\s*|(?:doi:)?10\.48550/arxiv\.)",
    re.IGNORECASE,
)


def normal_doi(text: str | None) -> str | None:
    """The DOI in `text` in its stored form, or None when there is none.

    >>> normal_doi("https://doi.org/10.1000/ABC%28x%29.")
    '10.1000/abc(x)'
    """
    if not text or len(text) > 4 * LONGEST_DOI:
        return None
    bare, was_url = _LEADING.subn("", text)
    if was_url and "%" in bare:
        bare = unquote(bare)
    found = _DOI.match(bare.strip())
    if not found:
        return None
    doi = _without_tail(found.group()).lower()
    segments = doi.split("/")
    # A path with such segments would be resolved by URL libraries into another request.
    if len(doi) > LONGEST_DOI or not segments[1] or "." in segments or ".." in segments:
        return None
    return doi


def _without_tail(doi: str) -> str:
    """Without the punctuation of the sentence around it; brackets that were opened inside stay."""
    while doi:
        last = doi[-1]
        if last in ".,;:!?\"'’”»…" or (last in _PAIRS and doi.count(last) > doi.count(_PAIRS[last])):
            doi = doi[:-1]
        else:
            break
    return doi


def normal_arxiv_id(text: str | None) -> str | None:
    """The arXiv id in `text` without its version (`2007.14289`, `hep-th/9901001`), or None.

    >>> normal_arxiv_id("arXiv:2007.14289v2 [hep-ex]")
    '2007.14289'
    """
    if not text or len(text) > 200:
        return None
    bare = _ARXIV_LEADING.sub("", text).strip().lower().removesuffix(".pdf")
    if found := _NEW_ARXIV.match(bare):
        rest = bare[found.end() :]
        return found.group(1) if not rest[:1].isalnum() else None
    if found := _OLD_ARXIV.match(bare):
        return f"{found.group(1)}/{found.group(2)}"
    return None


def arxiv_doi(arxiv_id: str) -> str:
    """The DOI under which arXiv registers a paper."""
    return ARXIV_PREFIX + arxiv_id.lower()


def arxiv_of_doi(doi: str | None) -> str | None:
    """The arXiv id of a DOI that arXiv registered, else None."""
    if doi and doi.startswith(ARXIV_PREFIX):
        return normal_arxiv_id(doi.removeprefix(ARXIV_PREFIX))
    return None


def work_key(*, doi: str | None, openalex_id: str | None, arxiv_id: str | None) -> str | None:
    """The key of a work: its normalised DOI, else `openalex:W…`, else `arxiv:…`; None when it has no identifier."""
    if doi:
        return doi
    if openalex_id:
        return f"openalex:{openalex_id}"
    return f"arxiv:{arxiv_id}" if arxiv_id else None
