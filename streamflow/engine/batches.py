"""Batch stages: items are taken together, and what becomes of each is decided apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamflow.deadline import NEVER
from streamflow.engine.executors import Call
from streamflow.engine.shared import Shared, Slot
from streamflow.engine.stage import Batch
from streamflow.errors import (
    BadAnswer,
    Overloaded,
    PermanentError,
    RetryLater,
    ServiceError,
    Skip,
    StageSignatureError,
    Unreachable,
)
from streamflow.limits.retry import Again, Stop
from streamflow.storage.store import Item, State
from streamflow.storage.trouble import Trouble, trouble

if TYPE_CHECKING:
    from streamflow.engine.pool import Pool

LOOK = 0.05
"""Seconds between two looks of a worker that gathers a batch whether any more can come."""

_OF_THE_REQUEST = (500, 501)
"""Statuses by which a server may mean this request; by 502 to 504 it means itself, or what it asks."""


class Batches:
    """The batches of one pool, which settles their items."""

    def __init__(self, pool: Pool, batch: Batch, call: Call, shared: Shared) -> None:
        self._pool = pool
        self._batch = batch
        self._call = call
        self._shared = shared
        self._tally = shared.tally
        self._clock = shared.clock

    async def gather_and_try(self, first: Item, slot: Slot) -> None:
        """One attempt at an item and at those that come with it."""
        await self.attempt(await self._gather(first, slot), slot)

    async def _gather(self, first: Item, slot: Slot) -> list[Item]:
        """Up to `max_size` items, waiting at most `max_wait` seconds after the first, and not where none can come."""
        slot.items = items = [first]
        until = self._clock() + self._batch.max_wait
        slot.waiting = "input"
        self._tally.gathered += 1
        try:
            while len(items) < self._batch.max_size:
                item = self._pool.channel.take()
                if item is None:
                    if self._pool.stopping or self._tally.all_gathered or self._clock() >= until:
                        break
                    item = await self._next_until(min(until, self._clock() + LOOK))
                if item is not None:
                    items.append(item)
                    self._tally.gathered += 1
        finally:
            self._tally.gathered -= len(items)
            slot.waiting = None
        return items

    async def _next_until(self, moment: float) -> Item | None:
        try:
            async with asyncio.timeout_at(moment):
                return await self._pool.channel.get()
        except TimeoutError:
            return None

    async def attempt(self, items: list[Item], slot: Slot) -> None:
        """One attempt at a batch. If it fails whole, its items wait together, or are tried one by one."""
        pool, stage = self._pool, self._pool.stage
        slot.items = items
        now = time.time()
        for item in items:
            item.started = now
        pool.note_in_flight(items, slot)
        slot.deadline.at = self._clock() + stage.timeout
        try:
            outcomes = await self._call([item.record for item in items])
            slot.deadline.at = NEVER
            if slot.expired:
                raise pool.timed_out(slot)
            if not isinstance(outcomes, list) or len(outcomes) != len(items):
                raise StageSignatureError(
                    f"batch stage {stage.name!r} must return a list with one entry for each of its {len(items)} inputs"
                )
        except BaseException as error:  # noqa: BLE001 - failure is a value: the policy decides
            slot.deadline.at = NEVER
            if len(items) == 1:
                await pool.failed(items[0], slot, error)
            else:
                await self._failed(items, slot, pool.meaning(error, slot))
        else:
            await self._settle(items, outcomes, slot)
        slot.items = ()

    async def _settle(self, items: Sequence[Item], outcomes: Sequence[Any], slot: Slot) -> None:
        """Settle the entries of a batch, of which each is an output or an exception."""
        found_full: list[tuple[Item, Exception]] = []
        async with asyncio.TaskGroup() as group:
            for item, outcome in zip(items, outcomes, strict=True):
                if isinstance(outcome, Exception) and trouble(outcome) is Trouble.FULL:
                    found_full.append((item, outcome))
                else:
                    group.create_task(self._settle_one(item, outcome, slot))
        for item, outcome in found_full:  # one by one: each may hold the worker
            await self._pool.failed(item, slot, outcome)

    async def _settle_one(self, item: Item, outcome: Any, slot: Slot) -> None:
        try:
            if isinstance(outcome, Exception):
                raise outcome
            children, rows = self._pool.route(outcome)
        except Exception as error:  # noqa: BLE001 - failure is a value: the policy decides
            await self._pool.failed(item, slot, error)
        else:
            await self._pool.settle(item, State.DONE, slot, children, rows)

    async def _failed(self, items: Sequence[Item], slot: Slot, error: BaseException) -> None:
        if not isinstance(error, Exception):
            raise error from None
        if not isinstance(error, Skip):
            if isinstance(self._pool.decide(error, items[0]), Stop):
                return self._shared.stop(error)
            if self._is_common(error, items):
                draw = self._shared.random()  # one for all: they come back at one time, as a batch
                async with asyncio.TaskGroup() as group:
                    for item in items:
                        group.create_task(self._pool.failed(item, slot, error, lambda: draw))
                return
        for item in items:
            if self._pool.stopping:
                return  # the others stay pending
            await self.attempt([item], slot)

    def _is_common(self, error: Exception, items: Sequence[Item]) -> bool:
        """Whether all of a batch is to meet its failure alike: a service that is overloaded or away is not to be asked
        for each item at once. Where one of them may be at fault, that is found out before any is given up."""
        if isinstance(error, Overloaded):
            return True
        if not isinstance(error, Unreachable | RetryLater):
            if not isinstance(error, ServiceError):
                return False
            tells_of_one = isinstance(error, BadAnswer | PermanentError) or error.status in _OF_THE_REQUEST
            if tells_of_one and not error.outage and not error.wait:
                return False
        return all(isinstance(self._pool.decide(error, item), Again) for item in items)
