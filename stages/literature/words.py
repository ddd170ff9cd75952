"""Text as comparable words, in any script.

Case, accents, ligatures, width forms and markup do not count. Scripts that are written without spaces (Chinese,
Japanese, Thai, …) count by character.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass

LONGEST_TEXT = 2000
MOST_WORDS = 400

# Letters that no Unicode decomposition takes apart.
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŧ": "t", "ə": "e"}
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff'’‘ʼ`´ʹ", "")
)
# The markup that publishers leave in titles; other text in angle brackets is text.
_TAG = re.compile(
    r"</?(?:i|b|u|em|strong|italic|bold|underline|sub|sup|sc|scp|small|tt|br|p|span|a|inline-formula|tex-math|alternatives"
    r"|(?:mml|jats|m):[a-z]{1,20})(?:\s[^<>]{0,200})?/?>",
    re.IGNORECASE,
)
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Myanmar, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Kana, Han
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\W_{_NO_SPACES}]+")
_SPACELESS = re.compile(rf"[{_NO_SPACES}]")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text and, for each, the text that stands before it. `tail` is what follows the last word."""

    words: tuple[str, ...]
    gaps: tuple[str, ...]
    tail: str

    def before(self, index: int) -> str:
        """The text between word `index` - 1 and word `index`."""
        return self.gaps[index] if index < len(self.gaps) else self.tail


def plain(text: str) -> str:
    """Text without markup and entities, in single spaces: `H<sub>2</sub>O &amp; more` is `H2O & more`."""
    if "<" in text:
        text = _TAG.sub("", text)
    if "&" in text:
        text = _TAG.sub("", html.unescape(text))
    return " ".join(text.split())


def folded(text: str) -> str:
    """Text with all that does not count taken out: case, accents, ligatures, widths, apostrophes."""
    text = unicodedata.normalize("NFKD", text[:LONGEST_TEXT].casefold())
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Mn")
    return unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)


def split(text: str) -> Words:
    """The words of a text, at most `MOST_WORDS` of them."""
    text = folded(text)
    words: list[str] = []
    gaps: list[str] = []
    end = 0
    for found in _WORD.finditer(text):
        if len(words) == MOST_WORDS:
            break
        words.append(found.group())
        gaps.append(text[end : found.start()])
        end = found.end()
    return Words(tuple(words), tuple(gaps), text[end : end + 50])


def word_set(words: str) -> frozenset[str]:
    """The words of a list that is written as one string."""
    return frozenset(words.split())


def is_spaceless(word: str) -> bool:
    """Whether a word is one character of a script that is written without spaces."""
    return _SPACELESS.match(word) is not None


def scripts(words: tuple[str, ...]) -> frozenset[str]:
    """The scripts that the letters of words are written in, such as `LATIN` or `CJK`."""
    found = set()
    for word in words:
        if word[0].isalpha():
            name = unicodedata.name(word[0], "OTHER").split(" ", 1)[0].split("-", 1)[0]
            found.add("CJK" if name in {"HIRAGANA", "KATAKANA"} else name)
    return frozenset(found)
