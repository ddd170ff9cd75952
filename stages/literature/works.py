"""What services tell, as `Work` records and as candidates for matching.

A `Work` made here depends on the service's answer alone, never on the reference that led to it: its content is a
function of its key.
"""

from __future__ import annotations

from collections.abc import Iterable

from stages.literature.identifiers import arxiv_of_doi, normal_arxiv_id, normal_doi, work_key
from stages.literature.matching import Candidate
from stages.literature.records import Work
from stages.literature.words import plain, word_set
from stages.services.crossref import CrossrefWork
from stages.services.openalex import OpenAlexWork

MOST_AUTHORS = 1000
LONGEST_TITLE = 2000
_SUFFIXES = word_set("jr jr. sr sr. ii iii iv")
_PARTICLES = word_set("van von der den de del della di da dos la le ten ter al el bin ibn")
_ORGANISATION = word_set("collaboration consortium group organization organisation university institute team")
_EARLIEST, _LATEST = 1400, 2200


def from_crossref(answer: CrossrefWork) -> Work | None:
    """The work, or None when it has no usable DOI or no title."""
    doi, title = normal_doi(answer.doi), _title(answer)
    if not doi or not title:
        return None
    names = _crossref_names(answer)
    return Work(
        work=doi,
        doi=doi,
        title=title,
        arxiv_id=arxiv_of_doi(doi) or _arxiv_relation(answer),
        first_author=names[0][0] if names else None,
        authors=tuple(f"{family}, {given}" if given else family for family, given in names),
        year=_year(answer.issued.year if answer.issued else None) or min(_crossref_years(answer), default=None),
        venue=_first(answer.container_title),
        volume=_text(answer.volume),
        issue=_text(answer.issue),
        pages=_text(answer.page) or _text(answer.article_number),
        publisher=_text(answer.publisher),
        kind=_text(answer.type),
        url=f"https://doi.org/{doi}",
        metadata_source="crossref",
    )


def from_openalex(answer: OpenAlexWork) -> Work | None:
    """The work, or None when it has no title."""
    title = _title_of(answer)
    doi = normal_doi(answer.doi)
    arxiv_id = arxiv_of_doi(doi) or arxiv_location(answer)
    key = work_key(doi=doi, openalex_id=answer.key, arxiv_id=arxiv_id)
    if not title or not key:
        return None
    names = _openalex_names(answer)
    place, source = answer.biblio, answer.primary_location.source if answer.primary_location else None
    first, last = (_text(place.first_page), _text(place.last_page)) if place else (None, None)
    return Work(
        work=key,
        doi=doi,
        title=title,
        arxiv_id=arxiv_id,
        openalex_id=answer.key,
        first_author=names[0][0] if names else None,
        authors=tuple(f"{family}, {given}" if given else family for family, given in names),
        year=_year(answer.publication_year),
        venue=_text(source.display_name) if source else None,
        volume=_text(place.volume) if place else None,
        issue=_text(place.issue) if place else None,
        pages=f"{first}-{last}" if first and last and first != last else first,
        publisher=_text(source.host_organization_name) if source else None,
        kind=_text(answer.type),
        url=f"https://doi.org/{doi}" if doi else answer.id,
        metadata_source="openalex",
    )


def from_arxiv_id(arxiv_id: str) -> Work:
    """A work of which nothing is known but its arXiv id: no service that we ask describes it."""
    return Work(
        work=f"arxiv:{arxiv_id}",
        title=f"arXiv:{arxiv_id}",
        arxiv_id=arxiv_id,
        kind="preprint",
        url=f"https://arxiv.org/abs/{arxiv_id}",
        metadata_source="arxiv",
    )


def crossref_candidate(answer: CrossrefWork) -> Candidate:
    """A work of Crossref as matching sees it."""
    return Candidate(
        title=_first(answer.title) or _first(answer.original_title) or "",
        subtitle=_first(answer.subtitle) or "",
        authors=_crossref_names(answer)[:20],
        years=_crossref_years(answer),
        venues=_texts([*(answer.container_title or []), *(answer.short_container_title or [])]),
        volume=_text(answer.volume) or "",
        page=_text(answer.page) or _text(answer.article_number) or "",
    )


def openalex_candidate(answer: OpenAlexWork) -> Candidate:
    """A work of OpenAlex as matching sees it."""
    source = answer.primary_location.source if answer.primary_location else None
    year = _year(answer.publication_year)
    return Candidate(
        title=_title_of(answer),
        authors=_openalex_names(answer)[:20],
        years=frozenset({year} if year else ()),
        venues=_texts([source.display_name if source else None]),
        volume=(answer.biblio and _text(answer.biblio.volume)) or "",
        page=(answer.biblio and _text(answer.biblio.first_page)) or "",
    )


def arxiv_location(answer: OpenAlexWork) -> str | None:
    """The arXiv id of a work, when one of its places is arXiv."""
    for location in answer.locations or []:
        for url in (location.landing_page_url, location.pdf_url) if location else ():
            if url and "arxiv" in url.lower() and (found := normal_arxiv_id(url)):
                return found
    return None


def _title(answer: CrossrefWork) -> str:
    main = _first(answer.title) or _first(answer.original_title) or ""
    subtitle = _first(answer.subtitle)
    if main and subtitle and subtitle.casefold() not in main.casefold():
        main = f"{main}{'' if main[-1] in '?!:' else ':'} {subtitle}"
    return main[:LONGEST_TITLE]


def _title_of(answer: OpenAlexWork) -> str:
    return _text(answer.title) or _text(answer.display_name) or ""


def _crossref_names(answer: CrossrefWork) -> tuple[tuple[str, str], ...]:
    names = []
    for author in (answer.author or [])[:MOST_AUTHORS]:
        family = author and (_text(author.family) or _text(author.name) or _text(author.given))
        if author and family:
            given = _text(author.given) if author.family else None
            names.append((family, given or ""))
    return tuple(names)


def _openalex_names(answer: OpenAlexWork) -> tuple[tuple[str, str], ...]:
    """OpenAlex tells whole names: "Jane van Doe" is (van Doe, Jane); a name of one word stays whole."""
    names = []
    for authorship in (answer.authorships or [])[:MOST_AUTHORS]:
        if not authorship:
            continue
        told = _text(authorship.author.display_name) if authorship.author else None
        if name := told or _text(authorship.raw_author_name):
            names.append(_split_name(name))
    return tuple(names)


def _split_name(name: str) -> tuple[str, str]:
    if "," in name:
        family, _, given = name.partition(",")
        return family.strip() or given.strip(), given.strip() if family.strip() else ""
    words = name.split()
    end = len(words) - 1 if len(words) > 2 and words[-1].lower() in _SUFFIXES else len(words)
    start = end - 1
    while start > 1 and words[start - 1].lower() in _PARTICLES:
        start -= 1
    if start <= 0 or _is_organisation(words):
        return name, ""
    return " ".join(words[start:end]), " ".join([*words[:start], *words[end:]])


def _is_organisation(words: list[str]) -> bool:
    return any(word.lower() in _ORGANISATION for word in words)


def _crossref_years(answer: CrossrefWork) -> frozenset[int]:
    dates = (answer.issued, answer.published_print, answer.published_online)
    return frozenset(year for date in dates if date and (year := _year(date.year)))


def _arxiv_relation(answer: CrossrefWork) -> str | None:
    for related in (answer.relation or {}).get("has-preprint") or []:
        if related and related.id and "arxiv" in f"{related.id_type} {related.id}".lower():
            return normal_arxiv_id(related.id)
    return None


def _year(year: int | None) -> int | None:
    return year if year and _EARLIEST <= year <= _LATEST else None


def _text(value: str | int | None) -> str | None:
    return plain(str(value)[:LONGEST_TITLE]) or None if value is not None else None


def _texts(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(text for value in values if (text := _text(value)))


def _first(values: list[str | None] | None) -> str | None:
    return next(iter(_texts(values or [])), None)
