"""What servers send where a paper was promised, and what becomes of it in the workspace."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stages.literature.identifiers import normal_doi
from stages.simulators.catalogue import catalogue
from stages.simulators.entry import Entry
from stages.simulators.inventions import HOPELESS
from stages.simulators.tiny_pdf import tiny_pdf
from tests.integration.literature import Ran, bibliography, impatient, world

pytestmark = pytest.mark.asyncio

WORKS = catalogue()
BY_BEHAVIOUR = {entry.copies[0].behaviour: entry for entry in WORKS.entries if entry.key.startswith("h")}
SAID = {
    "html": "an HTML page",
    "missing": "404",
    "truncated": "its end is missing",
    "loop": "redirected more than 5 times",
    "private": "metadata service",
    "closed": "does not give this file away",
    "endless": "sent more than",
    "bomb": "sent more than",
}


async def fetched(tmp_path: Path, *entries: Entry, max_bytes: int = 200 * 2**20, sequential: bool = False) -> Ran:
    """Cite these works by their DOIs, and fetch them."""
    bib = bibliography(tmp_path / "mine.bib", *({"title": one.title, "doi": one.doi or ""} for one in entries))
    async with world() as made:
        made.downloads["max_bytes"] = max_bytes
        return await made.run(tmp_path / "workspace", bib, using=impatient(attempts=2), sequential=sequential)


def nothing_half_written(ran: Ran) -> None:
    downloaded = {row["file"]: row for row in ran.rows("downloaded_references")}
    assert ran.files().keys() == downloaded.keys()
    for name, row in downloaded.items():
        content = (ran.workspace / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row["size"], row["sha256"])


async def test_what_is_no_whole_paper_is_refused_for_its_reason(tmp_path: Path) -> None:
    good = WORKS.by_key["w0001"]
    ran = await fetched(tmp_path, *BY_BEHAVIOUR.values(), good, max_bytes=2**20)
    assert SAID.keys() == BY_BEHAVIOUR.keys() == set(HOPELESS)
    for behaviour, entry in BY_BEHAVIOUR.items():
        assert SAID[behaviour] in ran.dead[f"download {normal_doi(entry.doi)}"], behaviour
    assert [row["work"] for row in ran.rows("downloaded_references")] == [normal_doi(good.doi)]
    assert len(ran.rows("to_download_references")) == len(HOPELESS) + 1
    nothing_half_written(ran)


async def test_a_redirect_to_a_clouds_metadata_is_refused_before_it_is_tried(tmp_path: Path) -> None:
    """Loopback is allowed in this run; the local link is not even then."""
    ran = await fetched(tmp_path, BY_BEHAVIOUR["private"])
    (error,) = ran.dead.values()
    assert "an address that is not public" in error
    assert ran.summary.stages["download"].retries == 0
    assert ran.files() == {}


async def test_the_next_place_is_tried_when_one_fails(tmp_path: Path) -> None:
    entries = [
        entry
        for entry in WORKS.entries
        if entry.doi and entry.openalex and entry.downloadable and entry.copies[0].behaviour not in ("pdf", "redirect")
    ]
    troubles = {entry.copies[0].behaviour: entry for entry in entries if entry.copies[0].host == "publisher"}
    assert troubles.keys() >= {"html", "missing", "truncated", "loop", "slow"}
    ran = await fetched(tmp_path, *troubles.values())
    assert ran.dead == {}
    rows = {row["work"]: row for row in ran.rows("downloaded_references")}
    for behaviour, entry in troubles.items():
        row = rows[normal_doi(entry.doi) or ""]
        assert row["sha256"] == hashlib.sha256(tiny_pdf(entry)).hexdigest()
        assert ("/publisher/" in row["url"]) == (behaviour == "slow")
    nothing_half_written(ran)


async def test_files_are_named_for_people_in_any_script_and_never_collide(tmp_path: Path) -> None:
    keys = ("w0001", "r01", "r06", "r08", "r11", "r14", "p0003", "p0003b")
    ran = await fetched(tmp_path, *(WORKS.by_key[key] for key in keys))
    names = {row["work"]: Path(row["file"]).name for row in ran.rows("downloaded_references")}
    assert len(set(names.values())) == len(keys)
    for key in keys:
        entry = WORKS.by_key[key]
        name = names[normal_doi(entry.doi) or ""]
        assert name.startswith(f"{entry.authors[0].family} {entry.year} - {entry.title[:10].rstrip()}")
        assert name.endswith(".pdf")
    nothing_half_written(ran)


async def test_names_do_not_depend_on_who_came_first(tmp_path: Path) -> None:
    entries = [WORKS.by_key[key] for key in ("p0003", "p0003b", "w0001")]
    (tmp_path / "there").mkdir()
    (tmp_path / "back").mkdir()
    there = await fetched(tmp_path / "there", *entries)
    back = await fetched(tmp_path / "back", *reversed(entries), sequential=True)
    assert there.files() == back.files()


async def test_a_work_without_a_free_copy_is_no_dead_letter(tmp_path: Path) -> None:
    closed = next(entry for entry in WORKS.entries if entry.closed and entry.doi and entry.in_crossref)
    ran = await fetched(tmp_path, closed)
    assert ran.dead == {}
    (row,) = ran.rows("closed_access")
    assert row["work"] == normal_doi(closed.doi)
    assert "OpenAlex knows no free PDF" in row["reason"]
    assert ran.files() == {}


async def test_a_file_that_vanished_is_fetched_again_with_refresh(tmp_path: Path) -> None:
    entry = WORKS.by_key["w0001"]
    bib = bibliography(tmp_path / "mine.bib", {"title": entry.title, "doi": entry.doi or ""})
    async with world() as made:
        first = await made.run(tmp_path / "workspace", bib)
        (row,) = first.rows("downloaded_references")
        (first.workspace / row["file"]).unlink()
        again = await made.run(tmp_path / "workspace", bib, refresh=True)
    assert again.files() == {row["file"]: row["size"]}
    assert again.tables == first.tables
