"""A week of the daemon in minutes:  python -m benchmarks.week [--files N] [--days N]

Real files come into a real folder: by atomic rename, in bursts, growing, renamed and deleted midway. A real daemon
(its lock, journal, notifications, moves to `processed` and `failed`, finalizers, reloads) works on them in this
process. Only its periods are shorter: a file is whole, a folder is scanned again, a pipeline is quiet and a record is
old after a hundredth of the time or so.

After each day the process is looked at: memory, descriptors, tasks, threads, and the database's bytes for each file.
Beside them stands what it keeps of a file once records are forgotten: the rows, and that the items were done. Exits 1
when one of them grows from the second day to the last, when the database has room for much more than what it keeps and
one day's records, or when a file is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time

from streamflow import Inputs, Pipeline, Reader, Reject, RetryLater, Skip, Stage, record, run_pipeline
from streamflow.engine import following, retention, run
from streamflow.engine.reload import take_over
from streamflow.engine.run import Run
from streamflow.limits.registry import Registry
from streamflow.settings import Settings
from streamflow.storage import DATABASE
from streamflow.storage.retention import OLD

FILES, DAYS, SEED = 20_000, 7, 11
BURST = 250
"""Files that come at once."""
SLACK = 0.5
"""The share by which pages that are not full may make a database larger than what is in it."""
GROWTH_MB, GROWTH_BYTES = 4.0, 0.05
"""What may be more on the last day than on the second: megabytes of memory, and a share of the bytes of an item."""
GROWTH_DESCRIPTORS = 3
"""SQLite keeps a closed descriptor for the next reader while another one holds a lock: as many as read at once."""
_POOLS = ("AnyIO worker thread", "asyncio_")
"""Begin the names of threads that come and go with the work, up to a number that is set."""
SETTINGS = {
    "watch": {"quiet": 0.01, "rescan": 0.3, "processed": "processed", "failed": "failed"},
    "storage": {"synchronous": "NORMAL"},
    "retention": {"done": "1s"},
}


@record(key="name")
class Note:
    name: str
    text: str


@record(key="word", table="words")
class Word:
    word: str


@record(key="name", table="notes")
class Length:
    name: str
    length: int


async def notes(inputs: Inputs) -> AsyncIterator[Note]:
    """The texts of the files."""
    async with aclosing(inputs.files((".txt",))) as files:
        async for file in files:
            with suppress(FileNotFoundError):  # it came and went, and on a busy machine it was thought whole meanwhile
                text = await asyncio.to_thread(_text, file.open)
                yield Note(file.name, text)


def _text(open_file: Callable[[], object]) -> str:
    with open_file() as file:  # type: ignore[attr-defined]
        return str(file.read().decode())


_retried: set[str] = set()


async def measure(note: Note) -> tuple[Length, Word]:
    """Some are tried twice, some are not wanted, some never work."""
    kind = int(note.name[1:6]) % 100
    if kind == 1:
        raise Reject("it never works")
    if kind == 2:
        raise Skip("not wanted")
    if kind == 3 and note.name not in _retried:
        _retried.add(note.name)
        raise RetryLater("the other side is busy", delay=0.05)
    _retried.discard(note.name)
    await asyncio.sleep(0)
    return Length(note.name, len(note.text)), Word(f"word {kind}")


async def count(word: Word) -> None:
    """An end."""


async def summarize(*, reader: Reader) -> None:
    """A finalizer, as often as it goes quiet."""
    await reader.records(Word)


pipeline = Pipeline("week", sources=[notes], stages=[Stage(measure, workers=8), Stage(count)], finalizers=[summarize])


@dataclass(frozen=True)
class Day:
    """The process after a day. `memory` is in megabytes (of 10**6 bytes). `database` and what of it is `kept`, packed,
    are in bytes for each file so far, and so is `fresh`: the records that came on this day."""

    files: int
    memory: float
    descriptors: int
    tasks: int
    threads: int
    database: float
    kept: float
    fresh: float


def grown(days: Sequence[Day]) -> list[str]:
    """What grew from the second day to the last: the first warms up."""
    early, late = days[min(1, len(days) - 2)], days[-1]
    found = [
        f"{name} grew from {getattr(early, name)} to {getattr(late, name)}"
        for name, more in (("descriptors", GROWTH_DESCRIPTORS), ("tasks", 0), ("threads", 0))
        if getattr(late, name) > getattr(early, name) + more
    ]
    if late.memory > early.memory + GROWTH_MB:
        found.append(f"memory grew from {early.memory:.1f} to {late.memory:.1f} MB")
    if late.database > early.database * (1 + GROWTH_BYTES):
        found.append(f"the database grew from {early.database:.0f} to {late.database:.0f} bytes for each file")
    needed = late.kept + late.fresh
    if late.database > needed * (1 + SLACK):
        found.append(f"the database has {late.database:.0f} bytes for each file, and needs {needed:.0f}")
    return found


async def week(folder: Path, files: int = FILES, days: int = DAYS, *, seed: int = SEED) -> AsyncGenerator[Day]:
    """Live through it; a look at the process after each day. Raises AssertionError when a file is lost."""
    inbox, workspace = folder / "inbox", folder / "workspace"
    inbox.mkdir()
    workspace.mkdir()
    runs: list[tuple[Run, Registry]] = []
    settings = Settings.model_validate(SETTINGS)
    with _hurried():
        running = asyncio.create_task(
            run_pipeline(
                pipeline,
                [str(inbox)],
                workspace=workspace,
                settings=settings,
                watching=True,
                started=lambda run, limits: runs.append((run, limits)),
            )
        )
        try:
            chance, made = random.Random(seed), 0
            for day in range(days):
                until, fresh = files * (day + 1) // days, 0
                while made < until:
                    burst = range(made, min(until, made + BURST))
                    fresh += await asyncio.to_thread(_arrive, inbox, burst, chance)
                    made = burst.stop
                    await _settled(inbox, running)
                take_over(*runs[0], pipeline, settings)
                await asyncio.sleep(3 * run.QUIET)  # the finalizers run
                await _pruned(workspace, running)
                yield await _look(made, workspace, fresh)
            assert _filed(inbox) == made, "a file was lost"
        finally:
            if runs:
                runs[0][0].stop("the week is over")
            await running


def _arrive(inbox: Path, numbers: Sequence[int], chance: random.Random) -> int:
    """A burst of files: some grow, some are renamed, some come and go before they are whole. The bytes of all."""
    growing, size = [], 0
    for number in numbers:
        name, text = f"n{number:05}.txt", f"note {number} " * chance.randint(1, 150)
        size += len(text)
        match chance.randrange(20):
            case 0:
                growing.append((inbox / name, text))
                (inbox / name).write_text(text[:5])
            case 1:
                (inbox / f"before-{name}").write_text(text)
                (inbox / f"before-{name}").rename(inbox / name)
            case 2:
                (inbox / f"x{number:05}.txt").write_text("gone before it is whole")
                (inbox / f"x{number:05}.txt").unlink()
                (inbox / name).write_text(text)
            case _:
                (inbox / f".{name}").write_text(text)
                (inbox / f".{name}").rename(inbox / name)
    for path, text in growing:
        with path.open("a") as file:  # perhaps it was taken meanwhile, and comes again
            file.write(text[5:])
    return size


async def _settled(inbox: Path, running: asyncio.Task[object]) -> None:
    """Until all files have been moved."""
    while await asyncio.to_thread(_waiting, inbox):
        assert not running.done(), "the daemon has ended"
        await asyncio.sleep(0.05)


async def _pruned(workspace: Path, running: asyncio.Task[object]) -> None:
    """Until the records of all that is done are forgotten."""
    old, until = f"SELECT count(*) FROM streamflow_items WHERE {OLD}", time() + 60  # noqa: S608 - no values
    while await asyncio.to_thread(_ask, workspace, old, (time(),)):
        assert not running.done(), "the daemon has ended"
        assert time() < until, "records stay"
        await asyncio.sleep(0.05)


def _waiting(inbox: Path) -> bool:
    with os.scandir(inbox) as entries:
        return any(entry.is_file() for entry in entries)


def _filed(inbox: Path) -> int:
    places = (inbox / "processed", inbox / "failed")
    names = {name[:6] for place in places for name in os.listdir(place) if name.endswith(".txt")}
    return len(names)


async def _look(made: int, workspace: Path, fresh: int) -> Day:
    """The least of several looks: what is opened, or begun, for a moment only is not counted."""
    gc.collect()
    looks = []
    for _ in range(20):
        looks.append((len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())))
        await asyncio.sleep(0.02)
    descriptors, tasks = (min(figures) for figures in zip(*looks, strict=True))
    threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith(_POOLS)]
    memory = await asyncio.to_thread(_memory)
    size, kept = await asyncio.to_thread(lambda: (_size(workspace), _packed(workspace)))
    return Day(made, memory, descriptors, tasks, len(threads), size / made, kept / made, fresh / made)


def _size(workspace: Path) -> int:
    """The database's bytes, those included that are not yet moved from the log of writes into the file."""
    return _ask(workspace, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")


def _packed(workspace: Path) -> int:
    """The bytes that it would have without a gap. Another process packs it: the memory of this one is measured."""
    copy = workspace / "packed.db"
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM INTO ?', sys.argv[2:])"
    subprocess.run([sys.executable, "-c", program, workspace / DATABASE, copy], check=True)
    try:
        return copy.stat().st_size
    finally:
        copy.unlink()


def _ask(workspace: Path, sql: str, parameters: Sequence[object] = ()) -> int:
    with closing(sqlite3.connect(f"{(workspace / DATABASE).as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("PRAGMA cache_size = 10")  # pages: the memory of this process is measured
        return int(connection.execute(sql, parameters).fetchone()[0])


def _memory() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _hurried() -> Iterator[None]:
    """Shorten the engine's own periods."""
    before = following.LOOK_EVERY, run.QUIET, retention.EVERY
    following.LOOK_EVERY, run.QUIET, retention.EVERY = 0.02, 0.05, 0.5
    try:
        yield
    finally:
        following.LOOK_EVERY, run.QUIET, retention.EVERY = before


async def _live(files: int, days: int) -> int:
    lived: list[Day] = []
    with TemporaryDirectory(prefix="streamflow-week-") as folder:
        started = perf_counter()
        print("day   files    memory  descriptors  tasks  threads     database         kept")
        async with aclosing(week(Path(folder), files, days)) as passing:
            async for day in passing:
                lived.append(day)
                print(
                    f"{len(lived):>3} {day.files:>7,} {day.memory:>6.1f} MB {day.descriptors:>12} {day.tasks:>6} "
                    f"{day.threads:>8} {day.database:>5,.0f} B/file {day.kept:>5,.0f} B/file",
                    flush=True,
                )
        print(f"{perf_counter() - started:.0f} s, seed {SEED}; every file is in processed or failed")
    problems = grown(lived)
    print("\n".join(problems) or "nothing grew")
    return int(bool(problems))


def main(arguments: list[str] | None = None) -> int:
    """Live through a week, or less."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.week", description="A week of the daemon in minutes.")
    parser.add_argument("--files", type=int, default=FILES, help=f"how many files come in all ({FILES:,})")
    parser.add_argument("--days", type=int, default=DAYS, help=f"looks at the process, at least 2 ({DAYS})")
    given = parser.parse_args(arguments)
    return asyncio.run(_live(given.files, max(2, given.days)))


if __name__ == "__main__":
    sys.exit(main())
