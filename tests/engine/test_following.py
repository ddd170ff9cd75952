"""A file of a watched folder is filed when all that it became has ended, however often the process ends before that."""

from __future__ import annotations

import asyncio
import errno
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from streamflow.engine import following
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.errors import Reject, RetryLater, Skip
from streamflow.events import Event, FileNotMoved
from streamflow.limits.retry import Retry
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.sources.filing import Filing
from streamflow.sources.walk import FoundFile, file_stat
from streamflow.sources.watch import Pace
from streamflow.storage.memory import MemoryStore
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Store
from tests.cli.harness import read_until, started, write_pipeline, write_words
from tests.engine.flows import play, until


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY", 0.01)


@record(key="text")
class Line:
    text: str


@record(key="text", table="words")
class Word:
    text: str


async def lines(inputs: Inputs) -> AsyncIterator[Line]:
    async with aclosing(inputs.files((".txt",))) as files:
        async for file in files:
            text = await asyncio.to_thread(file.path.read_text)
            for line in text.splitlines():
                yield Line(line)


class Work:
    """What the stage does, so that a test can hold it up."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.tried: list[str] = []

    async def __call__(self, line: Line) -> Word | None:
        self.tried.append(line.text)
        if line.text.startswith("wait"):
            await self.go.wait()
        if line.text.startswith("later") and self.tried.count(line.text) == 1:
            raise RetryLater("not yet", delay=0.05)
        if line.text.startswith("bad"):
            raise Reject(f"{line.text} is no good")
        if line.text == "dull":
            raise Skip("too dull")
        return Word(line.text)


def pipeline(work: Work) -> Pipeline:
    async def spell(line: Line) -> Word | None:
        return await work(line)

    return Pipeline("spelling", sources=[lines], stages=[Stage(spell, workers=4, retry=Retry(attempts=3))])


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f".{name}").write_text(text)
        (folder / f".{name}").rename(folder / f"{name}.txt")


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def watch(folder: Path, store: Store, work: Work, enough: Callable[[], bool], filing: bool = True) -> Run:
    places = {"processed": "processed", "failed": "failed"} if filing else {}
    inputs = Inputs([str(folder)], watching=True, pace=Pace(0, 0.1), **places)
    runs: list[Run] = []

    async def stop(run: Run) -> None:
        runs.append(run)
        await until(enough)
        run.stop("enough")

    await play(pipeline(work), store, resources={Inputs: inputs}, watch=stop, daemon=True, patience=60)
    return runs[0]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "streamflow.db")


@pytest.mark.asyncio
async def test_files_go_where_their_items_ended(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "in"
    write(folder, good="a\nb", again="later", dull="dull", one_bad="c\nbad one\nbad two", empty="", twin="a\nb")
    filed = {
        "processed/good.txt",
        "processed/twin.txt",
        "processed/again.txt",
        "processed/dull.txt",
        "failed/one_bad.txt",
        "failed/one_bad.txt.reason.txt",
        "failed/empty.txt",
        "failed/empty.txt.reason.txt",
    }
    await watch(folder, store, Work(), lambda: tree(folder) == filed)
    assert tree(folder) == filed
    assert "is no good" in (folder / "failed" / "one_bad.txt.reason.txt").read_text()
    assert "No record came" in (folder / "failed" / "empty.txt.reason.txt").read_text()


@pytest.mark.asyncio
async def test_a_file_stays_until_the_last_of_its_items_has_ended(tmp_path: Path, store: Store) -> None:
    folder, work = tmp_path / "in", Work()
    write(folder, slow="a\nwait", quick="b")
    seen: list[set[str]] = []

    def enough() -> bool:
        if "wait" in work.tried and "quick.txt" not in tree(folder) and not work.go.is_set():
            seen.append(tree(folder))
            work.go.set()
        return "processed/slow.txt" in tree(folder)

    await watch(folder, store, work, enough)
    assert seen == [{"slow.txt", "processed/quick.txt"}]


@pytest.mark.asyncio
async def test_what_ended_before_the_move_is_moved_by_the_next_start(tmp_path: Path) -> None:
    folder, database = tmp_path / "in", tmp_path / "streamflow.db"
    write(folder, good="a", bad="bad one")

    def ended() -> int:
        if not database.exists():
            return 0
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0)) as connection:
            try:
                return int(
                    connection.execute("SELECT count(*) FROM streamflow_items WHERE state <> 'pending'").fetchone()[0]
                )
            except sqlite3.OperationalError:
                return 0

    await watch(folder, SqliteStore(database), Work(), lambda: ended() == 2, filing=False)
    assert tree(folder) == {"good.txt", "bad.txt"}
    work = Work()
    await watch(folder, SqliteStore(database), work, lambda: not list(folder.glob("*.txt")))
    assert tree(folder) == {"processed/good.txt", "failed/bad.txt", "failed/bad.txt.reason.txt"}
    assert work.tried == []


@pytest.mark.asyncio
async def test_what_ends_in_the_grace_period_is_filed_before_the_end(tmp_path: Path) -> None:
    folder, work = tmp_path / "in", Work()
    write(folder, slow="wait")

    def enough() -> bool:
        if "wait" in work.tried:
            asyncio.get_running_loop().call_later(0.05, work.go.set)
            return True
        return False

    await watch(folder, SqliteStore(tmp_path / "streamflow.db"), work, enough)
    assert tree(folder) == {"processed/slow.txt"}


@pytest.mark.asyncio
async def test_who_looks_while_another_does_waits_for_what_that_one_files(tmp_path: Path) -> None:
    """Else a run that stops while it looks would be over before the file is in its place."""
    write(tmp_path, empty="")
    path = tmp_path / "empty.txt"
    followed = following.Following(Filing(tmp_path, "processed", "failed"), MemoryStore(), {})
    in_hand = following.FilesInHand(followed)
    in_hand.take(FoundFile(path, path.name, tmp_path, file_stat(path.stat())))
    in_hand.done()
    looking = asyncio.create_task(followed.look())
    await asyncio.sleep(0)
    await followed.look()
    assert (tmp_path / "failed" / "empty.txt").exists()
    await looking


@pytest.mark.asyncio
async def test_a_move_that_failed_is_tried_again_though_nothing_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, failed = tmp_path / "in", Filing.move, []
    write(folder, good="a")

    def move(self: Filing, found: FoundFile, reason: str | None) -> None:
        if len(failed) < 3:
            failed.append(found.path.name)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, found, reason)

    monkeypatch.setattr(Filing, "move", move)
    done = {"processed/good.txt"}
    await watch(folder, SqliteStore(tmp_path / "streamflow.db"), Work(), lambda: tree(folder) == done)
    assert len(failed) == 3


@pytest.mark.asyncio
async def test_each_file_that_cannot_be_moved_is_told_once(tmp_path: Path) -> None:
    told: list[Event] = []
    followed = following.Following(Filing(tmp_path, "processed", "failed"), MemoryStore(), {}, told.append)
    in_hand = following.FilesInHand(followed)
    (tmp_path / "failed" / "deep").write_text("no folder")
    for name in ("a", "b"):
        path = tmp_path / "deep" / f"{name}.txt"
        write(path.parent, **{name: ""})
        in_hand.take(FoundFile(path, path.name, tmp_path, file_stat(path.stat())))
        in_hand.done()
        await followed.look()
    assert told == [FileNotMoved(str(tmp_path / "deep" / f"{name}.txt"), "Not a directory") for name in ("a", "b")]
    (tmp_path / "failed" / "deep").unlink()
    in_hand.take(FoundFile(tmp_path / "none", "none", tmp_path, None))
    in_hand.done()
    await followed.look()
    assert not list((tmp_path / "deep").iterdir())
    assert len(told) == 2


def test_what_cannot_be_moved_is_said_where_people_see_it(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    (tmp_path / "in" / "failed").mkdir(parents=True)
    (tmp_path / "in" / "deep").mkdir()
    (tmp_path / "in" / "failed" / "deep").write_text("no folder")
    for name in ("a.txt", "b.txt"):
        write_words(tmp_path / "in" / "deep", f"bad {name}", name=name)
    settings = {"STREAMFLOW_WATCH__QUIET": "0.05", "STREAMFLOW_WATCH__FAILED": "failed"}
    with started(tmp_path, "watch", "tiny:pipeline", "in", "-w", "ws", **settings) as watching:
        assert "It stays, and is tried again" in read_until(watching.stderr, ".txt has ended and cannot be moved")
        log = tmp_path / "ws" / "logs" / "streamflow.jsonl"
        while log.read_text().count("file_not_moved") < 2:
            assert watching.poll() is None
        watching.send_signal(signal.SIGTERM)
        _, told = watching.communicate(timeout=60)
    assert "cannot be moved" not in told


@pytest.mark.asyncio
async def test_files_that_are_in_hand_are_forgotten_once_they_are_filed(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "in"
    write(folder, **{f"n{number}": f"text {number}" for number in range(600)})
    run = await watch(folder, store, Work(), lambda: len(list(folder.glob("*.txt"))) == 0)
    assert len(tree(folder / "processed")) == 600
    assert run._feeding.following is not None
    assert not run._feeding.following._files


def test_kill_9_in_the_middle_of_a_file_loses_neither_it_nor_its_place(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    (tmp_path / "in").mkdir()
    write_words(tmp_path / "in", "first", "wait")
    settings = {"STREAMFLOW_WATCH__QUIET": "0.05", "STREAMFLOW_WATCH__PROCESSED": "processed"}
    command = ("watch", "tiny:pipeline", "in", "-w", "ws")
    with started(tmp_path, *command, **settings) as watching:
        read_until(watching.stdout, "waiting")
        watching.kill()
        watching.wait()
    assert tree(tmp_path / "in") == {"words.txt"}
    (tmp_path / "go").touch()
    with started(tmp_path, *command, **settings) as watching:
        read_until(watching.stdout, "measured wait")
        while not (tmp_path / "in" / "processed" / "words.txt").exists():
            assert watching.poll() is None
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(60) == 143
    assert tree(tmp_path / "in") == {"processed/words.txt"}
