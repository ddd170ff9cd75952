"""Makes the catalogue's works from words: always the same ones, so that samples, services and tests agree."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice

from stages.simulators.entry import Author, Copy, Entry
from stages.simulators.rarities import RARITIES
from stages.simulators.words import FIELDS, PLAIN_NAMES, TITLES, WIDE_NAMES, Field, Venue

# What is free of an ordinary work, by its number: a fifth is closed, and every trouble has another copy behind it.
# The arXiv copy of a work with an arXiv id comes last.
ACCESS: tuple[tuple[Copy, ...], ...] = (
    (),
    (Copy(),),
    (Copy("html"), Copy(host="repository")),
    (Copy(), Copy(host="repository")),
    (Copy("missing"), Copy(host="repository")),
    (),
    (Copy("truncated"), Copy(host="repository")),
    (Copy(host="repository"),),
    (Copy("redirect"),),
    (Copy(host="repository", known_to=("unpaywall",)),),
    (),
    (Copy(host="repository", known_to=("openalex",)),),
    (Copy(pdf=False), Copy(host="repository")),
    (Copy("closed"), Copy(host="arxiv")),
    (Copy(host="arxiv"),),
    (),
    (Copy("loop"), Copy(host="repository")),
    (Copy("html"), Copy(host="repository")),
    (Copy("slow"),),
    (Copy(), Copy(host="arxiv")),
)

# Works of which every copy is broken: their downloads end as dead letters. The samples do not cite them.
HOPELESS = ("html", "missing", "truncated", "loop", "private", "closed", "endless", "bomb")


def authors(chance: random.Random, count: int, wide: float) -> tuple[Author, ...]:
    """Different authors; the share `wide` of them has letters beyond Windows-1252."""
    found: dict[str, Author] = {}
    while len(found) < count:
        names = WIDE_NAMES if chance.random() < wide else PLAIN_NAMES
        given, family = chance.choice(names)
        first = chance.choice(given.split())
        if chance.random() < 0.3:
            first += f" {chance.choice('ABCDEGHJKLMNPRSTV')}."
        author = Author(chance.choice(family.split()).replace("_", " "), first)
        found.setdefault(author.family, author)
    return tuple(found.values())


def _title(chance: random.Random, field: Field) -> str:
    topic, other = chance.sample(field.topics, 2)
    system = chance.choice(field.systems)
    method = chance.choice(field.methods)
    title = chance.choice(TITLES).format(
        t=topic, T=topic[0].upper() + topic[1:], t2=other, s=system, m=method, M=method[0].upper() + method[1:]
    )
    return title


def _doi(chance: random.Random, venue: Venue, year: int, number: int, volume: int) -> str:
    """A DOI in one of the manners of publishers, the old ones with awkward letters."""
    letters = "".join(word[0] for word in venue.short.replace(".", " ").split()).lower()
    match number % 5:
        case 0 if year < 2008:
            item = f"{chance.randint(10, 900)}::AID-{letters.upper()}{number}"
            return f"10.5555/(SICI)1097-{1000 + number}({year}){volume}:2<{item}>3.0.CO;2-{chance.choice('KLPQX')}"
        case 1:
            middle = f"{chance.randint(1000, 9999)}({year % 100:02d}){chance.randint(10000, 99999)}"
            return f"10.5555/S{1000 + number:04d}-{middle}-{number % 10}"
        case 2:
            return f"10.5555/{letters}{volume:03d}-{number:05d}"
        case 3:
            return f"10.5555/{letters}/{year % 100:02d}_{number:04d}"
        case 4:
            article = chance.randint(1000, 99999)
            return f"10.5555/s{40000 + number}-{year % 1000:03d}-{article:05d}-{'wxyz'[number % 4]}"
    return f"10.5555/{letters}.{year}.{100000 + number}"


def _pages(chance: random.Random, number: int) -> str:
    if number % 6 == 0:
        return f"e{chance.randint(10000, 99999)}"
    first = chance.randint(1, 1400)
    return f"{first}-{first + chance.randint(3, 24)}"


def _works(prefix: str, seed: int, wide: float, *, access: tuple[tuple[Copy, ...], ...], base: int) -> Iterator[Entry]:
    """Endless different works. The n-th never depends on how many are taken."""
    titles: set[str] = set()
    number = 0
    chance = random.Random(seed)  # noqa: S311
    while True:
        field = FIELDS[number % len(FIELDS)]
        title = _title(chance, field)
        while title.casefold() in titles:
            title = _title(chance, field)
        titles.add(title.casefold())
        number += 1
        venue = chance.choice(field.venues)
        year = 2024 - min(int(chance.expovariate(1 / 7)), 40)
        volume = max(1, year - 1975 - len(venue.name) % 9)
        copies = access[number % len(access)]
        arxiv = None
        if any(copy.host == "arxiv" for copy in copies):
            year = max(year, 2008)
            arxiv = _arxiv(year, base + number)
        article = venue.kind == "journal-article"
        yield Entry(
            key=f"{prefix}{number:04d}",
            title=title,
            authors=authors(chance, min(1 + int(chance.expovariate(1 / 2.4)), 9), wide),
            year=year,
            venue=venue.name,
            short_venue=venue.short,
            publisher=venue.publisher,
            kind=venue.kind,
            field=field.name,
            doi=_doi(chance, venue, year, base + number, volume),
            arxiv=arxiv,
            openalex=f"W99{base + number:08d}",
            volume=str(volume) if article else None,
            issue=str(chance.randint(1, 12)) if article and number % 3 else None,
            pages=_pages(chance, number),
            copies=copies,
        )


def _arxiv(year: int, number: int) -> str:
    """Of valid form, in a range that arXiv never reaches in a month. Four digits until 2014, five since."""
    digits = f"9{number % 1000:03d}" if year < 2015 else f"9{number % 10000:04d}"
    return f"{year % 100:02d}{1 + number % 12:02d}.{digits}"


def invent(count: int, seed: int = 5) -> Iterator[Entry]:
    """`count` more works for runs under load; the first of them are the same whatever the count. Four of five have
    one direct PDF, the fifth is closed; all names fit the standard fonts of PDF."""
    access = ((), *[(Copy(),)] * 4)
    return islice(_works("x", seed, 0.0, access=access, base=100000), count)


@cache
def standing_works() -> tuple[Entry, ...]:
    """The works of the demo, the samples and the tests."""
    chance = random.Random(2024)  # noqa: S311
    ordinary = list(islice(_works("w", 1, 0.2, access=ACCESS, base=0), 200))
    for position in range(5, 200, 16):  # renamed, once or twice
        work = ordinary[position]
        old = [f"10.5555/old.{work.year}.{position:03d}", f"10.5555/older-{position}"]
        ordinary[position] = replace(work, aliases=tuple(old[: 1 + position % 2]), merged=(f"W98{position:08d}",))
    for position in range(9, 200, 40):  # unknown to OpenAlex
        ordinary[position] = replace(ordinary[position], openalex=None)
    known = (*ordinary, *_series(chance), *_preprints(ordinary), *_hopeless(), *RARITIES)
    return (*known, *_only_openalex(), *_datasets(), *_only_arxiv())


def _series(chance: random.Random) -> Iterator[Entry]:
    """Pairs that are hard to tell apart: the same authors, nearly the same title, another year or part."""
    parts = (
        (" I: Theory", " II: Experiments", 1),
        ("", ": ten years on", 10),
        (", part one", ", part two", 0),
        ("", " revisited", 4),
        (" (extended abstract)", "", 1),
    )
    for number, work in enumerate(islice(_works("p", 3, 0.1, access=ACCESS, base=3000), 10), start=1):
        before, after, years = parts[number % len(parts)]
        earlier = replace(
            work, title=work.title + before, year=work.year - years,
            volume=str(max(1, int(work.volume) - years)) if work.volume else None,
        )  # fmt: skip
        yield earlier
        yield replace(
            work, key=f"{work.key}b", title=work.title + after, pages=_pages(chance, number), doi=f"{work.doi}.2",
            openalex=f"W99{4000 + number:08d}", arxiv=None,
            copies=tuple(copy for copy in work.copies if copy.host != "arxiv"),
        )  # fmt: skip


def _preprints(ordinary: list[Entry]) -> Iterator[Entry]:
    """The same work under a second DOI, a year earlier."""
    for number, work in enumerate(ordinary[7:200:17], start=1):
        yield replace(
            work, key=f"pre{number:02d}", doi=f"10.5555/{work.year - 1}.{number:02d}.15.{600000 + number}",
            openalex=f"W99{5000 + number:08d}", year=work.year - 1, kind="posted-content", venue="openPreprints",
            short_venue="openPreprints", publisher="Fernhill Laboratory", volume=None, issue=None, pages=None,
            arxiv=None, copies=(Copy(host="repository"),), aliases=(), merged=(), preprint_of=work.doi,
        )  # fmt: skip


def _only_openalex() -> Iterator[Entry]:
    """Works without a DOI."""
    for work in islice(_works("o", 4, 0.3, access=ACCESS[:13], base=6000), 12):
        yield replace(work, doi=None, in_crossref=False, kind="report" if work.volume is None else work.kind)


def _datasets() -> Iterator[Entry]:
    """Works whose DOI another agency registered: Crossref answers 404, OpenAlex knows them."""
    for number, work in enumerate(islice(_works("d", 6, 0.0, access=((Copy(host="repository"),),), base=7000), 8)):
        yield replace(
            work, title=f"{work.title}: data and code" if number % 2 else work.title, in_crossref=False,
            doi=f"10.5555/repo.{7000000 + 137 * number}", kind="dataset" if number % 2 else "dissertation",
            venue="Open Repository", short_venue="Open Repository", publisher="Open Repository", volume=None,
            issue=None, pages=None,
        )  # fmt: skip


def _only_arxiv() -> Iterator[Entry]:
    """Preprints on arXiv alone. Crossref knows none of them; OpenAlex knows the first half, by arXiv's DOI."""
    for number, work in enumerate(islice(_works("a", 7, 0.1, access=((Copy(host="arxiv"),),), base=8000), 14)):
        known = number % 2 == 0
        yield replace(
            work, doi=f"10.48550/arXiv.{work.arxiv}" if known else None, openalex=work.openalex if known else None,
            in_crossref=False, kind="posted-content", venue="arXiv", short_venue="arXiv",
            publisher="arXiv", volume=None, issue=None, pages=None,
        )  # fmt: skip


def _hopeless() -> Iterator[Entry]:
    works = islice(_works("h", 8, 0.0, access=((Copy(),),), base=9000), len(HOPELESS))
    for behaviour, work in zip(HOPELESS, works, strict=True):
        yield replace(work, copies=(Copy(behaviour),))


@cache
def unknown_works() -> tuple[Entry, ...]:
    """Works that no service knows, for references that cannot be resolved. No index holds them."""
    return tuple(replace(work, doi=None) for work in islice(_works("u", 9, 0.0, access=((),), base=0), 30))
