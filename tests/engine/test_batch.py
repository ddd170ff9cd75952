"""Batch stages: aligned lists in and out, in memory and in virtual time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import (
    BadAnswer,
    CredentialsRefused,
    Overloaded,
    PermanentError,
    Reject,
    RetryLater,
    ServiceError,
    Skip,
    TransientError,
    Unreachable,
)
from streamflow.events import ItemDied, ItemRetried, ItemSkipped
from streamflow.limits.retry import Retry
from streamflow.record import record
from streamflow.sources.files import Inputs
from tests.engine.flows import ONCE, Middle, Number, Result, flow, play_virtual, values


@record(key="n")
class Middle2:
    n: int


async def sized(group: list[Number]) -> list[Result]:
    await asyncio.sleep(1)
    return [Result(each.n, len(group)) for each in group]


def sizes(rows: list[Result]) -> list[int]:
    return [row.value for row in rows]


def test_waiting_items_are_taken_together_up_to_the_size() -> None:
    played = play_virtual(flow(Stage(sized, batch=Batch(4, max_wait=0)), count=100))
    assert values(played) == list(range(100))
    assert max(sizes(played.tables["results"])) == 4
    assert played.seconds <= 27, "nearly all were full: a hundred items took 25 calls of a second"


def test_a_batch_waits_no_longer_than_max_wait_for_more() -> None:
    async def slowly(inputs: Inputs) -> AsyncIterator[Number]:
        for n in range(6):
            yield Number(n)
            await asyncio.sleep(2)

    played = play_virtual(flow(Stage(sized, batch=Batch(100, max_wait=5)), sources=[slowly]))
    assert sizes(played.tables["results"]) == [3, 3, 3, 3, 3, 3]


def test_a_full_batch_does_not_wait() -> None:
    played = play_virtual(flow(Stage(sized, batch=Batch(5, max_wait=1000)), count=5))
    assert played.seconds == pytest.approx(1, abs=0.5)


def test_sequential_batches_hold_one_item() -> None:
    played = play_virtual(flow(Stage(sized, batch=Batch(5, max_wait=1000)), count=5), sequential=True)
    assert sizes(played.tables["results"]) == [1] * 5
    assert played.seconds == pytest.approx(5, abs=0.5)


def test_sequential_batches_take_only_items_of_their_stage() -> None:
    async def other(number: Number) -> Middle:
        assert isinstance(number, Number)
        return Middle(number.n)

    async def third(middle: Middle) -> Middle2:
        return Middle2(middle.n)

    stages = [Stage(other, retry=ONCE), Stage(third, retry=ONCE), Stage(sized, batch=Batch(5, max_wait=1), retry=ONCE)]
    played = play_virtual(flow(*stages, count=5), sequential=True)
    assert values(played) == list(range(5))
    assert sizes(played.tables["results"]) == [1] * 5
    assert {name: figures.done for name, figures in played.summary.stages.items()} == dict.fromkeys(
        ("other", "third", "sized"), 5
    )


def test_entries_end_each_in_its_own_way() -> None:
    async def mixed(group: list[Number]) -> list[Result | list[Result] | Exception | None]:
        entries: list[Result | list[Result] | Exception | None] = []
        for each in group:
            match each.n:
                case 0:
                    entries.append(None)
                case 1:
                    entries.append([Result(1), Result(11)])
                case 2:
                    entries.append(Skip("no"))
                case 3:
                    entries.append(Reject("never"))
                case 4:
                    entries.append(OSError("again"))
                case _:
                    entries.append(Result(each.n))
        return entries

    stage = Stage(mixed, batch=Batch(6), retry=Retry(attempts=2, base=0, cap=0))
    played = play_virtual(flow(stage, count=6))
    assert values(played) == [1, 5, 11]
    assert [event.key for event in played.told(ItemSkipped)] == ["2"]
    assert {event.key: event.error for event in played.told(ItemDied)} == {
        "3": "never",
        "4": "OSError: again (after 2 attempts)",
    }
    assert [event.key for event in played.told(ItemRetried)] == ["4"]


def test_a_batch_that_fails_whole_is_tried_one_by_one_without_an_attempt() -> None:
    calls: list[list[int]] = []

    async def poisoned(group: list[Number]) -> list[Result]:
        calls.append([each.n for each in group])
        if any(each.n == 2 for each in group):
            raise ValueError("poison")
        return [Result(each.n) for each in group]

    played = play_virtual(flow(Stage(poisoned, batch=Batch(4), retry=ONCE), count=4))
    assert calls == [[0, 1, 2, 3], [0], [1], [2], [3]]
    assert values(played) == [0, 1, 3]
    (died,) = played.told(ItemDied)
    assert (died.key, died.attempts) == ("2", 1)


def failing(*errors: Exception) -> tuple[Stage, list[tuple[float, int]]]:
    """A batch stage whose first calls fail so, whoever is in them, and its calls: when, and of how many items."""
    calls: list[tuple[float, int]] = []

    async def work(group: list[Number]) -> list[Result]:
        calls.append((asyncio.get_running_loop().time(), len(group)))
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return [Result(each.n, len(group)) for each in group]

    return Stage(work, batch=Batch(20, max_wait=1), retry=Retry(attempts=3, base=8.0)), calls


def marked(error: ServiceError, *, outage: bool = False, wait: float = 0.0) -> ServiceError:
    error.outage, error.wait = outage, wait
    return error


@pytest.mark.parametrize(
    ("error", "earliest"),
    [
        (Overloaded("busy", status=429, retry_after=60.0), 60.0),
        (Unreachable("no answer"), 0.0),
        (TransientError("bad gateway", status=502), 0.0),
        (marked(TransientError("broken", status=500), outage=True), 0.0),
        (marked(BadAnswer("half a body"), wait=30.0), 30.0),
        (RetryLater("not yet", delay=90.0), 90.0),
    ],
)
def test_what_no_single_item_is_at_fault_for_is_tried_again_together_when_it_may_be(
    error: Exception, earliest: float
) -> None:
    stage, calls = failing(error)
    played = play_virtual(flow(stage, count=20))
    assert [size for _, size in calls] == [20, 20], "no call for each item"
    assert calls[1][0] - calls[0][0] >= earliest
    assert {event.attempt for event in played.told(ItemRetried)} == {0 if getattr(error, "outage", False) else 1}
    assert len(values(played)) == 20


@pytest.mark.parametrize(
    "error",
    [TransientError("broken", status=500), BadAnswer("half a body"), PermanentError("what?", status=400), ValueError()],
)
def test_where_one_item_may_be_at_fault_they_are_tried_one_by_one_at_once(error: Exception) -> None:
    stage, calls = failing(error)
    played = play_virtual(flow(stage, count=20))
    assert [size for _, size in calls] == [20, *[1] * 20]
    assert played.told(ItemRetried) == []


@pytest.mark.parametrize("error", [TransientError("bad gateway", status=502), Unreachable("it hung up")])
def test_before_items_are_given_up_each_is_tried_alone_if_one_of_them_may_be_at_fault(error: Exception) -> None:
    stage, calls = failing(*[error] * 3)
    played = play_virtual(flow(stage, count=20))
    assert [size for _, size in calls] == [20, 20, 20, *[1] * 20]
    assert played.summary.dead == 0


def test_an_overload_that_lasts_is_no_fault_of_single_items() -> None:
    stage, calls = failing(*[Overloaded("busy", status=503)] * 3)
    played = play_virtual(flow(stage, count=20))
    assert [size for _, size in calls] == [20, 20, 20]
    assert played.summary.dead == 20


def test_a_batch_that_times_out_is_tried_one_by_one() -> None:
    async def hangs(group: list[Number]) -> list[Result]:
        await asyncio.sleep(1000 if any(each.n == 1 for each in group) else 1)
        return [Result(each.n) for each in group]

    played = play_virtual(flow(Stage(hangs, batch=Batch(3), retry=ONCE, timeout=10), count=3))
    assert values(played) == [0, 2]
    assert [event.key for event in played.told(ItemDied)] == ["1"]
    assert played.seconds == pytest.approx(22, abs=3)


@pytest.mark.parametrize("given", [[], [Result(0)], (Result(0), Result(1), Result(2)), None])
def test_a_list_of_another_length_is_refused_and_nothing_is_guessed(given: object) -> None:
    async def misaligned(group: list[Number]) -> list[Result]:
        return given if len(group) > 1 else [Result(-1), Result(-2)]  # type: ignore[return-value]

    played = play_virtual(flow(Stage(misaligned, batch=Batch(3)), count=3))
    assert values(played) == []
    assert len(played.told(ItemDied)) == 3
    assert "one entry for each" in played.told(ItemDied)[0].error


def test_refused_credentials_in_a_batch_stop_the_run_with_its_items_pending() -> None:
    """And the batch is not called again item by item: no credentials would be accepted for one of them."""
    calls = 0

    async def refused(group: list[Number]) -> list[Result]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(1)
        raise CredentialsRefused("no", service="api")

    played = play_virtual(flow(Stage(refused, workers=2, batch=Batch(5)), count=20))
    assert isinstance(played.summary.error, CredentialsRefused)
    assert played.summary.dead == 0
    assert calls <= 2


def test_a_stop_while_a_batch_is_gathered_ends_what_was_taken() -> None:
    async def trickle(inputs: Inputs) -> AsyncIterator[Number]:
        yield Number(0)
        yield Number(1)
        await asyncio.sleep(1000)

    async def stop(run: Run) -> None:
        await asyncio.sleep(5)
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(sized, batch=Batch(9, max_wait=20)), sources=[trickle]), watch=stop)
    assert values(played) == [0, 1]
    assert played.seconds <= 22
