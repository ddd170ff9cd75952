"""The bibliography in the formats that other programs read.

Each format is a pure function from entries to text, one piece per entry, in the order of citation keys. All text is
UTF-8; the caller must write it without changing line ends (RIS and CSV end lines with CR LF by their rules).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import TextIO

from anyio import to_thread

from stages.literature.records import DownloadedPaper, Work
from stages.literature.words import folded, split, word_set
from streamflow.engine.context import Context
from streamflow.storage.files import write_whole
from streamflow.storage.reader import Reader

LIBRARY = "library.bib"


@dataclass(frozen=True, slots=True)
class Entry:
    """A work with its citation key and, when there is one, the path of its PDF below the workspace."""

    key: str
    work: Work
    file: str | None = None


def entries(works: Iterable[Work], files: Mapping[str, str]) -> list[Entry]:
    """Works with unique citation keys, such as `doe2014slow`, in the order of their keys.

    Works that would share a key all get some letters of a hash of what identifies them: no key depends on the order
    or on chance. Keys are lower-case ASCII, as BibTeX compares them without case.
    """
    wanted = [(_citation_key(work), work) for work in works]
    often = Counter(key for key, _ in wanted)
    made = [
        Entry(key if often[key] == 1 and key else f"{key or 'work'}-{_mark(work)}", work, files.get(work.work))
        for key, work in wanted
    ]
    return sorted(made, key=lambda entry: entry.key)


def bibtex(entries: Iterable[Entry]) -> Iterator[str]:
    """BibTeX. `file` is a path below the workspace, where `library.bib` lies."""
    for entry in entries:
        work = entry.work
        kind, venue = _BIBTEX_KINDS.get(work.kind or "", ("misc", "howpublished"))
        values = {
            "author": " and ".join(_bibtex_name(name) for name in work.authors),
            "title": _title(work.title),
            venue: _escaped(work.venue) if work.venue else "",
            "year": str(work.year or ""),
            "volume": _escaped(work.volume or ""),
            "number": _escaped(work.issue or ""),
            "pages": _escaped(re.sub(r"(?<=\w)\s*[-–—]+\s*(?=\w)", "--", work.pages or "")),
            "publisher": _escaped(work.publisher or ""),
            "doi": _verbatim(work.doi or ""),
            "eprint": _verbatim(work.arxiv_id or ""),
            "archiveprefix": "arXiv" if work.arxiv_id else "",
            "url": _verbatim(work.url or ""),
            "file": _verbatim(entry.file or ""),
        }
        lines = [f"  {name} = {{{value}}}" for name, value in values.items() if value]
        yield f"@{kind}{{{entry.key},\n" + ",\n".join(lines) + "\n}\n\n"


def ris(entries: Iterable[Entry]) -> Iterator[str]:
    """RIS (the format of Reference Manager): TY first, ER last, CR LF after each line."""
    for entry in entries:
        work = entry.work
        first, _, last = (work.pages or "").replace("–", "-").partition("-")
        values = [
            ("TY", _RIS_KINDS.get(work.kind or "", "GEN")),
            ("ID", entry.key),
            # The specification forbids asterisks in names of authors and of periodicals.
            *(("AU", author.replace("*", "")) for author in work.authors),
            ("TI", work.title),
            ("T2", (work.venue or "").replace("*", "")),
            ("PY", str(work.year or "")),
            ("VL", work.volume or ""),
            ("IS", work.issue or ""),
            ("SP", first.strip()),
            ("EP", last.strip()),
            ("PB", work.publisher or ""),
            ("DO", work.doi or ""),
            ("UR", work.url or ""),
            ("L1", entry.file or ""),
        ]
        lines = [f"{tag}  - {_one_line(value)}" for tag, value in values if value]
        yield "\r\n".join([*lines, "ER  - ", ""])


def csv_table(entries: Iterable[Entry]) -> Iterator[str]:
    """CSV (RFC 4180) with a header. Text that a spreadsheet would run as a formula begins with an apostrophe."""
    names = [field.name for field in fields(Work)]
    yield _csv_line([*names, "file"])
    for entry in entries:
        row = [getattr(entry.work, name) for name in names]
        yield _csv_line([*row, entry.file])


def jsonl(entries: Iterable[Entry]) -> Iterator[str]:
    """One JSON object a line, with the fields of `with_metadata`, the citation key and the file."""
    for entry in entries:
        told = asdict(entry.work) | {"citation_key": entry.key, "file": entry.file}
        yield json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n"


FORMATS: Mapping[str, Callable[[Iterable[Entry]], Iterator[str]]] = {
    "bibtex": bibtex,
    "ris": ris,
    "csv": csv_table,
    "jsonl": jsonl,
}


async def read_entries(reader: Reader) -> list[Entry]:
    """All works of a workspace."""
    downloaded: Sequence[DownloadedPaper] = await reader.records(DownloadedPaper)
    return entries(await reader.records(Work), {paper.work: paper.file for paper in downloaded})


async def export(reader: Reader, out: TextIO, *, format: str) -> None:
    """Write all works of a workspace to `out`, in one of `FORMATS`."""
    for piece in FORMATS[format](await read_entries(reader)):
        out.write(_writable(piece))


async def write_bibliography(*, reader: Reader, context: Context) -> None:
    """The finalizer: `library.bib` in the workspace, whole or not at all."""
    found = await read_entries(reader)

    def write() -> None:
        write_whole(context.workspace / LIBRARY, _writable("".join(bibtex(found))).encode())

    await to_thread.run_sync(write)


_BIBTEX_KINDS = {
    "journal-article": ("article", "journal"),
    "article": ("article", "journal"),
    "review": ("article", "journal"),
    "proceedings-article": ("inproceedings", "booktitle"),
    "book-chapter": ("incollection", "booktitle"),
    "book-section": ("incollection", "booktitle"),
    "reference-entry": ("incollection", "booktitle"),
    "book": ("book", "series"),
    "monograph": ("book", "series"),
    "edited-book": ("book", "series"),
    "dissertation": ("phdthesis", "school"),
    "report": ("techreport", "institution"),
}
_RIS_KINDS = {
    "journal-article": "JOUR",
    "article": "JOUR",
    "review": "JOUR",
    "proceedings-article": "CPAPER",
    "book-chapter": "CHAP",
    "book-section": "CHAP",
    "reference-entry": "ENCYC",
    "book": "BOOK",
    "monograph": "BOOK",
    "edited-book": "EDBOOK",
    "dissertation": "THES",
    "report": "RPRT",
    "posted-content": "UNPB",
    "preprint": "UNPB",
    "dataset": "DATA",
}

# BibTeX counts braces even after a backslash, so a lone one must not appear at all.
_LATEX = {
    "\\": r"{\textbackslash}",
    "{": r"{\textbraceleft}",
    "}": r"{\textbraceright}",
    "~": r"{\textasciitilde}",
    "^": r"{\textasciicircum}",
} | {sign: f"\\{sign}" for sign in "&%$#_"}
_LATEX_TABLE = str.maketrans(_LATEX)
_VERBATIM_TABLE = str.maketrans({"{": "%7B", "}": "%7D", "\\": "%5C"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_DULL = word_set("a an the on of in for and to from der die das ein eine le la les un une el los las")


def _citation_key(work: Work) -> str:
    family = (work.first_author or "").partition(",")[0]
    name = "".join(re.findall(r"[a-z]+", folded(family)))[:30]
    words = [word for word in split(work.title).words if word.isascii() and word not in _DULL]
    return f"{name}{work.year or ''}{words[0][:20] if words else ''}" if name else ""


def _mark(work: Work) -> str:
    return blake2b(work.work.encode(errors="replace"), digest_size=4).hexdigest()


def _bibtex_name(name: str) -> str:
    """`Family, Given`; a name of one piece, or one with "and" in it, is kept whole by braces."""
    escaped = _escaped(name)
    return escaped if ", " in name and " and " not in name else f"{{{escaped}}}"


def _title(title: str) -> str:
    """Words with capitals inside (DNA, LaTeX) keep them whatever the style does."""
    return " ".join(
        f"{{{_escaped(word)}}}" if word[1:] != word[1:].lower() else _escaped(word) for word in title.split()
    )


def _escaped(text: str) -> str:
    return _one_line(text).translate(_LATEX_TABLE)


def _verbatim(text: str) -> str:
    """For identifiers, links and paths, in which LaTeX's signs stand for themselves."""
    return _one_line(text).translate(_VERBATIM_TABLE)


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _csv_line(values: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([_cell(value) for value in values])
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        value = "; ".join(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _writable(text: str) -> str:
    """Without lone surrogates, which no UTF-8 holds."""
    return text.encode("utf-8", "replace").decode("utf-8")
