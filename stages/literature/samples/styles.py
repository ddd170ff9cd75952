"""How a work is printed in a reference list: one function for each style, from a work to a marked-up text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.literature.samples.typeset import BOLD, ITALIC
from stages.simulators.entry import Author, Entry

Style = Callable[[Entry, str], str]


def _i(text: str) -> str:
    return f"{ITALIC}{text}{ITALIC}"


def _b(text: str) -> str:
    return f"{BOLD}{text}{BOLD}"


def _initials(author: Author, dots: bool = True, join: str = " ") -> str:
    parts = [part for part in author.given.split() if part]
    return join.join("-".join(f"{half[0]}." if dots else half[0] for half in part.split("-")) for part in parts)


def _before(author: Author) -> str:
    return f"{_initials(author)} {author.family}".strip()


def _after(author: Author) -> str:
    return f"{author.family}, {_initials(author)}" if author.given else author.family


def _join(names: Sequence[str], last: str, comma: str = ", ") -> str:
    return names[0] if len(names) == 1 else comma.join(names[:-1]) + last + names[-1]


def _dash(pages: str | None) -> str:
    return (pages or "").replace("-", "–")


def _first_page(entry: Entry) -> str:
    return (entry.pages or "").partition("-")[0]


def _arxiv(entry: Entry, doi: str) -> bool:
    return entry.venue == "arXiv" or (not doi and entry.arxiv is not None and entry.doi is None)


def ieee(entry: Entry, doi: str) -> str:
    people = [_before(author) for author in entry.authors]
    names = (
        f"{people[0]} {_i('et al.')}" if len(people) > 6 else _join(people, ", and " if len(people) > 2 else " and ")
    )
    text = f"{names}, “{entry.title},” "
    if _arxiv(entry, doi):
        return text + f"{_i('arXiv preprint arXiv:' + str(entry.arxiv))}, {entry.year}."
    text += (
        f"in {_i(entry.short_venue)}"
        if entry.kind == "proceedings-article"
        else _i(entry.short_venue or entry.publisher)
    )
    text += f", vol. {entry.volume}" if entry.volume else ""
    text += f", no. {entry.issue}" if entry.issue else ""
    if entry.pages:
        text += f", pp. {_dash(entry.pages)}" if "-" in entry.pages else f", Art. no. {entry.pages}"
    return f"{text}, {entry.year}" + (f", doi: {doi}." if doi else ".")


def physics(entry: Entry, doi: str) -> str:
    people = [_before(author) for author in entry.authors]
    names = (
        f"{people[0]} {_i('et al.')}" if len(people) > 7 else _join(people, ", and " if len(people) > 2 else " and ")
    )
    if _arxiv(entry, doi):
        return f"{names}, {entry.title}, arXiv:{entry.arxiv} ({entry.year})."
    place = f"{entry.short_venue or entry.publisher} " + (f"{_b(entry.volume)}, " if entry.volume else "")
    text = f"{names}, {entry.title}, {place}{_first_page(entry)}".rstrip(" ,")
    return f"{text} ({entry.year})" + (f", https://doi.org/{doi}." if doi else ".")


def terse(entry: Entry, doi: str) -> str:
    """Physics without titles, as many journals print."""
    if _arxiv(entry, doi) or not entry.volume:
        return physics(entry, doi)
    people = [_before(author) for author in entry.authors]
    names = (
        f"{people[0]} {_i('et al.')}" if len(people) > 4 else _join(people, ", and " if len(people) > 2 else " and ")
    )
    return f"{names}, {entry.short_venue} {_b(entry.volume)}, {_first_page(entry)} ({entry.year})."


def vancouver(entry: Entry, doi: str) -> str:
    people = [f"{author.family} {_initials(author, dots=False, join='')}".strip() for author in entry.authors]
    names = ", ".join([*people[:6], "et al"] if len(people) > 6 else people)
    text = f"{names}. {entry.title}. "
    if _arxiv(entry, doi):
        return text + f"arXiv [Preprint]. {entry.year}. arXiv:{entry.arxiv}."
    text += f"{(entry.short_venue or entry.publisher).rstrip('.')}. {entry.year}"
    text += f";{entry.volume}" if entry.volume else ""
    text += f"({entry.issue})" if entry.issue else ""
    text += f":{_shorten(entry.pages)}" if entry.pages else ""
    return text + (f". doi:{doi}." if doi else ".")


def _shorten(pages: str) -> str:
    """651-654 as 651-4, which Vancouver prefers."""
    first, dash, last = pages.partition("-")
    if not dash or len(first) != len(last):
        return pages
    same = next((number for number, pair in enumerate(zip(first, last, strict=True)) if pair[0] != pair[1]), 0)
    return f"{first}-{last[same:]}"


def nature(entry: Entry, doi: str) -> str:
    people = [_after(author) for author in entry.authors]
    names = f"{people[0]} {_i('et al.')}" if len(people) > 5 else _join(people, " & ")
    text = f"{names} {entry.title}. "
    if _arxiv(entry, doi):
        return text + f"Preprint at https://arxiv.org/abs/{entry.arxiv} ({entry.year})."
    if entry.kind == "proceedings-article":
        return text + f"In {_i(entry.venue)} {_dash(entry.pages)} ({entry.publisher}, {entry.year})."
    text += _i(entry.short_venue or entry.publisher) + (f" {_b(entry.volume)}," if entry.volume else "")
    text = f"{text} {_dash(entry.pages)}".rstrip(" ,")
    return f"{text} ({entry.year})." + (f" https://doi.org/{doi}" if doi else "")


def apa(entry: Entry, doi: str) -> str:
    people = [_after(author) for author in entry.authors]
    text = f"{_join(people, ', & ')} ({entry.year}). "
    if _arxiv(entry, doi):
        return text + f"{entry.title}. {_i('arXiv')}. https://arxiv.org/abs/{entry.arxiv}"
    if entry.kind in ("book", "report", "dissertation", "dataset"):
        text += f"{_i(entry.title)}. {entry.publisher}."
    else:
        text += f"{entry.title}. " + ("In " if entry.kind in ("proceedings-article", "book-chapter") else "")
        text += _i(f"{entry.venue}, {entry.volume}") if entry.volume else _i(entry.venue)
        text += f"({entry.issue})" if entry.issue else ""
        text += f", {_dash(entry.pages)}." if entry.pages else "."
    return text + (f" https://doi.org/{doi}" if doi else "")


def astro(entry: Entry, doi: str) -> str:
    people = [_after(author) for author in entry.authors]
    names = f"{', '.join(people[:3])}, et al." if len(people) > 5 else _join(people, ", & ")
    text = f"{names} {entry.year}, "
    if _arxiv(entry, doi):
        return text + f"{entry.title}, arXiv e-prints, arXiv:{entry.arxiv}"
    if entry.volume is None:
        return text + f"{entry.title} ({entry.publisher})" + (f", doi: {doi}" if doi else "")
    title = f"{entry.title}, " if entry.number(3, "astro") == 0 else ""  # some journals want it
    text += f"{title}{entry.short_venue}, {entry.volume}, {_first_page(entry)}"
    return text + (f", doi: {doi}" if doi else "")


def mathematical(entry: Entry, doi: str) -> str:
    people = [_before(author) for author in entry.authors]
    text = f"{_join(people, ', and ' if len(people) > 2 else ' and ')}, {_i(entry.title)}, "
    if _arxiv(entry, doi):
        return text + f"preprint, arXiv:{entry.arxiv}, {entry.year}."
    text += f"{entry.short_venue} " if entry.short_venue else f"{entry.publisher}, "
    text += f"{_b(entry.volume)} ({entry.year})" if entry.volume else f"{entry.year}"
    text += f", no. {entry.issue}" if entry.issue else ""
    text += f", {_dash(entry.pages)}" if entry.pages else ""
    return text + (f", DOI {doi}." if doi else ".")


def acm(entry: Entry, doi: str) -> str:
    names = _join([author.display for author in entry.authors], ", and " if len(entry.authors) > 2 else " and ")
    text = f"{names}. {entry.year}. {entry.title}. "
    if _arxiv(entry, doi):
        return text + f"arXiv:{entry.arxiv}. Retrieved from https://arxiv.org/abs/{entry.arxiv}"
    text += "In " if entry.kind == "proceedings-article" else ""
    text += _i(entry.venue) + (f" {entry.volume}" if entry.volume else "")
    text += f", {entry.issue}" if entry.issue else ""
    text += f" ({entry.year})" if entry.volume else ""
    text += f", {_dash(entry.pages)}." if entry.pages else "."
    return text + (f" https://doi.org/{doi}" if doi else "")


@dataclass(frozen=True, slots=True)
class Form:
    """A style with its labels: `[n]`, `n.` or none, which means author–year in alphabetical order."""

    style: Style
    label: str
    heading: str = "References"
    titles: bool = True


FORMS = {
    "ieee": Form(ieee, "[{}]"),
    "physics": Form(physics, "[{}]"),
    "terse": Form(terse, "[{}]", "", titles=False),
    "vancouver": Form(vancouver, "{}."),
    "nature": Form(nature, "{}."),
    "apa": Form(apa, ""),
    "astro": Form(astro, "", "REFERENCES", titles=False),
    "mathematical": Form(mathematical, "[{}]"),
    "acm": Form(acm, "[{}]", "REFERENCES"),
}
