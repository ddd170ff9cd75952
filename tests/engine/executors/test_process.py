"""Stages in worker processes: a hang, a hog or a crash costs only its own item, and no worker outlives its engine."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import NotFound, Overloaded, Reject, RetryLater, Skip
from streamflow.events import ItemDied, ItemRetried
from streamflow.limits.retry import Retry
from streamflow.sources.files import Inputs
from tests.conftest import children
from tests.engine.executors import talks, work
from tests.engine.executors.work import Job, Seen
from tests.engine.flows import ONCE, Played, flow, play, source_of, until

TWICE = Retry(attempts=2, base=0, cap=0)
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes that are not ours are followed by descriptors")


def stage(function: Callable[..., Any], **policy: Any) -> Stage:
    return Stage(function, runs_in="process", **{"workers": 2, "timeout": 60, "retry": ONCE, **policy})


async def work_on(its_stage: Stage, count: int = 5, **options: Any) -> Played:
    return await play(flow(its_stage, sources=[source_of(*map(Job, range(count)))]), patience=60, **options)


def workers(folder: Path) -> list[int]:
    """Workers that have begun with `announces_and_hangs`."""
    return [int(path.name.removeprefix("worker-")) for path in folder.glob("worker-*")]


async def at_work(folder: Path, count: int, who: Callable[[Path], list[int]] = workers) -> list[int]:
    while len(found := who(folder)) < count:  # noqa: ASYNC110 - other processes tell it
        await asyncio.sleep(0.01)
    return found


def rows(played: Played) -> list[Seen]:
    return played.tables["seen"]


@pytest.mark.asyncio
async def test_it_runs_in_other_processes_with_an_empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "do not pass on")
    played = await work_on(stage(work.look), 20)
    pids = {row.pid for row in rows(played)}
    assert 1 <= len(pids) <= 2, "workers are used again"
    assert os.getpid() not in pids
    assert {row.text for row in rows(played)} == {"{}"}


@pytest.mark.asyncio
async def test_batches_go_to_processes_too() -> None:
    played = await work_on(stage(work.batch, batch=Batch(4)), 8)
    assert [row.n for row in rows(played)] == [0, 1, 2, 4, 5, 6, 7]
    assert [event.error for event in played.told(ItemDied)] == ["ValueError: 3"]


@pytest.mark.asyncio
async def test_a_resource_is_opened_once_in_each_worker(tmp_path: Path) -> None:
    pipeline = flow(stage(work.with_once), sources=[source_of(*map(Job, range(10)))], resources=[work.Once])
    played = await play(pipeline, workspace=tmp_path, patience=60)
    opened = (tmp_path / "opened.txt").read_text().split()
    pids = {str(row.pid) for row in rows(played)}
    assert sorted(opened) == sorted([*pids, *["open"] * len(pids)])


@pytest.mark.asyncio
async def test_programs_that_the_function_starts_have_empty_streams_of_their_own() -> None:
    played = await work_on(stage(work.starts_programs))
    assert [(row.n, row.text) for row in rows(played)] == [(n, "1 b''") for n in range(5)]
    assert len({row.pid for row in rows(played)}) <= 2, "no worker was lost"


@pytest.mark.asyncio
async def test_a_module_is_imported_under_the_same_limits_as_its_function() -> None:
    played = await work_on(stage(talks.talks))
    assert {row.text for row in rows(played)} == {"True"}


@pytest.mark.asyncio
async def test_exceptions_come_back_with_their_classes_and_what_they_carry() -> None:
    from streamflow.engine.executors.process import in_processes

    errors: list[Exception] = []
    async with in_processes(stage(work.fails), Path()) as call:
        for n in range(7):
            try:
                await call(Job(n))
            except Exception as error:  # noqa: BLE001 - they are what is tested
                errors.append(error)
    assert [type(error) for error in errors] == [
        Skip,
        Reject,
        RetryLater,
        NotFound,
        Overloaded,
        RuntimeError,
        ValueError,
    ]
    skip, _, later, missing, busy, foreign, wrong = errors
    assert isinstance(skip, Skip)
    assert skip.reason == "not wanted"
    assert isinstance(later, RetryLater)
    assert later.delay == 7.5
    assert isinstance(missing, NotFound)
    assert (missing.service, missing.status) == ("api", 404)
    assert isinstance(busy, Overloaded)
    assert busy.retry_after == 12.5
    assert "Unpicklable: told 5" in str(foreign)
    assert wrong.args == ("wrong", 6)


@pytest.mark.asyncio
async def test_a_hang_is_killed_by_its_deadline_and_costs_only_its_item() -> None:
    before = set(children())
    # The deadline is long for a machine under load, where a worker takes a while to start.
    played = await work_on(stage(work.sometimes_hangs, timeout=5))
    assert [row.n for row in rows(played)] == [0, 1, 3, 4]
    (died,) = played.told(ItemDied)
    assert died.key == "2"
    assert died.error.startswith("StageTimeout")
    assert len(children().keys() - before) <= 2, "the workers that hung are gone"


@pytest.mark.asyncio
async def test_a_memory_hog_costs_only_its_item() -> None:
    played = await work_on(stage(work.sometimes_eats_memory, memory=512 * 2**20))
    assert [row.n for row in rows(played)] == [0, 1, 3, 4]
    (died,) = played.told(ItemDied)
    assert died.key == "2"
    assert "MemoryError" in died.error


@pytest.mark.parametrize(
    "function",
    [work.sometimes_aborts, work.sometimes_exits, work.sometimes_leaves, work.sometimes_is_killed],
)
@pytest.mark.asyncio
async def test_a_crash_costs_only_its_item(function: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    played = await work_on(stage(function, retry=TWICE), 20)
    assert [row.n for row in rows(played)] == [n for n in range(20) if n != 2]
    (died,) = played.told(ItemDied)
    assert (died.key, died.attempts) == ("2", 2)
    assert "WorkerDied" in died.error
    assert [event.key for event in played.told(ItemRetried)] == ["2"], "nobody else lost an attempt"


@pytest.mark.asyncio
async def test_one_that_computes_for_ever_costs_only_its_item() -> None:
    played = await work_on(stage(work.sometimes_computes_for_ever, timeout=2, retry=TWICE), 20)
    assert [row.n for row in rows(played)] == [n for n in range(20) if n != 2]
    (died,) = played.told(ItemDied)
    assert died.key == "2"
    assert died.error.startswith(("StageTimeout", "WorkerDied"))


@pytest.mark.asyncio
async def test_a_timeout_that_changes_in_a_run_changes_the_processor_time_too() -> None:
    changed = asyncio.Event()

    async def jobs(inputs: Inputs) -> AsyncIterator[Job]:
        yield Job(0)
        await changed.wait()
        yield Job(1)

    async def change(run: Run) -> None:
        await until(lambda: bool(run.pools) and run.pools["allowed"].done == 1)
        pool = run.pools["allowed"]
        pool.retune(replace(pool.stage, timeout=500))
        changed.set()

    played = await play(flow(stage(work.allowed, timeout=20), sources=[jobs]), watch=change, patience=60)
    first, second = (int(row.text) for row in rows(played))
    assert 18 <= first <= 22
    assert 498 <= second <= 502


@pytest.mark.asyncio
async def test_a_worker_that_is_killed_from_outside_costs_its_item_one_attempt_and_the_others_none(
    tmp_path: Path,
) -> None:
    """As the kernel does when memory runs out. All three are at work, and the one in the middle is killed."""

    async def kill(run: Run) -> None:
        while not all((tmp_path / f"item-{n}").exists() for n in range(3)):  # noqa: ASYNC110 - other processes tell it
            await asyncio.sleep(0.01)
        os.kill(int((tmp_path / "item-1").read_text()), signal.SIGKILL)
        while not run.pools["meets"].retries:  # noqa: ASYNC110 - the run has no event for tests
            await asyncio.sleep(0.01)
        (tmp_path / "over").touch()

    jobs = [source_of(*map(Job, range(9)))]
    pipeline = flow(stage(work.meets, workers=3, retry=TWICE), sources=jobs, resources=[work.Meeting])
    played = await play(pipeline, workspace=tmp_path, watch=kill, patience=60)
    assert [row.n for row in rows(played)] == list(range(9))
    assert [(event.key, event.attempt) for event in played.told(ItemRetried)] == [("1", 1)]
    assert "WorkerDied" in played.told(ItemRetried)[0].error


@pytest.mark.asyncio
async def test_the_second_stop_ends_a_hanging_worker(tmp_path: Path) -> None:
    async def stop(run: Run) -> None:
        await at_work(tmp_path, 1)
        run.stop("SIGTERM")
        run.stop("SIGTERM")

    pipeline = flow(stage(work.announces_and_hangs, workers=1), sources=[source_of(Job(0))], resources=[work.PidFile])
    played = await play(pipeline, workspace=tmp_path, watch=stop, patience=60)
    assert played.summary.stopped_by == "SIGTERM"
    (pid,) = workers(tmp_path)
    assert pid not in children()


def test_no_worker_outlives_the_loop_of_its_run() -> None:
    """Invariant: no process outlives its run."""
    before = set(children())
    asyncio.run(work_on(stage(work.look)))
    assert not children().keys() - before


@contextmanager
def followed(*processes: int) -> Iterator[list[int]]:
    """Descriptors of processes that are to end within the block, or soon after it."""
    descriptors = [os.pidfd_open(process) for process in processes]
    try:
        yield descriptors
        for descriptor in descriptors:
            assert select.select([descriptor], [], [], 20)[0], "it lives on"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def programs(folder: Path) -> list[int]:
    """Programs that `leaves_a_program` has started."""
    return [int(path.read_text()) for path in folder.glob("program-*")]


@linux
@pytest.mark.parametrize("how", ["its end", "a timeout", "two signals"])
def test_what_its_code_started_does_not_outlive_the_run(how: str, tmp_path: Path) -> None:
    """Whether its worker ends with the loop, is killed at its deadline, or in the midst of its call."""
    with ExitStack() as stack:

        async def watch(run: Run) -> None:
            stack.enter_context(followed(*await at_work(tmp_path, 1, programs)))
            if how == "its end":
                (tmp_path / "over").touch()
            elif how == "two signals":
                run.stop("SIGTERM")
                run.stop("SIGTERM")

        its_stage = stage(work.leaves_a_program, workers=1, timeout=3 if how == "a timeout" else 60)
        pipeline = flow(its_stage, sources=[source_of(Job(0))], resources=[work.Folder])
        played = asyncio.run(play(pipeline, workspace=tmp_path, watch=watch, patience=60))
        assert len(rows(played)) == (how == "its end")


@linux
@pytest.mark.parametrize(("what", "who"), [("hang in processes", workers), ("leave programs", programs)])
def test_nothing_outlives_a_killed_engine(
    what: str, who: Callable[[Path], list[int]], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    async def start_and_kill(stack: ExitStack) -> None:
        engine = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.engine.executors.work", what, str(tmp_path)),
            cwd=pytestconfig.rootpath,
        )
        try:
            async with asyncio.timeout(60):
                found = await at_work(tmp_path, 3, who)
            descriptors = stack.enter_context(followed(*found))
            assert not select.select(descriptors, [], [], 0)[0], "they are at work"
        finally:
            engine.kill()
            assert await engine.wait() == -signal.SIGKILL

    with ExitStack() as stack:
        asyncio.run(start_and_kill(stack))
