"""A daemon that is told how long to keep records forgets them in time, beside its work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine import retention
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.events import Event, RecordsPruned
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Counts

pytestmark = pytest.mark.asyncio


@record(key="n")
class Note:
    n: int


class Mail:
    """A source without end, and what was told of the run."""

    def __init__(self) -> None:
        self.coming: asyncio.Queue[int] = asyncio.Queue()
        self.worked_on: list[int] = []
        self.began = asyncio.Event()
        self.pruned = 0
        self.all_pruned = asyncio.Event()
        self.wanted = 0

    def pipeline(self) -> Pipeline:
        async def notes(inputs: Inputs) -> AsyncIterator[Note]:
            while True:
                yield Note(await self.coming.get())

        async def read(note: Note) -> None:
            self.worked_on.append(note.n)
            self.began.set()

        return Pipeline("mail", sources=[notes], stages=[Stage(read)])

    def hear(self, event: Event) -> None:
        if isinstance(event, RecordsPruned):
            self.pruned += event.items
            if self.pruned == self.wanted:
                self.all_pruned.set()


async def test_a_daemon_forgets_what_is_old_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY", 0.01)
    mail = Mail()
    store = SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL")
    run = Run(
        mail.pipeline(),
        store,
        resources={Inputs: Inputs(())},
        workspace=tmp_path,
        hook=mail.hear,
        daemon=True,
        retention=0.0,
    )
    running = asyncio.create_task(run())
    for turn in (1, 2):
        mail.wanted = 5 * turn
        for n in range(5):
            mail.coming.put_nowait(5 * turn + n)
        async with asyncio.timeout(30):
            await mail.all_pruned.wait()
        mail.all_pruned.clear()
    assert await store.counts() == {"read": Counts(done=10)}
    run.stop("the test is over")
    await running
    assert mail.worked_on == [*range(5, 15)]


@pytest.mark.parametrize("options", [{"daemon": True}, {"retention": 0.0}])
async def test_nothing_is_forgotten_unasked_or_by_a_batch_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    def none(*arguments: object) -> None:
        raise AssertionError("it prunes")

    monkeypatch.setattr(SqliteStore, "prune", none)
    mail = Mail()
    mail.coming.put_nowait(1)
    store = SqliteStore(tmp_path / "streamflow.db", synchronous="NORMAL")
    run = Run(mail.pipeline(), store, resources={Inputs: Inputs(())}, workspace=tmp_path, limit=1, **options)
    running = asyncio.create_task(run())
    if "daemon" in options:
        async with asyncio.timeout(30):
            await mail.began.wait()
        run.stop("the test is over")
    await running
