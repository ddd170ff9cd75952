"""Deadlines: suspended while the work waits, in nested and overlapping blocks."""

from __future__ import annotations

from contextlib import suppress

import pytest

from streamflow import deadline
from streamflow.deadline import NEVER, Deadline


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_remaining_time_stands_still_while_the_work_waits(clock: Clock) -> None:
    it = Deadline(clock)
    it.at = 110.0
    clock.now = 103.0
    with it.suspended("limit"):
        clock.now = 5000.0
        assert it.at > 1e9, "nothing passes meanwhile"
        assert it.waiting == "limit"
    assert it.at == 5007.0
    assert it.waiting is None


def test_blocks_may_nest_and_overlap(clock: Clock) -> None:
    it = Deadline(clock)
    it.at = 110.0
    first, second = it.suspended("a"), it.suspended("b")
    first.__enter__()
    clock.now = 200.0
    second.__enter__()
    clock.now = 300.0
    first.__exit__(None, None, None)
    clock.now = 400.0
    assert it.at > 1e9, "one of them still waits"
    assert it.waiting is not None
    second.__exit__(None, None, None)
    assert (it.at, it.waiting) == (410.0, None)


def test_a_disarmed_deadline_stays_disarmed(clock: Clock) -> None:
    it = Deadline(clock)
    with it.suspended("room"):
        assert it.waiting == "room"
    assert it.at == NEVER


def test_a_block_that_outlives_its_attempt_arms_nothing(clock: Clock) -> None:
    it = Deadline(clock)
    it.at = 110.0
    left_behind = it.suspended("limit")
    left_behind.__enter__()
    it.at = NEVER  # the attempt ended
    left_behind.__exit__(None, None, None)
    assert it.at == NEVER


def test_a_block_that_outlives_its_attempt_leaves_the_next_one_alone(clock: Clock) -> None:
    it = Deadline(clock)
    it.at = 110.0
    left_behind = it.suspended("limit")
    left_behind.__enter__()
    it.at = 120.0  # the next attempt
    with it.suspended("limit"):
        left_behind.__exit__(None, None, None)
        assert it.at > 1e9
        clock.now = 105.0
    assert it.at == 125.0


def test_an_error_in_the_block_ends_the_suspension(clock: Clock) -> None:
    it = Deadline(clock)
    it.at = 110.0
    with suppress(ValueError), it.suspended("limit"):
        clock.now = 101.0
        raise ValueError("x")
    assert it.at == 111.0


def test_outside_a_worker_nothing_is_suspended(clock: Clock) -> None:
    with deadline.suspended("limit"):
        pass
    it = Deadline(clock)
    token = deadline.current.set(it)
    try:
        it.at = 110.0
        with deadline.suspended("limit"):
            assert it.waiting == "limit"
            clock.now = 105.0
        assert it.at == 115.0
    finally:
        deadline.current.reset(token)
