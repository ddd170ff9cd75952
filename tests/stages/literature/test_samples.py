from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from stages.literature.samples.bibtex import tex
from stages.literature.samples.make_samples import HERE, choose, fonts, make_papers, make_samples, papers
from stages.literature.samples.paper import Printed
from stages.literature.samples.typeset import break_points
from stages.simulators.catalogue import catalogue

TRUTH: dict[str, list[dict[str, Any]]] = json.loads((HERE / "truth.json").read_text(encoding="utf-8"))
LIGATURES = {"\ufb01": "fi", "\ufb02": "fl"}


def text_of(path: Path) -> list[str]:
    document = pypdfium2.PdfDocument(path)
    try:
        return [page.get_textpage().get_text_range() for page in document]
    finally:
        document.close()


def letters(text: str) -> str:
    """Only letters and digits: neither line breaks nor hyphens nor running heads count."""
    text = unicodedata.normalize("NFC", "".join(LIGATURES.get(letter, letter) for letter in text))
    return "".join(letter for letter in text if letter.isalnum())


def test_there_are_enough_samples_in_enough_styles() -> None:
    assert len(TRUTH) >= 10
    assert 180 <= sum(map(len, TRUTH.values())) <= 200
    assert {path.name for path in HERE.glob("*.pdf")} == TRUTH.keys()
    assert all(path.stat().st_size < 100_000 for path in HERE.glob("*.pdf"))
    assert len({paper.form for paper, _ in papers(HERE).values()}) >= 6
    assert all(12 <= len(references) <= 25 for references in TRUTH.values())


def test_what_the_truth_says_is_printed() -> None:
    for name, references in TRUTH.items():
        pages = text_of(HERE / name)
        printed = letters("".join(pages))
        missing = [reference["raw"] for reference in references if letters(reference["raw"])[:20] not in printed]
        assert missing == [], name
        assert "10.5555/" in "".join(pages)


def test_the_kept_samples_are_those_that_the_script_makes() -> None:
    for seed, (name, (paper, count)) in enumerate(papers(Path("fonts")).items(), start=1):
        references: list[Printed] = choose(paper, count, seed)
        kept = Counter(reference["raw"] for reference in TRUTH[name])
        assert kept == Counter(reference.truth()["raw"] for reference in references), f"make the samples anew: {name}"


def test_works_are_shared_and_all_but_a_few_can_be_resolved() -> None:
    known = catalogue().by_key
    works = [reference["work"] for references in TRUTH.values() for reference in references]
    assert 12 <= works.count(None) <= 25
    times = Counter(filter(None, works))
    assert sum(count > 1 for count in times.values()) >= 15
    for key in times:
        entry = known[key]
        assert entry.closed or entry.downloadable
        assert all(copy.behaviour != "private" for copy in entry.copies)
    assert sum(known[key].closed for key in times) >= 15
    assert any(known[key].doi is None and known[key].openalex for key in times)
    assert any(known[key].openalex is None for key in times)
    printed = [reference["doi"] for references in TRUTH.values() for reference in references if reference["doi"]]
    assert 50 <= len(printed) <= 130
    assert any(doi in known[key].aliases for key in times for doi in printed)
    assert sum(bool(reference["arxiv_id"]) for references in TRUTH.values() for reference in references) >= 5


def test_a_reference_is_interrupted_by_a_figure_caption_and_lists_cross_pages() -> None:
    interrupted = []
    for name, references in TRUTH.items():
        printed = letters("".join(text_of(HERE / name)))
        for reference in references:
            raw = letters(reference["raw"])
            start, end = printed.find(raw[:24]), printed.rfind(raw[-16:])
            if raw not in printed and "Figure2" in printed[start:end]:
                interrupted.append(name)
    assert interrupted
    crossing = [
        name
        for name, references in TRUTH.items()
        if letters(references[0]["raw"])[:20] not in letters(text_of(HERE / name)[-1])
    ]
    assert len(crossing) >= 3


def test_the_same_script_makes_the_same_bytes(tmp_path: Path) -> None:
    try:
        fonts()
    except FileNotFoundError:
        pytest.skip("the DejaVu fonts are not here")
    make_samples(tmp_path / "one")
    make_samples(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert (tmp_path / "one" / "truth.json").read_bytes() == (HERE / "truth.json").read_bytes()


def test_papers_for_load_cite_different_works_that_the_catalogue_knows(tmp_path: Path) -> None:
    paths = make_papers(tmp_path, 6, references_each=12, seed=3)
    assert len(paths) == 6
    works = catalogue(72).entries[-72:]
    for number, path in enumerate(paths):
        printed = letters("".join(text_of(path)))
        for entry in works[number * 12 : number * 12 + 12]:
            assert letters(entry.title)[:20] in printed
    again = make_papers(tmp_path / "again", 6, references_each=12, seed=3)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_the_sample_library_is_bibtex() -> None:
    text = (HERE / "library.bib").read_text(encoding="utf-8")
    assert text.count("\n@") >= 20
    assert text.count("{") == text.count("}")
    assert r"{\"" in text
    assert "ß" in text
    assert tex("Müller Šimek ø ß 森") == r"M{\"u}ller {\v{S}}imek {\o} {\ss} 森"


@pytest.mark.parametrize(
    ("word", "points"), [("accelerators", [4, 6, 8]), ("the", []), ("10.5555/abc", []), ("well-known", [])]
)
def test_words_are_divided_where_it_looks_right(word: str, points: list[int]) -> None:
    found = break_points(word)
    assert set(points) <= set(found)
    assert all(3 <= point <= len(word) - 3 for point in found)
