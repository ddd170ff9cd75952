"""No symlink leads out of a folder, also none that takes a place between the look and the opening."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamflow.sources.walk import FoundFile
from streamflow.storage.files import FileRefused, FileStore
from streamflow.storage.within import is_symlink_in_the_way, open_within


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.pdf").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.pdf").write_text("outside")
    return tmp_path / "in"


def test_a_file_below_is_opened(folder: Path) -> None:
    with FoundFile(folder / "deep" / "a.pdf", "a.pdf", folder).open() as file:
        assert file.read() == b"inside"
    with FoundFile(folder / "deep" / "a.pdf", "a.pdf").open() as file:
        assert file.read() == b"inside"


@pytest.mark.asyncio
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_symlink_that_takes_a_place_is_refused(folder: Path, what: str) -> None:
    found = FoundFile(folder / "deep" / "a.pdf", "a.pdf", folder)
    if what == "file":
        found.path.unlink()
        found.path.symlink_to(folder.parent / "outside" / "a.pdf")
    else:
        (folder / "deep").rename(folder / "away")
        (folder / "deep").symlink_to(folder.parent / "outside")
    with pytest.raises(OSError, match=r"symbolic|directory") as caught:
        found.open()
    assert is_symlink_in_the_way(caught.value)
    with pytest.raises(FileRefused, match="symlink"):
        await FileStore(folder.parent / "ws" / "files").ingest(found.path, within=folder)
    assert not (folder.parent / "ws").exists()


def test_a_pipe_is_opened_without_waiting_and_no_descriptor_is_left(folder: Path) -> None:
    os.mkfifo(folder / "deep" / "pipe")
    before = set(os.listdir("/proc/self/fd"))
    os.close(open_within(folder / "deep" / "pipe", folder))
    with pytest.raises(FileNotFoundError):
        open_within(folder / "deep" / "missing", folder)
    with pytest.raises(FileNotFoundError):
        open_within(folder / "missing" / "a.pdf", folder)
    assert set(os.listdir("/proc/self/fd")) == before
