"""Streaming stages: children are durable and on their way before the parent ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamflow import deadline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.engine.stream import CHUNK
from streamflow.errors import Skip
from streamflow.events import ItemDied, ItemRetried, ItemSkipped
from streamflow.limits.limit import Limit
from streamflow.limits.retry import Retry
from streamflow.sources.files import Inputs
from streamflow.testing.clock import run_virtual
from tests.engine.flows import ONCE, Middle, Number, Result, flow, play, play_virtual, values


def test_children_are_worked_on_before_the_stream_ends() -> None:
    at: dict[int, float] = {}

    async def crawl(number: Number) -> AsyncIterator[Middle]:
        for page in range(5):
            yield Middle(page)
            await asyncio.sleep(10)

    async def note(middle: Middle) -> Result:
        at[middle.n] = asyncio.get_running_loop().time()
        return Result(middle.n)

    played = play_virtual(flow(Stage(crawl), Stage(note), count=1))
    assert values(played) == [0, 1, 2, 3, 4]
    assert at == {page: pytest.approx(10 * page, abs=0.1) for page in range(5)}


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("outputs", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3])
def test_every_output_arrives_once_whatever_their_number(outputs: int, sequential: bool) -> None:
    async def many(number: Number) -> AsyncIterator[Middle]:
        for k in range(outputs):
            yield Middle(1000 * number.n + k)

    async def note(middle: Middle) -> Result:
        return Result(middle.n)

    pipeline = flow(Stage(many, workers=2), Stage(note, capacity=2), count=3)
    played = play_virtual(pipeline, sequential=sequential)
    assert values(played) == [1000 * n + k for n in range(3) for k in range(outputs)]
    assert played.summary.stages["many"].done == 3


def test_one_two_and_no_records_at_once() -> None:
    async def mixed(number: Number) -> AsyncIterator[Result | list[Result]]:
        yield Result(0)
        yield [Result(1), Result(2)]
        yield []

    assert values(play_virtual(flow(Stage(mixed), count=1))) == [0, 1, 2]


def test_a_full_channel_holds_the_stream_back_and_not_its_deadline() -> None:
    given = 0
    most_ahead = 0

    async def fast(number: Number) -> AsyncIterator[Middle]:
        nonlocal given
        for k in range(500):
            given += 1
            yield Middle(k)

    async def slow(middle: Middle) -> Result:
        nonlocal most_ahead
        most_ahead = max(most_ahead, given - middle.n)
        await asyncio.sleep(5)
        return Result(middle.n)

    played = play_virtual(flow(Stage(fast, timeout=2), Stage(slow, capacity=3), count=1))
    assert len(values(played)) == 500
    assert not played.told(ItemRetried)
    assert most_ahead <= 3 * CHUNK


def test_a_stream_that_runs_past_its_deadline_keeps_what_it_gave_and_is_tried_again() -> None:
    async def hangs(number: Number) -> AsyncIterator[Result]:
        yield Result(1)
        await asyncio.sleep(1000)
        yield Result(2)

    played = play_virtual(flow(Stage(hangs, timeout=10, retry=Retry(attempts=2, base=0, cap=0)), count=1))
    assert values(played) == [1]
    assert [event.attempts for event in played.told(ItemDied)] == [2]


def test_a_second_run_of_a_stream_is_harmless() -> None:
    """Deterministic keys: what was given twice is there once."""
    runs = 0

    async def breaks(number: Number) -> AsyncIterator[Middle]:
        nonlocal runs
        runs += 1
        for k in range(100):
            if runs == 1 and k == 70:
                await asyncio.sleep(1)
                raise ConnectionError("cut")
            yield Middle(k)

    async def slow(middle: Middle) -> Result:
        await asyncio.sleep(100)
        return Result(middle.n)

    stage = Stage(breaks, retry=Retry(attempts=2, base=0, cap=0))
    played = play_virtual(flow(stage, Stage(slow, workers=200, capacity=200), count=1))
    assert values(played) == list(range(100))
    assert played.summary.stages["slow"].done == 100
    assert runs == 2


@pytest.mark.parametrize("pauses", [0, 1, 2, 3, 10])
def test_an_end_by_exception_comes_after_all_that_was_given(pauses: int) -> None:
    async def gives_and_skips(number: Number) -> AsyncIterator[Result]:
        yield Result(number.n)
        for _ in range(pauses):
            await asyncio.sleep(0)
        if number.n % 2:
            raise Skip("enough")
        raise ValueError("broken")

    played = play_virtual(flow(Stage(gives_and_skips, retry=ONCE, workers=2), count=4))
    assert [event.key for event in played.told(ItemSkipped)] == ["1", "3"]
    assert [event.key for event in played.told(ItemDied)] == ["0", "2"]
    figures = played.summary.stages["gives_and_skips"]
    assert (figures.done, figures.skipped, figures.dead) == (0, 2, 2)


def test_a_stream_that_yields_inside_a_limit_is_refused() -> None:
    """What reads the stream may wait for room; the limit would be held for as long."""

    def build(limit: Limit) -> Stage:
        async def holds(number: Number) -> AsyncIterator[Result]:
            async with limit():
                yield Result(number.n)

        return Stage(holds)

    played = play_virtual(flow(build(Limit("api", concurrency=1)), count=2))
    assert values(played) == []
    assert {event.attempts for event in played.told(ItemDied)} == {1}, "the same would happen again: not tried again"
    assert "leave the limit first" in played.told(ItemDied)[0].error


def test_a_stream_may_use_a_limit_between_its_yields() -> None:
    limit = Limit("api", concurrency=1)

    async def polite(number: Number) -> AsyncIterator[Result]:
        for k in range(3):
            async with limit():
                await asyncio.sleep(1)
            yield Result(10 * number.n + k)

    played = play_virtual(flow(Stage(polite, workers=3), count=3))
    assert values(played) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert played.seconds == pytest.approx(9, abs=0.5)


def test_waiting_for_a_limit_suspends_the_deadline_of_a_stream() -> None:
    async def polite(number: Number) -> AsyncIterator[Result]:
        with deadline.suspended("limit api"):
            await asyncio.sleep(100)
        yield Result(number.n)

    played = play_virtual(flow(Stage(polite, timeout=5), count=2))
    assert values(played) == [0, 1]
    assert not played.told(ItemRetried)


def test_a_stream_is_closed_when_its_run_is_stopped_at_once() -> None:
    closed: list[int] = []

    async def endless(number: Number) -> AsyncIterator[Result]:
        try:
            for k in range(10**6):
                await asyncio.sleep(1)
                yield Result(k)
        finally:
            closed.append(number.n)

    async def stop(run: Run) -> None:
        await asyncio.sleep(5.5)
        run.stop("SIGTERM")
        await asyncio.sleep(1)
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(endless), count=1), watch=stop)
    assert closed == [0]
    assert played.seconds == pytest.approx(6.5, abs=0.2)
    assert set(range(5)) <= set(values(played))


@pytest.mark.parametrize("way", ["the source fails", "the run is cancelled"])
def test_a_stream_with_a_cleanup_that_awaits_holds_up_no_run_that_fails(way: str) -> None:
    """The consumers of its channel are gone by the time it commits what it gave."""

    async def source(inputs: Inputs) -> AsyncIterator[Number]:
        yield Number(0)
        await asyncio.sleep(3)
        if way == "the source fails":
            raise OSError("the disk is gone")
        await asyncio.sleep(1000)

    async def stream(number: Number) -> AsyncIterator[Middle]:
        try:
            for k in range(20):
                yield Middle(k)
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)

    async def slow(middle: Middle) -> Result:
        await asyncio.sleep(1000)
        return Result(middle.n)

    async def scenario() -> None:
        running = asyncio.create_task(
            play(flow(Stage(stream), Stage(slow, workers=1, capacity=1), sources=[source]), patience=None)
        )
        await asyncio.sleep(4)
        running.cancel()
        with pytest.raises(OSError if way == "the source fails" else asyncio.CancelledError):
            await running

    run_virtual(scenario(), latest=100)
