"""Channels: bounded, fair to their producers, and losing nothing to cancellation."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.engine.channel import Channel, ChannelClosed, QueueEmpty, QueueFull
from streamflow.testing.clock import run_virtual


async def turn(times: int = 3) -> None:
    """Let all tasks that can go on do so."""
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_values_come_in_the_order_they_were_put() -> None:
    channel: Channel[int] = Channel(3)
    for value in (1, 2, 3):
        channel.put_nowait(value)
    assert [await channel.get() for _ in range(3)] == [1, 2, 3]


@pytest.mark.asyncio
async def test_newest_first_gives_the_last_value_put() -> None:
    channel: Channel[int] = Channel(3, newest_first=True)
    for value in (1, 2, 3):
        channel.put_nowait(value)
    assert [channel.get_nowait() for _ in range(3)] == [3, 2, 1]


@pytest.mark.asyncio
async def test_it_never_holds_more_than_its_capacity() -> None:
    channel: Channel[int] = Channel(2)
    async with asyncio.TaskGroup() as group:
        producers = [group.create_task(channel.put(value)) for value in range(5)]
        await turn()
        assert (len(channel), channel.producers_waiting) == (2, 3)
        assert [producer.done() for producer in producers] == [True, True, False, False, False]
        with pytest.raises(QueueFull):
            channel.put_nowait(9)
        taken = []
        while len(taken) < 5:
            taken.append(await channel.get())
            assert len(channel) <= 2
    assert taken == [0, 1, 2, 3, 4]
    with pytest.raises(QueueEmpty):
        channel.get_nowait()


@pytest.mark.asyncio
async def test_capacity_zero_is_without_a_bound() -> None:
    channel: Channel[int] = Channel(0)
    for value in range(1000):
        channel.put_nowait(value)
    assert len(channel) == 1000


@pytest.mark.asyncio
async def test_a_producer_that_comes_late_cannot_take_a_place_that_others_wait_for() -> None:
    """Design §4: a channel is fair to its producers."""
    channel: Channel[str] = Channel(1)
    channel.put_nowait("first")
    async with asyncio.TaskGroup() as group:
        group.create_task(channel.put("early"))
        await turn()
        assert channel.get_nowait() == "first"
        # The place is free this instant, and "early" has not run yet: it is taken nevertheless.
        with pytest.raises(QueueFull):
            channel.put_nowait("barger")
        group.create_task(channel.put("late"))
        await turn()
        assert [await channel.get(), await channel.get()] == ["early", "late"]


@pytest.mark.asyncio
async def test_greedy_producers_do_not_starve_a_slow_one() -> None:
    """Each producer that waits is served before one that was served meanwhile is served again."""
    channel: Channel[str] = Channel(2)
    taken: list[str] = []

    async def produce(name: str) -> None:
        for _ in range(20):
            await channel.put(name)

    async with asyncio.TaskGroup() as group:
        for name in "abcde":
            group.create_task(produce(name))
        for _ in range(100):
            taken.append(await channel.get())
            await asyncio.sleep(0)
    for start in range(10, 80):
        assert set(taken[start : start + 10]) == set("abcde"), taken


@pytest.mark.asyncio
async def test_all_waiting_consumers_are_served_when_values_come_through_a_small_channel() -> None:
    """No wake-up is lost: a value that enters for a waiting producer wakes a waiting consumer too."""
    channel: Channel[int] = Channel(1)
    async with asyncio.TaskGroup() as group:
        consumers = [group.create_task(channel.get()) for _ in range(3)]
        await turn()
        producers = [group.create_task(channel.put(value)) for value in range(3)]
        await turn(10)
        served = [consumer.done() for consumer in consumers]
        for task in (*consumers, *producers):
            task.cancel()
    assert served == [True, True, True]


@pytest.mark.asyncio
async def test_a_cancelled_consumer_took_nothing() -> None:
    channel: Channel[int] = Channel(1)
    consumer = asyncio.create_task(channel.get())
    await turn()
    channel.put_nowait(1)  # wakes the consumer …
    consumer.cancel()  # … which never gets to run
    await asyncio.wait([consumer])
    assert consumer.cancelled()
    assert channel.get_nowait() == 1


@pytest.mark.asyncio
async def test_a_wake_up_passes_from_a_cancelled_consumer_to_the_next() -> None:
    channel: Channel[int] = Channel(1)
    doomed, next_one = asyncio.create_task(channel.get()), asyncio.create_task(channel.get())
    await turn()
    channel.put_nowait(1)
    doomed.cancel()
    await turn()
    assert next_one.done()
    assert await next_one == 1


@pytest.mark.asyncio
async def test_a_cancelled_producers_value_is_not_put_and_the_next_moves_up() -> None:
    channel: Channel[int] = Channel(1)
    channel.put_nowait(0)
    doomed, next_one = asyncio.create_task(channel.put(1)), asyncio.create_task(channel.put(2))
    await turn()
    doomed.cancel()
    await turn()
    assert doomed.cancelled()
    assert channel.producers_waiting == 1
    assert [await channel.get(), await channel.get()] == [0, 2]
    await next_one


@pytest.mark.asyncio
async def test_a_producer_cancelled_when_the_place_comes_free_is_passed_over() -> None:
    channel: Channel[int] = Channel(1)
    channel.put_nowait(0)
    doomed, next_one = asyncio.create_task(channel.put(1)), asyncio.create_task(channel.put(2))
    await turn()
    doomed.cancel()  # its place in the line is still there
    assert [channel.get_nowait(), channel.get_nowait()] == [0, 2]
    await asyncio.wait([doomed, next_one])
    assert doomed.cancelled()
    assert channel.producers_waiting == 0


@pytest.mark.asyncio
async def test_a_producer_cancelled_after_its_value_was_taken_over_has_put_it() -> None:
    channel: Channel[int] = Channel(1)
    channel.put_nowait(0)
    producer = asyncio.create_task(channel.put(1))
    await turn()
    assert channel.get_nowait() == 0
    producer.cancel()
    await asyncio.wait([producer])
    assert channel.get_nowait() == 1


@pytest.mark.asyncio
async def test_closing_lets_waiting_producers_go_and_keeps_what_is_inside() -> None:
    channel: Channel[int] = Channel(1)
    channel.put_nowait(0)
    producer = asyncio.create_task(channel.put(1))
    await turn()
    channel.close()
    with pytest.raises(ChannelClosed):
        await producer
    with pytest.raises(ChannelClosed):
        await channel.put(2)
    assert channel.get_nowait() == 0
    with pytest.raises(ChannelClosed):
        channel.put_nowait(3)
    with pytest.raises(QueueEmpty):
        channel.get_nowait()


@pytest.mark.asyncio
async def test_a_held_channel_gives_out_nothing_and_is_as_full_as_it_is() -> None:
    channel: Channel[int] = Channel(2)
    channel.put_nowait(0)
    channel.hold()
    channel.put_nowait(1)
    with pytest.raises(QueueFull):
        channel.put_nowait(2)
    with pytest.raises(QueueEmpty):
        channel.get_nowait()
    consumers = [asyncio.create_task(channel.get()) for _ in range(2)]
    producer = asyncio.create_task(channel.put(2))
    await turn()
    assert not any(task.done() for task in (*consumers, producer))
    channel.release()
    assert sorted([await consumer for consumer in consumers]) == [0, 1]
    await producer
    assert (channel.get_nowait(), channel.held) == (2, False)


@pytest.mark.asyncio
async def test_a_consumer_on_its_way_when_the_hold_comes_takes_nothing() -> None:
    channel: Channel[int] = Channel(2)
    consumer = asyncio.create_task(channel.get())
    await turn()
    channel.put_nowait(0)  # wakes it
    channel.hold()
    await turn()
    assert not consumer.done()
    channel.release()
    assert await consumer == 0


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), capacity=st.integers(1, 3), newest_first=st.booleans())
def test_cancellations_at_any_moment_lose_and_double_nothing(seed: int, capacity: int, newest_first: bool) -> None:
    """What a producer put and was not cancelled at comes out exactly once; a cancelled one's at most once."""
    chance = random.Random(seed)

    async def main() -> None:
        channel: Channel[int] = Channel(capacity, newest_first=newest_first)
        put: set[int] = set()
        tried: set[int] = set()
        taken: list[int] = []

        async def produce(value: int) -> None:
            tried.add(value)
            await channel.put(value)
            put.add(value)

        async def consume() -> None:
            taken.append(await channel.get())

        tasks: list[asyncio.Task[None]] = []
        for value in range(30):
            tasks.append(asyncio.create_task(produce(value) if chance.random() < 0.55 else consume()))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                chance.choice(tasks).cancel()
            if chance.random() < 0.1:
                (channel.release if channel.held else channel.hold)()
            assert len(channel) <= capacity
        # Whoever waits now waits for good reason.
        channel.release()
        await turn(40)
        waiting = [task for task in tasks if not task.done()]
        assert not (len(channel) and any("consume" in repr(task.get_coro()) for task in waiting)), "a lost wake-up"
        assert len(channel) == capacity or not any("produce" in repr(task.get_coro()) for task in waiting)
        while len(channel):
            taken.append(channel.get_nowait())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(taken) == len(set(taken))
        assert put <= set(taken) <= tried

    run_virtual(main())
