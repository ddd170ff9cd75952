"""Dead letters that come back into a run that is on, on SQLite: each once, and the run ends with them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.engine import requeue as requeueing
from streamflow.engine.control.answers import Answers
from streamflow.engine.control.messages import Requeued, Retry
from streamflow.engine.feeder import PAGE
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.errors import Reject, UsageError
from streamflow.limits.registry import Registry
from streamflow.storage.selection import ALL, Selection
from streamflow.storage.sqlite import SqliteStore
from tests.engine.flows import Number, Result, flow, play, source_of, until

pytestmark = pytest.mark.asyncio

COUNT = PAGE + 50


class Work:
    """A stage that rejects what is not `mended`, and whose item -1 keeps the run on until `end` is set."""

    def __init__(self) -> None:
        self.mended = False
        self.end = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: Counter[int] = Counter()

    def stage(self, **policy: int) -> Stage:
        async def work(number: Number) -> Result:
            if number.n < 0:
                await self.end.wait()
                return Result(number.n)
            await self.gate.wait()
            self.calls[number.n] += 1
            if not self.mended:
                raise Reject("not mended")
            return Result(number.n)

        return Stage(work, **policy)  # type: ignore[arg-type]


def database(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "streamflow.db", synchronous="NORMAL")


def states(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "streamflow.db")) as connection:
        return dict(connection.execute("SELECT state, count(*) FROM streamflow_items GROUP BY state"))


async def retried(run: Run, store: SqliteStore, selection: Selection = ALL) -> Requeued:
    answer = await Answers(run, store, Registry())(Retry(selection=selection))
    assert isinstance(answer, Requeued)
    return answer


@pytest.mark.parametrize("sequential", [False, True])
async def test_they_are_worked_on_once_more_before_the_run_ends(tmp_path: Path, sequential: bool) -> None:
    work, count = Work(), 20 if sequential else COUNT
    store = database(tmp_path)

    async def beside(run: Run) -> None:
        await until(lambda: bool(run.pools) and run.pools["work"].dead == count)
        work.mended = True
        assert await retried(run, store) == Requeued({"work": count})
        assert run.tally.alive >= 1
        work.end.set()

    given = [Number(n) for n in (*range(count), -1)] if sequential else [Number(n) for n in (-1, *range(count))]
    await play(
        flow(work.stage(workers=4, capacity=8), sources=[source_of(*given)]), store, watch=beside, sequential=sequential
    )
    assert states(tmp_path) == {"done": count + 1}
    assert set(work.calls.values()) == {2}


async def test_those_that_the_resumption_has_yet_to_come_to_are_brought_once(tmp_path: Path) -> None:
    """Of an earlier run both dead letters and pending items are left, dead ones before and behind the page in work, and
    one is of this run."""
    count = 3 * PAGE
    first = Work()
    await play(flow(first.stage(workers=8, capacity=64), count=count), database(tmp_path))
    with closing(sqlite3.connect(tmp_path / "streamflow.db")) as connection, connection:
        connection.execute("UPDATE streamflow_items SET state = 'pending', attempts = 0, error = NULL WHERE id % 3")
    dead = states(tmp_path)["dead"]
    work, store = Work(), database(tmp_path)
    work.mended = True
    work.gate.clear()

    async def beside(run: Run) -> None:
        await until(lambda: bool(run.pools) and len(run.pools["work"].channel) == 8)
        assert await retried(run, store) == Requeued({"work": dead})
        work.gate.set()

    new = source_of(Number(count))
    await play(flow(work.stage(workers=4, capacity=8), sources=[new]), store, watch=beside)
    assert states(tmp_path) == {"done": count + 1}
    assert set(work.calls.values()) == {1}


async def test_one_that_came_with_this_run_is_brought_while_the_resumption_goes_on(tmp_path: Path) -> None:
    first = Work()
    first.mended = True
    count = 2 * PAGE
    await play(flow(first.stage(workers=8, capacity=64), count=count), database(tmp_path))
    with closing(sqlite3.connect(tmp_path / "streamflow.db")) as connection, connection:
        connection.execute("UPDATE streamflow_items SET state = 'pending', attempts = 0")
    store, gate, tries = database(tmp_path), asyncio.Event(), Counter[int]()

    async def work(number: Number) -> Result:
        tries[number.n] += 1
        if number.n == count and tries[count] == 1:
            raise Reject("only once")
        if number.n < count:
            await gate.wait()
        return Result(number.n)

    async def beside(run: Run) -> None:
        while not run.pools or not run.pools["work"].dead:
            gate.set()
            await asyncio.sleep(0)
            gate.clear()  # so one after the other
        assert await retried(run, store) == Requeued({"work": 1})
        # It stands in line for the channel beside the resumption, which goes on.
        await until(lambda: run.pools["work"].channel.producers_waiting == 2)
        assert run.tally.feeding == 1
        gate.set()

    pipeline = flow(Stage(work, workers=2, capacity=2), sources=[source_of(Number(count))])
    await play(pipeline, store, watch=beside)
    assert states(tmp_path) == {"done": count + 1}
    assert tries[count] == 2


async def test_an_item_that_dies_again_meanwhile_stays_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requeueing, "PAGE", 1)
    work, store = Work(), database(tmp_path)

    async def beside(run: Run) -> None:
        await until(lambda: bool(run.pools) and run.pools["work"].dead == 5)
        assert await retried(run, store) == Requeued({"work": 5})
        await until(lambda: run.pools["work"].dead == 10)
        work.end.set()

    numbers = source_of(*(Number(n) for n in (-1, *range(5))))
    await play(flow(work.stage(workers=4, capacity=8), sources=[numbers]), store, watch=beside)
    assert states(tmp_path) == {"done": 1, "dead": 5}


async def test_a_run_that_makes_good_what_it_owes_says_so_at_once(tmp_path: Path) -> None:
    """It may take hours; who waited for it would be told that the process does not answer."""
    work, store, told = Work(), database(tmp_path), []
    finalizing, go = asyncio.Event(), asyncio.Event()

    async def note() -> None:
        finalizing.set()
        await go.wait()

    async def beside(run: Run) -> None:
        await finalizing.wait()
        assert run.state == "running"
        with pytest.raises(UsageError, match="makes good what it owes"):
            await retried(run, store)
        told.append("at once")
        go.set()

    work.end.set()
    await play(flow(work.stage(), sources=[source_of(Number(-1))], finalizers=[note]), store, watch=beside)
    assert told == ["at once"]


async def test_one_call_at_a_time_brings_them_back(tmp_path: Path) -> None:
    work, store, told = Work(), database(tmp_path), []

    async def beside(run: Run) -> None:
        await until(lambda: bool(run.pools) and run.pools["work"].dead == COUNT)
        work.mended = True
        answers = Answers(run, store, Registry())
        first = asyncio.create_task(answers(Retry(selection=ALL)))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="Another `retry`"):
            await answers(Retry(selection=ALL))
        assert await first == Requeued({"work": COUNT})
        assert await answers(Retry(selection=ALL)) == Requeued({})
        told.append("all")
        work.end.set()

    given = source_of(*(Number(n) for n in (-1, *range(COUNT))))
    await play(flow(work.stage(workers=4, capacity=8), sources=[given]), store, watch=beside)
    assert told == ["all"]
    assert states(tmp_path) == {"done": COUNT + 1}


async def test_only_a_run_that_is_on_takes_them_and_only_of_its_stages(tmp_path: Path) -> None:
    work, store = Work(), database(tmp_path)

    async def beside(run: Run) -> None:
        with pytest.raises(UsageError, match="starting"):
            await retried(run, store)
        await until(lambda: bool(run.pools) and run.pools["work"].active == 1)
        with pytest.raises(UsageError, match="no stage 'werk'; it has work"):
            await retried(run, store, Selection(stage="werk"))
        assert await retried(run, store, Selection(stage="work")) == Requeued({})
        run.stop("SIGTERM")
        with pytest.raises(UsageError, match="stopping"):
            await retried(run, store)
        work.end.set()

    await play(flow(work.stage(workers=4, capacity=8), sources=[source_of(Number(-1))]), store, watch=beside)
    assert states(tmp_path) == {"done": 1}
