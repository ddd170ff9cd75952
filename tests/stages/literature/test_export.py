"""What other programs read of a bibliography."""

from __future__ import annotations

import csv
import io
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bibtexparser.entrypoint import parse_string

from stages.literature.export import FORMATS, Entry, bibtex, csv_table, entries, export, jsonl, ris, write_bibliography
from stages.literature.records import DownloadedPaper, Work
from streamflow.engine.context import Context
from streamflow.storage.reader import Reader

WORK = Work(
    work="10.5555/abc",
    doi="10.5555/abc",
    title="The slow cooling of DNA & {granite}: 100% of $5 #1_a ~ ^ \\x",
    first_author="Müller",
    authors=("Müller, Hans", "Ice Collaboration", "Barnes and Noble, Jo"),
    year=2014,
    venue="Journal of *Invented* Geology",
    volume="12",
    issue="3",
    pages="345–367",
    kind="journal-article",
    url="https://doi.org/10.5555/abc",
)


def keyed(*works: Work) -> list[str]:
    return [entry.key for entry in entries(works, {})]


def parsed(*made: Entry) -> list[dict[str, str]]:
    library = parse_string("".join(bibtex(made)))
    assert not library.failed_blocks
    return [
        {field.key: field.value for field in entry.fields} | {"KIND": entry.entry_type} for entry in library.entries
    ]


def test_bibtex_keeps_what_latex_would_eat() -> None:
    (fields,) = parsed(Entry("muller2014", WORK, "papers/Müller 2014 - The slow cooling.pdf"))
    assert fields["title"] == (
        r"The slow cooling of {DNA} \& {\textbraceleft}granite{\textbraceright}: 100\% of \$5 \#1\_a "
        r"{\textasciitilde} {\textasciicircum} {\textbackslash}x"
    )
    assert fields["author"] == "Müller, Hans and {Ice Collaboration} and {Barnes and Noble, Jo}"
    assert (fields["KIND"], fields["pages"], fields["number"]) == ("article", "345--367", "3")
    assert fields["file"] == "papers/Müller 2014 - The slow cooling.pdf"
    assert fields["doi"] == "10.5555/abc"


@pytest.mark.parametrize("text", ["}", "{", "{{{", "\\}", "%", '"', "@article{x,", "a\nb\r\nc", "\x00", "\\", "\u2028"])
def test_no_text_breaks_bibtex(text: str) -> None:
    work = Work(work=text, doi=text, title=text, authors=(text, f"{text}, {text}"), venue=text, url=text, pages=text)
    after = Work(work="z", title="After")
    assert [fields.get("title") for fields in parsed(Entry("a", work, text), Entry("b", after))][-1] == "After"


def test_citation_keys_are_readable_unique_and_do_not_depend_on_the_order() -> None:
    works = [
        Work(work="1", title="The slow cooling", first_author="Müller", year=2014),
        Work(work="2", title="A Slow warming", first_author="Muller", year=2014),
        Work(work="3", title="Ice", first_author="van der Berg", year=None),
        Work(work="4", title="冰川", first_author="王", year=2014),
        Work(work="5", title="No author"),
    ]
    keys = keyed(*works)
    assert "vanderbergice" in keys
    assert sum(key.startswith("muller2014slow-") for key in keys) == 2
    assert len(set(keys)) == len(works)
    assert all(key.isascii() and key == key.lower() for key in keys)
    random.Random(1).shuffle(works)
    assert keyed(*works) == keys


def test_ris_follows_its_rules() -> None:
    text = "".join(ris([Entry("muller2014", WORK, "papers/a.pdf"), Entry("b", Work(work="x", title="a\nER  - \nb"))]))
    lines = text.split("\r\n")
    assert lines[0] == "TY  - JOUR"
    assert lines[-1] == ""
    assert [line for line in lines if line.startswith("ER")] == ["ER  - "] * 2
    assert {
        "AU  - Müller, Hans",
        "T2  - Journal of Invented Geology",
        "SP  - 345",
        "EP  - 367",
        "L1  - papers/a.pdf",
    } < set(lines)
    assert all(line[2:6] == "  - " for line in lines if line)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1"])
def test_csv_runs_no_formula(text: str) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(csv_table([Entry("a", Work(work="w", title=text))])))))
    assert rows[0]["title"] == f"'{text}"


def test_csv_has_a_header_and_quotes_what_needs_it() -> None:
    rows = list(csv.DictReader(io.StringIO("".join(csv_table([Entry("a", WORK, "f.pdf")])), newline="")))
    assert rows[0]["title"] == WORK.title
    assert rows[0]["authors"] == "Müller, Hans; Ice Collaboration; Barnes and Noble, Jo"
    assert (rows[0]["year"], rows[0]["file"], rows[0]["arxiv_id"]) == ("2014", "f.pdf", "")
    assert "".join(csv_table([])).startswith("work,title,doi,")


def test_jsonl_carries_every_field() -> None:
    (line,) = jsonl([Entry("a", WORK, "f.pdf")])
    told = json.loads(line)
    assert (told["title"], told["authors"], told["year"]) == (WORK.title, list(WORK.authors), 2014)
    assert (told["citation_key"], told["file"], told["arxiv_id"]) == ("a", "f.pdf", None)


class FakeReader:
    def __init__(self, *rows: Any) -> None:
        self.rows = rows

    async def records(self, kind: type[Any]) -> Sequence[Any]:
        return [row for row in self.rows if type(row) is kind]

    def __call__(self) -> Reader:
        return cast("Reader", self)


PAPER = DownloadedPaper("10.5555/abc", None, "t", None, None, "https://a.example/1.pdf", "papers/ü.pdf", "0" * 64, 9)


@pytest.mark.asyncio
async def test_the_library_is_written_with_the_files(tmp_path: Path) -> None:
    context = cast("Context", SimpleNamespace(workspace=tmp_path))
    await write_bibliography(reader=FakeReader(WORK, PAPER)(), context=context)
    assert "file = {papers/ü.pdf}" in (tmp_path / "library.bib").read_text(encoding="utf-8")
    await write_bibliography(reader=FakeReader()(), context=context)
    assert (tmp_path / "library.bib").read_bytes() == b""
    assert os.listdir(tmp_path) == ["library.bib"]


@pytest.mark.asyncio
@pytest.mark.parametrize("format", sorted(FORMATS))
async def test_every_format_can_be_written(format: str) -> None:
    out = io.StringIO()
    await export(FakeReader(WORK, PAPER, Work(work="x", title="lone \ud800 surrogate"))(), out, format=format)
    assert out.getvalue().encode("utf-8").count(b"papers/\xc3\xbc.pdf") == 1
