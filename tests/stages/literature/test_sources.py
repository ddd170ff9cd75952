"""What comes into the pipeline from the user's files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stages.literature.records import Paper, Reference
from stages.literature.sources import papers
from streamflow.sources.files import Inputs
from streamflow.sources.walk import FoundFile
from tests.stages.services.serving import Server, context

pytestmark = pytest.mark.asyncio


async def found(folder: Path, workspace: Path) -> list[Paper | Reference]:
    async with context(Server({}), workspace) as made:
        return [record async for record in papers(Inputs([str(folder)]), context=made)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    return folder


async def test_pdfs_are_taken_in_by_their_content(folder: Path, tmp_path: Path) -> None:
    (folder / "a.pdf").write_bytes(b"%PDF-1.4 ice")
    (folder / "B.PDF").write_bytes(b"%PDF-1.4 ice")
    (folder / "notes.txt").write_bytes(b"no paper")
    records = await found(folder, tmp_path / "workspace")
    assert [record.paper_file for record in records] == ["B.PDF", "a.pdf"]
    assert {record.paper for record in records} == {hashlib.sha256(b"%PDF-1.4 ice").hexdigest()}
    (paper, _) = records
    assert isinstance(paper, Paper)
    assert paper.size == 12
    (folder / "a.pdf").unlink()
    assert (tmp_path / "workspace" / paper.path).read_bytes() == b"%PDF-1.4 ice"


async def test_entries_of_a_bib_file_are_references(folder: Path, tmp_path: Path) -> None:
    (folder / "mine.bib").write_text("@article{a, title={Ice}, doi={10.5555/abc}}\n@article{b, title={Snow}}")
    records = await found(folder, tmp_path / "workspace")
    assert [(record.position, record.title, record.doi) for record in records if isinstance(record, Reference)] == [
        (1, "Ice", "10.5555/abc"),
        (2, "Snow", None),
    ]


async def test_a_file_that_cannot_be_read_is_told_and_costs_no_other(folder: Path, tmp_path: Path) -> None:
    (folder / "a.bib").write_bytes(b" " * (16 * 2**20 + 1))
    (folder / "b.bib").write_text("@article{a, title={Ice}}\n@article{b, title={unclosed")
    with capture_logs() as logs:
        records = await found(folder, tmp_path / "workspace")
    assert [record.paper_file for record in records] == ["b.bib"]
    assert [(entry["event"], Path(entry["path"]).name) for entry in logs] == [
        ("input_passed_over", "a.bib"),
        ("entries_passed_over", "b.bib"),
    ]
    assert "line 2" in logs[1]["reason"]


async def test_a_workspace_that_cannot_be_written_to_is_not_blamed_on_the_file(folder: Path, tmp_path: Path) -> None:
    (folder / "a.pdf").write_bytes(b"%PDF-1.4 ice")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "files").write_text("in the way")
    with pytest.raises(FileExistsError):
        await found(folder, workspace)


class Vanishing(Inputs):
    """Inputs of which the files named `gone…` are removed as soon as they were found."""

    async def files(self, suffixes: tuple[str, ...]) -> AsyncGenerator[FoundFile]:
        async for file in super().files(suffixes):
            if file.name.startswith("gone"):
                file.path.unlink()
            yield file


async def test_files_that_go_away_are_told_and_cost_no_other(folder: Path, tmp_path: Path) -> None:
    for name in ("gone.bib", "here.bib"):
        (folder / name).write_text("@article{a, title={Ice}}")
    (folder / "gone.pdf").write_bytes(b"%PDF-1.4 ice")
    async with context(Server({}), tmp_path / "workspace") as made:
        with capture_logs() as logs:
            records = [record async for record in papers(Vanishing([str(folder)]), context=made)]
    assert [record.paper_file for record in records] == ["here.bib"]
    assert [Path(entry["path"]).name for entry in logs] == ["gone.bib", "gone.pdf"]
    assert all("cannot be read" in entry["reason"] for entry in logs)
