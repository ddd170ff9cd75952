"""Entries of a `.bib` file as references: what they say themselves instead of what would be guessed from print.

The parser is bibtexparser 2: it goes on after a broken entry, and its time grows with the size of the file.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass

from bibtexparser.entrypoint import parse_string
from bibtexparser.middlewares.names import parse_single_name_into_parts, split_multiple_persons_names
from bibtexparser.model import Block, Entry, ParsingFailedBlock
from pylatexenc.latex2text import LatexNodes2Text  # type: ignore[import-untyped]

from stages.literature.identifiers import normal_arxiv_id, normal_doi
from stages.literature.records import Reference

LARGEST_FILE = 16 * 2**20
LONGEST_FIELD = 4000
_MOST_NAMES = 50

_YEAR = re.compile(r"(?<!\d)(1[4-9]\d\d|20\d\d|21\d\d)(?!\d)")
_CONCATENATED = re.compile(r'"\s*#\s*"')
_COMMENT_SIGN = re.compile(r"(?<!\\)%")
_ARXIV = re.compile(r"arxiv(?:\.org/(?:abs|pdf)/|\s*:\s*)\S{5,30}", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s{}\\]+")
# The parser reports every broken entry in its own words; `Bibliography.broken` is what we say of them.
logging.getLogger("bibtexparser").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Bibliography:
    """The references of a `.bib` file, and the lines at which an entry begins that cannot be read."""

    references: tuple[Reference, ...]
    broken: tuple[int, ...]


def read_bibliography(data: bytes, name: str) -> Bibliography:
    """The entries of a `.bib` file. Its hash stands for the paper that cites them.

    UTF-8, else Windows-1252. Blocks: run it in a thread. Raises ValueError for a file that is too large.
    """
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{name} is larger than the {LARGEST_FILE >> 20} MiB that a bibliography may have: split it")
    library = parse_string(_decoded(data))
    paper = hashlib.sha256(data).hexdigest()
    references: list[Reference] = []
    broken: list[int] = []
    for block in library.blocks:
        entry = _entry(block)
        if entry is not None and (reference := _reference(entry, paper, name, len(references) + 1)):
            references.append(reference)
        elif isinstance(block, ParsingFailedBlock):
            broken.append((block.start_line or 0) + 1)
    return Bibliography(tuple(references), tuple(broken))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _entry(block: Block) -> Entry | None:
    """Two entries of one key are both entries."""
    if isinstance(block, ParsingFailedBlock):
        block = block.ignore_error_block or block
    return block if isinstance(block, Entry) else None


def _reference(entry: Entry, paper: str, name: str, position: int) -> Reference | None:
    fields = {field.key.lower(): str(field.value)[:LONGEST_FIELD] for field in entry.fields}
    authors = _authors(fields.get("author") or fields.get("editor") or "")
    title = _text(fields.get("title", ""))
    venue = next((_text(fields[key]) for key in _VENUES if fields.get(key)), "")
    year = _YEAR.search(fields.get("year") or fields.get("date") or "")
    doi, arxiv_id, url = _identifiers(fields)
    if not (title or doi or arxiv_id):
        return None
    place = " ".join(part for part in (venue, _text(fields.get("volume", ""))) if part)
    pages = _text(fields.get("pages") or fields.get("eid") or "")
    where = ", ".join(part for part in (place, pages) if part)
    people = "; ".join(authors)
    printed = [people, f"({year.group()})" if year else "", title, where]
    raw = ". ".join(part.rstrip(".") for part in printed if part)
    for identifier in (f"doi:{doi}" if doi else "", f"arXiv:{arxiv_id}" if arxiv_id else "", url or ""):
        raw = f"{raw}. {identifier}" if identifier and raw else raw or identifier
    return Reference(
        paper=paper,
        position=position,
        paper_file=name,
        raw=raw,
        doi=doi,
        arxiv_id=arxiv_id,
        url=url,
        year=int(year.group()) if year else None,
        first_author=authors[0].partition(",")[0] if authors else None,
        title=title or None,
    )


_VENUES = ("journal", "journaltitle", "booktitle", "school", "institution", "publisher", "howpublished")


def _identifiers(fields: dict[str, str]) -> tuple[str | None, str | None, str | None]:
    doi = normal_doi(fields.get("doi", "").replace("\\_", "_").replace("{", "").replace("}", ""))
    found = _URL.search(fields.get("url", "").replace("\\_", "_").replace("\\%", "%").replace("\\#", "#"))
    url = (found or _URL.search(fields.get("howpublished", "")) or _URL.search(fields.get("note", "")) or [None])[0]
    doi = doi or normal_doi(url)
    kind = (fields.get("archiveprefix") or fields.get("eprinttype") or "").lower()
    arxiv_id = normal_arxiv_id(fields.get("eprint")) if kind in ("", "arxiv") else None
    for key in ("journal", "url", "note", "howpublished"):
        text = fields.get(key, "")
        if arxiv_id is None and (
            found := re.search(r"arxiv(?:\.org/(?:abs|pdf)/|\s*:\s*)\S{5,30}", text, re.IGNORECASE)
        ):
            arxiv_id = normal_arxiv_id(found.group())
    return doi, arxiv_id, url


def _authors(names: str) -> list[str]:
    """`Family, Given` for each author; what stands in braces as a whole is an organisation."""
    people = []
    for name in split_multiple_persons_names(names)[:_MOST_NAMES]:
        if name.strip().lower() == "others":
            break
        parts = parse_single_name_into_parts(name, strict=False)
        family = _text(" ".join([*parts.von, *parts.last]))
        given = _text(" ".join(parts.first))
        if family or given:
            people.append(f"{family}, {given}" if family and given else family or given)
    return people


def _text(latex: str) -> str:
    """LaTeX as plain text: accents and symbols decoded, markup dropped. Files are never read (`\\input`)."""
    text = _CONCATENATED.sub("", latex).strip().strip('"')
    if not re.search(r"[\\{}$~%]|--", text):
        return " ".join(text.split())
    # BibTeX knows no comments within a value: a per cent sign is one.
    text = _COMMENT_SIGN.sub(r"\\%", text)
    try:
        text = LatexNodes2Text(math_mode="text").latex_to_text(text)
    except RecursionError:
        text = re.sub(r"[\\{}$]", "", text)
    return " ".join(text.split())
