"""The invented works that the simulated services know, and the search in them.

One catalogue stands behind all services, but each knows only a part of it, as in the world: some works are unknown
to Crossref, some have no DOI, some changed their DOI, some exist twice.
"""

from __future__ import annotations

import heapq
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from stages.simulators.entry import Entry
from stages.simulators.inventions import invent, standing_works

K1, B = 1.2, 0.75  # BM25's usual constants (Robertson and Zaragoza 2009)


def normal_doi(doi: str) -> str:
    return re.sub(r"^(?:https?://(?:dx\.)?doi\.org/|doi:)", "", doi.strip(), flags=re.IGNORECASE).lower()


@lru_cache(maxsize=65536)
def _fold(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


def tokens(text: str) -> list[str]:
    """Words in lower case without accents; each CJK character is a word, since nothing separates them."""
    return [_fold(word) for word in WORD.findall(text)]


def stem(word: str) -> str:
    """A light stemmer in the manner of Kstem, which OpenAlex uses: only plurals go."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


class Index:
    """Ranks entries against a text by BM25 over an inverted index."""

    def __init__(self, entries: Iterable[Entry], text: Callable[[Entry], str]) -> None:
        self.entries = list(entries)
        self.postings: dict[str, list[tuple[int, int]]] = {}
        self.lengths: list[int] = []
        for number, entry in enumerate(self.entries):
            words = [stem(word) for word in tokens(text(entry))]
            self.lengths.append(len(words))
            for word, count in Counter(words).items():
                self.postings.setdefault(word, []).append((number, count))
        self.mean = sum(self.lengths) / max(1, len(self.lengths))
        self._cache: dict[tuple[str, bool], list[tuple[float, Entry]]] = {}

    def search(self, query: str, *, all_words: bool = False, limit: int = 1000) -> list[tuple[float, Entry]]:
        """The best entries with their scores, best first; equal scores in catalogue order. With `all_words`
        only entries that have every word of the query."""
        key = (query, all_words)
        if key not in self._cache:
            if len(self._cache) >= 4096:
                self._cache.clear()
            self._cache[key] = self._search(query, all_words, limit)
        return self._cache[key]

    def _search(self, query: str, all_words: bool, limit: int) -> list[tuple[float, Entry]]:
        words = {stem(word) for word in tokens(query)} - STOP_WORDS
        total = len(self.entries)
        scores: dict[int, float] = {}
        hits: Counter[int] = Counter()
        for word in sorted(words):
            postings = self.postings.get(word, ())
            # A word of a great part of a large catalogue ranks nothing and costs the most.
            if not all_words and total > 500 and len(postings) > total // 8:
                continue
            weight = math.log(1 + (total - len(postings) + 0.5) / (len(postings) + 0.5))
            for number, count in postings:
                norm = K1 * (1 - B + B * self.lengths[number] / self.mean)
                scores[number] = scores.get(number, 0.0) + weight * count * (K1 + 1) / (count + norm)
                hits[number] += 1
        found: Iterator[tuple[int, float]] = iter(scores.items())
        if all_words:
            found = ((number, score) for number, score in scores.items() if hits[number] == len(words))
        best = heapq.nsmallest(limit, found, key=lambda pair: (-pair[1], pair[0]))
        return [(score, self.entries[number]) for number, score in best]


STOP_WORDS = frozenset(tokens(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with"
))  # fmt: skip


class Catalogue:
    """All works, found by DOI (also a former one), OpenAlex key, arXiv id or search."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self.by_key = {entry.key: entry for entry in self.entries}
        self.by_doi: dict[str, Entry] = {}
        self.by_openalex: dict[str, Entry] = {}
        self.by_arxiv: dict[str, Entry] = {}
        for entry in self.entries:
            for doi in (entry.doi, *entry.aliases):
                if doi is not None:
                    self.by_doi[normal_doi(doi)] = entry
            for key in (entry.openalex, *entry.merged):
                if key is not None:
                    self.by_openalex[key] = entry
            if entry.arxiv is not None:
                self.by_arxiv[entry.arxiv] = entry
        self.crossref = Index((entry for entry in self.entries if entry.in_crossref), _bibliographic)
        self.openalex = Index((entry for entry in self.entries if entry.openalex), lambda entry: entry.title)

    def doi(self, doi: str) -> Entry | None:
        return self.by_doi.get(normal_doi(doi))


def _bibliographic(entry: Entry) -> str:
    """What `query.bibliographic` looks in: titles, authors, the venue, years, volume, issue and pages."""
    names = " ".join(author.display for author in entry.authors)
    numbers = " ".join(filter(None, (entry.volume, entry.issue, entry.pages)))
    return f"{entry.title} {names} {entry.venue} {entry.short_venue} {entry.year} {numbers}"


@lru_cache(maxsize=4)
def catalogue(extra: int = 0) -> Catalogue:
    """The works of the demo and the samples, and `extra` more for runs under load."""
    return Catalogue([*standing_works(), *invent(extra)])
