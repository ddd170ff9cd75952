"""From a printed reference to the work that it means.

The order: the DOI at Crossref, the same DOI at OpenAlex, the arXiv id at OpenAlex, Crossref's bibliographic search,
OpenAlex's search, the bare arXiv id. The first that fits ends it, so that most references cost one call.

- A DOI is not trusted blindly: when title, first author or year of its work clearly contradict the reference
  (see `matching.contradicts`), the search decides.
- What Crossref knows by a DOI is told by Crossref, wherever the DOI came from, so that a work has one content.
- A preprint whose published version Crossref names is that published work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stages.literature import works
from stages.literature.identifiers import ARXIV_PREFIX, arxiv_doi, arxiv_of_doi, normal_arxiv_id, normal_doi
from stages.literature.matching import Candidate, Printed, Verdict, contradicts, judge
from stages.literature.records import Alias, Citation, Reference, Unresolved, Work
from stages.services.crossref import Crossref, CrossrefWork
from stages.services.openalex import OpenAlex, OpenAlexWork
from streamflow.errors import NotFound

# Registered with DataCite: Crossref answers 404 for all of them.
_NOT_AT_CROSSREF = (ARXIV_PREFIX, "10.5281/zenodo.", "10.6084/m9.figshare.")
_SAME_WORK = ("is-preprint-of", "is-same-as", "is-identical-to")
# What Crossref registers beside works: parts of them, the containers of them, reviews of them.
_NO_WORKS = {"component", "journal", "journal-issue", "journal-volume", "peer-review", "grant", "book-series"}


@dataclass(frozen=True)
class _Match:
    """A work found, the other names that led to it with the reasons, and the evidence."""

    work: Work
    by: str
    score: float = 1.0
    aliases: tuple[tuple[str, str], ...] = ()

    def also(self, name: str, why: str) -> _Match:
        """The same, met under one more name; the first reason given for a name stays."""
        if name == self.work.work or any(known == name for known, _ in self.aliases):
            return self
        return replace(self, aliases=(*self.aliases, (name, why)))


async def enrich(
    reference: Reference, *, crossref: Crossref, openalex: OpenAlex
) -> tuple[Work, Citation, list[Alias]] | Unresolved:
    """The work that a reference means, its citation, and the other names under which the work was met.

    Errors of the services that may pass are raised, for the engine to try again.
    """
    finder = _Finder(reference, crossref, openalex)
    match = await finder.find()
    if match is None:
        return Unresolved(
            paper=reference.paper,
            position=reference.position,
            paper_file=reference.paper_file,
            raw=reference.raw,
            reason="; ".join(finder.told),
        )
    citation = Citation(
        paper=reference.paper,
        position=reference.position,
        paper_file=reference.paper_file,
        work=match.work.work,
        matched_by=match.by,
        score=match.score,
    )
    return match.work, citation, [Alias(match.work.work, name, reason) for name, reason in match.aliases]


class _Finder:
    """One reference's way through the services; `told` gathers why they did not have it."""

    def __init__(self, reference: Reference, crossref: Crossref, openalex: OpenAlex) -> None:
        self.reference = reference
        self.crossref = crossref
        self.openalex = openalex
        self.doi = normal_doi(reference.doi) or normal_doi(reference.url)
        url = reference.url if reference.url and "arxiv" in reference.url.lower() else None
        self.arxiv_id = normal_arxiv_id(reference.arxiv_id) or arxiv_of_doi(self.doi) or normal_arxiv_id(url)
        self.printed = Printed(reference.raw, year=reference.year, title=reference.title)
        self.told: list[str] = []
        self._answers: dict[str, CrossrefWork | None] = {}

    async def find(self) -> _Match | None:
        if self.doi and (match := await self._by_doi(self.doi)):
            return match
        if self.arxiv_id and arxiv_doi(self.arxiv_id) != self.doi and (match := await self._by_arxiv(self.arxiv_id)):
            return match
        if match := await self._by_search() or await self._by_openalex_search():
            return match
        return _Match(works.from_arxiv_id(self.arxiv_id), "arxiv") if self.arxiv_id else None

    async def _by_doi(self, doi: str) -> _Match | None:
        if answer := await self._ask_crossref(doi):
            if self._is_another(works.crossref_candidate(answer), f"the DOI {doi}"):
                return None
            if match := await self._settle(answer, "doi"):
                return match.also(doi, "Crossref tells this DOI under another one")
        try:
            found = await self.openalex.work_by_doi(doi)
        except NotFound:
            self.told.append(f"no service knows the DOI {doi}")
            return None
        if self._is_another(works.openalex_candidate(found), f"the DOI {doi}"):
            return None
        match = await self._settle_openalex(found, "doi")
        return match.also(doi, "OpenAlex tells this DOI under another name") if match else None

    async def _by_arxiv(self, arxiv_id: str) -> _Match | None:
        try:
            found = await self.openalex.work_by_doi(arxiv_doi(arxiv_id))
        except NotFound:
            self.told.append(f"OpenAlex does not know arXiv:{arxiv_id}")
            return None
        if self._is_another(works.openalex_candidate(found), f"arXiv:{arxiv_id}"):
            self.arxiv_id = None
            return None
        match = await self._settle_openalex(found, "arxiv")
        if match is None or match.work.work == arxiv_doi(arxiv_id):
            return match
        return match.also(f"arxiv:{arxiv_id}", "OpenAlex: the arXiv version of this work")

    async def _by_search(self) -> _Match | None:
        if len(self.printed.words.words) < 3:
            self.told.append("too little text to search for")
            return None
        hits = [hit for hit in await self.crossref.search(self.reference.raw) if hit.type not in _NO_WORKS]
        judged = [(judge(self.printed, works.crossref_candidate(hit)), hit) for hit in hits]
        accepted = [(verdict, hit) for verdict, hit in judged if verdict.accepted]
        # Not the service's own order: it depends on what else is in its index that day.
        accepted.sort(key=lambda pair: (pair[1].type == "posted-content", pair[1].doi.lower()))
        accepted.sort(key=lambda pair: pair[0].rank, reverse=True)
        for verdict, hit in accepted:
            if match := await self._settle(hit, verdict.why):
                return replace(match, score=verdict.score)
        self.told.append(_nearest("Crossref", [verdict for verdict, _ in judged]))
        return None

    async def _by_openalex_search(self) -> _Match | None:
        """OpenAlex wants every word of a query in the work, so only a title makes sense."""
        if not self.reference.title or len(self.printed.words.words) < 3:
            return None
        hits = await self.openalex.search(self.reference.title)
        judged = [(judge(self.printed, works.openalex_candidate(hit)), hit) for hit in hits]
        judged.sort(key=lambda pair: pair[1].key)
        for verdict, hit in sorted(judged, key=lambda pair: pair[0].rank, reverse=True):
            if verdict.accepted and (match := await self._settle_openalex(hit, verdict.why)):
                return replace(match, score=verdict.score)
        self.told.append(_nearest("OpenAlex", [verdict for verdict, _ in judged]))
        return None

    async def _ask_crossref(self, doi: str) -> CrossrefWork | None:
        """The work of a DOI, or None. No DOI is asked for twice."""
        if doi.startswith(_NOT_AT_CROSSREF):
            return None
        if doi not in self._answers:
            try:
                self._answers[doi] = await self.crossref.work(doi)
            except NotFound:
                self._answers[doi] = None
        return self._answers[doi]

    async def _settle(self, answer: CrossrefWork, by: str) -> _Match | None:
        """The work that an answer of Crossref stands for: the published version, where it names one."""
        work = works.from_crossref(answer)
        if work is None:
            return None
        other, why = _same_work(answer, work.work)
        if other and (published := await self._ask_crossref(other)) and (better := works.from_crossref(published)):
            return _Match(better, by).also(work.work, why)
        return _Match(work, by)

    async def _settle_openalex(self, answer: OpenAlexWork, by: str) -> _Match | None:
        """The work that an answer of OpenAlex stands for, told by Crossref where that knows its DOI."""
        work = works.from_openalex(answer)
        if work and work.doi and (told := await self._ask_crossref(work.doi)):
            return await self._settle(told, by) or _Match(work, by)
        return _Match(work, by) if work else None

    def _is_another(self, candidate: Candidate, name: str) -> bool:
        against = contradicts(self.printed, candidate)
        if against:
            self.told.append(f"{name} is of another work, {candidate.title[:100]!r}: {against} differ")
        return against is not None


def _same_work(answer: CrossrefWork, own: str) -> tuple[str | None, str]:
    """The DOI under which a work should be kept, where Crossref relates it to another one."""
    for relation in _SAME_WORK:
        for related in (answer.relation or {}).get(relation) or []:
            other = normal_doi(related.id) if related and (related.id_type or "doi") == "doi" else None
            if not other or other == own or other.startswith(_NOT_AT_CROSSREF):
                continue
            # Being the same is mutual: the smaller DOI stands for both.
            if relation == "is-preprint-of" or other < own:
                return other, f"Crossref: {relation.replace('-', ' ')}"
    return None, ""


def _nearest(service: str, verdicts: list[Verdict]) -> str:
    if not verdicts:
        return f"{service} found nothing"
    best = max(verdicts, key=lambda verdict: (verdict.score, verdict.why))
    return f"{service}'s nearest of {len(verdicts)}: {best.why} (likeness {best.score:.2f})"
