from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.storage import files as files_module
from streamflow.storage.files import FileChanged, FileRefused, FileStore, in_thread, write_whole
from streamflow.storage.patience import Patience


def store(tmp_path: Path, **options: int) -> FileStore:
    return FileStore(tmp_path / "workspace" / "files", **options)


def everything(tmp_path: Path) -> list[str]:
    root = tmp_path / "workspace"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@pytest.mark.asyncio
async def test_ingested_bytes_lie_under_their_hash(tmp_path: Path) -> None:
    data = os.urandom(3 * 2**20 + 17)
    source = tmp_path / "a.pdf"
    source.write_bytes(data)
    files = store(tmp_path)
    stored = await files.ingest(source)
    digest = hashlib.sha256(data).hexdigest()
    assert (stored.sha256, stored.size) == (digest, len(data))
    assert (tmp_path / "workspace" / stored.path).read_bytes() == data
    assert files.locate(stored.path) == tmp_path / "workspace" / stored.path
    assert everything(tmp_path) == [stored.path]


@pytest.mark.asyncio
async def test_equal_bytes_are_stored_once(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"same")
    files = store(tmp_path)
    first = await files.ingest(tmp_path / "a")
    written = files.locate(first.path).stat().st_ino
    assert await files.ingest(tmp_path / "b") == first
    assert files.locate(first.path).stat().st_ino == written


@pytest.mark.asyncio
async def test_editing_the_input_in_place_does_not_change_the_stored_bytes(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"before")
    files = store(tmp_path)
    stored = await files.ingest(source)
    with source.open("r+b") as file:
        file.write(b"AFTER!")
    assert files.locate(stored.path).read_bytes() == b"before"


@pytest.mark.asyncio
async def test_an_input_about_to_go_away_is_linked_and_survives_its_removal(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"linked")
    files = store(tmp_path)
    stored = await files.ingest(source, link=True)
    assert files.locate(stored.path).samefile(source)
    source.unlink()
    assert files.locate(stored.path).read_bytes() == b"linked"
    assert everything(tmp_path) == [stored.path]


@pytest.mark.asyncio
async def test_where_links_are_impossible_the_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"copied")
    files = store(tmp_path)
    stored = await files.ingest(tmp_path / "a", link=True)
    assert files.locate(stored.path).read_bytes() == b"copied"


@pytest.mark.asyncio
async def test_without_help_from_the_kernel_the_bytes_are_copied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(2**21 + 5)
    (tmp_path / "a").write_bytes(data)
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    files = store(tmp_path)
    stored = await files.ingest(tmp_path / "a")
    assert files.locate(stored.path).read_bytes() == data


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["missing", "symlink", "folder", "pipe", "large"])
async def test_what_cannot_be_taken_in_is_refused_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    match kind:
        case "symlink":
            (tmp_path / "real").write_bytes(b"x")
            source.symlink_to(tmp_path / "real")
        case "folder":
            source.mkdir()
        case "pipe":
            os.mkfifo(source)
        case "large":
            source.write_bytes(b"12345")
    files = store(tmp_path, max_bytes=4)
    with pytest.raises(FileRefused, match="source"):
        await files.ingest(source)
    assert everything(tmp_path) == []


@pytest.mark.asyncio
async def test_a_file_written_to_during_the_read_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "growing"
    source.write_bytes(b"one")
    files = store(tmp_path)
    read = os.pread

    def read_while_growing(descriptor: int, count: int, offset: int) -> bytes:
        chunk = read(descriptor, count, offset)
        if not chunk:
            with source.open("ab") as file:
                file.write(b"two")
        return chunk

    monkeypatch.setattr(os, "pread", read_while_growing)
    with pytest.raises(FileChanged):
        await files.ingest(source)
    assert everything(tmp_path) == []


@pytest.mark.asyncio
async def test_a_file_replaced_between_hashing_and_copying_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"one")
    files = store(tmp_path)
    copy = files_module._copy

    def copy_something_else(
        descriptor: int, temporary: Path, cap: int, stop: threading.Event
    ) -> None:  # what a write in place within one tick of the clock looks like
        source.write_bytes(b"two")
        copy(descriptor, temporary, cap, stop)

    monkeypatch.setattr(files_module, "_copy", copy_something_else)
    with pytest.raises(FileChanged):
        await files.ingest(source)
    assert everything(tmp_path) == []


@pytest.mark.asyncio
async def test_cancelling_an_ingest_stops_it_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2**20)
    files = store(tmp_path)
    loop, started, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    copy = files_module._copy

    def slow_copy(descriptor: int, temporary: Path, cap: int, stop: threading.Event) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait(10)
        copy(descriptor, temporary, cap, stop)

    monkeypatch.setattr(files_module, "_copy", slow_copy)
    task = asyncio.create_task(files.ingest(tmp_path / "a"))
    await started.wait()
    task.cancel()
    loop.call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert everything(tmp_path) == []


@pytest.mark.asyncio
async def test_a_written_file_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    files = store(tmp_path)
    target = files.root / "papers" / "Müller 2014 - Über alles.pdf"
    async with files.writing("papers/Müller 2014 - Über alles.pdf") as writing:
        writing.path.write_bytes(b"%PDF-")
        assert writing.path.parent == target.parent
        assert not target.exists()
    assert target.read_bytes() == b"%PDF-"
    assert writing.stored == "files/papers/Müller 2014 - Über alles.pdf"
    assert everything(tmp_path) == [writing.stored]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_a_failed_write_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    files = store(tmp_path)
    await files.write("a.txt", b"old")

    async def fail() -> None:
        async with files.writing("a.txt") as writing:
            writing.path.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        await fail()
    assert (files.root / "a.txt").read_bytes() == b"old"
    assert everything(tmp_path) == ["files/a.txt"]


@pytest.mark.asyncio
async def test_two_writers_of_one_name_do_not_mix(tmp_path: Path) -> None:
    files = store(tmp_path)
    async with files.writing("a") as first, files.writing("a") as second:
        first.path.write_bytes(b"first")
        second.path.write_bytes(b"second")
    assert (files.root / "a").read_bytes() == b"first"
    assert everything(tmp_path) == ["files/a"]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", ".", "..", "/etc/passwd", "../out", "a/../../out", "a/..", "//x"])
async def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    files = store(tmp_path)
    with pytest.raises(ValueError, match="below the root"):
        await files.write(name, b"")
    with pytest.raises(ValueError, match=r"root|lie in"):
        files.locate(f"files/{name}" if name[:1] != "/" else name)


@pytest.mark.asyncio
async def test_a_symlink_in_the_store_is_not_written_through(tmp_path: Path) -> None:
    files = store(tmp_path)
    await files.write("a", b"")
    outside = tmp_path / "outside"
    outside.mkdir()
    (files.root / "papers").symlink_to(outside)
    with pytest.raises(ValueError, match="symlink"):
        await files.write("papers/deep/a.pdf", b"x")
    assert list(outside.iterdir()) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["\ud800", "a\udcffb", "nul\x00", "line\nbreak", "العربية", "論文.pdf", "🜚", "a\\b"])
async def test_any_text_is_a_name_and_distinct_names_stay_distinct(tmp_path: Path, name: str) -> None:
    files = store(tmp_path)
    stored = await files.write(name, b"data")
    stored.path.encode()
    assert files.locate(stored.path).read_bytes() == b"data"
    assert everything(tmp_path) == [stored.path]


@given(name=st.text(max_size=60))
def test_no_name_leaves_the_root(name: str) -> None:
    files = FileStore(Path("/workspace/files"))
    try:
        located = files.locate(f"files/{name}")
    except ValueError:
        return
    assert Path(os.path.normpath(located)).is_relative_to("/workspace/files")
    assert located != files.root


@pytest.mark.asyncio
async def test_sweeping_removes_only_what_a_killed_run_left(tmp_path: Path) -> None:
    files = store(tmp_path)
    kept = [(await files.write(name, b"")).path for name in ("a/b/.part", "a/.streamflow-x.part", "c.part")]
    left = files.root / "a" / "b" / ".streamflow-0123456789abcdef.part"
    left.write_bytes(b"half")
    (files.root.parent / ".streamflow-fedcba9876543210.part").write_bytes(b"half")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / left.name).write_bytes(b"not ours")
    (files.root / "link").symlink_to(outside)
    assert await files.sweep() == 2
    assert everything(tmp_path) == sorted(kept)
    assert (outside / left.name).exists()


@pytest.mark.asyncio
async def test_sweeping_a_workspace_without_files_is_nothing(tmp_path: Path) -> None:
    assert await store(tmp_path).sweep() == 0


def test_a_whole_file_can_be_written_anywhere(tmp_path: Path) -> None:
    write_whole(tmp_path / "library.bib", b"@article{a}")
    write_whole(tmp_path / "library.bib", b"@article{b}")
    assert [path.name for path in tmp_path.iterdir()] == ["library.bib"]
    assert (tmp_path / "library.bib").read_bytes() == b"@article{b}"


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["ingest", "write"])
async def test_a_full_disk_is_waited_out_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    answers = iter([errno.ENOSPC, errno.EDQUOT])
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        refusal = next(answers, None)
        if refusal is not None:
            raise OSError(refusal, os.strerror(refusal))
        sync(descriptor)

    events: list[object] = []
    root = tmp_path / "workspace" / "files"
    root.mkdir(parents=True)
    files = FileStore(root, patience=Patience(root.parent, events.append, first=0.0))
    (tmp_path / "a").write_bytes(b"bytes")
    monkeypatch.setattr(os, "fsync", fsync)
    stored = await (files.ingest(tmp_path / "a") if way == "ingest" else files.write("a", b"bytes"))
    assert next(answers, None) is None
    assert everything(tmp_path) == [stored.path]
    assert [type(event).__name__ for event in events] == ["StorageBlocked", "StorageResumed"]


@pytest.mark.asyncio
async def test_a_file_that_is_too_large_for_the_disk_is_named(tmp_path: Path) -> None:
    """By that it is known whose disk is full, though there is room for smaller ones."""
    with pytest.raises(OSError, match="No space left") as raised:
        async with FileStore(tmp_path / "files").writing("a"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert Path(raised.value.filename).parent == tmp_path / "files"


@pytest.mark.asyncio
async def test_whoever_is_cancelled_twice_still_waits_for_the_thread() -> None:
    """A run cancels its workers more than once, and what they have in a thread must not outlive it."""
    begun, let_go = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        begun.set()
        let_go.wait(30)

    working = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 30)
    try:
        for _ in range(3):
            working.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert not working.done()
    finally:
        let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await working
