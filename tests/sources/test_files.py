from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from streamflow.errors import UsageError
from streamflow.sources.files import Inputs
from streamflow.sources.walk import FoundFile
from streamflow.sources.watch import Pace

pytestmark = pytest.mark.asyncio


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


async def found(inputs: Inputs, *suffixes: str) -> list[FoundFile]:
    return [file async for file in inputs.files(suffixes or (".pdf",))]


async def names(folder: Path, *suffixes: str) -> list[str]:
    return [str(file.path.relative_to(folder)) for file in await found(Inputs([str(folder)]), *suffixes)]


async def test_a_folder_is_walked_to_its_depths_in_the_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "b.pdf", "a/z.pdf", "a/b/c.pdf", "c.PDF", "d.bib", "É.pdf")
    assert await names(tmp_path) == ["a/b/c.pdf", "a/z.pdf", "b.pdf", "c.PDF", "É.pdf"]
    assert await names(tmp_path, ".bib", ".pdf") == ["a/b/c.pdf", "a/z.pdf", "b.pdf", "c.PDF", "d.bib", "É.pdf"]


async def test_more_files_than_are_looked_at_in_one_go(tmp_path: Path) -> None:
    expected = [f"{number:04}.pdf" for number in range(600)]
    make(tmp_path, *expected)
    assert await names(tmp_path) == expected


async def test_a_file_has_its_absolute_path_and_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "in/a.pdf")
    monkeypatch.chdir(tmp_path)
    expected = [FoundFile(tmp_path / "in" / "a.pdf", "a.pdf")]
    assert await found(Inputs(["in"])) == expected
    assert await found(Inputs(["in/a.pdf"])) == expected


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.pdf",
        ".git/a.pdf",
        "a.pdf.part",
        "a.pdf.crdownload",
        "a.tmp",
        "a.TMP",
        "a.pdf~",
        "~$a.pdf",
        "#a.pdf#",
        "a.swp",
    ],
)
async def test_hidden_and_unfinished_names_are_passed_over(tmp_path: Path, name: str) -> None:
    make(tmp_path, name, "kept.pdf", "~kept.pdf", "temp.pdf", "tmp/kept.pdf")
    assert await names(tmp_path, "") == ["kept.pdf", "temp.pdf", "tmp/kept.pdf", "~kept.pdf"]


async def test_a_hidden_file_that_was_named_is_taken(tmp_path: Path) -> None:
    make(tmp_path, ".hidden.pdf")
    assert [file.name for file in await found(Inputs([str(tmp_path / ".hidden.pdf")]))] == [".hidden.pdf"]


async def test_symlinks_out_of_the_folder_are_refused_aloud(tmp_path: Path) -> None:
    make(tmp_path, "in/a.pdf", "outside/secret.pdf", "in-too/b.pdf")
    (tmp_path / "in" / "file.pdf").symlink_to(tmp_path / "outside" / "secret.pdf")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "in-too")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again.pdf").symlink_to("a.pdf")
    with capture_logs() as logs:
        assert await names(tmp_path / "in") == ["a.pdf"]
    refused = [os.path.basename(line["path"]) for line in logs if line["event"] == "symlink_refused"]
    assert refused == ["file.pdf", "folder"]


async def test_a_symlink_that_was_named_is_followed(tmp_path: Path) -> None:
    make(tmp_path, "real/a.pdf")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "link.pdf").symlink_to(tmp_path / "real" / "a.pdf")
    (from_folder,) = await found(Inputs([str(tmp_path / "link")]))
    (from_file,) = await found(Inputs([str(tmp_path / "link.pdf")]))
    assert from_folder == FoundFile(tmp_path / "real" / "a.pdf", "a.pdf")
    assert from_file == FoundFile(tmp_path / "real" / "a.pdf", "link.pdf")


async def test_what_a_workspace_made_is_not_read_again(tmp_path: Path) -> None:
    make(tmp_path, "w/streamflow.db", "w/files/a.pdf", "w/logs/b.pdf", "w/own.pdf", "other/files/c.pdf", "skip/d.pdf")
    inputs = Inputs([str(tmp_path)], ignored=[tmp_path / "skip"])
    assert [file.name for file in await found(inputs)] == ["c.pdf", "own.pdf"]


async def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.pdf")
    make(tmp_path, name)
    assert [file.name for file in await found(Inputs([str(tmp_path)]))] == [name]


@pytest.mark.parametrize("argument", ["misspelt", "a.pdf/below", "x\x00y", "loop"])
async def test_a_missing_input_is_told_before_anything_is_yielded(tmp_path: Path, argument: str) -> None:
    make(tmp_path, "a.pdf")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    inputs = Inputs([str(tmp_path / "a.pdf"), str(tmp_path / argument)])
    with pytest.raises(UsageError, match=r"no file or folder|cannot be read") as caught:
        inputs.check()
    assert repr(argument)[1:-1] in str(caught.value)
    with pytest.raises(UsageError):
        await anext(inputs.files((".pdf",)))


async def test_no_argument_is_no_file(tmp_path: Path) -> None:
    assert await found(Inputs([])) == []


async def test_watch_takes_one_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.pdf")
    with pytest.raises(UsageError, match="is a file"):
        Inputs([str(tmp_path / "a.pdf")], watching=True).check()
    with pytest.raises(UsageError, match="one folder"):
        Inputs([str(tmp_path), str(tmp_path)], watching=True).check()


async def test_watching_yields_the_files_of_the_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.pdf", "b.txt")
    files = Inputs([str(tmp_path)], watching=True, pace=Pace(quiet=0)).files((".pdf",))
    assert await anext(files) == FoundFile(tmp_path / "a.pdf", "a.pdf")
    await files.aclose()
