"""A daemon works on what has changed again, in one life, and retracts nothing that its sources do not bring again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine import following, intake, run
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.source import Source
from streamflow.engine.stage import Stage
from streamflow.events import RecordsRetracted
from streamflow.record import record, record_type
from streamflow.sources.files import Inputs
from streamflow.sources.watch import Pace
from streamflow.storage.memory import MemoryStore
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Store
from tests.engine.flows import Number, Played, Result, play, source_of, until

pytestmark = pytest.mark.asyncio


@record(key="name")
class Doc:
    name: str
    text: str


@record(key="name", table="stored")
class StoredDoc:
    name: str
    text: str


@record(key="text", table="words")
class Word:
    text: str


@record(key="text", table="lengths")
class Length:
    text: str
    length: int


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "QUIET", 0.05)
    monkeypatch.setattr(following, "LOOK_EVERY", 0.01)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}")
    partial.write_text(text)
    partial.rename(path)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in sorted(tree(folder))}


class Flow:
    """Files become documents by the part of their names before a dash, documents words, and words lengths.

    A document that says `wait` holds its stage up until `go`.
    """

    def __init__(self, kind: type[Any] = Doc) -> None:
        self.kind = kind
        self.go = asyncio.Event()
        self.read: list[tuple[str, str]] = []
        self.finished = 0

    def pipeline(self) -> Pipeline:
        async def docs(inputs: Inputs) -> AsyncIterator[Any]:
            async with aclosing(inputs.files((".txt",))) as files:
                async for file in files:
                    yield self.kind(file.path.stem.partition("-")[0], await asyncio.to_thread(file.path.read_text))

        async def split(doc: Any) -> list[Word]:
            self.read.append((doc.name, doc.text))
            if "wait" in doc.text:
                await self.go.wait()
            return [Word(each) for each in doc.text.split()]

        async def measure(word: Word) -> Length:
            return Length(word.text, len(word.text))

        async def note() -> None:
            self.finished += 1

        docs.__annotations__["return"] = AsyncIterator[self.kind]
        split.__annotations__["doc"] = self.kind
        return Pipeline("texts", sources=[docs], stages=[Stage(split, workers=4), Stage(measure)], finalizers=[note])

    async def watched(
        self, folder: Path, store: Store, steps: Callable[[Run], Any], filing: bool = True, **options: Any
    ) -> Played:
        places = {"processed": "processed", "failed": "failed"} if filing else {}
        inputs = Inputs([str(folder)], watching=True, pace=Pace(0, 0.05), **places)

        async def stop_after(run: Run) -> None:
            await steps(run)
            run.stop("enough")

        return await play(
            self.pipeline(), store, resources={Inputs: inputs}, watch=stop_after, daemon=True, patience=15, **options
        )


@pytest.mark.parametrize("filing", [False, True])
async def test_a_file_that_has_changed_is_worked_on_again(tmp_path: Path, filing: bool) -> None:
    folder, flow = tmp_path / "in", Flow()
    write(folder / "a.txt", "old")

    async def steps(run: Run) -> None:
        await until(lambda: flow.finished == 1)
        write(folder / "a.txt", "new")
        await until(lambda: flow.finished == 2)

    await flow.watched(folder, SqliteStore(tmp_path / "streamflow.db"), steps, filing)
    assert flow.read == [("a", "old"), ("a", "new")]
    assert sorted(contents(folder).values()) == (["new", "old"] if filing else ["new"])


@pytest.mark.parametrize(("kind", "durable"), [(Doc, False), (Doc, True), (StoredDoc, True)])
async def test_a_file_that_changes_before_the_run_is_quiet_stays_until_it_has_been_worked_on(
    tmp_path: Path, kind: type[Any], durable: bool
) -> None:
    store = SqliteStore(tmp_path / "streamflow.db") if durable else MemoryStore()
    folder, flow = tmp_path / "in", Flow(kind)
    write(folder / "a.txt", "old wait")
    seen = []

    async def steps(run: Run) -> None:
        await until(lambda: len(flow.read) == 1)
        write(folder / "a.txt", "new")
        write(folder / "b.txt", "other")
        await until(lambda: run._feeding.owes_an_epoch and "processed/b.txt" in tree(folder))
        seen.append(("a.txt" in tree(folder), list(flow.read)))
        flow.go.set()
        await until(lambda: "processed/a.txt" in tree(folder))

    await flow.watched(folder, store, steps)
    assert seen == [(True, [("a", "old wait"), ("b", "other")])]
    assert flow.read[-1] == ("a", "new")
    assert contents(folder) == {"processed/a.txt": "new", "processed/b.txt": "other"}


async def test_of_what_is_put_off_the_last_of_a_key_is_worked_on(tmp_path: Path) -> None:
    """Memory and epochs stay in bounds however often a file changes. What has lost its turn says so."""
    folder, flow = tmp_path / "in", Flow()
    write(folder / "a-1.txt", "first wait")

    async def steps(run: Run) -> None:
        await until(lambda: len(flow.read) >= 1)
        (source,) = run._feeding.intakes
        for number in (2, 3):
            write(folder / f"a-{number}.txt", f"text {number}")
            await until(lambda wanted=number + 0: source.records == wanted)
        await until(lambda: "failed/a-2.txt" in tree(folder))
        flow.go.set()
        await until(lambda: "processed/a-3.txt" in tree(folder))

    await flow.watched(folder, SqliteStore(tmp_path / "streamflow.db"), steps)
    assert flow.read == [("a", "first wait"), ("a", "text 3")]
    assert "same key" in contents(folder)["failed/a-2.txt.reason.txt"]


async def test_what_comes_back_to_what_it_was_is_not_changed_by_what_was_put_off(tmp_path: Path) -> None:
    folder, flow = tmp_path / "in", Flow()
    write(folder / "a-1.txt", "first wait")

    async def steps(run: Run) -> None:
        await until(lambda: len(flow.read) >= 1)
        (source,) = run._feeding.intakes
        write(folder / "a-2.txt", "second")
        await until(lambda: source.puts_off)
        write(folder / "a-3.txt", "first wait")
        await until(lambda: not source.puts_off)
        flow.go.set()
        await until(lambda: {"processed/a-1.txt", "processed/a-3.txt", "failed/a-2.txt"} <= tree(folder))

    await flow.watched(folder, SqliteStore(tmp_path / "streamflow.db"), steps)
    assert flow.read == [("a", "first wait")]


async def test_records_that_are_put_off_are_bounded_and_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When as many as may be are put off, the others are not admitted before the next epoch."""
    monkeypatch.setattr(intake, "READ_AHEAD", 1)
    folder, flow = tmp_path / "in", Flow()
    write(folder / "a-1.txt", "first wait")
    write(folder / "b-1.txt", "second wait")

    async def steps(run: Run) -> None:
        await until(lambda: len(flow.read) >= 1)
        (source,) = run._feeding.intakes
        await until(lambda: source.records == 2)
        write(folder / "a-2.txt", "a")
        await until(lambda: source.puts_off)
        write(folder / "b-2.txt", "b")
        await until(lambda: len(source._read) == 1)
        assert source.records == 3
        flow.go.set()
        await until(lambda: {"processed/a-2.txt", "processed/b-2.txt"} <= tree(folder))

    played = await flow.watched(folder, SqliteStore(tmp_path / "streamflow.db"), steps)
    assert flow.read[-2:] == [("a", "a"), ("b", "b")]
    assert played.summary.refused == 0


async def test_a_new_epoch_retracts_what_a_file_no_longer_says_and_nothing_else(tmp_path: Path) -> None:
    folder, flow, database = tmp_path / "in", Flow(StoredDoc), SqliteStore(tmp_path / "streamflow.db")
    write(folder / "a.txt", "one two")
    write(folder / "b.txt", "three")

    async def steps(run: Run) -> None:
        async def quiet_after(*names: str) -> None:
            await until(lambda: sorted(name for name, _ in flow.read) == sorted(names))
            await until(lambda: not run.tally.alive and not run.tally.changed)

        await quiet_after("a", "b")
        write(folder / "a.txt", "one four")  # b comes no more
        await quiet_after("a", "b", "a")
        write(folder / "a.txt", "one five")
        (folder / "b.txt").unlink()
        await quiet_after("a", "b", "a", "a")
        write(folder / "c.txt", "six")
        await quiet_after("a", "b", "a", "a", "c")

    played = await flow.watched(folder, database, steps, filing=False)
    assert [word.text for word in await database.rows(record_type(Word))] == ["five", "one", "six", "three"]
    assert [each.text for each in await database.rows(record_type(Length))] == ["five", "one", "six", "three"]
    assert await database.rows(record_type(StoredDoc)) == [
        StoredDoc("a", "one five"),
        StoredDoc("b", "three"),
        StoredDoc("c", "six"),
    ]
    assert [event.records for event in played.told(RecordsRetracted)] == [2, 2]  # a word and its length


async def test_a_refresh_ends_with_the_epoch(tmp_path: Path) -> None:
    """Else a daemon that was told to refresh would do again whatever its source brings, for ever."""
    worked: list[int] = []

    async def work(number: Number) -> Result:
        worked.append(number.n)
        return Result(number.n)

    finished: list[int] = []

    async def note() -> None:
        finished.append(len(worked))

    def pipeline(rounds: int) -> Pipeline:
        async def given(inputs: Inputs) -> AsyncIterator[Number]:
            for number in range(rounds):
                yield Number(1)
                yield Number(2 + number)
                await until(lambda wanted=number + 1: len(finished) == wanted)

        return Pipeline("p", sources=[given], stages=[Stage(work)], finalizers=[note])

    async def stop(run: Run) -> None:
        await until(lambda: len(finished) == 3)
        run.stop("enough")

    before = Pipeline("p", sources=[source_of(Number(1), Number(2))], stages=[Stage(work)])
    await play(before, SqliteStore(tmp_path / "streamflow.db"))
    assert worked == [1, 2]
    finished.clear()
    await play(pipeline(3), SqliteStore(tmp_path / "streamflow.db"), refresh=True, daemon=True, watch=stop, patience=60)
    assert worked == [1, 2, 1, 2, 3, 4]


async def test_one_epoch_is_begun_for_what_is_put_off_however_long_its_turn_takes(tmp_path: Path) -> None:
    """While an acknowledgement is awaited, nothing that was put off can be admitted."""
    begun, acknowledging, go = list[None](), asyncio.Event(), asyncio.Event()
    read: list[str] = []

    class Counting(SqliteStore):
        async def renew(self) -> None:
            begun.append(None)
            await super().renew()

    async def given(inputs: Inputs) -> AsyncIterator[Doc]:
        yield Doc("a", "old")
        yield Doc("b", "known")
        await until(lambda: len(read) == 2)
        yield Doc("a", "new")
        yield Doc("b", "known")
        await until(lambda: len(read) == 3)

    async def acknowledge(docs: list[Doc]) -> None:
        if Doc("b", "known") in docs and len(read) == 2:
            acknowledging.set()
            await go.wait()

    async def work(doc: Doc) -> None:
        read.append(doc.text)

    store = Counting(tmp_path / "streamflow.db")

    async def stop(run: Run) -> None:
        await acknowledging.wait()
        await until(lambda: bool(begun))
        epochs = len(begun)
        for _ in range(20):
            await store.kept("")  # takes about as long as an epoch does to begin
        assert len(begun) == epochs
        go.set()
        await until(lambda: len(read) == 3)
        run.stop("enough")

    source = Source(given, acknowledge=acknowledge)
    await play(Pipeline("p", sources=[source], stages=[Stage(work)]), store, daemon=True, watch=stop)
    assert sorted(read) == ["known", "new", "old"]


async def test_a_source_that_ended_still_brings_what_it_put_off(tmp_path: Path) -> None:
    read: list[str] = []

    async def given(inputs: Inputs) -> AsyncIterator[Doc]:
        yield Doc("a", "old")
        await until(lambda: read == ["old"])
        yield Doc("a", "new")

    async def work(doc: Doc) -> None:
        read.append(doc.text)

    async def stop(run: Run) -> None:
        await until(lambda: len(read) == 2)
        run.stop("enough")

    for sequential in (False, True):
        read.clear()
        database = SqliteStore(tmp_path / f"{sequential}.db")
        await play(
            Pipeline("p", sources=[given], stages=[Stage(work)]),
            database,
            daemon=True,
            sequential=sequential,
            watch=stop,
        )
        assert read == ["old", "new"]
