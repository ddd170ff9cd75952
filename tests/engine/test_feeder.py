"""Feeding what is parked or left over: in time, once, and with a bounded part of it in memory."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from streamflow.engine.channel import Channel
from streamflow.engine.feeder import PAGE, Feeder
from streamflow.storage.store import Item, Store
from streamflow.testing.clock import run_virtual

ROOM = 4


class Journal:
    """Just the part of a durable store that a feeder reads. Times are those of the loop's clock."""

    durable = True
    resume_to = 10**9

    def __init__(self) -> None:
        self.rows: dict[int, float | None] = {}
        self.reads = 0
        self.until = 0.0
        self.ahead = time.time() - asyncio.get_running_loop().time()

    def add(self, number: int, due: float | None = None) -> Item:
        self.rows[number] = due
        return self.item(number)

    def item(self, number: int) -> Item:
        due = self.rows[number]
        it = Item("stage", None, str(number), number, attempts=1)
        if due is not None:
            it.due = time.time() + due - asyncio.get_running_loop().time()
        return it

    async def pending(self, stage: str, *, after: int, limit: int) -> Sequence[Item]:
        return [self.item(number) for number in sorted(self.rows) if number > after][:limit]

    async def due(self, stage: str, *, until: float, limit: int) -> Sequence[Item]:
        self.reads += 1
        self.until = until
        latest = until - self.ahead + 1e-3  # two clocks, read one after the other
        found = [(due, number) for number, due in self.rows.items() if due is not None and due <= latest]
        return [self.item(number) for _, number in sorted(found)][:limit]


def feed(scenario: Callable[[Journal, Feeder, Channel[Item]], Any]) -> None:
    async def main() -> None:
        journal = Journal()
        channel: Channel[Item] = Channel(ROOM)
        feeder = Feeder("stage", cast("Store", journal), channel, ROOM)
        retries = asyncio.create_task(feeder.retries())
        try:
            await scenario(journal, feeder, channel)
        finally:
            retries.cancel()
            await asyncio.gather(retries, return_exceptions=True)

    run_virtual(main(), latest=1e5)


async def take(journal: Journal, feeder: Feeder, channel: Channel[Item], count: int) -> list[tuple[str, float]]:
    """Work on items: each ends when it is taken."""
    taken = []
    for _ in range(count):
        it = await channel.get()
        journal.rows.pop(it.id, None)
        feeder.ended(it)
        taken.append((str(it.key), asyncio.get_running_loop().time()))
    return taken


def test_items_come_at_their_times_in_the_order_of_these() -> None:
    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        for number, delay in ((1, 30.0), (2, 10.0), (3, 20.0)):
            feeder.park(journal.add(number, delay), delay)
        assert feeder.parked == 3
        assert await take(journal, feeder, channel, 3) == [
            ("2", pytest.approx(10)),
            ("3", pytest.approx(20)),
            ("1", pytest.approx(30)),
        ]
        assert feeder.parked == 0

    feed(scenario)


def test_only_so_many_stay_in_memory_and_all_come_back_once() -> None:
    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        count = 1000
        for number in range(1, count + 1):
            feeder.park(journal.add(number, 60.0), 60.0)
        assert feeder.parked == count
        assert len(feeder._parked) == ROOM
        taken = await take(journal, feeder, channel, count)
        assert Counter(key for key, _ in taken) == Counter(map(str, range(1, count + 1)))
        assert all(59 - 1 <= at <= 61 + count for _, at in taken)
        assert (feeder.parked, len(channel)) == (0, 0)
        assert len(feeder._in_memory) == 0

    feed(scenario)


def test_none_that_waits_in_the_store_only_comes_before_its_time() -> None:
    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        dues = {str(number): 30.0 + number / 50 for number in range(1, 101)}
        for key, due in dues.items():
            feeder.park(journal.add(int(key), due), due)
        taken = await take(journal, feeder, channel, len(dues))
        # The item's own time is by another clock than the loop's.
        assert all(-0.01 < at - dues[key] < 1.1 for key, at in taken)

    feed(scenario)


async def at_once() -> None:
    """Nothing has to settle before the next page."""


def test_what_an_earlier_run_left_comes_once_each_whether_due_or_not() -> None:
    """Rows that come due while earlier pages are still being fed are left to their page."""

    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        count = 3 * PAGE
        found = 0

        def tell(more: int) -> None:
            nonlocal found
            found += more

        for number in range(1, count + 1):
            journal.add(number, (None, 0.0, 5.0, 50.0)[number % 4])
        resuming = asyncio.create_task(feeder.resume(tell, at_once))
        taken = []
        for _ in range(count):
            taken += await take(journal, feeder, channel, 1)
            await asyncio.sleep(0.1)
        await resuming
        await asyncio.sleep(200)
        assert len(channel) == 0
        assert Counter(key for key, _ in taken) == Counter(map(str, range(1, count + 1)))
        assert found == count
        assert feeder.parked == 0

    feed(scenario)


def test_what_is_requeued_comes_page_by_page_without_a_pause() -> None:
    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        count = 4 * PAGE
        for number in range(1, count + 1):
            journal.add(number, 0.0)
        assert feeder.requeued(range(1, count + 1)) == count == feeder.parked
        taken = await take(journal, feeder, channel, count)
        assert Counter(key for key, _ in taken) == Counter(map(str, range(1, count + 1)))
        assert taken[-1][1] < 1.0
        assert (feeder.parked, len(channel), journal.reads) == (0, 0, 4)

    feed(scenario)


def test_what_is_requeued_fills_no_channel_without_a_bound() -> None:
    async def main() -> None:
        journal, channel = Journal(), Channel[Item](0)
        feeder = Feeder("stage", cast("Store", journal), channel, ROOM)
        retries = asyncio.create_task(feeder.retries())
        for number in range(1, 4 * PAGE + 1):
            journal.add(number, 0.0)
        feeder.requeued(range(1, 4 * PAGE + 1))
        await asyncio.sleep(0.9)
        assert len(channel) == PAGE
        await asyncio.sleep(10)
        assert len(channel) == PAGE
        retries.cancel()
        await asyncio.gather(retries, return_exceptions=True)

    run_virtual(main())


def test_a_feeder_with_nothing_parked_reads_nothing() -> None:
    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        await asyncio.sleep(1000)
        assert journal.reads == 0

    feed(scenario)


def test_it_ends_quietly_when_the_channel_is_closed() -> None:
    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        for number in range(1, 3):
            feeder.park(journal.add(number, 10.0), 10.0)
        channel.close()
        async with asyncio.timeout(100):
            await feeder.retries()

    feed(scenario)


def test_a_clock_that_is_set_back_makes_no_retry_wait_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries that only the store knows carry the time that the clock showed when they were parked."""
    now = 1e9
    monkeypatch.setattr(time, "time", lambda: now)

    async def scenario(journal: Journal, feeder: Feeder, channel: Channel[Item]) -> None:
        nonlocal now
        for number in range(1, ROOM + 2):
            feeder.park(journal.add(number, 5.0), 5.0)
        now -= 86_400.0
        assert len(await take(journal, feeder, channel, ROOM + 1)) == ROOM + 1
        assert journal.until >= 1e9 + 5.0

    feed(scenario)
