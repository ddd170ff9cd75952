"""The bounded queue in front of a stage.

A channel is an `asyncio.Queue` with three promises more:

- It is fair to its producers: they are served in the order in which they began to wait, and one that comes later
  cannot take a place that became free for one that waits.
- It loses nothing to cancellation: a cancelled producer's value is in the channel or was never taken, a cancelled
  consumer took nothing.
- It can be closed: then nobody can put, and producers that wait are let go.
- It can be held: then nobody can take, and producers find it as full as it is.

`put_nowait` and `get_nowait` hold the logic and never wake anyone who is awake; `put` and `get` only add waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio import QueueEmpty, QueueFull
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosed(Exception):
    """The run stops: nothing more is put into channels. What was to be put stays pending in the store."""


class _Held(deque[T]):
    """The values of a held channel. Producers, who count them, see them; consumers, who ask whether there are any, do
    not: so a hold costs nothing where values are taken."""

    def __bool__(self) -> bool:
        return False


class Channel(asyncio.Queue[T], Generic[T]):
    """A channel for at most `capacity` values, any number for 0; with `newest_first` the last put is taken first.

    A value is never None.
    """

    def __init__(self, capacity: int, *, newest_first: bool = False) -> None:
        super().__init__(capacity)
        self._room = capacity if capacity > 0 else sys.maxsize
        self._newest_first = newest_first
        self._keep(self._values)
        # Consumers that wait and were not woken. At most one is on its way (`_waking`): it wakes the next if it leaves
        # values behind. So values never lie while all consumers sleep, and one that can take all by itself does.
        self._consumers: deque[asyncio.Future[None]] = deque()
        self._waking = False
        # Producers that wait, in order, each with its value. Not empty only while the channel is full: whoever takes
        # a value puts the first producer's value in its place at once.
        self._producers: OrderedDict[asyncio.Future[None], T] = OrderedDict()
        self._closed = False

    # What `asyncio.Queue` leaves to its subclasses: where the values are.

    def _init(self, maxsize: int) -> None:
        self._values: deque[T] = deque()

    def _keep(self, values: deque[T]) -> None:
        self._values = values
        self._next = values.pop if self._newest_first else values.popleft

    def _get(self) -> T:
        return self._next()

    def _put(self, item: T) -> None:
        self._values.append(item)

    def qsize(self) -> int:
        return len(self._values)

    __len__ = qsize

    def empty(self) -> bool:
        return not self._values

    @property
    def capacity(self) -> int:
        return self.maxsize

    @property
    def producers_waiting(self) -> int:
        return len(self._producers)

    def put_nowait(self, item: T) -> None:
        """Raises QueueFull when there is no room, or when others wait for it, and ChannelClosed."""
        if len(self._values) >= self._room or self._producers:
            raise ChannelClosed if self._closed else QueueFull
        self._values.append(item)
        if self._consumers and not self._waking:
            self._wake_consumer()

    async def put(self, item: T) -> None:
        """Put a value, waiting for room in line with the other producers. Raises ChannelClosed."""
        if self._closed:
            raise ChannelClosed
        try:
            return self.put_nowait(item)
        except QueueFull:
            pass
        place = asyncio.get_running_loop().create_future()
        self._producers[place] = item
        try:
            await place
        finally:
            # Absent when the value was taken over, also if the cancellation came after that.
            self._producers.pop(place, None)

    async def put_all(self, items: Sequence[T]) -> None:
        """Put values in order, at once as many as there is room for. Raises ChannelClosed."""
        put = 0
        while put < len(items):
            if self._closed or self._producers or len(self._values) >= self._room:
                await self.put(items[put])
                put += 1
                continue
            until = min(len(items), put + self._room - len(self._values))
            self._values.extend(items[put:until])
            put = until
            self._pass_on()

    def take(self) -> T | None:
        """A value, or None where there is none: `get_nowait` without the cost of an exception."""
        if not self._values:
            return None
        item = self._next()
        if self._producers:
            self._admit_producer()
        return item

    def get_nowait(self) -> T:
        """Raises QueueEmpty."""
        item = self.take()
        if item is None:
            raise QueueEmpty
        return item

    async def get(self) -> T:
        """Take a value, waiting for one."""
        while not self._values:
            place = asyncio.get_running_loop().create_future()
            self._consumers.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.cancelled():
                    with contextlib.suppress(ValueError):  # absent when passed over by a wake-up
                        self._consumers.remove(place)
                else:
                    self._waking = False
                    self._pass_on()
                raise
            self._waking = False
            if self._values:
                item = self.get_nowait()
                self._pass_on()
                return item
        return self.get_nowait()

    def close(self) -> None:
        """Refuse further values and let waiting producers go with ChannelClosed. What is inside stays."""
        self._closed = True
        self._room = 0  # so that `put_nowait`, which is called for every item, asks for one thing only
        while self._producers:
            place, _ = self._producers.popitem(last=False)
            if not place.done():
                place.set_exception(ChannelClosed())

    @property
    def held(self) -> bool:
        return isinstance(self._values, _Held)

    def hold(self) -> None:
        """Give out nothing until `release`."""
        self._keep(_Held(self._values))

    def release(self) -> None:
        self._keep(deque(self._values))
        self._pass_on()

    def _admit_producer(self) -> None:
        while self._producers:
            place, item = self._producers.popitem(last=False)
            if not place.done():
                self._values.append(item)
                place.set_result(None)
                return

    def _pass_on(self) -> None:
        if self._values and self._consumers and not self._waking:
            self._wake_consumer()

    def _wake_consumer(self) -> None:
        while self._consumers:
            place = self._consumers.popleft()
            if not place.done():
                place.set_result(None)
                self._waking = True
                return


__all__ = ["Channel", "ChannelClosed", "QueueEmpty", "QueueFull"]
