"""What ends more than itself: exits and cancellations that a stage, a source or a finalizer brings about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamflow.engine.stage import Batch, Stage
from streamflow.errors import RetryLater
from streamflow.events import ItemDied
from streamflow.limits.retry import Retry
from streamflow.record import record
from streamflow.sources.files import Inputs
from tests.engine.flows import Number, Result, flow, play_virtual, values

ONCE = Retry(attempts=1)


@record(key=("a", "b"))
class Pair:
    a: str
    b: str


async def keep(number: Number) -> Result:
    return Result(number.n)


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), KeyboardInterrupt()])
@pytest.mark.parametrize("sequential", [False, True])
def test_an_exit_that_a_function_raises_is_a_failure_of_its_item(error: BaseException, sequential: bool) -> None:
    async def leaves(number: Number) -> Result:
        if number.n == 1:
            raise error
        return Result(number.n)

    played = play_virtual(flow(Stage(leaves, retry=ONCE), count=3), sequential=sequential)
    assert values(played) == [0, 2]
    (died,) = played.told(ItemDied)
    assert type(error).__name__ in died.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), KeyboardInterrupt("stop")])
@pytest.mark.parametrize("size", [1, 3])
def test_an_interrupt_that_a_batch_raises_is_a_failure_of_its_item(error: BaseException, size: int) -> None:
    async def leaves(group: list[Number]) -> list[Result]:
        if any(number.n == 1 for number in group):
            raise error
        return [Result(number.n) for number in group]

    played = play_virtual(flow(Stage(leaves, retry=ONCE, batch=Batch(size)), count=3))
    assert values(played) == [0, 2]
    assert [event.key for event in played.told(ItemDied)] == ["1"]


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), KeyboardInterrupt()])
def test_an_exit_that_a_stream_raises_is_a_failure_of_its_item(error: BaseException) -> None:
    async def leaves(number: Number) -> AsyncIterator[Result]:
        yield Result(number.n)
        if number.n == 1:
            raise error

    played = play_virtual(flow(Stage(leaves, retry=ONCE), count=3))
    assert [event.key for event in played.told(ItemDied)] == ["1"]


# --- ends that a source, a finalizer or a forgotten timer brings about -----------------------------------------------


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("end", [asyncio.CancelledError(), SystemExit(0)])
def test_a_source_that_ends_by_an_exit_or_a_cancellation_is_a_failure(end: BaseException, sequential: bool) -> None:
    async def fetch(n: int) -> Number:
        if n == 3:
            raise end
        return Number(n)

    async def pages(inputs: Inputs) -> AsyncIterator[Number]:
        for n in range(10):
            yield await asyncio.create_task(fetch(n)) if isinstance(end, asyncio.CancelledError) else await fetch(n)

    with pytest.raises(RuntimeError, match="pages"):
        play_virtual(flow(Stage(keep), sources=[pages]), sequential=sequential)


@pytest.mark.parametrize("end", [asyncio.CancelledError(), SystemExit(0)])
def test_a_finalizer_that_ends_by_an_exit_or_a_cancellation_is_a_failure(end: BaseException) -> None:
    async def finish() -> None:
        raise end

    with pytest.raises(RuntimeError, match="finish"):
        play_virtual(flow(Stage(keep), finalizers=[finish]))


@pytest.mark.parametrize("sequential", [False, True])
def test_a_cancellation_that_comes_after_its_function_has_returned_fails_the_run(sequential: bool) -> None:
    """A home-made timeout that is not disarmed. The worker would be gone, and the run would wait for it for ever."""

    async def late(number: Number) -> Result:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return Result(number.n)

    with pytest.raises(RuntimeError, match="cancelled, and not by its run"):
        play_virtual(flow(Stage(late, workers=4), count=10), sequential=sequential)


def test_an_exception_of_a_root_of_its_own_costs_its_item_only() -> None:
    class Panic(BaseException):
        pass

    async def panics(number: Number) -> Result:
        if number.n == 1:
            raise Panic("as Rust's libraries do")
        return Result(number.n)

    played = play_virtual(flow(Stage(panics, retry=ONCE), count=3))
    assert values(played) == [0, 2]
    assert "Panic" in played.told(ItemDied)[0].error


@pytest.mark.parametrize("delay", [float("inf"), float("nan"), "3"])
def test_a_delay_that_cannot_be_waited_for_costs_its_item_only(delay: float) -> None:
    async def waits(number: Number) -> Result:
        raise RetryLater("not now", delay)

    played = play_virtual(flow(Stage(waits, retry=ONCE), count=2))
    assert len(played.told(ItemDied)) == 2


def test_a_record_whose_key_cannot_be_read_is_refused_and_the_others_go_on() -> None:
    async def pairs(inputs: Inputs) -> AsyncIterator[Pair]:
        yield Pair("x", b"bytes")  # type: ignore[arg-type]
        yield Pair("x", "text")

    async def take(pair: Pair) -> Result:
        return Result(1)

    played = play_virtual(flow(Stage(take), sources=[pairs]))
    assert values(played) == [1]
    assert played.summary.refused == 1


def test_a_batch_does_not_wait_for_more_where_none_can_come() -> None:
    async def together(group: list[Number]) -> list[Result]:
        return [Result(number.n) for number in group]

    played = play_virtual(flow(Stage(together, workers=2, batch=Batch(400, max_wait=60)), count=10))
    assert values(played) == list(range(10))
    assert played.seconds < 1
