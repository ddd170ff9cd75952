from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path

import pytest

from streamflow.sources.walk import FileStat, FoundFile
from streamflow.sources.watch import Pace, Settling, watch

QUIET, RESCAN = 2.0, 60.0


class Clock:
    """Time goes on only when the watcher waits. At each wait the next step of the test's script happens."""

    def __init__(self, *steps: Callable[[], object], notifier: Notifier | None = None) -> None:
        self.now = 1000.0
        self._steps = list(steps)
        self._notifier = notifier

    def time(self) -> float:
        return self.now

    async def wait(self, event: asyncio.Event, until: float) -> None:
        if self._steps:
            self._steps.pop(0)()
        if self._notifier is not None:
            await self._notifier.queue.join()
        if not event.is_set():
            self.now = max(self.now, until)


async def silent(folder: str, stop: asyncio.Event) -> AsyncGenerator[Iterable[str]]:
    await stop.wait()
    return
    yield []


class Notifier:
    """Notifications that the test sends by hand."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[str]] = asyncio.Queue()
        self.folders: list[str] = []
        self.ended = 0

    async def __call__(self, folder: str, stop: asyncio.Event) -> AsyncGenerator[Iterable[str]]:
        self.folders.append(folder)
        stopped = asyncio.create_task(stop.wait())
        try:
            while True:
                told = asyncio.create_task(self.queue.get())
                await asyncio.wait([told, stopped], return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    told.cancel()
                    return
                yield told.result()
                self.queue.task_done()
        finally:
            stopped.cancel()
            self.ended += 1


def write(path: Path, content: bytes = b"%PDF-", *, age: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    return path


def watching(folder: Path, clock: Clock, notifier: object = silent, **options: float) -> AsyncGenerator[FoundFile]:
    pace = Pace(**({"quiet": QUIET, "rescan": RESCAN} | options))
    return watch(folder, (".pdf",), pace, clock=clock, listen=notifier)  # type: ignore[arg-type]


async def take(folder: Path, count: int, clock: Clock, notifier: object = silent, **options: float) -> list[str]:
    async with aclosing(watching(folder, clock, notifier, **options)) as files:
        return [(await anext(files)).name for _ in range(count)]


@pytest.mark.asyncio
async def test_files_that_are_there_come_after_a_quiet_period_newest_first(tmp_path: Path) -> None:
    write(tmp_path / "old.pdf", age=100)
    write(tmp_path / "new.pdf", age=1)
    write(tmp_path / "deep" / "middle.pdf", age=50)
    write(tmp_path / "notes.txt")
    clock = Clock()
    assert await take(tmp_path, 3, clock) == ["new.pdf", "middle.pdf", "old.pdf"]
    assert clock.now == 1000 + QUIET


@pytest.mark.asyncio
async def test_a_growing_file_comes_once_it_has_stopped_growing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pdf", b"1", age=10)
    clock = Clock(*(lambda n=n: write(path, b"x" * n, age=10 - n) for n in range(2, 6)))
    async with aclosing(watching(tmp_path, clock)) as files:
        await anext(files)
        assert path.stat().st_size == 5
        assert clock.now >= 1000 + 4 * QUIET


@pytest.mark.asyncio
async def test_a_notification_brings_a_new_file_long_before_the_rescan(tmp_path: Path) -> None:
    notifier = Notifier()

    def arrive() -> None:
        notifier.queue.put_nowait([str(write(tmp_path / "a.pdf"))])

    clock = Clock(lambda: None, arrive, notifier=notifier)
    assert await take(tmp_path, 1, clock, notifier) == ["a.pdf"]
    assert clock.now < 1000 + 10


@pytest.mark.asyncio
async def test_a_notification_of_a_folder_brings_the_files_in_it(tmp_path: Path) -> None:
    notifier = Notifier()

    def arrive() -> None:
        write(tmp_path / "moved" / "in" / "a.pdf")
        notifier.queue.put_nowait([str(tmp_path / "moved")])

    clock = Clock(lambda: None, arrive, notifier=notifier)
    assert await take(tmp_path, 1, clock, notifier) == ["a.pdf"]
    assert clock.now < 1000 + 10


@pytest.mark.asyncio
async def test_a_lost_notification_is_made_good_by_the_rescan(tmp_path: Path) -> None:
    clock = Clock(lambda: None, lambda: write(tmp_path / "a.pdf"))
    assert await take(tmp_path, 1, clock) == ["a.pdf"]
    assert clock.now <= 1000 + QUIET + RESCAN + 2 * QUIET


@pytest.mark.asyncio
async def test_polling_needs_no_notifications(tmp_path: Path) -> None:
    notifier = Notifier()
    clock = Clock(lambda: None, lambda: write(tmp_path / "a.pdf"))
    assert await take(tmp_path, 1, clock, notifier, poll=5) == ["a.pdf"]
    assert notifier.folders == []
    assert clock.now <= 1000 + QUIET + 5 + 2 * QUIET


@pytest.mark.asyncio
async def test_a_file_comes_once_and_again_after_it_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pdf", age=10)
    steps: list[Callable[[], object]] = [lambda: None] * 6
    clock = Clock(*steps, lambda: write(path, b"changed", age=5))
    assert await take(tmp_path, 2, clock) == ["a.pdf", "a.pdf"]
    assert clock.now > 1000 + 3 * RESCAN


@pytest.mark.asyncio
async def test_a_file_that_goes_away_or_changes_its_name_before_it_is_whole_does_not_come(tmp_path: Path) -> None:
    gone = write(tmp_path / "gone.pdf")
    renamed = write(tmp_path / "before.pdf", age=10)

    def step() -> None:
        gone.unlink()
        renamed.rename(tmp_path / "after.pdf")

    write(tmp_path / "last.pdf", age=1000)
    clock = Clock(step)
    assert sorted(await take(tmp_path, 2, clock)) == ["after.pdf", "last.pdf"]


@pytest.mark.asyncio
async def test_a_file_that_goes_away_while_another_is_worked_on_does_not_come(tmp_path: Path) -> None:
    write(tmp_path / "first.pdf", age=1)
    second = write(tmp_path / "second.pdf", age=2)
    write(tmp_path / "third.pdf", age=3)
    async with aclosing(watching(tmp_path, Clock())) as files:
        assert (await anext(files)).name == "first.pdf"
        second.unlink()
        assert (await anext(files)).name == "third.pdf"


@pytest.mark.asyncio
async def test_the_newest_is_chosen_anew_each_time(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.pdf", age=100 + number)
    notifier, clock = Notifier(), Clock()
    async with aclosing(watching(tmp_path, clock, notifier)) as files:
        assert (await anext(files)).name == "0.pdf"
        notifier.queue.put_nowait([str(write(tmp_path / "newest.pdf"))])
        await notifier.queue.join()
        assert (await anext(files)).name == "1.pdf"
        clock.now += QUIET
        assert (await anext(files)).name == "newest.pdf"
        assert (await anext(files)).name == "2.pdf"


@pytest.mark.asyncio
@pytest.mark.parametrize("partial", ["a.pdf.part", "a.pdf.crdownload"])
async def test_a_file_beside_its_partial_download_is_not_whole(tmp_path: Path, partial: str) -> None:
    write(tmp_path / "a.pdf", b"")
    write(tmp_path / partial)
    other = write(tmp_path / "b.pdf", age=50)
    clock = Clock(*[lambda: None] * 5, lambda: (tmp_path / partial).unlink())
    async with aclosing(watching(tmp_path, clock)) as files:
        assert (await anext(files)).path == other
        assert (await anext(files)).name == "a.pdf"
        assert not (tmp_path / partial).exists()


@pytest.mark.asyncio
async def test_the_empty_place_that_firefox_keeps_is_not_whole(tmp_path: Path) -> None:
    place = write(tmp_path / "paper.pdf", b"")
    partial = write(tmp_path / "paper.Xy12.pdf.part")
    clock = Clock(*[lambda: None] * 5, lambda: partial.replace(place))
    async with aclosing(watching(tmp_path, clock)) as files:
        assert (await anext(files)).path.stat().st_size > 0


@pytest.mark.asyncio
async def test_an_empty_file_comes_too(tmp_path: Path) -> None:
    write(tmp_path / "empty.pdf", b"")
    assert await take(tmp_path, 1, Clock()) == ["empty.pdf"]


@pytest.mark.asyncio
async def test_symlinks_and_ignored_folders_are_passed_over_in_notifications_too(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(tmp_path / "outside" / "secret.pdf")
    folder.mkdir()
    notifier = Notifier()

    def arrive() -> None:
        (folder / "link.pdf").symlink_to(tmp_path / "outside" / "secret.pdf")
        (folder / "linked").symlink_to(tmp_path / "outside")
        write(folder / "done" / "a.pdf")
        write(folder / ".hidden" / "b.pdf")
        write(folder / "kept.pdf", age=500)
        paths = ["link.pdf", "linked", "linked/secret.pdf", "done", "done/a.pdf", ".hidden/b.pdf", "kept.pdf"]
        notifier.queue.put_nowait([str(folder / path) for path in paths])

    clock = Clock(lambda: None, arrive, notifier=notifier)
    files = watch(folder, (".pdf",), Pace(QUIET, RESCAN), ignored={str(folder / "done")}, clock=clock, listen=notifier)
    async with aclosing(files):
        assert (await anext(files)).name == "kept.pdf"
        write(folder / "later.pdf", age=1000)
        assert (await anext(files)).name == "later.pdf"


@pytest.mark.asyncio
@pytest.mark.parametrize("ignored", ["workspace", "workspace/inbox"])
async def test_a_folder_within_the_workspace_can_be_watched(tmp_path: Path, ignored: str) -> None:
    folder = tmp_path / "workspace" / "inbox"
    folder.mkdir(parents=True)
    notifier = Notifier()
    clock = Clock(
        lambda: None,
        lambda: notifier.queue.put_nowait([str(write(folder / "a.pdf"))]),
        notifier=notifier,
    )
    outer = {str(tmp_path / ignored)}
    async with aclosing(watch(folder, (".pdf",), ignored=outer, clock=clock, listen=notifier)) as files:
        assert (await anext(files)).name == "a.pdf"
    assert clock.now < 1000 + 10


@pytest.mark.asyncio
async def test_downloads_of_a_workspace_in_the_watched_folder_do_not_become_inputs(tmp_path: Path) -> None:
    write(tmp_path / "streamflow.lock")
    notifier = Notifier()

    def arrive() -> None:
        download = write(tmp_path / "files" / "papers" / "download.pdf")
        write(tmp_path / "a.pdf", age=500)
        notifier.queue.put_nowait([str(tmp_path / "files"), str(download), str(tmp_path / "a.pdf")])

    clock = Clock(lambda: None, arrive, notifier=notifier)
    async with aclosing(watching(tmp_path, clock, notifier)) as files:
        assert (await anext(files)).name == "a.pdf"
        write(tmp_path / "later.pdf", age=1000)
        assert (await anext(files)).name == "later.pdf"


@pytest.mark.asyncio
async def test_when_notifications_fail_scans_come_more_often(tmp_path: Path) -> None:
    async def broken(folder: str, stop: asyncio.Event) -> AsyncGenerator[Iterable[str]]:
        raise OSError("the limit of watches is reached")
        yield []

    clock = Clock(*[lambda: None] * 4, lambda: write(tmp_path / "a.pdf"))
    assert await take(tmp_path, 1, clock, broken) == ["a.pdf"]
    assert clock.now < 1000 + RESCAN


@pytest.mark.asyncio
async def test_a_flood_of_notifications_leads_to_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamflow.sources.watch._CHANGES", 3)
    notifier = Notifier()

    def flood() -> None:
        for number in range(5):
            write(tmp_path / f"{number}.pdf", age=number)
        notifier.queue.put_nowait([str(tmp_path / f"{number}.pdf") for number in range(5)])

    clock = Clock(lambda: None, flood, notifier=notifier)
    assert await take(tmp_path, 5, clock, notifier) == [f"{number}.pdf" for number in range(5)]
    assert clock.now < 1000 + 10


@pytest.mark.asyncio
async def test_a_folder_that_is_replaced_is_listened_to_anew(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.pdf")
    notifier = Notifier()

    def replace() -> None:
        folder.rename(tmp_path / "old")
        write(folder / "b.pdf")

    clock = Clock(lambda: None, replace)
    assert sorted(await take(folder, 2, clock, notifier)) == ["a.pdf", "b.pdf"]
    assert len(notifier.folders) == 2
    assert notifier.ended == 2


@pytest.mark.asyncio
async def test_a_folder_that_goes_away_and_comes_back_is_watched_on(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "a.pdf")
    steps: list[Callable[[], object]] = [lambda: None] * 3
    clock = Clock(lambda: folder.rename(tmp_path / "away"), *steps, lambda: (tmp_path / "away").rename(folder))
    assert await take(folder, 1, clock) == ["a.pdf"]


@pytest.mark.asyncio
@pytest.mark.parametrize("cancelled", [False, True])
async def test_the_real_notifications_come_and_stop_without_a_task_or_a_thread_left(
    tmp_path: Path, cancelled: bool
) -> None:
    before = asyncio.all_tasks()
    files = watch(tmp_path, (".pdf",), Pace(0, 3600))
    write(tmp_path / "first.pdf")
    async with asyncio.timeout(20):
        assert (await anext(files)).name == "first.pdf"
        (tmp_path / "sub").mkdir()
        waiting = asyncio.create_task(anext(files))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        (tmp_path / "second.pdf").write_bytes(b"%PDF-")
        assert (await waiting).name == "second.pdf"
        if cancelled:
            waiting = asyncio.create_task(anext(files))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await files.aclose()
    assert asyncio.all_tasks() == before
    for thread in threading.enumerate():
        if thread.name == "AnyIO worker thread":
            thread.queue.join()  # type: ignore[attr-defined]  # returns once it has nothing in hand


A, B = FileStat(1, 10, 1), FileStat(2, 20, 1)


def test_a_file_is_whole_when_it_is_seen_unchanged_after_the_quiet_period() -> None:
    settling = Settling(Pace(2))
    settling.see("a", A, 0)
    settling.see("a", A, 1.9)
    assert settling.newest() is None
    assert settling.next_due() == 2
    settling.see("a", A, 2)
    assert settling.newest() == ("a", A)


def test_each_change_starts_the_quiet_period_again() -> None:
    settling = Settling(Pace(2))
    settling.see("a", A, 0)
    settling.see("a", B, 1.5)
    assert settling.due(2, 10) == []
    assert settling.due(3.5, 10) == ["a"]
    settling.see("a", B, 3.5)
    settling.see("a", A, 3.6)
    assert settling.newest() is None


def test_a_given_state_is_not_given_again_until_it_is_forgotten() -> None:
    settling = Settling(Pace(0))
    for now in (0, 1):
        settling.see("a", A, now)
    settling.give("a", A)
    for now in (2, 3):
        settling.see("a", A, now)
    assert settling.newest() is None
    settling.forget_all_but(set())
    for now in (4, 5):
        settling.see("a", A, now)
    assert settling.newest() == ("a", A)


def test_a_file_that_is_gone_leaves_nothing_in_memory() -> None:
    settling = Settling(Pace(0))
    for now in (0, 1):
        settling.see("a", A, now)
    settling.see("b", B, 2)
    for path in "ab":
        settling.see(path, None, 3)
    assert settling.newest() is None
    assert settling.next_due() == float("inf")


@pytest.mark.asyncio
async def test_a_new_pace_holds_at_once(tmp_path: Path) -> None:
    pace = Pace(QUIET, 10 * RESCAN)
    clock = Clock(lambda: None, lambda: pace.change(1, 5, None), lambda: write(tmp_path / "a.pdf"))
    async with aclosing(watch(tmp_path, (".pdf",), pace, clock=clock, listen=silent)) as files:
        assert (await anext(files)).name == "a.pdf"
    assert clock.now < 1000 + RESCAN


@pytest.mark.asyncio
async def test_polling_can_be_begun_and_ended(tmp_path: Path) -> None:
    pace, notifier = Pace(QUIET, RESCAN), Notifier()
    steps = [lambda: None, lambda: pace.change(QUIET, RESCAN, 5), lambda: None, lambda: None]
    clock = Clock(*steps, lambda: write(tmp_path / "a.pdf"), notifier=notifier)
    async with aclosing(watch(tmp_path, (".pdf",), pace, clock=clock, listen=notifier)) as files:
        await anext(files)
        assert (len(notifier.folders), notifier.ended) == (1, 1)
        pace.change(QUIET, RESCAN, None)
        clock._steps = [lambda: None] * 3 + [lambda: write(tmp_path / "b.pdf")]
        await anext(files)
        assert (len(notifier.folders), notifier.ended) == (2, 1)


NAMES = [
    "caf\u00e9.pdf",
    "cafe\u0301.pdf",
    "\U0001f4c4 \U0001f468\u200d\U0001f469\u200d\U0001f467.pdf",
    "a" * 251 + ".pdf",
    "\u0394" * 125 + "b.pdf",
    "new\nline\x1b[31m.pdf",
    os.fsdecode(b"\xff\xfe broken.pdf"),
]


@pytest.mark.asyncio
async def test_real_notifications_with_any_names_bring_each_file_once(tmp_path: Path) -> None:
    """A name that is no UTF-8 ends the notifications; the scan after it finds the file, and listens anew."""
    found = []
    async with asyncio.timeout(60), aclosing(watch(tmp_path, (".pdf",), Pace(0, 1))) as files:
        write(tmp_path / "first.pdf")
        assert (await anext(files)).name == "first.pdf"
        for name in NAMES:
            write(tmp_path / f".{name[:100]}").replace(tmp_path / name)  # whole when it appears
        while len(found) < len(NAMES):
            found.append((await anext(files)).name)
    assert sorted(found) == sorted(NAMES)


@pytest.mark.asyncio
async def test_a_burst_of_ten_thousand_files_comes_whole_and_once(tmp_path: Path) -> None:
    write(tmp_path / "in" / "first.pdf")
    async with asyncio.timeout(120), aclosing(watch(tmp_path / "in", (".pdf",), Pace(0, 3600))) as files:
        assert (await anext(files)).name == "first.pdf"
        (tmp_path / "burst").mkdir()
        for number in range(10_000):
            (tmp_path / "burst" / f"{number}.pdf").write_bytes(b"%PDF-")
        (tmp_path / "burst").rename(tmp_path / "in" / "burst")
        found = {(await anext(files)).name for _ in range(10_000)}
    assert len(found) == 10_000
