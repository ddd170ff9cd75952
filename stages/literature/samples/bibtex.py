"""A library as people keep it: BibTeX of mixed manners, with TeX accents here and plain letters there."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from stages.simulators.entry import Entry

KINDS = {"proceedings-article": "inproceedings", "book": "book", "book-chapter": "incollection",
         "posted-content": "misc", "dissertation": "phdthesis", "dataset": "misc", "report": "techreport"}  # fmt: skip
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030a": "r", "\u030c": "v"}
LETTERS = {"ø": r"{\o}", "Ø": r"{\O}", "ß": r"{\ss}", "æ": r"{\ae}", "Æ": r"{\AE}", "Þ": r"{\TH}", "ð": r"{\dh}"}


def tex(text: str) -> str:
    """Accented Latin letters as TeX commands; what TeX has no command for stays."""
    out = []
    for letter in text:
        base, *marks = list(unicodedata.normalize("NFD", letter))
        if letter in LETTERS:
            out.append(LETTERS[letter])
        elif len(marks) == 1 and marks[0] in ACCENTS and base.isascii():
            command = ACCENTS[marks[0]]
            out.append(f"{{\\{command}{{{base}}}}}" if command.isalpha() else f"{{\\{command}{base}}}")
        else:
            out.append(letter)
    return "".join(out)


def bibtex(entries: Iterable[Entry]) -> str:
    parts = ["% Exported for tests: an invented library.\n@string{jlf = {Journal of Low Fields}}\n"]
    for number, entry in enumerate(entries):
        write = tex if number % 2 else str
        names = " and ".join(f"{author.family}, {author.given}".strip(", ") for author in entry.authors)
        container = "booktitle" if entry.kind in ("proceedings-article", "book-chapter") else "journal"
        fields = {
            "author": write(names),
            "title": f"{{{write(entry.title)}}}" if number % 3 else write(entry.title),
            container: write(entry.venue) if entry.kind != "book" else None,
            "publisher": write(entry.publisher) if entry.kind == "book" else None,
            "year": str(entry.year),
            "volume": entry.volume,
            "number": entry.issue,
            "pages": (entry.pages or "").replace("-", "--") or None,
            "doi": (f"https://doi.org/{entry.doi}" if number % 7 == 6 else entry.doi) if number % 4 else None,
            "eprint": entry.arxiv,
            "archiveprefix": "arXiv" if entry.arxiv else None,
        }
        lines = []
        for name, value in fields.items():
            if value is None:
                continue
            if name == container and value == "Journal of Low Fields":
                lines.append(f"  {name} = jlf")
            elif number % 5 == 4 and '"' not in value:
                lines.append(f'  {name} = "{value}"')
            else:
                lines.append(f"  {name} = {{{value}}}")
        kind = KINDS.get(entry.kind, "article")
        parts.append(
            f"@{kind if number % 6 else kind.upper()}{{{entry.key}_{entry.year},\n" + ",\n".join(lines) + "\n}\n"
        )
    return "\n".join(parts)
