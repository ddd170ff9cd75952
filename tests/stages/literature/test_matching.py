"""The rule by which a work found by a search is taken for what a reference means."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from stages.literature.matching import Candidate, Printed, contradicts, judge

SLOW_COOLING = Candidate(
    title="Slow cooling of granite under ice sheets",
    authors=(("Fernández-Varea", "José"), ("Doe", "Jane")),
    years=frozenset({2014}),
    venues=("Journal of Invented Geology", "J. Inv. Geol."),
    volume="12",
    page="345-367",
)
APS = 'J. Fernandez-Varea and J. Doe, "Slow cooling of granite under ice sheets," J. Inv. Geol. 12, 345 (2014).'


def work(title: str, **changes: object) -> Candidate:
    known: dict[str, object] = {"authors": (("Doe", "Jane"),), "years": frozenset({2014})}
    return Candidate(title=title, **(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raw", "candidate"),
    [
        pytest.param(APS, SLOW_COOLING, id="quoted, accents left out"),
        pytest.param(
            "Fernández-Varea, J., Doe, J. (2015). Slow Cooling of Granite under Ice Sheets. J Inv Geol 12(3):345–367",
            SLOW_COOLING,
            id="author-year, published a year later",
        ),
        pytest.param(
            "[7] FERNÁNDEZ-VAREA, J. et al. Slow cooling of gran ite under icesheets. 2014",
            SLOW_COOLING,
            id="words broken and joined by the extraction",
        ),
        pytest.param(
            "J. Fernández-Varea, Slow coolimg of granite under ice sheets, 2014", SLOW_COOLING, id="a wrong letter"
        ),
        pytest.param(
            "Doe J (2014) CO2 and H2O in <ice>. Nature",
            work("CO<sub>2</sub> and H<sub>2</sub>O in &lt;ice&gt;"),
            id="markup",
        ),
        pytest.param(
            "Doe, J. Cold rivers: a study of twelve valleys. Oxford 2014.",
            work("Cold rivers", subtitle="A study of twelve valleys"),
            id="subtitle apart",
        ),
        pytest.param(
            "Doe J. Retreat of glaciers in warm winters. 2014",
            work("RETRACTED: Retreat of glaciers in warm winters"),
            id="retracted work",
        ),
        pytest.param(
            "Müller, H.: Die Körner im ewigen Eis der Arktis. Z. Phys. (2014)",
            work("Die Körner im ewigen Eis der Arktis", authors=(("Mueller", "H."),)),
            id="umlaut of a name written out",
        ),
        pytest.param(
            "王伟, 李娜. 冰川退缩的数值模拟研究[J]. 地理学报, 2014, 12: 345",
            work("冰川退缩的数值模拟研究", authors=(("王", "伟"),)),
            id="Chinese",
        ),
        pytest.param(
            "山田太郎, 氷河の後退に関する研究, 雪氷, 2014",
            work("氷河の後退に関する研究", authors=(("山田", "太郎"),)),
            id="Japanese",
        ),
        pytest.param(
            "Иванов И. И. Медленное охлаждение гранита // Геология. 2014.",
            work("Медленное охлаждение гранита", authors=(("Иванов", "Иван"),)),
            id="Cyrillic",
        ),
        pytest.param(
            "박지훈. 화강암의 느린 냉각. 지질학회지, 2014",
            work("화강암의 느린 냉각", authors=(("박", "지훈"),)),
            id="Korean",
        ),
        pytest.param(
            "ATLAS Collaboration, G. Doe et al., Search for slow granite in collisions, 2014",
            work("Search for slow granite in collisions", authors=(("ATLAS Collaboration", ""), ("Doe", "G."))),
            id="collaboration first",
        ),
        pytest.param(
            "F ernández-Varea, J. Slow cooling of granite under ice sheets. 2014",
            SLOW_COOLING,
            id="a space in the name",
        ),
        pytest.param(
            "J. Fernándoz-Varea. Slow cooling of granite under ice sheets. 2014",
            SLOW_COOLING,
            id="a letter in the name",
        ),
        pytest.param(
            "C. W. de Jager, Charge of the granite nucleus. 2014",
            work("Charge of the granite nucleus", authors=(("De Jager", "C.W."),)),
            id="particle",
        ),
        pytest.param(
            "J. Doe, Granite, Journal of Invented Geology 3, 14 (2014)",
            work("Granite", venues=("Journal of Invented Geology",)),
            id="short title with its journal",
        ),
        pytest.param(
            "J. Doe, Slow cooling of granite under ice sheets. Part II. Numbers. 2014",
            work("Slow cooling of granite under ice sheets. Part II: Numbers"),
            id="the same part",
        ),
        pytest.param(
            "J. Doe, Comment on: Slow cooling of granite under ice sheets. 2014",
            work("Comment on “Slow cooling of granite under ice sheets”"),
            id="a comment that is meant",
        ),
    ],
)
def test_the_work_of_a_reference_is_accepted(raw: str, candidate: Candidate) -> None:
    verdict = judge(Printed(raw), candidate)
    assert verdict.accepted, verdict
    assert verdict.why == "title"


@pytest.mark.parametrize(
    ("raw", "candidate", "reason"),
    [
        pytest.param(
            APS,
            work(SLOW_COOLING.title, years=frozenset({2011}), authors=SLOW_COOLING.authors),
            "year",
            id="other year",
        ),
        pytest.param(APS, work(SLOW_COOLING.title, authors=(("Smith", "A."),)), "author", id="other author"),
        pytest.param(
            APS,
            work("Slow cooling of granite under ice", authors=SLOW_COOLING.authors),
            "part of",
            id="longer in print",
        ),
        pytest.param(
            "J. Doe, Deep learning for galaxies, 2014", work("Deep learning"), "part of", id="shorter than the title"
        ),
        pytest.param(
            "J. Doe, Slow cooling of granite: Part I. Theory of ice. 2014",
            work("Slow cooling of granite: Part II. Theory of ice"),
            "numbers",
            id="other part",
        ),
        pytest.param(
            "J. Doe, Slow cooling of granite rocks. II. Ice. 2014",
            work("Slow cooling of granite rocks"),
            "part",
            id="part not in title",
        ),
        pytest.param(
            "J. Doe, Report on 12 cold rivers in winter, 2014",
            work("Report on 13 cold rivers in winter"),
            "numbers",
            id="other number",
        ),
        pytest.param(
            "J. Doe, Slow cooling of thick granite layers under northern ice sheets, 2014",
            work("Erratum: Slow cooling of thick granite layers under northern ice sheets"),
            "erratum",
            id="erratum",
        ),
        pytest.param(
            "J. Doe, Slow cooling of thick granite layers under northern ice sheets, 2014",
            work("Comment on “Slow cooling of thick granite layers under northern ice sheets”"),
            "erratum, comment",
            id="comment",
        ),
        pytest.param(
            "J. Doe, Reply to: Slow cooling of granite under ice sheets, 2014",
            work("Slow cooling of granite under ice sheets"),
            "reply",
            id="the reference is the reply",
        ),
        pytest.param(
            "J. Doe, Slow cooling of granite rocks (extended abstract), 2014",
            work("Slow cooling of granite rocks"),
            "another version",
            id="extended abstract",
        ),
        pytest.param(
            "J. Doe, Slow cooling of granite rocks under thick northern ice sheets, 2014",
            work("Slow cooling of granite rocks under thick northern ice sheets revisited"),
            "another version",
            id="revisited",
        ),
        pytest.param(
            "J. Doe, Slow cooling of granite rocks, 2014",
            work("Slow cooling of the granite rocks", authors=()),
            "no author",
            id="no authors, nearly the title",
        ),
        pytest.param("J. Doe, Granite, Another Journal 3, 14 (2014)", work("Granite"), "short", id="short title alone"),
        pytest.param("J. Doe, Granite and its uses, 2014", work("Ice and its ages"), "neither", id="another title"),
        pytest.param(
            "王伟. 冰川退缩的数值模拟研究. 2014",
            work("冰川前进的现场观测研究", authors=(("王", "伟"),)),
            "neither",
            id="Chinese, another",
        ),
        pytest.param("", work("Granite and its uses"), "neither", id="an empty reference"),
        pytest.param(APS, work(""), "no title", id="no title"),
        pytest.param(APS, work("<i></i> …"), "no title", id="a title without words"),
    ],
)
def test_another_work_is_refused_with_the_reason(raw: str, candidate: Candidate, reason: str) -> None:
    verdict = judge(Printed(raw), candidate)
    assert not verdict.accepted
    assert reason in verdict.why


PRL = Candidate(
    title="Results from a detector of invented particles",
    authors=(("Abramov", "Olga"),),
    years=frozenset({2019}),
    venues=("Physical Review Letters", "Phys. Rev. Lett."),
    volume="122",
    page="161801",
)


@pytest.mark.parametrize(
    ("raw", "venue", "place"),
    [
        ("O. Abramov et al. (SPHINX Collaboration), Phys. Rev. Lett. 122, 161801 (2019).", PRL.venues, "122 161801"),
        ("O. Abramov et al., PRL 122 (2019) 161801", PRL.venues, "122 161801"),
        ("O.Abramov, Physical Review Letters, vol. 122, no. 16, p. 161801, 2019", PRL.venues, "122 161801"),
        ("O. Abramov, Phys. Lett. 66B, 86 (2019)", ("Physics Letters B",), "66 86-90"),
        (
            "O. Abramov, Nucl. Instrum. Methods A 591, 476 (2019)",
            ("Nuclear Instruments and Methods in Physics Research Section A: Accelerators",),
            "591 476-489",
        ),
        ("O. Abramov, Eur. Phys. J.A 57: 22 (2019)", ("The European Physical Journal A",), "57 22"),
        ("O. Abramov, J. Inst. 12, P06014 (2019)", ("Journal of Instrumentation",), "12 P06014"),
    ],
)
def test_a_reference_without_a_title_is_accepted_by_its_place(raw: str, venue: tuple[str, ...], place: str) -> None:
    volume, page = place.split()
    verdict = judge(Printed(raw), replace(PRL, venues=venue, volume=volume, page=page))
    assert verdict.accepted, verdict
    assert verdict.why == "place"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("O. Abramov et al., Phys. Rev. D 122, 161801 (2019).", id="another journal"),
        pytest.param("O. Abramov et al., Phys. Rev. Lett. 123, 161801 (2019).", id="another volume"),
        pytest.param("O. Abramov et al., Phys. Rev. Lett. 122, 161802 (2019).", id="another page"),
        pytest.param("O. Abramov et al., Phys. Rev. Lett. 122, 161801 (2009).", id="another year"),
        pytest.param("E. Aprilov et al., Phys. Rev. Lett. 122, 161801 (2019).", id="another author"),
        pytest.param("O. Abramov et al., Phys. Rev. Lett. 122, 161801.", id="no year"),
    ],
)
def test_a_place_that_differs_in_one_thing_is_refused(raw: str) -> None:
    assert not judge(Printed(raw), PRL).accepted


def test_an_arxiv_number_is_not_taken_for_a_year() -> None:
    assert Printed("J. Doe, arXiv:2007.14289 [hep-ex].").years == frozenset()
    assert Printed("J. Doe, Phys. Rev. D 102, 2011 (2020).").years == {2020}
    assert Printed("Doe, J. Granite. Ice 3:14, May 2014.").years == {2014}


@pytest.mark.parametrize(
    ("raw", "title", "speaks"),
    [
        pytest.param(
            "J. Smith, A history of paper mills, Press (1999).",
            "A history of paper mills",
            "title and first author and year",
            id="all",
        ),
        pytest.param(
            "J. Fernández-Varea, A history of paper mills, Press (1999).",
            "A history of paper mills",
            "title and year",
            id="same author",
        ),
        pytest.param("K. Smith and others, Geol. 12, 345 (1999).", None, "first author and year", id="no title"),
        pytest.param(APS, "Slow cooling of granite under ice sheets", None, id="the very work"),
        pytest.param(
            "K. Smith, Slow cooling of granite under ice sheets (2014).", None, None, id="only the author differs"
        ),
        pytest.param("K. Smith et al., J. Inv. Geol. 12, 345 (1999).", None, None, id="the very place"),
        pytest.param("https://doi.org/10.5555/abc", None, None, id="a bare DOI says nothing"),
        pytest.param(
            "王伟. 冰川退缩的数值模拟研究. 2014", "冰川退缩的数值模拟研究", None, id="another script cannot be compared"
        ),
    ],
)
def test_a_doi_of_another_work_is_noticed(raw: str, title: str | None, speaks: str | None) -> None:
    assert contradicts(Printed(raw, title=title), SLOW_COOLING) == speaks


def test_digits_of_a_doi_or_an_address_are_no_year() -> None:
    title = "Slow cooling of granite under ice sheets"
    for address in ("doi:10.5555/S4006-1695(18)54540-6", "https://example.org/1999/05/slow.pdf", "10.5555/jig.1998.7"):
        assert contradicts(Printed(f"{title}. {address}", title=title), SLOW_COOLING) is None
    assert Printed(f"{title}. https://example.org/1999/slow.pdf (2014)").years == {2014}


def test_hostile_text_costs_little() -> None:
    printed = Printed("a " * 5000 + "<" * 5000)
    started = time.process_time()
    for title in ("a " * 5000, "<" * 50_000 + "a", "&lt;" * 20_000 + "b", "冰" * 5000):
        judge(
            printed,
            Candidate(
                title=title, authors=(("a" * 5000, "a"),), venues=("a " * 5000,), volume="1" * 5000, page="9" * 5000
            ),
        )
    assert time.process_time() - started < 2
