"""Stages in threads."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from streamflow.engine.executors.thread import LEFT_BEHIND
from streamflow.engine.stage import Stage
from streamflow.errors import Skip
from streamflow.events import ItemDied, ItemSkipped
from tests.engine.executors import work
from tests.engine.executors.work import Job, Seen
from tests.engine.flows import ONCE, flow, play, source_of

pytestmark = pytest.mark.asyncio


async def test_it_runs_in_at_most_as_many_threads_as_workers() -> None:
    together = threading.Barrier(3)

    def meet(job: Job) -> Seen:
        together.wait(10)  # passes only when three are here at once
        return Seen(job.n, threading.get_ident())

    stage = Stage(meet, runs_in="thread", workers=3, retry=ONCE)
    played = await play(flow(stage, sources=[source_of(*map(Job, range(9)))]))
    assert [row.n for row in played.tables["seen"]] == list(range(9))
    assert threading.get_ident() not in {row.pid for row in played.tables["seen"]}


async def test_the_loop_goes_on_while_a_thread_blocks() -> None:
    go_on = threading.Event()

    def wait(job: Job) -> Seen:
        assert go_on.wait(10)
        return Seen(job.n)

    async def set_it(run: object) -> None:
        go_on.set()

    played = await play(
        flow(Stage(wait, runs_in="thread", retry=ONCE), sources=[source_of(Job(0))]), watch=lambda run: set_it(run)
    )
    assert len(played.tables["seen"]) == 1


async def test_failures_are_those_of_the_function() -> None:
    def fail(job: Job) -> Seen:
        match job.n:
            case 0:
                raise Skip("no")
            case 1:
                raise StopIteration("odd")
            case 2:
                sys.exit(7)
            case _:
                raise ValueError("wrong")

    played = await play(flow(Stage(fail, runs_in="thread", retry=ONCE), sources=[source_of(*map(Job, range(4)))]))
    assert [event.reason for event in played.told(ItemSkipped)] == ["no"]
    told = {event.key: event.error for event in played.told(ItemDied)}
    assert "StopIteration('odd')" in told["1"]
    assert "SystemExit(7)" in told["2"]
    assert told["3"] == "ValueError: wrong"


async def test_a_resource_is_opened_once_and_closed_at_the_end(tmp_path: Path) -> None:
    stage = Stage(work.with_once, runs_in="thread", workers=3)
    pipeline = flow(stage, sources=[source_of(*map(Job, range(10)))], resources=[work.Once])
    await play(pipeline, workspace=tmp_path)
    assert [line.split()[0] for line in (tmp_path / "opened.txt").read_text().splitlines()] == ["open", "close"]


async def test_a_thread_that_hangs_is_left_behind_and_costs_only_its_item() -> None:
    go_on = threading.Event()

    def sometimes_hangs(job: Job) -> Seen:
        if job.n == 2:
            go_on.wait(30)
        return Seen(job.n)

    stage = Stage(sometimes_hangs, runs_in="thread", workers=2, timeout=0.3, retry=ONCE)
    try:
        played = await play(flow(stage, sources=[source_of(*map(Job, range(20)))]))
    finally:
        go_on.set()
    assert [row.n for row in played.tables["seen"]] == [n for n in range(20) if n != 2]
    assert [event.key for event in played.told(ItemDied)] == ["2"]


async def test_too_many_threads_that_hang_are_refused_with_what_to_do() -> None:
    go_on = threading.Event()

    started: list[int] = []

    def hangs(job: Job) -> Seen:
        started.append(job.n)
        go_on.wait(30)
        return Seen(job.n)

    stage = Stage(hangs, runs_in="thread", workers=LEFT_BEHIND, timeout=0.1, retry=ONCE)
    try:
        played = await play(flow(stage, sources=[source_of(*map(Job, range(3 * LEFT_BEHIND)))]))
    finally:
        go_on.set()
    told = [event.error for event in played.told(ItemDied)]
    assert len(told) == 3 * LEFT_BEHIND
    assert LEFT_BEHIND <= len(started) <= 2 * LEFT_BEHIND
    assert sum('runs_in="process"' in error for error in told) == 3 * LEFT_BEHIND - len(started)


async def test_threads_that_hang_do_not_keep_the_program_from_ending(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.engine.executors.work", "hang in threads", str(tmp_path)),
        cwd=pytestconfig.rootpath,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await program.stdout.readline() == b"6 dead\n"
        async with asyncio.timeout(10):
            assert await program.wait() == 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
