"""The stage that reads a paper's reference list."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.literature.extraction import joining, layout, pdftext, reflists
from stages.literature.extraction.guess import guess
from stages.literature.extraction.headings import LONGEST_HEADING, begins_references
from stages.literature.library import Library
from stages.literature.records import Paper, Reference
from streamflow.errors import Reject, Skip

MOST_REFERENCES = 5_000
LONGEST_REFERENCE = 4_000
MOST_PAGES_SEARCHED = 600
"""From the back: in longer documents the list stands near the end."""
MOST_PAGES_READ = 150
PAGES_WITHOUT_HEADING = 40
_PAGES_BEFORE = 4
"""Pages before the list that are read too, to know the running heads."""
_MOST_TEXT = 20 * 2**20


@dataclass(frozen=True, slots=True)
class RawReference:
    """One entry as printed, and the addresses its text leads to in the PDF."""

    text: str
    links: tuple[str, ...] = ()


def extract(paper: Paper, *, library: Library) -> list[Reference]:
    """The references of a paper, as printed, with what can be guessed from each.

    Raises Reject for a file that cannot be read, Skip for a paper without a reference list.
    """
    made = []
    for position, entry in enumerate(extract_file(library.root / paper.path, paper.paper_file), start=1):
        seen = guess(entry.text, entry.links)
        made.append(
            Reference(
                paper=paper.paper,
                position=position,
                paper_file=paper.paper_file,
                raw=entry.text,
                doi=seen.doi,
                arxiv_id=seen.arxiv_id,
                url=seen.url,
                year=seen.year,
                first_author=seen.first_author,
                title=seen.title,
            )
        )
    return made


def extract_file(path: Path, name: str | None = None) -> list[RawReference]:
    """The reference list of a PDF in order. Raises as `extract` does; `name` is what the user calls the file."""
    name = name or path.name
    with pdftext.opened(path, name) as pdf:
        texts = _texts(pdf)
        if not any(text.strip() for text in texts.values()):
            raise Reject(
                f"{name} holds no text, only pictures of pages (a scan): run OCR on it, such as ocrmypdf, and add that"
            )
        lines = layout.lines([pdf.page(index) for index in _pages_to_read(pdf.pages, texts)])
        found = reflists.reference_lists(lines)
    if not found:
        headed = reflists.has_heading(lines)
        what = "the reference section holds no references" if headed else "no reference section was found"
        raise Skip(f"{name}: {what}; if the paper has one, add its references as a .bib file")
    words = _words(texts)
    return list(_texts_of(found, words))


def _texts(pdf: pdftext.Pdf) -> dict[int, str]:
    """The text of the pages by number, from the back, within the bounds of pages and letters.

    No clock bounds it: the result must not depend on how fast the machine is.
    """
    texts: dict[int, str] = {}
    size = 0
    for index in range(pdf.pages - 1, max(-1, pdf.pages - 1 - MOST_PAGES_SEARCHED), -1):
        texts[index] = pdf.text(index)
        size += len(texts[index])
        if size > _MOST_TEXT:
            break
    return texts


def _pages_to_read(count: int, texts: dict[int, str]) -> range:
    """The pages whose layout is looked at: from shortly before the first likely heading to the end."""
    headed = sorted(
        index for index, text in texts.items()
        if any(len(line) <= LONGEST_HEADING and begins_references(line) for line in text.splitlines())
    )  # fmt: skip
    if not headed:
        return range(max(0, count - PAGES_WITHOUT_HEADING), count)
    first = max(0, headed[0] - _PAGES_BEFORE)
    return range(first, min(count, first + MOST_PAGES_READ))


def _words(texts: dict[int, str]) -> frozenset[str]:
    """The paper's words in lower case, hyphenated ones whole: what a broken word may have been."""
    words: set[str] = set()
    for text in texts.values():
        words.update(word.strip(".,;:()[]“”\"'’").lower() for word in text.split())
    return frozenset(words)


def _texts_of(found: list[reflists.Found], words: frozenset[str]) -> Iterator[RawReference]:
    """The entries of all lists. What a later list, such as a supplement's, repeats word for word comes once."""
    count = 0
    earlier: set[str] = set()
    for one in found:
        here: set[str] = set()
        for entry in one.entries:
            text = joining.text_of(entry, words)[:LONGEST_REFERENCE].strip()
            if len(text) < 5 or not any(sign.isalpha() for sign in text):
                continue
            letters = "".join(sign for sign in text.casefold() if sign.isalnum())
            here.add(letters)
            if letters in earlier:
                continue
            links = dict.fromkeys(link.uri for line in entry for link in line.links)
            yield RawReference(text, tuple(links))
            count += 1
            if count >= MOST_REFERENCES:
                return
        earlier |= here
