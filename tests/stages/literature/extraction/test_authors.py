"""Where the authors of a reference end, and what the first one is called."""

from __future__ import annotations

import pytest

from stages.literature.extraction.authors import read_authors, read_organisation


@pytest.mark.parametrize(
    ("raw", "first", "rest"),
    [
        ("A. B. Simunek, X.-M. Li, Waves in layers, Nature 3 (1978) 4.", "Simunek", "Waves"),
        ("K. Castro Neto, Waves in layers, Nature 3 (1978) 4.", "Castro Neto", "Waves"),
        ("Karl Brown. Why waves matter. Nature, 3:4, 1978.", "Brown", "Why"),
        ("Karl M. Le Gall and J. Li. Why waves matter. Nature, 3:4, 1978.", "Le Gall", "Why"),
        ("Jean-Paul Chen, R. J. Olsen, Zoë Müller, and Li Ho. Why waves matter.", "Chen", "Why"),
        ("Brown, Anna, and Li Wei. 1987. Climate of the north.", "Brown", "Climate"),
        ("van der Berg, J. A., & Smith, K. (2015a). The 2008 crisis.", "van der Berg", "The 2008"),
        ("St. Clair, J.M., von Neumann, Z., Yu, C.D.: Why waves matter.", "St. Clair", "Why"),
        ("Okada QM, Le Gall P. Long-term decisions. Nat Commun. 2006;3:2.", "Okada", "Long"),
        ("Beck K., Olsen H., et al., 1952, Waves in layers, Nature, 5", "Beck", "Waves"),
        ("Mainzer et al. 2011, ApJ, 741, 90", "Mainzer", "ApJ"),
        ("O. Adams et al. (SENSEI Collaboration), Phys. Rev. 1, 2 (2019).", "Adams", "Phys."),
        ("Ute R. Köhler. 2012. Two regimes of error.", "Köhler", "Two"),
    ],
)
def test_lists_of_people(raw: str, first: str, rest: str) -> None:
    authors = read_authors(raw)
    assert authors is not None
    assert authors.first == first
    assert raw[authors.end :].startswith(rest)


def test_an_organisation_is_an_author() -> None:
    raw = "ATLAS Collaboration. 1997. In search of waves. CERN."
    assert read_authors(raw) is None
    organisation = read_organisation(raw)
    assert organisation is not None
    assert (organisation.first, raw[organisation.end :][:9]) == ("ATLAS Collaboration", "In search")


@pytest.mark.parametrize("raw", ["In search of waves. Nature 3, 4 (1999).", "https://example.org/ 2012", ""])
def test_what_begins_with_no_author(raw: str) -> None:
    assert read_authors(raw) is None
    assert read_organisation(raw) is None
