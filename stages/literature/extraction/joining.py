"""The lines of one entry as one text: words, URLs and DOIs that were broken at line ends are whole again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from itertools import pairwise

from stages.literature.extraction.glyphs import HYPHEN
from stages.literature.extraction.layout import Line

_HYPHENS = f"-{HYPHEN}‐‑"
_LAST_TOKEN = re.compile(r"\S+$")
_IN_URL = re.compile(
    r"(?:https?:(?://?)?|www\.|ftp://|doi\.org/|doi:\s?10\.|10\.\d{4,9}/|arxiv\.org/)\S*$", re.IGNORECASE
)
_WORD_IN_DOI = re.compile(rf"\b10\.\d{{4,9}}/\S*[^\W\d_]{{2}}{HYPHEN}$")
_STRETCHED = re.compile(
    r"\b(?:10(?=\s?\.\s?\d{4})|https?|www)\S{0,200}"
    r"(?:\s(?:(?:[./_]|:(?=\s?/))\s?){1,4}[^\s./:_]\S{0,200}){1,20}"
)
"""Addresses that a justified line has drawn apart, as biblatex does: `10 . 1000 / abc . 12`."""
_TWO_LETTERS = re.compile(r"[^\W\d_]{2}")
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_SPACELESS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3000-\u303f\uff00-\uffef]")
_ARXIV_GROUP = re.compile(r"(?:hep|nucl|astro|cond|quant|math|gr)$")
_OWN_WORD = re.compile(r"(?:https?:|www\.|doi:|arXiv:|[(\[“\"'A-ZÀ-Þ])")
_YEARLIKE = re.compile(r"(?:1[89]|20)\d\d[a-z]?[.,;:]?$")


def text_of(lines: list[Line], words: Container[str]) -> str:
    """The text of consecutive lines. `words` are the paper's words in lower case: they settle what a hyphen joins."""
    text = lines[0].text if lines else ""
    for before, line in pairwise(lines):
        text = _join(text, line.text, words, full=before.right - before.x1 < 1.5 * before.size)
    return cleaned(text)


def cleaned(text: str) -> str:
    """Text in single spaces and NFC, with the hyphens that remain made plain and addresses closed up."""
    made = " ".join(unicodedata.normalize("NFC", text.replace(HYPHEN, "-")).split())
    return _STRETCHED.sub(lambda found: found.group().replace(" ", ""), made)


def _join(text: str, line: str, words: Container[str], *, full: bool) -> str:
    if not text or not line:
        return text or line
    if _goes_on(text, line, full=full):
        if _WORD_IN_DOI.search(text) and _TWO_LETTERS.match(line):
            return text[:-1] + line  # TeX breaks words in a DOI that is set as text: "10.1000/Phys-" + "RevLett.1"
        return text.replace(HYPHEN, "-") + line
    if text[-1] in _HYPHENS and len(text) > 1 and not text[-2].isspace():
        return _unhyphenated(text, line, words)
    if text[-1] in "–—" and text[-2:-1].isalnum() and line[0].isalnum():
        return text + line
    if _SPACELESS.match(text[-1]) and _SPACELESS.match(line[0]):
        return text + line
    return f"{text} {line}"


def _goes_on(text: str, line: str, *, full: bool) -> bool:
    """Whether a URL or DOI at the end of `text` goes on at the beginning of `line`."""
    found = _IN_URL.search(text[-600:])
    first = next(iter(line.split(maxsplit=1)), "")
    if not found or not first:
        return False
    last = text[-1]
    if first.startswith("//") and last == ":":
        return True
    if last in "/_=?&%#~" + _HYPHENS or (last == ":" and len(found.group()) < 7):
        return not first.startswith(("[", "("))
    if first[0] in "/_?=&%#~" or (first[0] in "-." and len(first) > 1):
        return True
    if last in ",;)]>":
        return False
    plain = first.rstrip(".,;)")
    if last == ".":
        # "…/10.1109/FSKD.2016." + "7603248." goes on; "….html." + "Accessed" does not.
        return (plain[:1].isdigit() and not _YEARLIKE.fullmatch(plain)) or (
            plain[:1].islower() and bool(re.search(r"[./_\d]", plain))
        )
    if not full or _OWN_WORD.match(first):
        # An upper-case identifier goes on; an ordinary word does not.
        return full and bool(re.fullmatch(r"[A-Z0-9]+[\dA-Z./_-]*\d[\dA-Za-z./_-]*[.,]?", first))
    return bool(re.search(r"[\d/_.=-]", plain)) and not _YEARLIKE.fullmatch(first)


def _unhyphenated(text: str, line: str, words: Container[str]) -> str:
    stem = text[:-1]
    left = _LETTERS.search(stem[::-1])
    right = _LETTERS.match(line)
    before = left.group()[::-1] if left and left.start() == 0 else ""
    after = right.group() if right else ""
    if not before or not after:
        return f"{stem}-{line}"
    if (before + after).lower() in words and after[0].islower():
        return stem + line
    if f"{before}-{after}".lower() in words or _ARXIV_GROUP.search(stem):
        return f"{stem}-{line}"
    whole = _LAST_TOKEN.search(stem)
    compound = whole is not None and "-" in whole.group()
    if after[0].isupper() or (compound and before[:1].isupper() and len(before) < 3):
        return f"{stem}-{line}"
    return stem + line
