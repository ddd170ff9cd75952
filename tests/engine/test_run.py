"""A run in memory and in virtual time: what becomes of items, and how a run starts, drains and stops."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from streamflow import deadline
from streamflow.engine.intake import READ_AHEAD
from streamflow.engine.run import QUIET, Run
from streamflow.engine.stage import Stage
from streamflow.errors import CredentialsRefused, Reject, RetryLater, Skip, StageSignatureError
from streamflow.events import (
    ContentsDiffer,
    FinalizerEnded,
    ItemDied,
    ItemRetried,
    ItemSkipped,
    RecordRefused,
    SourceEnded,
    StageStuck,
)
from streamflow.limits.retry import Retry
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.memory import MemoryStore
from streamflow.storage.reader import Reader
from streamflow.storage.store import Counts, Item
from streamflow.testing.clock import run_virtual
from tests.engine.flows import (
    AT_ONCE,
    ONCE,
    Middle,
    Number,
    Played,
    Result,
    flow,
    numbers,
    play,
    play_virtual,
    source_of,
    values,
)


async def double(number: Number) -> Result:
    await asyncio.sleep(0)
    return Result(number.n, 2 * number.n)


def counts(played: Played, stage: str) -> Counts:
    counted = run_virtual(_counts(played.store))
    return counted[stage]


async def _counts(store: object) -> dict[str, Counts]:
    assert isinstance(store, MemoryStore)
    return dict(await store.counts())


# --- the shapes of pipelines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("count", [1, 1000])
def test_each_record_goes_through_and_is_counted_once(count: int, sequential: bool) -> None:
    played = play_virtual(flow(Stage(double, workers=4, capacity=3), count=count), sequential=sequential)
    assert played.tables["results"] == [Result(n, 2 * n) for n in range(count)]
    assert played.summary.stages["double"].done == count
    assert counts(played, "double") == Counts(done=count)


@pytest.mark.parametrize("sequential", [False, True])
def test_a_source_without_records_ends(sequential: bool) -> None:
    async def nothing(inputs: Inputs) -> AsyncIterator[Number]:
        return
        yield

    played = play_virtual(flow(Stage(double), sources=[nothing]), sequential=sequential)
    assert played.tables["results"] == []
    assert [event.records for event in played.told(SourceEnded)] == [0]


@pytest.mark.parametrize("sequential", [False, True])
def test_a_record_goes_to_every_stage_that_takes_it_and_a_diamond_closes(sequential: bool) -> None:
    @record(key="n")
    class Left:
        n: int

    @record(key="n")
    class Right:
        n: int

    async def left(number: Number) -> Left:
        await asyncio.sleep(number.n % 3)
        return Left(number.n)

    async def right(number: Number) -> Right | None:
        return Right(number.n) if number.n % 2 else None

    async def close_left(it: Left) -> Result:
        return Result(it.n)

    async def close_right(it: Right) -> Result:
        return Result(it.n)

    stages = [Stage(f, workers=2, capacity=1) for f in (left, right, close_left, close_right)]
    played = play_virtual(flow(*stages, count=50), sequential=sequential)
    assert values(played) == list(range(50))
    assert {name: figures.done for name, figures in played.summary.stages.items()} == {
        "left": 50,
        "right": 50,
        "close_left": 50,
        "close_right": 25,
    }


@pytest.mark.parametrize("sequential", [False, True])
def test_several_sources_feed_one_run(sequential: bool) -> None:
    sources = [source_of(*map(Number, range(k, 100, 3)), name=f"source{k}") for k in range(3)]
    played = play_virtual(flow(Stage(double, workers=2), sources=sources), sequential=sequential)
    assert values(played) == list(range(100))
    assert {event.source: event.records for event in played.told(SourceEnded)} == {
        "source0": 34,
        "source1": 33,
        "source2": 33,
    }


def test_nothing_one_many_and_nested_outputs() -> None:
    async def emit(number: Number) -> Result | tuple[Result, Middle] | list[Result | None] | None:
        match number.n:
            case 0:
                return None
            case 1:
                return Result(1)
            case 2:
                return (Result(2), Middle(2))
            case _:
                return [Result(3), None, Result(4), Result(5)]

    played = play_virtual(flow(Stage(emit), count=4))
    assert (values(played), values(played, Middle)) == ([1, 2, 3, 4, 5], [2])


@pytest.mark.parametrize("sequential", [False, True])
def test_a_limit_bounds_what_is_taken_from_each_source(sequential: bool) -> None:
    sources = [source_of(*map(Number, range(k, k + 10)), name=f"source{k}") for k in (0, 100)]
    played = play_virtual(flow(Stage(double), sources=sources), limit=3, sequential=sequential)
    assert values(played) == [0, 1, 2, 100, 101, 102]


def test_an_output_that_the_annotation_does_not_name_is_a_dead_letter_that_says_so() -> None:
    async def lies(number: Number) -> Result:
        return Middle(number.n) if number.n == 1 else Result(number.n)  # type: ignore[return-value]

    played = play_virtual(flow(Stage(lies), count=3))
    assert values(played) == [0, 2]
    (died,) = played.told(ItemDied)
    assert "lies" in died.error
    assert "Middle" in died.error
    assert "Result" in died.error


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("at", [0, 400, 900])
def test_a_source_that_gives_another_type_stops_the_run_and_says_so(sequential: bool, at: int) -> None:
    async def lies(inputs: Inputs) -> AsyncIterator[Number]:
        for n in range(1000):
            yield Number(n) if n != at else Middle(n)  # type: ignore[misc]

    with pytest.raises(StageSignatureError, match=r"'lies' gave a Middle"):
        play_virtual(flow(Stage(double), sources=[lies]), sequential=sequential)


def failing(old: int, new: int) -> int:
    raise ZeroDivisionError("a rule that fails")


@record(key="n", table="merging", merge={"value": failing})
class Merging:
    n: int
    value: int = 0


@record(key="n")
class Copy:
    n: int


@record(key=("n", "part"))
class Part:
    n: int
    part: int


@pytest.mark.parametrize("ready", [True, False])
def test_an_output_that_cannot_be_stored_costs_only_its_item(ready: bool) -> None:
    """In memory too: no key, a wrong type, a merge rule that fails."""

    async def spoil(number: Number) -> list[Copy | Merging] | Copy:
        if number.n == 3:
            return Copy([3])  # type: ignore[arg-type]
        if ready:
            return Copy(number.n)
        # The rule is not asked while the contents are equal.
        return [Copy(number.n), Merging(0, int(number.n == 5))]

    async def end(it: Copy) -> Result:
        return Result(it.n)

    played = play_virtual(flow(Stage(spoil, retry=ONCE, workers=2), Stage(end)))
    dead = {event.key: event.error for event in played.told(ItemDied)}
    assert set(dead) == ({"3"} if ready else {"3", "5"})
    assert all("StorageError" in error for error in dead.values())
    assert values(played) == [n for n in range(10) if str(n) not in dead]


@pytest.mark.parametrize("bad", [Number([1]), Part(1, object())])  # type: ignore[arg-type]
def test_a_record_of_a_source_that_has_no_key_is_refused_and_the_others_go_on(bad: Number | Part) -> None:
    async def end(number: Number) -> Result:
        return Result(number.n)

    async def part(it: Part) -> Result:
        return Result(100 + it.n)

    source = source_of(Number(0), Part(0, 0), bad, Number(2), Part(2, 0))
    played = play_virtual(flow(Stage(end), Stage(part), sources=[source]))
    assert values(played) == [0, 2, 100, 102]
    assert len(played.told(RecordRefused)) == 1


def test_a_source_that_fails_stops_the_run_with_its_error() -> None:
    async def breaks(inputs: Inputs) -> AsyncIterator[Number]:
        for n in range(1000):
            yield Number(n)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        play_virtual(flow(Stage(double, capacity=1), sources=[breaks]))


# --- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequential", [False, True])
def test_skip_and_reject_end_an_item_with_their_reason(sequential: bool) -> None:
    async def choose(number: Number) -> Result:
        if number.n == 1:
            raise Skip("not wanted")
        if number.n == 2:
            raise Reject("will never work")
        return Result(number.n)

    played = play_virtual(flow(Stage(choose), count=4), sequential=sequential)
    assert values(played) == [0, 3]
    assert [(event.key, event.reason) for event in played.told(ItemSkipped)] == [("1", "not wanted")]
    died = [(event.key, event.attempts, event.error) for event in played.told(ItemDied)]
    assert died == [("2", 1, "will never work")]
    assert counts(played, "choose") == Counts(done=2, skipped=1, dead=1)
    assert played.summary.dead == 1


@pytest.mark.parametrize("sequential", [False, True])
def test_a_failure_is_retried_and_at_last_a_dead_letter(sequential: bool) -> None:
    tries: dict[int, int] = {}

    async def flaky(number: Number) -> Result:
        tries[number.n] = tries.get(number.n, 0) + 1
        if tries[number.n] <= number.n:
            raise ConnectionError(f"try {tries[number.n]}")
        return Result(number.n)

    stage = Stage(flaky, retry=Retry(attempts=3, base=10))
    played = play_virtual(flow(stage, count=5), sequential=sequential)
    assert tries == {0: 1, 1: 2, 2: 3, 3: 3, 4: 3}
    assert values(played) == [0, 1, 2]
    assert {event.key: (event.attempts, event.error) for event in played.told(ItemDied)} == {
        "3": (3, "ConnectionError: try 3 (after 3 attempts)"),
        "4": (3, "ConnectionError: try 3 (after 3 attempts)"),
    }
    assert played.summary.retries == len(played.told(ItemRetried)) == 1 + 2 + 2 + 2


def test_a_retry_waits_its_delay_without_holding_a_worker() -> None:
    """Design §4.6: a retry never sleeps in a worker."""
    at: list[tuple[float, int]] = []

    async def later(number: Number) -> Result:
        at.append((asyncio.get_running_loop().time(), number.n))
        if number.n == 0 and len(at) == 1:
            raise RetryLater("come back", delay=3600)
        await asyncio.sleep(1)
        return Result(number.n)

    played = play_virtual(flow(Stage(later, workers=1, capacity=1), count=10))
    assert values(played) == list(range(10))
    assert [n for _, n in at] == [*range(10), 0]
    assert at[-2][0] < 20
    assert at[-1][0] == pytest.approx(3600, abs=1)


def test_items_that_all_wait_for_their_retry_do_not_block_the_ones_behind() -> None:
    """More parked items than the channel has room for, all to come back at once: nothing locks."""
    seen: set[int] = set()

    async def first_fails(number: Number) -> Result:
        if number.n not in seen:
            seen.add(number.n)
            raise RetryLater("outage", delay=60)
        return Result(number.n)

    played = play_virtual(flow(Stage(first_fails, workers=3, capacity=2), count=300))
    assert values(played) == list(range(300))
    assert played.seconds == pytest.approx(60, abs=1)


def test_refused_credentials_stop_the_run_and_keep_every_item() -> None:
    async def locked_out(number: Number) -> Result:
        if number.n == 3:
            raise CredentialsRefused("the token is not valid", service="api")
        await asyncio.sleep(1)
        return Result(number.n)

    played = play_virtual(flow(Stage(locked_out, workers=2), count=100))
    assert isinstance(played.summary.error, CredentialsRefused)
    counted = counts(played, "locked_out")
    assert counted.dead == counted.skipped == 0
    assert counted.pending + counted.done == 100
    assert counted.pending >= 90
    assert 3 not in values(played)
    assert not played.told(ItemDied)


def test_contents_that_differ_are_told() -> None:
    async def twice(number: Number) -> tuple[Result, Result]:
        return Result(number.n, 1), Result(number.n, number.n)

    played = play_virtual(flow(Stage(twice), count=3))
    assert {(event.record, event.key, event.fields) for event in played.told(ContentsDiffer)} == {
        ("Result", "0", ("value",)),
        ("Result", "2", ("value",)),
    }


def test_contents_that_differ_are_told_also_when_the_run_never_comes_to_rest() -> None:
    told_by: list[int] = []

    async def differ(number: Number) -> tuple[Result, Result]:
        await asyncio.sleep(1)
        return Result(0, number.n), Result(1, number.n)

    async def stop(run: Run) -> None:
        await asyncio.sleep(5.5)
        told_by.append(len(list(run._store.differences())))
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(differ, workers=1), count=100), watch=stop)
    assert len(played.told(ContentsDiffer)) >= 2 * 4
    assert told_by[0] <= 2


def test_an_error_of_the_function_that_looks_like_a_cancellation_is_a_failure_of_its_item() -> None:
    """A library that cancels its own future must not end a worker: nobody cancelled the worker."""

    async def leaks(number: Number) -> Result:
        if number.n == 1:
            raise asyncio.CancelledError
        return Result(number.n)

    played = play_virtual(flow(Stage(leaks, retry=ONCE), count=4))
    assert values(played) == [0, 2, 3]
    assert [event.key for event in played.told(ItemDied)] == ["1"]


# --- deadlines -----------------------------------------------------------------------------------------------------


def test_a_timeout_cancels_the_function_and_the_item_is_retried() -> None:
    ended: list[tuple[int, float]] = []

    async def slow(number: Number) -> Result:
        try:
            await asyncio.sleep(1000 if number.n == 1 and not ended else 1)
        except asyncio.CancelledError:
            ended.append((number.n, asyncio.get_running_loop().time()))
            raise
        return Result(number.n)

    played = play_virtual(flow(Stage(slow, timeout=10), count=3))
    assert values(played) == [0, 1, 2]
    ((n, at),) = ended
    assert n == 1
    assert at == pytest.approx(11, abs=1.1)
    (retried,) = played.told(ItemRetried)
    assert (retried.key, retried.error) == ("1", "StageTimeout: stage 'slow' ran past its timeout of 10 s")


@pytest.mark.parametrize("sequential", [False, True])
def test_a_function_that_always_hangs_costs_only_its_item(sequential: bool) -> None:
    async def hangs(number: Number) -> Result:
        if number.n == 0:
            await asyncio.get_running_loop().create_future()
        return Result(number.n)

    stage = Stage(hangs, timeout=5, retry=Retry(attempts=2, base=0, cap=0))
    played = play_virtual(flow(stage, count=5), sequential=sequential)
    assert values(played) == [1, 2, 3, 4]
    (died,) = played.told(ItemDied)
    assert died.error.startswith("StageTimeout")
    assert played.seconds == pytest.approx(10, abs=2)


@pytest.mark.parametrize("how", ["another error", "a result"])
def test_what_a_function_makes_of_its_cancellation_does_not_reach_the_next_item(how: str) -> None:
    """Whatever the late function gives, its item timed out, and the worker is clean for the next."""

    async def fail() -> None:
        raise KeyError

    async def stubborn(number: Number) -> Result:
        if number.n == 0:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                if how == "another error":
                    raise ValueError("interrupted") from None
        await asyncio.sleep(1)
        try:
            async with asyncio.TaskGroup() as group:  # looks at the task's count of cancellations
                group.create_task(fail())
        except* KeyError:
            pass
        return Result(number.n)

    played = play_virtual(flow(Stage(stubborn, timeout=5, retry=ONCE), count=5))
    assert values(played) == [1, 2, 3, 4]
    assert [event.key for event in played.told(ItemDied)] == ["0"]


def test_a_task_group_that_failed_inside_a_function_leaves_no_mark_on_its_worker() -> None:
    """Before Python 3.13 such a group leaves its task's count of cancellations raised, which says nothing."""

    async def fail() -> None:
        raise KeyError

    async def grouped(number: Number) -> Result:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        except* KeyError:
            pass
        if number.n == 1:
            await asyncio.sleep(1000)
        if number.n == 2:
            raise asyncio.CancelledError
        return Result(number.n)

    played = play_virtual(flow(Stage(grouped, timeout=5, retry=ONCE), count=4))
    assert values(played) == [0, 3]
    assert [event.key for event in played.told(ItemDied)] == ["1", "2"]


def test_the_deadline_holds_for_every_item_after_one_that_timed_out() -> None:
    async def hangs(number: Number) -> Result:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise OSError("closed") from None
        return Result(number.n)

    played = play_virtual(flow(Stage(hangs, timeout=5, retry=ONCE), count=4))
    assert len(played.told(ItemDied)) == 4
    assert played.seconds == pytest.approx(20, abs=3)


def test_waiting_for_a_limit_suspends_the_deadline_and_uses_no_attempt() -> None:
    async def polite(number: Number) -> Result:
        await asyncio.sleep(3)
        with deadline.suspended("limit api"):
            await asyncio.sleep(1000)
        await asyncio.sleep(3)
        return Result(number.n)

    played = play_virtual(flow(Stage(polite, timeout=7), count=2))
    assert values(played) == [0, 1]
    assert not played.told(ItemRetried)


def test_after_waiting_for_a_limit_the_remaining_time_counts() -> None:
    async def slow(number: Number) -> Result:
        await asyncio.sleep(3)
        with deadline.suspended("limit api"):
            await asyncio.sleep(1000)
        await asyncio.sleep(5)
        return Result(number.n)

    played = play_virtual(flow(Stage(slow, timeout=7, retry=ONCE), count=1))
    assert [event.key for event in played.told(ItemDied)] == ["0"]
    assert played.seconds == pytest.approx(1007, abs=1)


def test_waiting_for_room_in_a_channel_uses_no_attempt() -> None:
    async def quick(number: Number) -> list[Middle]:
        return [Middle(10 * number.n + k) for k in range(10)]

    async def slow(middle: Middle) -> Result:
        await asyncio.sleep(50)
        return Result(middle.n)

    played = play_virtual(flow(Stage(quick, timeout=1), Stage(slow, capacity=1), count=5))
    assert values(played) == list(range(50))
    assert not played.told(ItemRetried)


def test_a_task_that_a_function_left_behind_does_not_arm_the_deadline_of_the_idle_worker() -> None:
    """`gather` leaves its other calls running when one fails; one of them may wait for a limit just then."""
    left: list[asyncio.Task[None]] = []

    async def waits_for_a_limit() -> None:
        with deadline.suspended("limit api"):
            await asyncio.sleep(2)

    async def leaves(number: Number) -> Result:
        if number.n == 0:
            left.append(asyncio.create_task(waits_for_a_limit()))
            await asyncio.sleep(0)
        return Result(number.n)

    async def late(inputs: Inputs) -> AsyncIterator[Number]:
        yield Number(0)
        await asyncio.sleep(100)
        yield Number(1)

    played = play_virtual(flow(Stage(leaves, timeout=5), sources=[late]), latest=1000)
    assert values(played) == [0, 1]


def test_calls_at_once_keep_the_deadline_suspended_while_any_waits_for_a_limit() -> None:
    async def wait(seconds: float) -> None:
        with deadline.suspended("limit api"):
            await asyncio.sleep(seconds)

    async def both(number: Number) -> Result:
        await asyncio.gather(*(wait(seconds) for seconds in ((1, 100), (100, 1))[number.n]))
        return Result(number.n)

    played = play_virtual(flow(Stage(both, timeout=5, retry=ONCE), count=2))
    assert values(played) == [0, 1]


def test_a_function_that_ignores_its_cancellation_is_told_as_stuck() -> None:
    async def deaf(number: Number) -> Result:
        until = asyncio.get_running_loop().time() + 60
        while asyncio.get_running_loop().time() < until:
            try:
                await asyncio.sleep(until - asyncio.get_running_loop().time())
            except asyncio.CancelledError:
                continue
        return Result(number.n)

    played = play_virtual(flow(Stage(deaf, timeout=5, retry=ONCE), count=2))
    stuck = played.told(StageStuck)
    assert [(event.stage, event.key) for event in stuck] == [("deaf", "0"), ("deaf", "1")]
    assert " in deaf\n" in stuck[0].stack, "it says where in the stage's function"
    assert stuck[0].stack.endswith(" in sleep")


# --- backpressure, order, memory -----------------------------------------------------------------------------------


def test_a_slow_stage_slows_the_ones_before_it() -> None:
    """No channel holds more than its capacity, and the source is read only so far ahead."""
    given = 0
    most_ahead = 0
    full: set[str] = set()

    async def endless(inputs: Inputs) -> AsyncIterator[Number]:
        nonlocal given
        for n in range(3000):
            given += 1
            yield Number(n)

    async def quick(number: Number) -> Middle:
        return Middle(number.n)

    async def slow(middle: Middle) -> Result:
        nonlocal most_ahead
        await asyncio.sleep(1)
        most_ahead = max(most_ahead, given - middle.n)
        return Result(middle.n)

    async def look(run: Run) -> None:
        while True:
            await asyncio.sleep(0.5)
            for name, figures in run.figures().items():
                assert figures.queued <= figures.capacity
                if figures.queued == figures.capacity:
                    full.add(name)
            if run.figures() and run.figures()["slow"].done == 3000:
                return

    pipeline = flow(Stage(quick, workers=2, capacity=4), Stage(slow, workers=3, capacity=5), sources=[endless])
    played = play_virtual(pipeline, watch=look)
    assert len(values(played)) == 3000
    assert full == {"quick", "slow"}
    assert most_ahead <= 2 * READ_AHEAD + 4 + 2 + 5 + 3 + 1


def test_newest_first_takes_what_came_last() -> None:
    order: list[int] = []
    go = asyncio.Event()

    async def note(number: Number) -> Result:
        await go.wait()
        order.append(number.n)
        return Result(number.n)

    async def start(run: Run) -> None:
        await asyncio.sleep(1)
        go.set()

    play_virtual(flow(Stage(note, newest_first=True, capacity=10), count=10), watch=start)
    assert sorted(order) == list(range(10))
    assert order[1:] == sorted(order[1:], reverse=True)


def test_sequential_has_one_item_in_flight_and_goes_to_the_depth_first() -> None:
    """Invariant: sequential means one item in flight overall, depth first."""
    under_way = 0
    order: list[str] = []

    async def alone(name: str) -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await asyncio.sleep(1)
        under_way -= 1
        order.append(name)

    async def first(number: Number) -> list[Middle]:
        await alone(f"first {number.n}")
        return [Middle(10 * number.n), Middle(10 * number.n + 1)]

    async def second(middle: Middle) -> Result:
        await alone(f"second {middle.n}")
        return Result(middle.n)

    async def third(result: Result) -> None:
        await alone(f"third {result.n}")

    stages = [Stage(first, workers=4), Stage(second, workers=4), Stage(third, workers=4)]
    sources = [source_of(Number(1), Number(2), name="a"), source_of(Number(3), name="b")]
    played = play_virtual(flow(*stages, sources=sources), sequential=True)
    assert played.seconds == pytest.approx(15, abs=0.5)
    for index, name in enumerate(order):
        stage, number = name.split()
        if stage == "second":
            assert order[index + 1] == f"third {number}"
    for n in (1, 2, 3):
        mine = [index for index, name in enumerate(order) if name.split()[1] in (str(n), f"{n}0", f"{n}1")]
        assert mine == list(range(mine[0], mine[0] + 5)), "a source gives its next record when all is settled"


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    """Invariant. Live objects are counted, not bytes: items, records and tasks at the start and at the end of a run."""
    live: list[tuple[int, int]] = []

    async def endless(inputs: Inputs) -> AsyncIterator[Number]:
        for n in range(12_000):
            yield Number(n)

    async def pass_on(number: Number) -> Ephemeral:
        return Ephemeral(number.n)

    async def end(it: Ephemeral) -> None:
        await asyncio.sleep(0)
        if it.n in (2_000, 11_000):
            gc.collect()
            objects = gc.get_objects()
            items = sum(isinstance(each, Item | Number | Ephemeral) for each in objects)
            live.append((items, len(objects)))

    play_virtual(flow(Stage(pass_on, workers=4), Stage(end, workers=4), sources=[endless]))
    (items_early, objects_early), (items_late, objects_late) = live
    bound = 3 * (2 * READ_AHEAD + 100)
    assert items_early < bound
    assert items_late < bound
    assert objects_late - objects_early < 3000


@record(key="n")
class Ephemeral:
    n: int


# --- finalizers ----------------------------------------------------------------------------------------------------


def test_finalizers_run_at_quiet_with_all_rows_there() -> None:
    seen: list[list[int]] = []

    async def collect(*, reader: Reader) -> None:
        seen.append([row.n for row in await reader.records(Result)])

    played = play_virtual(flow(Stage(double), finalizers=[collect]))
    assert seen == [list(range(10))]
    assert [event.finalizer for event in played.told(FinalizerEnded)] == ["collect"]


def test_finalizers_do_not_run_when_nothing_changed() -> None:
    ran: list[str] = []

    async def note() -> None:
        ran.append("note")

    async def nothing(inputs: Inputs) -> AsyncIterator[Number]:
        return
        yield

    play_virtual(flow(Stage(double), sources=[nothing], finalizers=[note]))
    assert ran == []


def test_a_daemon_runs_its_finalizers_at_each_quiet_and_goes_on_until_it_is_stopped() -> None:
    at: list[float] = []

    async def note() -> None:
        at.append(asyncio.get_running_loop().time())

    async def slow_source(inputs: Inputs) -> AsyncIterator[Number]:
        yield Number(0)
        yield Number(1)
        await asyncio.sleep(100)
        yield Number(2)
        await asyncio.sleep(1000)

    async def stop(run: Run) -> None:
        await asyncio.sleep(300)
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(double), sources=[slow_source], finalizers=[note]), daemon=True, watch=stop)
    assert values(played) == [0, 1, 2]
    assert len(at) == 2
    assert at[0] == pytest.approx(QUIET, abs=1)
    assert at[1] == pytest.approx(100 + QUIET, abs=1)
    assert played.seconds == pytest.approx(300, abs=1)


def test_a_daemon_is_not_quiet_while_records_keep_coming() -> None:
    at: list[float] = []

    async def note() -> None:
        at.append(asyncio.get_running_loop().time())

    async def trickle(inputs: Inputs) -> AsyncIterator[Number]:
        for n in range(20):
            yield Number(n)
            await asyncio.sleep(QUIET - 1)
        await asyncio.sleep(1000)

    async def stop(run: Run) -> None:
        await asyncio.sleep(300)
        run.stop("SIGTERM")

    play_virtual(flow(Stage(double), sources=[trickle], finalizers=[note]), daemon=True, watch=stop)
    assert at == [pytest.approx(19 * (QUIET - 1) + QUIET, abs=1)]


def test_a_finalizer_that_fails_fails_the_run() -> None:
    async def breaks() -> None:
        raise ValueError("no bibliography")

    with pytest.raises(ValueError, match="no bibliography"):
        play_virtual(flow(Stage(double), finalizers=[breaks]))


# --- stopping ------------------------------------------------------------------------------------------------------


async def ten_seconds(number: Number) -> Result:
    await asyncio.sleep(10)
    return Result(number.n)


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("chained", [False, True])
def test_the_first_stop_lets_active_items_finish_and_takes_no_more(sequential: bool, chained: bool) -> None:
    async def stop(run: Run) -> None:
        await asyncio.sleep(15)
        run.stop("SIGTERM")

    async def after(result: Result) -> None:
        await asyncio.sleep(10)

    stages = [Stage(ten_seconds, workers=2), *([Stage(after, workers=2)] if chained else [])]
    played = play_virtual(flow(*stages, count=1000), watch=stop, sequential=sequential)
    assert played.summary.stopped_by == "SIGTERM"
    assert played.seconds == pytest.approx(20, abs=1)
    assert played.summary.stages["ten_seconds"].done == (4 if not sequential else 1 if chained else 2)
    if chained:
        assert played.summary.stages["after"].done == (2 if not sequential else 1)
    assert not played.told(ItemDied)
    assert not played.told(ItemRetried)


@pytest.mark.parametrize("sequential", [False, True])
def test_the_second_stop_ends_at_once(sequential: bool) -> None:
    cancelled: list[int] = []

    async def slow(number: Number) -> Result:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(number.n)
            raise
        return Result(number.n)

    async def stop(run: Run) -> None:
        await asyncio.sleep(3)
        run.stop("SIGTERM")
        await asyncio.sleep(1)
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(slow, workers=2, retry=ONCE), count=10), watch=stop, sequential=sequential)
    assert not played.told(ItemDied), "to be stopped uses no attempt"
    assert not played.told(ItemRetried)
    assert played.seconds == pytest.approx(4, abs=0.5)
    assert sorted(cancelled) == ([0] if sequential else [0, 1])
    assert values(played) == []
    assert counts(played, "slow").dead == 0


def test_what_does_not_finish_within_the_grace_period_stays_pending() -> None:
    async def stop(run: Run) -> None:
        await asyncio.sleep(3)
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(ten_seconds), count=10), watch=stop, grace=2)
    assert played.seconds == pytest.approx(5, abs=0.5)
    assert not played.told(ItemRetried), "to be stopped uses no attempt"
    assert counts(played, "ten_seconds").done == 0
    assert counts(played, "ten_seconds").dead == 0


def test_a_retry_that_comes_due_while_the_run_drains_stays_pending() -> None:
    async def some_fail(number: Number) -> Result:
        if number.n < 5:
            raise RetryLater("soon", delay=8)
        await asyncio.sleep(20)
        return Result(number.n)

    async def stop(run: Run) -> None:
        await asyncio.sleep(3)
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(some_fail, workers=2), count=7), watch=stop)
    assert values(played) == [5, 6]
    assert counts(played, "some_fail") == Counts(pending=5, done=2)


def test_a_stop_lets_producers_that_wait_for_room_go() -> None:
    """The children of an item that is done are durable; nobody has to take them."""

    async def many(number: Number) -> list[Middle]:
        return [Middle(100 * number.n + k) for k in range(50)]

    async def slow(middle: Middle) -> Result:
        await asyncio.sleep(10)
        return Result(middle.n)

    async def stop(run: Run) -> None:
        await asyncio.sleep(15)
        run.stop("SIGINT")

    played = play_virtual(flow(Stage(many, workers=2), Stage(slow, capacity=2)), watch=stop)
    assert played.seconds == pytest.approx(20, abs=1)
    assert counts(played, "slow").done == 2
    assert counts(played, "slow").pending == 50 * counts(played, "many").done - 2


def test_a_stop_before_anything_has_begun_ends_the_run() -> None:
    def stop(run: Run) -> None:
        run.stop("SIGTERM")

    played = play_virtual(flow(Stage(double), count=100), watch=stop)
    assert played.summary.stopped_by == "SIGTERM"


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("turns", [*range(0, 30, 3), 100, 1000])
def test_cancelling_a_run_from_outside_goes_through_at_every_moment(turns: int, sequential: bool) -> None:
    """Invariant: cancellation goes through everywhere; no task outlives its run."""
    ran: list[asyncio.Task[Played]] = []

    async def streams(result: Result) -> AsyncIterator[Middle]:
        yield Middle(result.n)
        await asyncio.sleep(0)
        yield Middle(-1 - result.n)

    async def main() -> None:
        pipeline = flow(Stage(double, workers=3, capacity=1), Stage(streams, capacity=1), count=500)
        task = asyncio.create_task(play(pipeline, sequential=sequential))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        ran.append(task)

    run_virtual(main())
    assert ran


def test_one_store_in_memory_serves_several_runs() -> None:
    """What a stopped run left is forgotten with its run, so that the next one takes it from the source again."""
    store = MemoryStore()

    async def stop(run: Run) -> None:
        await asyncio.sleep(15)
        run.stop("SIGTERM")

    play_virtual(flow(Stage(ten_seconds), count=5), store, watch=stop)
    played = play_virtual(flow(Stage(ten_seconds), count=5), store)
    assert values(played) == list(range(5))


def test_numbers_source_is_what_it_says() -> None:
    async def main() -> list[Number]:
        return [each async for each in numbers(3)(Inputs(()))]

    assert run_virtual(main()) == [Number(0), Number(1), Number(2)]


def test_at_once_retries_need_no_time() -> None:
    async def fails(number: Number) -> Result:
        raise OSError

    played = play_virtual(flow(Stage(fails, retry=AT_ONCE), count=20))
    assert len(played.told(ItemDied)) == 20
    assert played.seconds < 0.1
