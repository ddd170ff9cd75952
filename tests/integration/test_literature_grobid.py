"""The literature pipeline with a GROBID server in place of the built-in extractor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stages.literature.grobid import with_grobid
from stages.literature.pipeline import pipeline
from stages.services import grobid
from stages.simulators.grobid import GrobidSimulator
from streamflow.settings import load_settings
from tests.integration import odd_pdfs
from tests.integration.conftest import Calm
from tests.integration.literature import SAMPLES, World, impatient, world

pytestmark = pytest.mark.asyncio

TRUTH = json.loads((SAMPLES / "truth.json").read_text(encoding="utf-8"))
PAPER = SAMPLES / "zhang2023_calibration.pdf"


@asynccontextmanager
async def with_server(**settings: object) -> AsyncIterator[tuple[World, GrobidSimulator]]:
    """All services and a GROBID server, which reads the samples as they are printed."""
    lists = {
        hashlib.sha256((SAMPLES / name).read_bytes()).hexdigest(): [
            {**entry, "raw": f"[{number}] {entry['raw']}"} for number, entry in enumerate(entries, start=1)
        ]
        for name, entries in TRUTH.items()
    }
    async with world() as made, GrobidSimulator(lists, **settings) as server:  # type: ignore[arg-type]
        made.services["grobid"] = {"base_url": server.url}
        yield made, server


async def test_without_a_server_the_pipeline_stays_as_it_is(tmp_path: Path) -> None:
    assert with_grobid(pipeline, load_settings(tmp_path)) is pipeline


async def test_with_a_server_the_papers_are_read_by_it(calm: Calm, tmp_path: Path) -> None:
    async with with_server() as (made, server):
        ran = await made.run(tmp_path / "workspace", SAMPLES)
        assert server.routes == {"processReferences": len(TRUTH)}
        assert server.refused == 0
    assert ran.dead == {}
    for name, entries in TRUTH.items():
        own = sorted((row["position"], row["raw"]) for row in ran.rows("no_metadata") if row["paper_file"] == name)
        assert [raw for _, raw in own] == [entry["raw"] for entry in entries], "as printed, without the number"
    cited = {(row["paper_file"], row["position"], row["work"]) for row in ran.rows("citations")}
    assert {(row["paper_file"], row["position"], row["work"]) for row in calm.ran.rows("citations")} <= cited


async def test_a_busy_server_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grobid, "BUSY_SECONDS", 0.01)
    async with with_server(faults="503=0.5,reset=0.2") as (made, server):
        ran = await made.run(tmp_path / "workspace", PAPER, using=impatient(attempts=30))
        assert server.faults.injected
    assert len(ran.rows("no_metadata")) == len(TRUTH[PAPER.name])


async def test_files_that_are_no_papers_end_with_their_reasons_and_are_not_sent(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "page.pdf").write_bytes(b"<html>Sign in</html>")
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "letter.pdf").write_bytes(odd_pdfs.pdf([["Dear colleague"]]))
    async with with_server() as (made, server):
        ran = await made.run(tmp_path / "workspace", folder)
        assert server.calls.total() == 1
    assert sorted(reason.partition(":")[0] for reason in ran.dead.values()) == [
        "empty.pdf is empty (0 bytes)",
        "page.pdf is not a PDF",
    ]
    (skipped,) = ran.skipped.values()
    assert skipped.startswith("letter.pdf: GROBID found no references")


async def test_a_server_that_cannot_read_a_file_makes_a_dead_letter(tmp_path: Path) -> None:
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b" %PDF-1.4 begins late, which the simulator takes for no PDF")
    async with with_server() as (made, server):
        ran = await made.run(tmp_path / "workspace", scan)
        assert server.calls.total() == 1, "not tried again"
    assert list(ran.dead.values()) == ["scan.pdf: GROBID cannot read this file: it is damaged, or no PDF"]


async def test_papers_that_are_known_are_read_again_by_another_extractor_only(tmp_path: Path) -> None:
    async with with_server() as (made, server):
        section = made.services.pop("grobid")
        built_in = (await made.run(tmp_path / "workspace", PAPER)).tables
        made.services["grobid"] = section
        (entries,) = (entries for name, entries in TRUTH.items() if name == PAPER.name)
        read = [{**entry, "raw": f"{entry['raw']} Read by the server."} for entry in entries]
        server.lists = {hashlib.sha256(PAPER.read_bytes()).hexdigest(): read}
        changed = await made.run(tmp_path / "workspace", PAPER)
        assert {row["raw"] for row in changed.rows("no_metadata")} == {entry["raw"] for entry in read}
        again = await made.run(tmp_path / "workspace", PAPER)
        assert server.calls.total() == 1
        assert again.tables == changed.tables
        del made.services["grobid"]
        back = await made.run(tmp_path / "workspace", PAPER)
    assert back.tables["no_metadata"] == built_in["no_metadata"]
    assert back.tables["citations"] == built_in["citations"]
