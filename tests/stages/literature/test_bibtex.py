"""Entries of .bib files become references."""

from __future__ import annotations

import time

import pytest

from stages.literature import bibtex
from stages.literature.bibtex import read_bibliography
from stages.literature.records import Reference


def one(entry: str) -> Reference:
    (reference,) = read_bibliography(entry.encode(), "mine.bib").references
    return reference


def test_an_entry_says_what_print_would_let_guess() -> None:
    reference = one(
        r"""@string{jig = "Journal of Invented Geology"}
        @article{doe2014, author = {M{\"u}ller, Hans and Ko{\c c}, {\O}ystein and others}, year = 2014,
          title = {{S}low cooling of {H$_2$O} at 5\% \& more: na{\"\i}ve}, journal = jig, volume = "12",
          pages = {345--367}, doi = {https://doi.org/10.5555/A\_b}, url = {https://journal.example/a\_b%20c}}"""
    )
    assert reference.title == "Slow cooling of H_2O at 5% & more: naïve"
    assert (reference.first_author, reference.year, reference.doi) == ("Müller", 2014, "10.5555/a_b")
    assert reference.url == "https://journal.example/a_b%20c"
    assert reference.raw.startswith("Müller, Hans; Koç, Øystein. (2014). Slow cooling of H_2O at 5% & more: naïve. ")
    assert "Journal of Invented Geology 12, 345–367" in reference.raw
    assert (reference.paper_file, reference.position, len(reference.paper)) == ("mine.bib", 1, 64)


@pytest.mark.parametrize(
    ("fields", "arxiv_id"),
    [
        ("eprint = {2007.14289v2}, archivePrefix = {arXiv}", "2007.14289"),
        ("eprint = {hep-th/9901001}", "hep-th/9901001"),
        ("journal = {arXiv preprint arXiv:2007.14289}", "2007.14289"),
        ("url = {https://arxiv.org/abs/2007.14289}", "2007.14289"),
        ("eprint = {12345678}, eprinttype = {pubmed}", None),
    ],
)
def test_arxiv_ids_are_found_where_people_put_them(fields: str, arxiv_id: str | None) -> None:
    assert one(f"@misc{{a, title = {{Ice}}, {fields}}}").arxiv_id == arxiv_id


def test_names_of_organisations_and_particles_stay_whole() -> None:
    assert (
        one("@misc{a, title={Ice}, author={{ATLAS Collaboration} and Doe, J.}}").first_author == "ATLAS Collaboration"
    )
    assert one("@misc{a, title={Ice}, author={Jan van der Berg}}").first_author == "van der Berg"


def test_one_broken_entry_costs_only_itself() -> None:
    text = (
        "@article{a, title = {First}}\n@article{b, title = {unclosed\n"
        "@article{c, title = {Third}}\n@article{a, title = {Same key}}\n"
    )
    found = read_bibliography(text.encode(), "mine.bib")
    assert [(reference.position, reference.title) for reference in found.references] == [
        (1, "First"),
        (2, "Third"),
        (3, "Same key"),
    ]
    assert found.broken == (2,)


def test_positions_and_papers_do_not_depend_on_the_name() -> None:
    first, second = (read_bibliography(b"@misc{a, title={Ice}}", name) for name in ("x.bib", "y.bib"))
    assert (first.references[0].paper, first.references[0].position) == (
        second.references[0].paper,
        second.references[0].position,
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b"@" * 100_000,
        b"@article{" * 20_000,
        b"@article{a, title={" + b"{" * 100_000,
        b"@article{a, title={" + b"{" * 2_000 + b"}" * 2_000 + b"}}",
        b"@article{a, title={" + b'\\"' * 3_000 + b"}}",
        b"@article{a, title={" + b"\\frac{" * 600 + b"}" * 600 + b"}}",
        b"@article{a, author={" + b"and " * 30_000 + b"}, title={x}}",
        b"@article{a" + b", x=1" * 30_000 + b"}",
        b"%PDF-1.7 \x00\x01\x02",
    ],
)
def test_hostile_files_cost_little_and_raise_nothing(data: bytes) -> None:
    started = time.process_time()
    read_bibliography(data, "mine.bib")
    assert time.process_time() - started < 5


def test_no_file_is_read_at_the_bidding_of_an_entry(tmp_path) -> None:  # type: ignore[no-untyped-def]
    secret = tmp_path / "secret.tex"
    secret.write_text("hidden words")
    assert "hidden" not in one(f"@misc{{a, title={{Ice \\input{{{secret}}} and \\include{{{secret}}}}}}}").raw


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mine\.bib is larger than the 16 MiB"):
        read_bibliography(b" " * (bibtex.LARGEST_FILE + 1), "mine.bib")


def test_old_encodings_are_read() -> None:
    (reference,) = read_bibliography("@misc{a, title={Größe}}".encode("cp1252"), "mine.bib").references
    assert reference.title == "Größe"
