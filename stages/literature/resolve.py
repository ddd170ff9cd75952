"""Where a free copy of a work lies.

OpenAlex is asked first (a single work is free of charge), best location before others. Unpaywall is asked only when
that left fewer than two candidates: both draw on the same index, so it seldom adds to two. arXiv comes last: its
copy may be older than the published one. Only links to a PDF count; a landing page is no copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from stages.literature import works
from stages.literature.identifiers import arxiv_of_doi
from stages.literature.records import ClosedAccess, Download, Work
from stages.services.arxiv import Arxiv
from stages.services.openalex import OpenAlex, OpenAlexWork
from stages.services.unpaywall import Copy, Unpaywall
from streamflow.errors import NotFound

ENOUGH = 2
MOST_CANDIDATES = 8
LONGEST_URL = 4096


async def resolve(work: Work, *, openalex: OpenAlex, unpaywall: Unpaywall, arxiv: Arxiv) -> Download | ClosedAccess:
    """The places to try, in order, or that none is known. Errors that may pass are raised, for another try."""
    told: list[str] = []
    found = await _from_openalex(work, openalex, told)
    candidates = _distinct(_openalex_urls(found)) if found else []
    if work.doi and arxiv_of_doi(work.doi) is None and len(candidates) < ENOUGH:
        candidates = _distinct([*candidates, *_unpaywall_urls(await _from_unpaywall(work.doi, unpaywall, told))])
    arxiv_id = work.arxiv_id or (works.arxiv_location(found) if found else None)
    if arxiv_id:
        candidates = _distinct([*candidates, arxiv.pdf_url(arxiv_id)])
    else:
        told.append("it has no arXiv id")
    if not candidates:
        return ClosedAccess(work=work.work, doi=work.doi, title=work.title, reason="; ".join(told))
    return Download(
        work=work.work,
        doi=work.doi,
        title=work.title,
        first_author=work.first_author,
        year=work.year,
        candidates=tuple(candidates[:MOST_CANDIDATES]),
    )


async def _from_openalex(work: Work, openalex: OpenAlex, told: list[str]) -> OpenAlexWork | None:
    try:
        if work.openalex_id:
            answer = await openalex.work(work.openalex_id)
        elif work.doi:
            answer = await openalex.work_by_doi(work.doi)
        else:
            return None
    except NotFound:
        told.append("OpenAlex does not know the work")
        return None
    if not list(_openalex_urls(answer)):
        told.append("OpenAlex knows no free PDF")
    return answer


async def _from_unpaywall(doi: str, unpaywall: Unpaywall, told: list[str]) -> list[Copy]:
    if not unpaywall.available:
        told.append("Unpaywall was not asked, it wants an email address in the settings")
        return []
    try:
        copies = await unpaywall.locations(doi)
    except NotFound:
        told.append("Unpaywall does not know the DOI")
        return []
    if not list(_unpaywall_urls(copies)):
        told.append("Unpaywall knows no free PDF")
    return copies


def _openalex_urls(answer: OpenAlexWork) -> Iterator[str]:
    if answer.best_oa_location and answer.best_oa_location.pdf_url:
        yield answer.best_oa_location.pdf_url
    for location in answer.locations or []:
        if location and location.is_oa and location.pdf_url:
            yield location.pdf_url


def _unpaywall_urls(copies: list[Copy]) -> Iterator[str]:
    for copy in copies:
        if copy.url_for_pdf:
            yield copy.url_for_pdf
        elif copy.url and urlsplit(copy.url).path.lower().endswith(".pdf"):
            yield copy.url


def _distinct(urls: Iterator[str] | list[str]) -> list[str]:
    """Each web address once, in the given order. http and https count as one, https is kept."""
    kept: dict[str, str] = {}
    for url in urls:
        url = url.strip()
        scheme, _, rest = url.partition("://")
        if scheme.lower() not in ("http", "https") or not rest or len(url) > LONGEST_URL or not url.isprintable():
            continue
        if rest not in kept or scheme.lower() == "https":
            kept[rest] = url
    return list(kept.values())
