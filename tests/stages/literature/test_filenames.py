"""Names of downloaded papers."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathvalidate import is_valid_filename

from stages.literature.filenames import MOST_BYTES, paper_name


def name(title: str, author: str | None = "Doe", year: int | None = 2014, work: str = "10.5555/abc") -> str:
    return paper_name(work, title=title, first_author=author, year=year)


@pytest.mark.parametrize(
    ("title", "author", "year", "begins"),
    [
        ("Slow cooling of granite", "Doe", 2014, "Doe 2014 - Slow cooling of granite ("),
        ("冰川退缩的数值模拟研究", "王", 2014, "王 2014 - 冰川退缩的数值模拟研究 ("),
        ("أثر الري بالتنقيط", "الحمداني", 2013, "الحمداني 2013 - أثر الري بالتنقيط ("),
        ("What is ice? A/B: <i>x</i>", "O'Hanlon", 2014, "O'Hanlon 2014 - What is ice A B i x i ("),
        ("Ice", None, None, "Ice ("),
        ("", "Doe", None, "Doe ("),
        ("???", None, None, "Untitled ("),
        ("../../etc/passwd", "..", 2014, "2014 - etc passwd ("),
        ("-rf ice", "--help", None, "help - rf ice ("),
        ("a\x00b\nc\u202egnp", "Doe", 2014, "Doe 2014 - ab cgnp ("),
    ],
)
def test_names_are_for_people(title: str, author: str | None, year: int | None, begins: str) -> None:
    made = name(title, author, year)
    assert made.startswith(begins)
    assert made.endswith(").pdf")


def test_equal_names_are_told_apart_by_the_work_alone() -> None:
    assert name("Ice", work="10.5555/a") != name("Ice", work="10.5555/b")
    assert name("Ice", work="10.5555/a") == name("Ice", work="10.5555/a")
    long = "A very long title about ice " * 50
    assert name(long + "1", work="10.5555/a") != name(long + "2", work="10.5555/b")


def test_composed_and_decomposed_letters_make_one_name() -> None:
    assert name(unicodedata.normalize("NFD", "Größe")) == name("Größe")


@given(title=st.text(max_size=400), author=st.none() | st.text(max_size=100), year=st.none() | st.integers(1400, 2200))
def test_every_name_is_valid_and_short_enough(title: str, author: str | None, year: int | None) -> None:
    try:
        title.encode()
        (author or "").encode()
    except UnicodeEncodeError:
        return
    made = name(title, author, year)
    assert len(made.encode()) <= MOST_BYTES
    assert is_valid_filename(made, platform="universal")
    assert "/" not in made
    assert not made.startswith((".", "-", " "))
