"""Writes one paper: title, abstract, sections with citations and figures, and the reference list."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.literature.samples.prose import Prose
from stages.literature.samples.styles import FORMS, Form
from stages.literature.samples.typeset import BOLD, ITALIC, Look, Typesetter, plain
from stages.simulators.entry import Entry
from stages.simulators.words import Field

SECTIONS = ("Introduction", "Materials and Methods", "Results", "Discussion and Conclusions")


@dataclass(frozen=True, slots=True)
class Printed:
    """An entry of a reference list. `entry` is None for what no service knows; `doi` as printed."""

    text: str
    sort: tuple[str, int] = ("", 0)
    entry: Entry | None = None
    doi: str = ""
    title: str | None = None
    year: int | None = None
    first_author: str | None = None

    def truth(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "raw": plain(self.text),
            "work": entry.key if entry else None,
            "doi": self.doi or None,
            "arxiv_id": entry.arxiv if entry and entry.arxiv and str(entry.arxiv) in self.text else None,
            "year": self.year,
            "first_author": self.first_author,
            "title": self.title,
        }


def printed(entry: Entry, form: Form, doi: str = "", *, known: bool = True) -> Printed:
    """A work in that style; `doi` is what is printed, perhaps a former one."""
    text = form.style(entry, doi)
    return Printed(
        text, (_fold(entry.authors[0].family), entry.year), entry if known else None, doi,
        entry.title if entry.title in text else None, entry.year, entry.authors[0].family,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Paper:
    """What a paper looks like and says. `caption_inside` puts a figure into the reference list, `appendix` something
    after it; `nudge` (points) moves the list down, so that a column ends in the middle of a reference."""

    title: str
    authors: str
    field: Field
    form: str
    look: Look
    paragraphs: int = 12
    caption_inside: bool = False
    appendix: bool = False
    nudge: float = 0.0
    head: str = "Invented proceedings for tests"
    figure_word: str = "Figure"
    affiliation: str = "Institute of Invented Sciences, Harrowgate"


def write_paper(path: Path, paper: Paper, references: Sequence[Printed], seed: int) -> list[Printed]:
    """Writes the PDF and returns the references in the order in which they are printed."""
    form = FORMS[paper.form]
    if not form.label:
        references = sorted(references, key=lambda reference: reference.sort)
    chance = random.Random(seed)  # noqa: S311
    prose = Prose(paper.field, chance)
    short = paper.authors.split(",")[0] + " et al."
    setter = Typesetter(paper.look, lambda page: paper.head if page % 2 else short, paper.title, paper.authors)
    setter.block(f"{BOLD}{paper.title}{BOLD}", size=16, wide=True, after=8)
    setter.block(paper.authors, size=11, wide=True, after=3)
    setter.block(f"{ITALIC}{paper.affiliation}{ITALIC}", size=9, wide=True, after=10)
    setter.block(f"{BOLD}Abstract.{BOLD} {prose.abstract()}", size=9.5, wide=True, after=14)
    setter.start_columns()
    citations = _citations(form, references)
    for number, section in enumerate(SECTIONS, start=1):
        share = paper.paragraphs * number // len(SECTIONS) - paper.paragraphs * (number - 1) // len(SECTIONS)
        _heading(setter, f"{number} {section}" if form.label else section)
        if number == 3:
            setter.figure(prose.caption(1, paper.figure_word), 120, prose.curve())
        for _ in range(share):
            setter.block(prose.paragraph(citations), first=12, after=3)
    rest = list(citations)
    if rest:
        setter.block(f"For further reading see the literature{''.join(rest)}.", first=12, after=3)
    if form.heading:
        _heading(setter, form.heading)
    else:
        setter.block("_" * 30, after=6)
    setter.y += paper.nudge
    if paper.caption_inside:
        setter.float_figure(prose.caption(2, paper.figure_word), 90, prose.curve())
    _list(setter, form, references)
    if paper.appendix:
        _heading(setter, "Appendix A. Details of the calibration")
        setter.block(prose.paragraph(iter(())), first=12)
    setter.save(path)
    return list(references)


def _heading(setter: Typesetter, text: str) -> None:
    setter.need(40)
    setter.y += 7
    setter.block(f"{BOLD}{text}{BOLD}", size=setter.look.size + 1.5, after=4)


def _list(setter: Typesetter, form: Form, references: Sequence[Printed]) -> None:
    size = setter.look.size - 1
    for number, reference in enumerate(references, start=1):
        label = form.label.format(number) + " " if form.label else ""
        setter.block(f"{label}{reference.text}", size=size, rest=14.0, after=1.5)


def _citations(form: Form, references: Sequence[Printed]) -> Iterator[str]:
    """A citation after another, of one or two references, in the manner of the style."""
    position = 0
    while position < len(references):
        count = 2 if position % 5 == 3 and position + 1 < len(references) else 1
        numbers = range(position + 1, position + count + 1)
        if form.label == "[{}]":
            yield " [" + ", ".join(map(str, numbers)) + "]"
        elif form.label:
            yield " (" + ",".join(map(str, numbers)) + ")"
        else:
            yield " (" + "; ".join(_author_year(references[number - 1]) for number in numbers) + ")"
        position += count


def _author_year(reference: Printed) -> str:
    name = reference.first_author or plain(reference.text).split(".")[0]
    others = " et al." if reference.entry is not None and len(reference.entry.authors) > 1 else ""
    return f"{name}{others}, {reference.year}" if reference.year else name


def _fold(text: str) -> str:
    plain_text = unicodedata.normalize("NFKD", text.casefold().replace("ø", "o").replace("ł", "l"))
    return "".join(letter for letter in plain_text if letter.isalpha())
