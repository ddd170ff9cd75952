"""Waiting for the disk and for the database: until it goes, told once, and never longer than wanted."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from streamflow.deadline import Deadline, current
from streamflow.events import Event, StorageBlocked, StorageResumed
from streamflow.storage.patience import LONGEST, Patience, delay
from streamflow.testing.clock import run_virtual

NOWHERE = Path("nowhere")


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def locked() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = "SQLITE_BUSY"
    return error


class Disk:
    """Raises `error` until a moment of the loop's clock; then it gives what is asked."""

    def __init__(self, until: float, error: Callable[[], Exception] = full) -> None:
        self.until = until
        self.error = error
        self.tries: list[float] = []

    async def write(self) -> str:
        now = asyncio.get_running_loop().time()
        self.tries.append(now)
        if now < self.until:
            raise self.error()
        return "written"


def test_the_delay_grows_up_to_a_few_seconds() -> None:
    assert [delay(tries) for tries in (0, 1, 2, 5, 6, 99, 10_000)] == [0.1, 0.2, 0.4, 3.2, LONGEST, LONGEST, LONGEST]


@pytest.mark.parametrize(("error", "reason"), [(full, "disk full"), (locked, "database locked")])
def test_what_cannot_be_written_is_tried_until_it_can(error: Callable[[], Exception], reason: str) -> None:
    async def main() -> None:
        events: list[Event] = []
        disk, patience = Disk(3600.0, error), Patience(NOWHERE, events.append)
        writing = asyncio.create_task(patience.persist(disk.write))
        await asyncio.sleep(1800)
        assert patience.reason == reason
        assert await writing == "written"
        assert patience.reason is None
        assert 3600 <= disk.tries[-1] <= 3600 + LONGEST + 1
        assert len(disk.tries) < 3600 / LONGEST + 10
        blocked, resumed = events
        assert blocked == StorageBlocked(reason, "nowhere", f"{type(error()).__name__}: {error()}")
        assert isinstance(resumed, StorageResumed)
        assert resumed.seconds == pytest.approx(3600, abs=LONGEST + 1)

    run_virtual(main())


def test_many_who_wait_are_told_of_once() -> None:
    async def main() -> None:
        events: list[Event] = []
        patience = Patience(NOWHERE, events.append)
        disks = [Disk(100.0), Disk(200.0), Disk(50.0)]
        assert await asyncio.gather(*(patience.persist(disk.write) for disk in disks)) == ["written"] * 3
        assert [type(event) for event in events] == [StorageBlocked, StorageResumed]

    run_virtual(main())


def test_other_errors_are_raised_at_once_and_after_waiting() -> None:
    async def main() -> None:
        patience = Patience(NOWHERE)
        with pytest.raises(PermissionError):
            await patience.persist(Disk(1.0, lambda: PermissionError(errno.EACCES, "no")).write)
        errors = iter([full(), full(), ValueError("wrong all the time")])
        disk = Disk(9.0, lambda: next(errors))
        with pytest.raises(ValueError, match="wrong all the time"):
            await patience.persist(disk.write)
        assert len(disk.tries) == 3
        assert patience.reason is None

    run_virtual(main())


def test_once_there_is_no_time_left_a_last_try_is_made_at_once() -> None:
    async def main() -> None:
        events: list[Event] = []
        disk, over = Disk(1e9), asyncio.Event()
        patience = Patience(NOWHERE, events.append)
        writing = asyncio.create_task(patience.persist(disk.write, over=over))
        await asyncio.sleep(100)
        tries = len(disk.tries)
        over.set()
        with pytest.raises(OSError, match="No space"):
            await writing
        assert len(disk.tries) == tries + 1
        assert disk.tries[-1] == pytest.approx(100)
        assert [type(event) for event in events] == [StorageBlocked], "nothing goes on"
        with pytest.raises(OSError, match="No space"):
            await patience.persist(disk.write, over=over)

    run_virtual(main())


def test_who_is_cancelled_waits_no_longer() -> None:
    async def main() -> None:
        patience = Patience(NOWHERE)
        writing = asyncio.create_task(patience.persist(Disk(1e9).write))
        await asyncio.sleep(100)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert writing.cancelled()
        assert patience.reason is None

    run_virtual(main())


def test_waiting_is_no_work_of_the_item() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time)
        current.set(deadline)
        deadline.at = 10.0
        writing = asyncio.create_task(Patience(NOWHERE).persist(Disk(500.0).write))
        await asyncio.sleep(400)
        assert deadline.waiting == "disk full"
        await writing
        assert deadline.at - loop.time() == pytest.approx(10, abs=0.01)

    run_virtual(main())


@pytest.mark.asyncio
async def test_costly_work_is_repeated_only_when_a_file_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage's function has called services by the time that it finds the disk full."""
    answers = iter([False, False, False, True])
    monkeypatch.setattr("streamflow.storage.patience.has_room", lambda folder: next(answers))
    tries: list[int] = []

    async def call_and_write() -> Awaitable[None] | None:
        tries.append(len(tries))
        if len(tries) == 1:
            raise full()
        return None

    await Patience(tmp_path, first=0.0).persist(call_and_write, costly=True)
    assert tries == [0, 1]
    assert next(answers, "none left") == "none left"
