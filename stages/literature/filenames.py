"""Names of downloaded papers, for people: `Doe 2014 - Slow cooling of granite (3fa91b2c).pdf`.

The name is a function of the work alone. Two works may share author, year and title; the hash of the work's key tells
them apart, always, since one that is added only on a collision would depend on who came first.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

from pathvalidate import sanitize_filename

MOST_BYTES = 200
# Refused by Windows or awkward in shells, or with a meaning in BibTeX's `file` field (which JabRef splits at ; and :).
_AWKWARD = re.compile(r'[<>:"/\\|?*{};%$`]')


def paper_name(work: str, *, title: str, first_author: str | None, year: int | None) -> str:
    """A file name of at most `MOST_BYTES` bytes in UTF-8 that any common file system takes."""
    ending = f" ({blake2b(work.encode(errors='replace'), digest_size=4).hexdigest()}).pdf"
    author = _cut(_clean(first_author or ""), 60)
    head = " ".join(part for part in (author, str(year) if year else "") if part)
    name = " - ".join(part for part in (head, _clean(title)) if part) or "Untitled"
    name = _cut(name, MOST_BYTES - len(ending)) + ending
    return sanitize_filename(name, platform="universal")


def _clean(text: str) -> str:
    """One line of printable characters, composed; no signs that turn or hide text, none that file systems refuse."""
    text = unicodedata.normalize("NFC", text[:2000])
    kept = "".join(sign if sign.isprintable() or sign.isspace() else "" for sign in text)
    # A leading dot hides a file, a leading dash looks like an option, Windows drops dots and spaces at the end.
    return " ".join(_AWKWARD.sub(" ", kept).split()).strip(" .-–—_")


def _cut(text: str, most: int) -> str:
    """At most so many bytes, at the end of a word where there is one; no accent is cut from its letter."""
    if len(text.encode()) <= most:
        return text
    cut = text.encode()[:most].decode(errors="ignore")
    end = len(cut)
    while end and unicodedata.category(text[end]) in ("Mn", "Mc"):
        end -= 1
    cut = cut[:end]
    words = cut.rpartition(" ")[0]
    return (words if len(words) > len(cut) // 2 else cut).rstrip(" .,-–—_:;(")
