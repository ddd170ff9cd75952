"""Codes of TeX's fonts without glyph names."""

from __future__ import annotations

from stages.literature.extraction import glyphs


def test_the_two_encodings_are_told_apart_by_their_ligatures_and_dashes() -> None:
    assert glyphs.is_cork([0x15, 0x1C, 0xB2])
    assert not glyphs.is_cork([0x0C, 0x0C, 0x1C, 0x7B])
    assert not glyphs.is_cork([])


def test_nameless_codes() -> None:
    cork = [0x92, 0xB7, 0xAE, 0xFF, 0xE9, 0x15, 0x1E]
    assert [glyphs.nameless(code, cork=True) or chr(code) for code in cork] == ["Š", "ů", "ő", "ß", "é", "–", "ffi"]
    assert glyphs.nameless(0x7B, cork=False) == "–"
