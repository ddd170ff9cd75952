"""What is guessed from single references."""

from __future__ import annotations

from time import process_time

import pytest

from stages.literature.extraction.guess import LONGEST_RAW, MOST_LINKS, guess

PHYSICS = "O. Abramoff et al. (SENSEI Collaboration), Phys. Rev. Lett. 122, 161801 (2019)."
APA = (
    "van der Berg, J. A., & Smith, K. (2015a). The 2008 crisis: a view from below. Journal of Things, 12(3), "
    "1999–2010. https://doi.org/10.1000/JT(2015)12"
)
IEEE = "R. García-López and K. Li, “Waves in thin films,” IEEE Trans. Films, vol. 3, no. 2, pp. 1990–1999, May 2012."
PLAIN = (
    "S. S. Farfade, M. Saberian, and L.-j. Li. Multi-view face detection using deep networks. In CVPR, pages 1–9, 2015."
)
VANCOUVER = "Østergård QM, Le Gall P. Long-term decisions near the sea. Nat Commun. 2006;389(12):2010-2024."
CHICAGO = "Brown, Anna, and Li Wei. 1987. “Climate of the north.” Cell 3 (1): 7–9."
ACM = "Anna Brown, Li Wei, and Tom de la Cruz. 2011. Sheets and fingers in the sea. Nature 5, 1 (2011), 3–4."
APS = "P. N. Luke, J. of Appl. Phys. 64, 6858 (1988), arXiv:hep-th/9901001v2."
JOURNAL_FIRST = "Rabinowitz, D., Helin, E., & Pravdo, S. 2000, Nature, 403, 165"


@pytest.mark.parametrize(
    ("raw", "author", "year", "title"),
    [
        (PHYSICS, "Abramoff", 2019, None),
        (APA, "van der Berg", 2015, "The 2008 crisis: a view from below"),
        (IEEE, "García-López", 2012, "Waves in thin films"),
        (PLAIN, "Farfade", 2015, "Multi-view face detection using deep networks"),
        (VANCOUVER, "Østergård", 2006, "Long-term decisions near the sea"),
        (CHICAGO, "Brown", 1987, "Climate of the north"),
        (ACM, "Brown", 2011, "Sheets and fingers in the sea"),
        (APS, "Luke", 1988, None),
        (JOURNAL_FIRST, "Rabinowitz", 2000, None),
        ("K.Aulenbacher and K.D.Paschke, Int. J. Mod. Phys. E 27, 1830004 (2018)", "Aulenbacher", 2018, None),
        ("Mainzer et al. 2011, ApJ, 741, 90", "Mainzer", 2011, None),
        ("W. R. Johnson, in Proc. of X, pp. 2001–2010", "Johnson", None, None),
        ("“A report without authors,” Tech. Rep., 1999.", None, 1999, "A report without authors"),
        ("Иванов И. И. Волны в слоях. М.: Наука, 1998.", "Иванов", 1998, "Волны в слоях"),
        ("Y. Ou, A decade of waves in free problems, Arch. Pure Anal. 40, e3 (2021).", "Ou", 2021,
         "A decade of waves in free problems"),
        ("Ž. Li, Marking: lessons from creole speech, Stud. Sound 45 (2021).", "Li", 2021,
         "Marking: lessons from creole speech"),
        ("K. Li, C. D. Dray, In search of thin waves, Nature 346 (6) (1978) 8.", "Li", 1978, "In search of thin waves"),
        ("Li, K., & Ho, A. (2003). In situ observation of waves. Nature, 3, 4.", "Li", 2003,
         "In situ observation of waves"),
        ("K. Li, Sheets, fingers, and the origin of waves, Annals of Mathematics 290 (1983), no. 12, 7.", "Li", 1983,
         "Sheets, fingers, and the origin of waves"),
        ("Li K. Do waves matter? New results from the sea. J. Sea Res. 41, 7 (2017).", "Li", 2017,
         "Do waves matter? New results from the sea"),
        ("K. Li, K. ter Haar, and K. Kim, Zeitschrift für Physik A 164, e6677 (1927).", "Li", 1927, None),
        ("Given M. Le Gall and J. Li. Title of the waves. Nature 3, 4 (1999).", "Le Gall", 1999, "Title of the waves"),
        ("—. 1997, In search of waves, Tech. Rep. 3, CERN", None, 1997, "In search of waves"),
    ],
)  # fmt: skip
def test_author_year_and_title(raw: str, author: str | None, year: int | None, title: str | None) -> None:
    seen = guess(raw)
    assert (seen.first_author, seen.year, seen.title) == (author, year, title)


@pytest.mark.parametrize(
    ("raw", "doi"),
    [
        (APA, "10.1000/jt(2015)12"),
        ("A. Li, doi:10.1109/FSKD.2016.7603248. URL http://example.org/", "10.1109/fskd.2016.7603248"),
        ("A. Li (https://dx.doi.org/10.1016/S0168-9002(97)00965-0).", "10.1016/s0168-9002(97)00965-0"),
        ("A. Li, 10.1002/(SICI)1097-0258(19980815)17:15<1661::AID-SIM968>3.0.CO;2-2.",
         "10.1002/(sici)1097-0258(19980815)17:15<1661::aid-sim968>3.0.co;2-2"),
        ("A. Li, section 10.2 of a book, pp. 10.", None),
    ],
)  # fmt: skip
def test_dois(raw: str, doi: str | None) -> None:
    assert guess(raw).doi == doi


@pytest.mark.parametrize(
    ("raw", "arxiv_id"),
    [
        (APS, "hep-th/9901001"),
        ("I. Alkhatib et al. (SuperCDMS), arXiv:2007.14289 [hep-ex].", "2007.14289"),
        ("C. Craye. arXiv preprint arXiv:1502.00250v3, 2015.", "1502.00250"),
        ("R. M. Wald (1997), https://arxiv.org/abs/gr-qc/9710068", "gr-qc/9710068"),
        ("A. Li, gr-qc/9710068.", "gr-qc/9710068"),
        ("A. Li, https://doi.org/10.48550/arXiv.2007.14289", "2007.14289"),
        ("A. Li, Phys. Rev. D 2007.14289", None),
    ],
)
def test_arxiv_ids(raw: str, arxiv_id: str | None) -> None:
    assert guess(raw).arxiv_id == arxiv_id


def test_an_arxiv_number_is_no_year() -> None:
    assert guess("A. Li, arXiv:2007.14289 [hep-ex].").year is None


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ("A. Li. Tool, 2017. URL https://example.org/a_(b).", "https://example.org/a_(b)"),
        ("A. Li (see www.example.org/x).", "https://www.example.org/x"),
        ("A. Li, Phys. Rev. 1, 2 (2003).", None),
    ],
)
def test_urls(raw: str, url: str | None) -> None:
    assert guess(raw).url == url


def test_links_of_the_pdf_name_what_is_not_printed() -> None:
    seen = guess(PHYSICS, ["https://doi.org/https://doi.org/10.1103/PhysRevLett.122.161801"])
    assert seen.doi == "10.1103/physrevlett.122.161801"
    assert seen.url is None
    assert guess("A. Li, in press.", ["http://arxiv.org/abs/2007.14289v1"]).arxiv_id == "2007.14289"


def test_print_comes_before_links() -> None:
    assert guess(APA, ["https://doi.org/10.5555/other"]).doi == "10.1000/jt(2015)12"


@pytest.mark.parametrize("raw", ["", ".", "[", "(2019", "10.1234/", "http://", "“", "é" * 4000, "A. " * 1300])
def test_odd_texts_do_no_harm(raw: str) -> None:
    guess(raw)


# --- input that is made to take long -------------------------------------------------------------------------------

_LONG = LONGEST_RAW
_STUTTERS = [
    " ", "\t \n", "a", "A", "1", "(", "[", "“", "—", ".", ", ", "a ", "A ", "1 ", "A. ", "Ab ", "Ab, ", "Ab, A. B., ",
    "A. Ab, ", "Ab-Cd A, ", "Del ", "de ", "et al. ", "and ", "[1] ", "(2010) ", "(May ", "vol. 1 ", "the “", "Phys. ",
    "arxiv ", "arxiv: preprint ", "10.1000/", "10.1000/a ", "10 . 1", "http://", "http : // ", "www.a", "a/", "a@",
]  # fmt: skip


@pytest.mark.parametrize("stutter", _STUTTERS, ids=ascii)
@pytest.mark.parametrize("start", ["", "arxiv", "A. Smith, ", "Smith, J. (2010). "], ids=ascii)
def test_no_text_takes_longer_than_its_length_warrants(start: str, stutter: str) -> None:
    """A pattern that tries all ways to share out a run of signs takes minutes for these; the bound is generous."""
    text = (start + stutter * _LONG)[:_LONG] + "x"
    began = process_time()
    guess(text, [text, f"https://arxiv.org/{text}", f"https://doi.org/{text}"])
    assert process_time() - began < 2


def test_spaces_that_stand_together_count_as_one() -> None:
    seen = guess(
        "A. Smith,  J.  Sea  Res.  3 (2001),   arXiv :  \n 2007.14289", ["https://arxiv.org/" + " " * 5000 + "x"]
    )
    assert (seen.arxiv_id, seen.first_author, seen.year) == ("2007.14289", "Smith", 2001)


def test_of_text_and_links_without_end_the_beginning_is_looked_at() -> None:
    assert guess("a " * LONGEST_RAW + "doi:10.1000/182").doi is None
    assert guess("a", ["https://a.example"] * MOST_LINKS + ["https://doi.org/10.1000/182"]).doi is None
