"""Line numbers of manuscripts, wherever they stand, are no part of the references; the numbers of a list are."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.literature.extract import extract_file
from tests.stages.literature.papers import Style, by_author, numbered, write

STYLES = {
    "left": Style(body_pages=2),
    "right": Style(body_pages=2, number_side="right"),
    "every fifth": Style(body_pages=3, number_every=5),
    "from 1 on each page": Style(body_pages=2, number_pages=True),
    "from 1 on each page, every fifth, right": Style(
        body_pages=2, number_pages=True, number_every=5, number_side="right"
    ),
    "two columns": Style(body_pages=2, columns=2),
    "two columns, every fifth": Style(body_pages=3, columns=2, number_every=5),
    "beside a list with bare numbers": Style(body_pages=2, marker="{}", number_pages=True),
}


@pytest.mark.parametrize("name", STYLES)
def test_line_numbers_are_left_out_of_numbered_lists(tmp_path: Path, name: str) -> None:
    style = STYLES[name]
    style.line_numbers = True
    found = [one.text for one in extract_file(write(tmp_path / "paper.pdf", numbered(34), style))]
    assert found == numbered(34)


@pytest.mark.parametrize("name", [name for name in STYLES if "bare" not in name])
def test_line_numbers_are_left_out_of_lists_by_author(tmp_path: Path, name: str) -> None:
    style = Style(**{**STYLES[name].__dict__, "marker": None, "line_numbers": True})
    found = [one.text for one in extract_file(write(tmp_path / "paper.pdf", by_author(30), style))]
    assert found == by_author(30)


def test_a_long_list_of_short_entries_keeps_its_numbers_as_markers(tmp_path: Path) -> None:
    short = [f"A. Author{chr(97 + number % 26)}, Nature {number}, {number + 7} (1999)." for number in range(1, 121)]
    style = Style(marker="{}", gap=0, body_pages=1, hanging=24)
    assert [one.text for one in extract_file(write(tmp_path / "paper.pdf", short, style))] == short
