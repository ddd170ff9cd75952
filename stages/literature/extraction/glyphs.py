"""Single glyphs of a PDF mended into the characters that were meant: ligatures, control codes, accents.

TeX's old fonts draw an accented letter as two glyphs, one above the other, and number their ligatures where
Unicode has control codes (Knuth's OT1 encoding; The TeXbook, appendix F). Its bitmap fonts of European letters have no
names for their glyphs either: what pdfium reports are the numbers of the Cork encoding (T1; TUGboat 11 (1990), 514).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

HYPHEN = "\u00ad"
"""A hyphen that the typesetter set at the end of a line; whether it belongs to the word is not known yet."""

# pdfium reports the hyphen that ends a line as U+0002 (older builds as U+FFFE).
_PDFIUM_HYPHENS = "\x02\ufffe"
_LIGATURES = {
    "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st",
}  # fmt: skip
_OT1 = {
    "\x0b": "ff", "\x0c": "fi", "\x0d": "fl", "\x0e": "ffi", "\x0f": "ffl", "\x10": "ı", "\x11": "ȷ", "\x12": "`",
    "\x13": "´", "\x14": "ˇ", "\x15": "˘", "\x16": "¯", "\x17": "˚", "\x18": "¸", "\x19": "ß", "\x1a": "æ",
    "\x1b": "œ", "\x1c": "ø", "\x1d": "Æ", "\x1e": "Œ", "\x1f": "Ø",
}  # fmt: skip
_COMBINING = {
    "`": "\u0300", "ˋ": "\u0300", "´": "\u0301", "ˊ": "\u0301", "^": "\u0302", "ˆ": "\u0302", "~": "\u0303",
    "˜": "\u0303", "¯": "\u0304", "ˉ": "\u0304", "˘": "\u0306", "˙": "\u0307", "¨": "\u0308", "˚": "\u030a",
    "°": "\u030a", "˝": "\u030b", "ˇ": "\u030c", "¸": "\u0327", "˛": "\u0328",
}  # fmt: skip
_CORK = {
    **dict(enumerate("“”„«»–—", start=0x10)),
    **dict(enumerate(("ı", "ȷ", "ff", "fi", "fl", "ffi", "ffl"), start=0x19)),
    **dict(enumerate("ĂĄĆČĎĚĘĞĹĽŁŃŇŊŐŔŘŚŠŞŤŢŰŮŸŹŽŻĲİđ§ăąćčďěęğĺľłńňŋőŕřśšşťţűůÿźžżĳ¡¿£", start=0x80)),
    0xD7: "Œ", 0xDF: "SS", 0xF7: "œ", 0xFF: "ß",
}  # fmt: skip
# What tells the two apart: OT1 has no codes beyond 127; ligatures, dashes and accents stand elsewhere.
_SPEAKS_FOR_CORK = {0x15: 2, **dict.fromkeys(range(0x1B, 0x20), 1), **dict.fromkeys(range(0x80, 0x100), 3)}
_SPEAKS_FOR_OT1 = dict.fromkeys((0x0B, 0x0C, 0x0E, 0x0F, 0x12, 0x13, 0x14, 0x7F), 2)
_OT1_BEYOND = {0x7B: "–", 0x7C: "—", 0x7F: "¨"}
_DOTLESS = {"ı": "i", "ȷ": "j"}
_DROPPED = frozenset("\u200b\u200c\u200d\u2060\ufeff\ufffd\x00")


def mended(code: int, *, drawn: bool) -> str:
    """The character that a code stands for; empty for what is no text.

    `drawn` tells a glyph of the page from the spaces and line ends that pdfium adds itself.
    """
    if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
        return ""
    sign = chr(code)
    if sign in _PDFIUM_HYPHENS or sign == HYPHEN:
        return HYPHEN
    if code < 0x20:
        return _OT1.get(sign, " " if sign in "\t\n\r" else "") if drawn else " "
    if sign in _LIGATURES:
        return _LIGATURES[sign]
    if sign in _DROPPED or 0xE000 <= code <= 0xF8FF:
        return ""
    return " " if sign.isspace() else sign


def is_cork(codes: Iterable[int]) -> bool:
    """Whether the codes of nameless glyphs are of the Cork encoding rather than of OT1."""
    return sum(_SPEAKS_FOR_CORK.get(code, 0) - _SPEAKS_FOR_OT1.get(code, 0) for code in codes) > 0


def nameless(code: int, *, cork: bool) -> str | None:
    """What a code of a TeX font without glyph names stands for; None where Unicode has the same sign."""
    return _CORK.get(code) if cork else _OT1_BEYOND.get(code)


def is_accent(text: str) -> bool:
    """Whether a glyph is an accent that may belong onto a neighbouring letter."""
    return text in _COMBINING or (len(text) == 1 and unicodedata.combining(text) != 0)


def accented(letter: str, accent: str) -> str | None:
    """The letter with the accent as one character, or None when there is no such character.

    >>> accented("ı", "´")
    'í'
    """
    base = _DOTLESS.get(letter, letter)
    whole = unicodedata.normalize("NFC", base + _COMBINING.get(accent, accent))
    return whole if len(whole) == 1 else None
