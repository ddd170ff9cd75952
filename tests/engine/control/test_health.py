"""What is told of a run that does not go on as it should."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamflow.engine.control import health
from streamflow.engine.control.answers import Answers
from streamflow.engine.control.health import EVERY, NOTHING_SAVED, Pulse
from streamflow.engine.control.messages import Diagnosis, Health
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.engine.watchdog import STUCK_AFTER
from streamflow.errors import DatabaseGone
from streamflow.limits.registry import Registry
from streamflow.storage.memory import MemoryStore
from streamflow.storage.patience import LONGEST, Patience
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item
from tests.engine.flows import ONCE, Number, Result, flow, play, play_virtual, until


def test_a_run_that_goes_on_is_healthy() -> None:
    async def work(number: Number) -> Result:
        await asyncio.sleep(20)
        return Result(number.n)

    found: list[Diagnosis] = []

    async def beside(run: Run) -> None:
        answers = Answers(run, store, Registry())
        beat = asyncio.create_task(answers.pulse.beat())
        await asyncio.sleep(30)
        answer = await answers(Health())
        assert isinstance(answer, Diagnosis)
        found.append(answer)
        beat.cancel()

    store = MemoryStore()
    play_virtual(flow(Stage(work, workers=2)), store, watch=beside)
    assert found == [Diagnosis(True, "test is running, 2 active")]


def test_a_function_that_ignores_its_end_is_told_as_stuck_until_it_ends() -> None:
    over = asyncio.Event()

    async def ignore(number: Number) -> Result:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return Result(number.n)

    async def beside(run: Run) -> None:
        pulse = Pulse(run, store)
        await asyncio.sleep(1.0 + STUCK_AFTER - 0.5)
        assert pulse.troubles() == []
        await asyncio.sleep(2.0)
        (trouble,) = pulse.troubles()
        assert "stage 'ignore' is stuck" in trouble
        over.set()
        await until(lambda: run.pools["ignore"].dead + run.pools["ignore"].done == 1)
        assert pulse.troubles() == []
        told.append(trouble)

    store, told = MemoryStore(), list[str]()
    play_virtual(flow(Stage(ignore, workers=1, timeout=1.0, retry=ONCE), count=1), store, watch=beside)
    assert told


def test_a_run_whose_database_is_gone_is_not_healthy(tmp_path: Path) -> None:
    async def work(number: Number) -> Result:
        await asyncio.Event().wait()
        return Result(number.n)

    async def beside(run: Run) -> None:
        await until(lambda: bool(run.active()))
        answers = Answers(run, store, Registry())
        (tmp_path / "streamflow.db").unlink()
        answer = await answers(Health())
        assert isinstance(answer, Diagnosis)
        told.append(answer)

    store, told = SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL"), list[Diagnosis]()
    with pytest.raises(DatabaseGone):
        asyncio.run(play(flow(Stage(work)), store, watch=beside))
    assert not told[0].healthy
    assert "streamflow.db was removed while it was in use" in told[0].why


class Blocked(MemoryStore):
    """A store whose commits of results wait until it is unblocked."""

    def __init__(self) -> None:
        super().__init__()
        self.unblocked = asyncio.Event()

    async def commit(self, completion: Completion) -> Sequence[Item]:
        if completion.item is not None:
            await self.unblocked.wait()
        return await super().commit(completion)


def test_a_store_that_commits_nothing_is_told_until_it_does() -> None:
    async def work(number: Number) -> Result:
        return Result(number.n)

    async def beside(run: Run) -> None:
        pulse = Pulse(run, store)
        beat = asyncio.create_task(pulse.beat())
        await asyncio.sleep(NOTHING_SAVED - 2 * EVERY)
        assert pulse.troubles() == []
        await asyncio.sleep(3 * EVERY)
        (trouble,) = pulse.troubles()
        assert "nothing could be saved for 15 s" in trouble or "nothing could be saved for 16 s" in trouble
        store.unblocked.set()
        await until(lambda: run.pools["work"].done > 0)
        assert pulse.troubles() == []
        told.append(trouble)
        beat.cancel()

    store, told = Blocked(), list[str]()
    play_virtual(flow(Stage(work, workers=1)), store, watch=beside)
    assert told


class Full(MemoryStore):
    """A store that finds no room for what sources bring until there is."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self.patience = patience
        self.has_room = False

    async def commit(self, completion: Completion) -> Sequence[Item]:
        return await self.patience.persist(lambda: self._try(completion))

    async def _try(self, completion: Completion) -> Sequence[Item]:
        if not self.has_room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return await super().commit(completion)


def test_a_full_disk_is_told_though_all_workers_are_idle() -> None:
    async def work(number: Number) -> Result:
        await asyncio.sleep(10)
        return Result(number.n)

    async def beside(run: Run) -> None:
        pulse = Pulse(run, store)
        await asyncio.sleep(NOTHING_SAVED - EVERY)
        assert pulse.troubles() == []
        await asyncio.sleep(2 * EVERY)
        (trouble,) = pulse.troubles()
        assert trouble.startswith("disk full for 16 s")
        assert "make room on the disk of ws" in trouble
        store.has_room = True
        await asyncio.sleep(LONGEST)
        assert pulse.troubles() == []
        told.append(trouble)

    patience = Patience(Path("ws"))
    store, told = Full(patience), list[str]()
    play_virtual(flow(Stage(work, workers=1)), store, watch=beside, storage_patience=patience)
    assert told


@pytest.mark.asyncio
async def test_a_loop_that_was_held_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EVERY", 0.001)
    monkeypatch.setattr(health, "HELD_UP", 0.05)
    pulse = Pulse(Run(flow(), MemoryStore(), resources={}, workspace=Path()), MemoryStore())
    beat = asyncio.create_task(pulse.beat())
    try:
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - what is to be told
        await until(lambda: bool(pulse.troubles()))
        (trouble,) = pulse.troubles()
        assert "event loop was held up" in trouble
    finally:
        beat.cancel()
        await asyncio.gather(beat, return_exceptions=True)
