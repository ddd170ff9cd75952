"""Moving files to `processed` and `failed`: nothing is lost, overwritten, or moved out through a symlink."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from streamflow.errors import UsageError
from streamflow.sources.filing import REASON, Filing
from streamflow.sources.walk import FoundFile, file_stat


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write(path: Path, content: str = "content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def found(folder: Path, path: Path) -> FoundFile:
    return FoundFile(path, path.name, folder, file_stat(path.lstat()))


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems with hard links, and without."""

    def refuse(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
def test_a_file_goes_to_its_place_with_its_folders_and_its_reason(folder: Path) -> None:
    filing = Filing(folder, "processed", "../failed")
    filing.move(found(folder, write(folder / "a.pdf", "a")), None)
    filing.move(found(folder, write(folder / "deep" / "er" / "b.pdf", "b")), None)
    filing.move(found(folder, write(folder / "deep" / "c.pdf", "c")), "extract: no\x1b[31mtext\nat all")
    assert tree(folder) == {"processed/a.pdf": "a", "processed/deep/er/b.pdf": "b"}
    assert tree(folder.parent / "failed") == {
        "deep/c.pdf": "c",
        "deep/c.pdf.reason.txt": "extract: no\\x1b[31mtext\nat all\n",
    }


@pytest.mark.usefixtures("links")
def test_a_name_that_is_taken_gets_a_hash_of_the_content(folder: Path) -> None:
    filing = Filing(folder, "processed", "failed")
    for content in ("first", "second", "third", "second"):
        filing.move(found(folder, write(folder / "a.pdf", content)), None)
    files = tree(folder / "processed")
    assert sorted(files.values()) == ["first", "second", "third"]
    assert files["a.pdf"] == "first"
    assert all(len(name) == len("a-12345678.pdf") for name in files if name != "a.pdf")
    assert not (folder / "a.pdf").exists()


@pytest.mark.parametrize(
    "name",
    ["x" * 251 + ".pdf", "\u0394" * 125 + ".pdf", os.fsdecode(b"\xff" * 251 + b".pdf"), "cafe\u0301.pdf", "x" * 255],
)
def test_any_name_is_filed_twice_and_its_reason_beside_it(folder: Path, name: str) -> None:
    filing = Filing(folder, "processed", "failed")
    for content in ("first", "second"):
        filing.move(found(folder, write(folder / name, content)), "why")
    names = [os.fsencode(path.name) for path in (folder / "failed").iterdir()]
    assert len(names) == 4
    texts = [each for each in names if each.endswith(REASON.encode())]
    assert sorted(each + REASON.encode() for each in names if each not in texts) == sorted(texts)
    if "\u0394" in name:
        assert all(each.decode() for each in names)  # no character is cut in two


@pytest.mark.usefixtures("links")
def test_a_name_whose_reason_would_be_a_folder_is_taken(folder: Path) -> None:
    filing = Filing(folder, None, "failed")
    (folder / "failed" / "a.pdf.reason.txt").mkdir()
    filing.move(found(folder, write(folder / "a.pdf")), "why")
    name, text = sorted(tree(folder))
    assert (tree(folder)[name], tree(folder)[text]) == ("content", "why\n")
    assert name.startswith("failed/a-")
    assert text == f"{name}{REASON}"


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_file_whose_reason_cannot_be_written_stays_where_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """As on a full disk."""

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    filing = Filing(folder, None, "failed")
    file = found(folder, write(folder / "a.pdf"))
    with monkeypatch.context() as patched:
        patched.setattr(os, fails, full)
        with pytest.raises(OSError, match="No space"):
            filing.move(file, "why")
    assert tree(folder) == {"a.pdf": "content"}
    filing.move(file, "why")
    assert tree(folder) == {"failed/a.pdf": "content", "failed/a.pdf.reason.txt": "why\n"}


def test_a_move_that_was_cut_short_is_finished(folder: Path) -> None:
    """After the link, before the old name went: as kill -9 may leave it."""
    filing = Filing(folder, "processed", "failed")
    path = write(folder / "a.pdf")
    file = found(folder, path)
    (folder / "failed" / "a.pdf").hardlink_to(path)
    filing.move(file, "why")
    assert tree(folder) == {"failed/a.pdf": "content", "failed/a.pdf.reason.txt": "why\n"}


def test_a_file_that_has_changed_or_gone_stays_as_it_is(folder: Path) -> None:
    filing = Filing(folder, "processed", None)
    changed, gone = found(folder, write(folder / "a.pdf")), found(folder, write(folder / "b.pdf"))
    (folder / "a.pdf").write_text("content and more")
    (folder / "b.pdf").unlink()
    filing.move(changed, None)
    filing.move(gone, None)
    assert tree(folder) == {"a.pdf": "content and more"}


def test_a_file_that_changes_while_it_is_moved_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_and_write(*arguments: Any, **more: Any) -> None:
        link(*arguments, **more)
        with (folder / "a.pdf").open("a") as file:
            file.write(" and more")

    filing = Filing(folder, "processed", None)
    file = found(folder, write(folder / "a.pdf"))
    monkeypatch.setattr(os, "link", link_and_write)
    filing.move(file, None)
    assert tree(folder) == {"a.pdf": "content and more"}


def test_an_older_copy_is_not_taken_for_one_that_was_just_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes are filed already, and the file is written to while it is compared with them."""
    filing = Filing(folder, "processed", None)
    filing.move(found(folder, write(folder / "a.pdf")), None)
    file = found(folder, write(folder / "a.pdf"))
    sync = os.fsync

    def sync_and_write(descriptor: int) -> None:
        sync(descriptor)
        write(folder / "a.pdf", "something else")

    monkeypatch.setattr(os, "fsync", sync_and_write)
    filing.move(file, None)
    assert tree(folder) == {"a.pdf": "something else", "processed/a.pdf": "content"}


def test_a_place_that_is_not_wanted_is_not_used(folder: Path) -> None:
    filing = Filing(folder, "processed", None)
    filing.move(found(folder, write(folder / "a.pdf")), "why")
    assert tree(folder) == {"a.pdf": "content"}


def test_no_symlink_leads_a_move_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    filing = Filing(folder, "processed", None)
    file = found(folder, write(folder / "deep" / "a.pdf"))
    (folder / "processed" / "deep").symlink_to(outside)
    with pytest.raises(OSError, match=r"symbolic|directory"):
        filing.move(file, None)
    (folder / "processed" / "deep").unlink()
    write(outside / "a.pdf")
    (folder / "deep").rename(folder / "moved")
    (folder / "deep").symlink_to(outside)
    with pytest.raises(OSError, match=r"symbolic|directory"):
        filing.move(file, None)
    assert tree(outside) == {"a.pdf": "content"}


@pytest.mark.parametrize(
    ("processed", "failed", "words"),
    [
        (".", None, "holds the watched folder"),
        ("..", None, "holds the watched folder"),
        ("done", "done", "the same folder"),
        ("file/below", None, "cannot be used"),
        ("/proc", None, "file system"),
    ],
)
def test_a_place_that_cannot_be_is_refused(folder: Path, processed: str | None, failed: str | None, words: str) -> None:
    write(folder / "file")
    with pytest.raises(UsageError, match=words):
        Filing(folder, processed, failed)
