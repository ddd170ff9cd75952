"""Identifiers as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.literature.identifiers import arxiv_doi, arxiv_of_doi, normal_arxiv_id, normal_doi, work_key


@pytest.mark.parametrize(
    ("text", "doi"),
    [
        ("10.5555/ABC", "10.5555/abc"),
        ("https://doi.org/10.5555/abc", "10.5555/abc"),
        ("http://dx.doi.org/10.5555/abc.", "10.5555/abc"),
        ("https: //doi.org/10.5555/abc", "10.5555/abc"),
        ("doi:10.5555/abc,", "10.5555/abc"),
        ("DOI 10.5555/abc", "10.5555/abc"),
        ("https://doi.org/10.5555/a%28b%29c", "10.5555/a(b)c"),
        ("10.5555/(SICI)15:4<519::AID-X7>3.0.CO;2-#", "10.5555/(sici)15:4<519::aid-x7>3.0.co;2-#"),
        ("(10.5555/abc)", None),
        ("10.5555/abc).", "10.5555/abc"),
        ("10.5555/冰", "10.5555/冰"),
        ("10.5555/", None),
        ("10.5555", None),
        ("11.5555/abc", None),
        ("10.5555/../secret", None),
        ("10.5555/a/./b", None),
        ("10.5555/" + "a" * 300, None),
        ("https://example.org/10.5555/abc", None),
        ("", None),
        (None, None),
    ],
)  # fmt: skip
def test_dois(text: str | None, doi: str | None) -> None:
    assert normal_doi(text) == doi


@pytest.mark.parametrize(
    ("text", "arxiv_id"),
    [
        ("2007.14289", "2007.14289"),
        ("arXiv:2007.14289v2 [hep-ex]", "2007.14289"),
        ("https://arxiv.org/abs/2007.14289v12", "2007.14289"),
        ("http://arxiv.org/pdf/2007.14289.pdf", "2007.14289"),
        ("https://arxiv.org/pdf/0704.0001v1", "0704.0001"),
        ("hep-th/9901001", "hep-th/9901001"),
        ("arXiv:math.GT/0309136", "math/0309136"),
        ("10.48550/arXiv.2007.14289", "2007.14289"),
        ("2007.142890", None),
        ("20071.4289", None),
        ("https://example.org/abs/2007.14289", None),
        ("", None),
        (None, None),
    ],
)
def test_arxiv_ids(text: str | None, arxiv_id: str | None) -> None:
    assert normal_arxiv_id(text) == arxiv_id


@given(st.text(max_size=80))
def test_normal_forms_stay_as_they_are(text: str) -> None:
    for written in (text, f"10.5555/{text}", f"https://doi.org/10.5555/{text}"):
        doi = normal_doi(written)
        assert doi is None or normal_doi(doi) == doi
    arxiv_id = normal_arxiv_id(text)
    assert arxiv_id is None or normal_arxiv_id(arxiv_id) == arxiv_id


def test_every_arxiv_paper_has_a_doi() -> None:
    assert arxiv_of_doi(arxiv_doi("2007.14289")) == "2007.14289"
    assert arxiv_of_doi("10.5555/abc") is None


def test_a_work_is_known_by_the_best_name_it_has() -> None:
    assert work_key(doi="10.5555/abc", openalex_id="W1", arxiv_id="2007.14289") == "10.5555/abc"
    assert work_key(doi=None, openalex_id="W1", arxiv_id="2007.14289") == "openalex:W1"
    assert work_key(doi=None, openalex_id=None, arxiv_id="2007.14289") == "arxiv:2007.14289"
    assert work_key(doi=None, openalex_id=None, arxiv_id=None) is None
