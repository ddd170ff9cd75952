"""An invented work, as all simulated services see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Author:
    """`literal` names have no given name: groups and names that are not split."""

    family: str
    given: str = ""

    @property
    def display(self) -> str:
        return f"{self.given} {self.family}".strip()


@dataclass(frozen=True, slots=True)
class Copy:
    """A free copy at the publisher simulator. `behaviour` is what happens when it is fetched (see publisher.py);
    without `pdf` only its landing page is told. `known_to` holds `openalex`, `unpaywall` or both."""

    behaviour: str = "pdf"
    host: str = "publisher"
    pdf: bool = True
    known_to: tuple[str, ...] = ("openalex", "unpaywall")


@dataclass(frozen=True, slots=True)
class Entry:
    """An invented work. `kind` is Crossref's word; `aliases` are former DOIs and `merged` former OpenAlex keys."""

    key: str
    title: str
    authors: tuple[Author, ...]
    year: int
    venue: str
    short_venue: str
    publisher: str
    kind: str = "journal-article"
    field: str = ""
    doi: str | None = None
    arxiv: str | None = None
    openalex: str | None = None
    volume: str | None = None
    issue: str | None = None
    pages: str | None = None
    copies: tuple[Copy, ...] = ()
    aliases: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    in_crossref: bool = True
    preprint_of: str | None = None  # the DOI of the published version
    language: str = "en"

    @property
    def downloadable(self) -> bool:
        """Whether some copy of it can be had, if all are tried."""
        return any(copy.pdf and copy.behaviour in ("pdf", "slow", "redirect") for copy in self.copies)

    @property
    def closed(self) -> bool:
        return not self.copies

    def number(self, size: int, salt: str = "") -> int:
        """A number below `size` that is always the same for this work: for counts that nobody looks at closely."""
        value = 2166136261  # FNV-1a
        for byte in f"{self.key}{salt}".encode():
            value = (value ^ byte) * 16777619 & 0xFFFFFFFF
        return value % size
