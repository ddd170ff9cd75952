"""A function that holds the event loop is named while it does, and its time is counted as its stage's. Real time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from streamflow.engine import holder
from streamflow.engine.stage import Stage
from streamflow.events import Event, ItemRetried, LoopBlocked
from tests.engine.flows import ONCE, Middle, Number, Result, flow, play, values

pytestmark = pytest.mark.asyncio
PATIENCE = 30.0
"""Seconds after which a function that waits to be named gives up, and the test fails."""


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    monkeypatch.setattr(holder, "EVERY", 0.01)
    monkeypatch.setattr(holder, "CALM", 0.02)
    monkeypatch.setattr(holder, "BLOCKED_AFTER", 0.1)
    return threading.Event()


async def test_a_function_that_blocks_the_loop_is_named_with_its_stack_while_it_does(named: threading.Event) -> None:
    async def blocks(number: Number) -> Result:
        if number.n == 3:
            assert named.wait(PATIENCE)  # a wait that does not await
        return Result(number.n)

    def heard(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            named.set()

    played = await play(flow(Stage(blocks, workers=2, retry=ONCE)), heard=heard, patience=2 * PATIENCE)
    (blocked,) = played.told(LoopBlocked)
    assert (blocked.stage, blocked.key) == ("blocks", "3")
    assert blocked.seconds >= holder.BLOCKED_AFTER
    assert " in blocks\n" in blocked.stack
    assert "threading.py" in blocked.stack.splitlines()[-1]
    assert values(played) == list(range(10))


async def test_one_that_computes_is_named_too(named: threading.Event) -> None:
    async def computes(number: Number) -> Result:
        until = time.monotonic() + PATIENCE
        while not named.is_set() and time.monotonic() < until:
            pass
        assert named.is_set()
        return Result(number.n)

    def heard(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            named.set()

    played = await play(flow(Stage(computes, retry=ONCE)), heard=heard, patience=2 * PATIENCE)
    (blocked,) = played.told(LoopBlocked)
    assert blocked.stage == "computes"
    assert " in computes" in blocked.stack  # and perhaps further in, where it looks at its event


async def test_time_for_which_another_held_the_loop_is_not_counted_as_work(named: threading.Event) -> None:
    """Its deadline passes while it cannot run, and that is no failure of its own."""
    at_work = asyncio.Event()
    done = asyncio.Event()

    async def waits(number: Number) -> Middle | None:
        if number.n:
            return Middle(number.n)
        at_work.set()
        await done.wait()
        return None

    async def blocks(middle: Middle) -> Result:
        await at_work.wait()
        assert named.wait(PATIENCE)
        threading.Event().wait(0.5)  # holds the loop for longer than the other may take
        asyncio.get_running_loop().call_later(0.05, done.set)  # after the watchdog has looked
        return Result(middle.n)

    def heard(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            named.set()

    stages = [Stage(waits, workers=2, timeout=0.4, retry=ONCE), Stage(blocks, retry=ONCE)]
    played = await play(flow(*stages, count=2), heard=heard, patience=2 * PATIENCE)
    assert [event.stage for event in played.told(LoopBlocked)] == ["blocks"]
    assert not played.told(ItemRetried)
    assert played.summary.dead == 0
    shares = played.summary.stages["blocks"].shares
    assert max(shares, key=lambda at: shares[at]) == "holding the loop"
    assert played.summary.stages["waits"].shares["loop"] > 0


async def test_a_task_that_is_no_workers_is_told_without_a_stage(named: threading.Event) -> None:
    async def block() -> None:
        assert named.wait(PATIENCE)

    async def leaves(number: Number) -> Result:
        await asyncio.create_task(block())
        return Result(number.n)

    def heard(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            named.set()

    played = await play(flow(Stage(leaves, retry=ONCE), count=1), heard=heard, patience=2 * PATIENCE)
    (blocked,) = played.told(LoopBlocked)
    assert (blocked.stage, blocked.key) == ("", "")
    assert " in block\n" in blocked.stack


async def test_a_function_that_awaits_holds_nobody_up(named: threading.Event) -> None:
    async def waits(number: Number) -> Result:
        await asyncio.sleep(0.05)
        return Result(number.n)

    played = await play(flow(Stage(waits, workers=2), count=10))
    assert not played.told(LoopBlocked)
