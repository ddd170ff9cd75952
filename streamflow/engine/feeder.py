"""Feeding a stage what no producer puts: items that an earlier run left pending, and items whose retry is due.

A retry never sleeps in a worker and never pushes into a full channel: the item is parked here until its time. At most
as many as the channel has room stay in memory; the others wait in the store with their time.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

from streamflow.engine.channel import Channel, ChannelClosed
from streamflow.storage.store import Item, Store

PAGE = 256
"""Items read from the store at once."""


class Feeder:
    """Feeds one stage.

    Times are those of the event loop in memory and seconds since the epoch in the store: a clock that is set while a
    run is on moves no retry that is in memory, and makes none that is not wait longer.
    """

    def __init__(self, stage: str, store: Store, channel: Channel[Item], room: int) -> None:
        self._stage = stage
        self._store = store
        self._channel = channel
        self._room = room
        self._parked: list[tuple[float, int, Item]] = []
        self._order = itertools.count()
        self._in_memory: set[int] = set()
        # While a page of due items is read: those that were in memory at any time since it was asked for.
        self._touched: set[int] | None = None
        # Rows above this id, up to where `resume` ends, are still to come from there; at last it is infinite. It grows
        # only while `paging` is held: so who makes rows pending meanwhile knows which of them `resume` will find.
        self._resumed_to = float("inf")
        self.paging = asyncio.Lock()
        self._outside = 0
        self._next_outside = float("inf")
        # The most by which the epoch's clock was ahead of the loop's when an item was parked.
        self._ahead = float("-inf")
        self._changed = asyncio.Event()

    @property
    def parked(self) -> int:
        """Items that wait for their retry time."""
        return len(self._parked) + self._outside

    @property
    def next_due(self) -> float:
        """When the first of them is due, by the loop's clock; infinite where none waits."""
        return min(self._parked[0][0] if self._parked else float("inf"), self._next_outside)

    def park(self, item: Item, delay: float) -> None:
        """Keep an item for `delay` seconds. It is pending in the store already, with its time."""
        now = asyncio.get_running_loop().time()
        due = now + delay
        self._ahead = max(self._ahead, time.time() - now)
        if len(self._parked) < self._room or not self._store.durable:
            heapq.heappush(self._parked, (due, next(self._order), item))
            self.remember(item)
        else:
            self._outside += 1
            self._in_memory.discard(item.id)
            self._next_outside = min(self._next_outside, due)
        self._changed.set()

    def ended(self, item: Item) -> None:
        """An item that was parked once has ended."""
        self._in_memory.discard(item.id)

    def remember(self, item: Item) -> None:
        """An item's retry time will be in the store while the item is still in memory: it is not to be fetched."""
        self._in_memory.add(item.id)
        if self._touched is not None:
            self._touched.add(item.id)

    def requeued(self, ids: Sequence[int]) -> int:
        """Rows of these ids became pending and due in the store while `paging` was held, and still is. How many of them
        come from here on; `resume` finds the others."""
        count = sum(not self._is_to_be_resumed(number) for number in ids)
        if count:
            now = asyncio.get_running_loop().time()
            self._ahead = max(self._ahead, time.time() - now)
            self._outside += count
            self._next_outside = min(self._next_outside, now)
            self._changed.set()
        return count

    def _is_to_be_resumed(self, number: int) -> bool:
        return self._resumed_to < number <= self._store.resume_to

    async def resume(self, found: Callable[[int], None], settled: Callable[[], Awaitable[None]]) -> None:
        """Put what was pending when the store was opened, page by page, beside live items.

        `found` is told how many items a page brought before they are put. The next page waits until the run has
        `settled`, which only a sequential one, whose channel has no bound, takes literally.
        """
        with contextlib.suppress(ChannelClosed):  # the run stops; the rest is pending in the store
            await self._put_what_was_pending(found, settled)

    async def _put_what_was_pending(self, found: Callable[[int], None], settled: Callable[[], Awaitable[None]]) -> None:
        self._resumed_to = 0
        while page := await self._next_page():
            found(len(page))
            for item in page:
                delay = item.due - time.time() if item.due is not None else 0.0
                if delay > 0:
                    self.park(item, delay)
                else:
                    await self._channel.put(item)
            await settled()

    async def _next_page(self) -> Sequence[Item]:
        async with self.paging:
            page = await self._store.pending(self._stage, after=int(self._resumed_to), limit=PAGE)
            for item in page:
                if item.due is not None:
                    self.remember(item)
            self._resumed_to = page[-1].id if page else float("inf")
            return page

    async def retries(self) -> None:
        """Put parked items when they are due, for as long as the run is on."""
        with contextlib.suppress(ChannelClosed):  # the run stops; what is parked is pending in the store
            await self._put_what_is_due()

    async def _put_what_is_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            next_due = self.next_due
            self._changed.clear()
            try:
                async with asyncio.timeout_at(next_due if next_due < float("inf") else None):
                    await self._changed.wait()
            except TimeoutError:
                pass
            now = loop.time()
            while self._parked and self._parked[0][0] <= now:
                _, _, item = heapq.heappop(self._parked)
                await self._channel.put(item)
            if self._next_outside <= now:
                if not self._channel.capacity and len(self._channel) >= PAGE:
                    self._next_outside = now + 1.0  # no bound holds us up
                else:
                    await self._fetch(now)

    async def _fetch(self, now: float) -> None:
        """Put due items that wait in the store only."""
        # Rows of items in memory are due there too: ask for enough to see past them. The page tells how things stood
        # when it was read: an item that was in memory at any time since then may have ended meanwhile. What is due
        # within the next second comes with the next look: late rather than early, because a service may have named
        # that time.
        self._touched = touched = set(self._in_memory)
        limit = PAGE + len(touched)
        page = await self._store.due(self._stage, until=now + self._ahead, limit=limit)
        self._touched = None
        outside = [item for item in page if item.id not in touched and not self._is_to_be_resumed(item.id)]
        for item in outside:
            self._in_memory.add(item.id)
            self._outside -= 1
            await self._channel.put(item)
        is_more = len(page) == limit and bool(outside)
        self._next_outside = (now if is_more else now + 1.0) if self._outside else float("inf")
