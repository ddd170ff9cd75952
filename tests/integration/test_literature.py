"""The literature pipeline end to end on its sample papers: what a user finds in the workspace afterwards."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bibtexparser.entrypoint import parse_file

from benchmarks.matching import Ended, found, judged, published
from stages.literature.identifiers import normal_doi
from stages.literature.records import Citation, Reference
from stages.simulators.catalogue import catalogue
from stages.simulators.entry import Entry
from tests.integration.conftest import Calm
from tests.integration.literature import SAMPLES, TABLES, bibliography, world

TRUTH: dict[str, list[dict[str, Any]]] = json.loads((SAMPLES / "truth.json").read_text(encoding="utf-8"))
WORKS = catalogue()
ROW_TIMES = {"created_at", "updated_at"}


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ROW_TIMES}


def work_of(key: str) -> Entry:
    entry = found(key, WORKS)
    assert entry is not None, f"{key} is no work of the catalogue"
    return entry


def printed_doi(entry: dict[str, Any]) -> str | None:
    """The DOI of a reference, normalised, where it is printed in it."""
    doi = normal_doi(entry["doi"])
    return doi if doi and doi in entry["raw"].lower() else None


@pytest.fixture(scope="module")
def ended(calm: Calm) -> list[Ended]:
    references = [Reference(**without_times(row)) for row in calm.ran.rows("no_metadata")]
    citations = [Citation(**without_times(row)) for row in calm.ran.rows("citations")]
    return judged(TRUTH, references, citations, WORKS)


def test_all_papers_are_processed_without_a_dead_letter(calm: Calm) -> None:
    assert calm.ran.dead == {}
    assert calm.ran.skipped == {}
    assert calm.ran.summary.error is None
    assert calm.ran.summary.stages["extract"].done == len(TRUTH)
    assert {row["paper_file"] for row in calm.ran.rows("no_metadata")} == {*TRUTH, "library.bib"}


def test_no_call_was_refused_as_too_fast(calm: Calm) -> None:
    assert calm.refused == 0


def test_no_metadata_holds_each_reference_as_printed_in_columns_that_users_rely_on(calm: Calm) -> None:
    rows = calm.ran.rows("no_metadata")
    names = {"paper_file", "position", "raw", "doi", "arxiv_id", "url", "year", "first_author", "title"}
    assert names <= rows[0].keys()
    for paper_file, entries in TRUTH.items():
        own = sorted((row for row in rows if row["paper_file"] == paper_file), key=lambda row: row["position"])
        assert [row["position"] for row in own] == list(range(1, len(entries) + 1)), paper_file


def test_dois_are_normalised_in_every_table(calm: Calm) -> None:
    held = [(table, row["doi"]) for table in TABLES for row in calm.ran.rows(table) if row.get("doi")]
    assert {table for table, _ in held} >= {"no_metadata", "with_metadata", "downloaded_references"}
    assert [(table, doi) for table, doi in held if doi != normal_doi(doi) or doi != doi.lower()] == []
    printed = {doi for entries in TRUTH.values() for entry in entries if (doi := printed_doi(entry))}
    assert len(printed) >= 50
    assert printed <= {doi for table, doi in held if table == "no_metadata"}


def test_no_reference_ends_at_a_wrong_work(ended: list[Ended]) -> None:
    assert [one for one in ended if one.end == "wrong"] == []


def test_nearly_all_references_to_known_works_end_there(ended: list[Ended]) -> None:
    resolvable = [one for one in ended if one.truth is not None]
    right = [one for one in resolvable if one.end == "right"]
    assert len(right) >= 0.95 * len(resolvable), [one for one in resolvable if one.end != "right"]


def test_every_reference_is_cited_or_unresolved_and_says_why(calm: Calm) -> None:
    places = Counter((row["paper"], row["position"]) for row in calm.ran.rows("citations"))
    places.update((row["paper"], row["position"]) for row in calm.ran.rows("unresolved"))
    assert places == Counter((row["paper"], row["position"]) for row in calm.ran.rows("no_metadata"))
    assert all(row["reason"] for row in calm.ran.rows("unresolved"))


def test_every_citation_leads_to_a_work_that_is_there_and_no_work_is_there_without_one(calm: Calm) -> None:
    cited = {row["work"] for row in calm.ran.rows("citations")}
    assert cited == {row["work"] for row in calm.ran.rows("with_metadata")}


def test_a_work_cited_under_several_names_is_kept_once(calm: Calm) -> None:
    kept = Counter(published(work_of(row["work"]), WORKS).key for row in calm.ran.rows("with_metadata"))
    assert {key: count for key, count in kept.items() if count > 1} == {}


def test_the_metadata_is_that_of_the_services(calm: Calm) -> None:
    for row in calm.ran.rows("with_metadata"):
        entry = work_of(row["work"])
        if row["metadata_source"] == "arxiv":  # only its id is known
            continue
        assert row["title"] == entry.title
        assert row["year"] == entry.year
        assert entry.authors[0].family.split()[-1] in row["first_author"]


def test_the_merge_log_names_every_other_name_under_which_a_work_was_cited(calm: Calm) -> None:
    logged = {(row["work"], row["alias"]) for row in calm.ran.rows("merge_log")}
    assert all(row["reason"] for row in calm.ran.rows("merge_log"))
    renamed = set()
    for entries in TRUTH.values():
        for entry in entries:
            if (cited := printed_doi(entry)) and entry["work"]:
                own = normal_doi(published(WORKS.by_key[entry["work"]], WORKS).doi)
                if own and own != cited:
                    renamed.add((own, cited))
    assert len(renamed) >= 3
    assert renamed <= logged
    for work, alias in logged:
        assert published(work_of(alias), WORKS) is work_of(work), "an alias of another work"


def test_works_without_a_doi_are_kept_under_their_other_names(calm: Calm) -> None:
    kept = {row["work"]: row for row in calm.ran.rows("with_metadata")}
    for entries in TRUTH.values():
        for entry in entries:
            work = WORKS.by_key.get(entry["work"] or "")
            if work is None or work.doi is not None:
                continue
            name = f"openalex:{work.openalex}" if work.openalex else f"arxiv:{work.arxiv}"
            if name in kept:
                assert kept[name]["doi"] is None
    assert any(name.startswith("openalex:W") for name in kept)
    assert any(name.startswith("arxiv:") for name in kept)


def test_each_work_is_closed_or_downloaded_as_its_copies_allow(calm: Calm) -> None:
    works = {row["work"] for row in calm.ran.rows("with_metadata")}
    closed = {row["work"] for row in calm.ran.rows("closed_access")}
    wanted = {row["work"] for row in calm.ran.rows("to_download_references")}
    downloaded = {row["work"] for row in calm.ran.rows("downloaded_references")}
    assert closed | wanted == works
    assert closed & wanted == set()
    assert closed == {work for work in works if work_of(work).closed}
    assert downloaded == {work for work in wanted if work_of(work).downloadable}
    assert downloaded == wanted


def test_the_bibliography_lists_every_work_with_its_file(calm: Calm) -> None:
    library = parse_file(str(calm.ran.workspace / "library.bib"))
    assert not library.failed_blocks
    assert len(library.entries) == len(calm.ran.rows("with_metadata"))
    files = {one.value for entry in library.entries if (one := entry.get("file"))}
    assert files == {row["file"] for row in calm.ran.rows("downloaded_references")}
    dois = {one.value for entry in library.entries if (one := entry.get("doi"))}
    assert dois == {row["doi"] for row in calm.ran.rows("with_metadata") if row["doi"]}


def test_a_second_run_asks_nothing_again_and_changes_nothing(calm: Calm) -> None:
    assert calm.calls_again == {}
    assert calm.again.tables == calm.ran.tables
    assert calm.again.summary.error is None


@pytest.mark.asyncio
async def test_the_same_paper_under_two_names_is_recorded_once(tmp_path: Path) -> None:
    paper = (SAMPLES / "lindqvist2024_cobaltates.pdf").read_bytes()
    folder = tmp_path / "papers"
    (folder / "copies").mkdir(parents=True)
    (folder / "original.pdf").write_bytes(paper)
    (folder / "copies" / "another name.pdf").write_bytes(paper)
    async with world() as made:
        ran = await made.run(tmp_path / "workspace", folder)
    assert ran.summary.stages["extract"].done == 1
    rows = ran.rows("no_metadata")
    assert [row["position"] for row in rows] == list(range(1, len(TRUTH["lindqvist2024_cobaltates.pdf"]) + 1))
    assert {row["paper_file"] for row in rows} == {"another name.pdf"}, "the least of the names, in whatever order"


@pytest.mark.asyncio
async def test_entries_of_a_bib_file_enter_at_enrich(tmp_path: Path) -> None:
    work = WORKS.by_key["w0001"]
    assert work.doi is not None
    bib = bibliography(
        tmp_path / "mine.bib",
        {"title": work.title, "doi": f"https://doi.org/{work.doi.upper()}"},
        {"title": "Unheard of"},
    )
    async with world() as made:
        ran = await made.run(tmp_path / "workspace", bib)
    assert "extract" not in {stage for stage, _, _ in ran.states}
    assert [row["work"] for row in ran.rows("citations")] == [normal_doi(work.doi)]
    assert [row["position"] for row in ran.rows("unresolved")] == [2]
    assert [row["title"] for row in ran.rows("with_metadata")] == [work.title]


@pytest.mark.asyncio
async def test_papers_that_come_later_ask_only_for_what_is_new(tmp_path: Path) -> None:
    first, second = (SAMPLES / "zhang2023_calibration.pdf", SAMPLES / "tanabe2022_forgetting.pdf")
    async with world() as made:
        await made.run(tmp_path / "workspace", first)
        made.forget()
        ran = await made.run(tmp_path / "workspace", first, second)
        calls = made.calls
        made.forget()
        alone = await made.run(tmp_path / "alone", second)
        calls_alone = made.calls
    assert calls
    assert calls.items() <= calls_alone.items()
    assert len(ran.rows("no_metadata")) == len(alone.rows("no_metadata")) + len(TRUTH[first.name])
