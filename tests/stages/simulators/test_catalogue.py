from __future__ import annotations

import subprocess
import sys
from collections import Counter

from stages.simulators.catalogue import catalogue, normal_doi
from stages.simulators.inventions import HOPELESS, invent

SCRIPT = (
    "import hashlib; from stages.simulators.catalogue import catalogue;"
    "print(hashlib.sha256(repr(catalogue(50).entries).encode()).hexdigest())"
)


def test_there_are_enough_works_of_every_kind() -> None:
    works = catalogue()
    assert len(works.entries) >= 240
    assert all((entry.doi or "10.5555/").startswith(("10.5555/", "10.48550/")) for entry in works.entries)
    assert 30 <= sum(entry.closed for entry in works.entries) <= 100
    assert sum(bool(entry.aliases) for entry in works.entries) >= 10
    assert sum(entry.doi is None and entry.openalex is not None for entry in works.entries) >= 8
    assert sum(entry.doi is None and entry.openalex is None and entry.arxiv is not None for entry in works.entries) >= 5
    assert sum(not entry.in_crossref and (entry.doi or "").startswith("10.5555") for entry in works.entries) >= 5
    assert max(Counter(entry.title for entry in works.entries).values()) == 2  # a preprint and its paper
    scripts = {entry.language for entry in works.entries}
    assert {"ru", "uk", "el", "ja", "zh", "ko", "ar", "he", "hi", "vi", "pl", "tr"} <= scripts


def test_identifiers_are_unique() -> None:
    entries = catalogue(2000).entries
    for names in (
        [normal_doi(doi) for entry in entries for doi in (entry.doi, *entry.aliases) if doi],
        [key for entry in entries for key in (entry.openalex, *entry.merged) if key],
        [entry.arxiv for entry in entries if entry.arxiv and entry.in_crossref],
        [entry.key for entry in entries],
    ):
        assert len(names) == len(set(names))


def test_every_process_makes_the_same_works() -> None:
    seen = {subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(seen) == 1


def test_more_works_for_load_begin_with_the_same() -> None:
    few, many = list(invent(100)), list(invent(3000))
    assert many[:100] == few
    assert len({entry.title for entry in many}) == 3000
    "".join(author.display for entry in many for author in entry.authors).encode("cp1252")


def test_the_search_finds_each_work_by_its_citation_first() -> None:
    works = catalogue(1000)
    twins = {entry.preprint_of for entry in works.entries}
    for entry in works.entries[:200:9]:
        citation = f"{entry.authors[0].family} et al. {entry.title}. {entry.short_venue} {entry.volume}, {entry.pages}"
        found = works.crossref.search(f"{citation} ({entry.year})")
        assert entry.doi in twins or found[0][1] is entry
        assert found[0][0] > found[2][0] * 1.3


def test_an_unknown_citation_has_hits_too() -> None:
    found = catalogue().crossref.search(
        "Smith, J. (2003). Heat transport in urban networks under stress. Nature, 12, 34"
    )
    assert len(found) > 5
    assert found[0][0] > 0


def test_most_works_can_be_had_and_the_hopeless_cannot() -> None:
    works = catalogue()
    hopeless = [entry for entry in works.entries if entry.copies and not entry.downloadable]
    assert [entry.copies[0].behaviour for entry in hopeless] == list(HOPELESS)
