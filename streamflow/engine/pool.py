"""The workers of one stage.

A worker takes an item, runs the stage's function under its deadline, hands what came of it to the store as one
completion, and puts the children that were new into their channels. The path of an item that is ready has no wake-up
and no timer in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from streamflow import in_hand
from streamflow.deadline import NEVER, current
from streamflow.engine.batches import Batches
from streamflow.engine.channel import ChannelClosed, QueueFull
from streamflow.engine.executors import Call
from streamflow.engine.feeder import Feeder
from streamflow.engine.held import Held
from streamflow.engine.interrupt import is_of_a_signal
from streamflow.engine.shared import Shared, Slot
from streamflow.engine.stage import Stage
from streamflow.engine.stream import Stream
from streamflow.errors import Skip, StageTimeout, StorageError, WriterStopped, told
from streamflow.events import ItemDied, ItemRetried, ItemSkipped
from streamflow.limits.retry import Again, Decision, GiveUp, Stop
from streamflow.storage.store import Completion, Item, State

BREATH = 0.005
"""Seconds after which a worker that never had to wait lets the others run."""

Handle = Callable[[Item, Slot], Awaitable[None]]


class Pool:
    """See the module's text. `done`, `skipped`, `dead` and `retries` count since the run began."""

    def __init__(self, stage: Stage, call: Call, feeder: Feeder, shared: Shared, first_place: int = 0) -> None:
        """Its workers' items have their places in `shared.places` from `first_place` on."""
        self.stage = stage
        self.feeder = feeder
        self.channel = shared.channels[stage.name]
        self.slots = [
            Slot(stage.name, number, shared.clock, first_place + number * stage.in_hand)
            for number in range(stage.workers)
        ]
        self.done = self.skipped = self.dead = self.retries = 0
        self.stopping = False
        self._special: Handle | None = None
        self._held = Held(shared.patience)
        self._batches: Batches | None = None
        if stage.batch is not None:
            self._batches = Batches(self, stage.batch, call, shared)
            self._special = self._batches.gather_and_try
        elif stage.signature.streams:
            self._special = self._handle_stream
        self._call = call
        self._shared = shared
        self._store = shared.store
        self._durable = shared.store.durable
        self._places = shared.places
        self._sign = -1 if stage.runs_in == "process" else 1
        self._tally = shared.tally
        self._clock = shared.clock
        self._timeout = stage.timeout
        self._channels = shared.channels
        self._produces = {kind: shared.routes[kind] for kind in stage.signature.produces}
        # The commonest outcomes, looked up once: records for one stage and no table, and those that nobody keeps.
        self._ways = {
            kind: (route.takers[0], route.key_of, shared.channels[route.takers[0]].put_nowait)
            for kind, route in self._produces.items()
            if len(route.takers) == 1 and not route.is_row
        }
        self._ends = {kind for kind, way in self._produces.items() if not way.takers and not way.is_row}
        if stage.signature.or_nothing:
            self._ends.add(type(None))

    @property
    def active(self) -> int:
        """Items in workers' hands."""
        return sum(len(slot.items) for slot in self.slots)

    async def work(self, slot: Slot, lone: Item | None = None) -> None:
        """One worker's life: until the pool stops. With a `lone` item, one attempt at that and no more.

        An attempt goes from the channel to the commit and on into the next channels. For plain stages it is written
        out here, because a call per item would cost a tenth of the engine's own time.
        """
        current.set(slot.deadline)
        in_hand.current.set(slot)
        slot.task = asyncio.current_task()
        if lone is not None and self._batches is not None:
            return await self._batches.attempt([lone], slot)
        if self._special is not None:
            return await (self._work_special(slot, self._special) if lone is None else self._special(lone, slot))
        clock, call, deadline = self._clock, self._call, slot.deadline
        take, ways, ends, finish = self.channel.take, self._ways, self._ends, self._store.finish
        durable, places, place, sign = self._durable, self._places, slot.place, self._sign
        breathe_at = 0.0
        while not self.stopping:
            item = take() if lone is None else lone
            if item is None:
                item = await self.channel.get()
                breathe_at = clock() + BREATH
            slot.items = (item,)
            now = clock()
            deadline.at = now + self._timeout
            if durable:
                item.started = time.time()
                places[place] = sign * item.id
            try:
                outcome = await call(item.record)
                deadline.at = NEVER
                if slot.expired:
                    raise self.timed_out(slot)
                child = None
                several: tuple[list[Item], list[Any]] | None = None
                way = ways.get(type(outcome))
                if way is not None:
                    taker, key_of, put_nowait = way
                    child = Item(taker, outcome, key_of(outcome))
                elif type(outcome) not in ends:
                    several = self.route(outcome)
            except BaseException as error:  # noqa: BLE001 - failure is a value: the policy decides
                deadline.at = NEVER
                await self.failed(item, slot, error)
            else:
                is_new = finish(item, child) if several is None else None
                if is_new is None:
                    await self.settle(item, State.DONE, slot, *(several or ([child] if child else [], ())))
                else:
                    self.done += 1
                    if is_new and child is not None:  # one goes, one comes: `alive` stays
                        try:
                            put_nowait(child)
                        except (QueueFull, ChannelClosed):
                            await self._put((child,), slot)
                    else:
                        self._left()
            slot.items = ()
            if lone is not None:
                return
            if now > breathe_at:
                await asyncio.sleep(0)
                breathe_at = clock() + BREATH

    async def _work_special(self, slot: Slot, handle: Handle) -> None:
        while not self.stopping:
            await handle(await self.channel.get(), slot)
            await asyncio.sleep(0)

    def retune(self, stage: Stage) -> None:
        """Take over a stage's timeout and retry policy, for the attempts that begin from now on."""
        self.stage = replace(self.stage, timeout=stage.timeout, retry=stage.retry)
        self._timeout = stage.timeout

    def stop(self) -> None:
        """Take no more items. Workers end when the item in hand has; idle ones at once."""
        self.stopping = True
        for slot in self.slots:
            if not slot.items and slot.task is not None:
                slot.task.cancel()

    def meaning(self, error: BaseException, slot: Slot) -> BaseException:
        """What an error says once cancellations are told apart: the watchdog's, the run's, or the function's own."""
        if slot.expired:
            return self.timed_out(slot)
        if isinstance(error, asyncio.CancelledError) and not self._shared.halted:
            return RuntimeError(f"the function of stage {self.stage.name!r} raised CancelledError by itself")
        if isinstance(error, Exception | asyncio.CancelledError) or self._shared.halted:
            return error
        if isinstance(error, KeyboardInterrupt) and is_of_a_signal(error):
            return error
        return RuntimeError(f"the function of stage {self.stage.name!r} raised {error!r}")

    def timed_out(self, slot: Slot) -> BaseException:
        """What a worker's cancellation by the watchdog means to its item."""
        slot.expired = slot.told_stuck = False
        while slot.task is not None and slot.task.uncancel():
            pass
        if self._shared.halted:
            return asyncio.CancelledError()  # the run cancelled too, and that is still owed
        return StageTimeout(f"stage {self.stage.name!r} ran past its timeout of {self._timeout:g} s")

    def route(self, outcome: Any) -> tuple[list[Item], list[Any]]:
        """The children and the rows in what a function gave out."""
        children: list[Item] = []
        rows: list[Any] = []
        if outcome is None and self.stage.signature.or_nothing:
            return children, rows
        route = self._produces.get(type(outcome))
        if route is not None:
            if route.is_row:
                rows.append(outcome)
            if route.takers:
                key = route.key_of(outcome)
                children += [Item(taker, outcome, key) for taker in route.takers]
        elif isinstance(outcome, list | tuple):
            for part in outcome:
                more_children, more_rows = self.route(part)
                children += more_children
                rows += more_rows
        else:
            raise self.stage.signature.wrong_output(f"stage {self.stage.name!r}", outcome)
        return children, rows

    async def settle(
        self,
        item: Item,
        state: State,
        slot: Slot,
        children: Sequence[Item] = (),
        rows: Sequence[Any] = (),
        error: str | None = None,
    ) -> None:
        """Commit an item's end and put its new children into their channels."""
        item.attempts += 1
        try:
            fresh = await self._commit(Completion(item, state, children, rows, error), slot)
        except WriterStopped:
            raise
        except StorageError as refused:
            if state is State.DEAD:
                raise WriterStopped(f"a dead letter cannot be stored: {refused}") from refused
            item.attempts -= 1
            return await self._die(item, slot, f"StorageError: {refused}")
        match state:
            case State.DONE:
                self.done += 1
            case State.SKIPPED:
                self.skipped += 1
            case _:
                self.dead += 1
        self.feeder.ended(item)
        await self._leave(fresh, slot)

    async def _commit(self, completion: Completion, slot: Slot) -> Sequence[Item]:
        self._tally.changed = True
        completion.ended = time.time()
        slot.waiting = "writer"
        try:
            return await self._store.commit(completion)
        finally:
            slot.waiting = None

    def _left(self) -> None:
        """An item has left, and nothing new has come of it."""
        self._tally.alive -= 1
        if not self._tally.alive:
            self._tally.notify()

    async def _leave(self, fresh: Sequence[Item], slot: Slot) -> None:
        """An item has left, and `fresh` have come of it: they count before they are anywhere to be seen."""
        if not fresh or self._shared.alone:
            return self._left()
        self._tally.alive += len(fresh) - 1
        await self._put(fresh, slot)

    async def _put(self, fresh: Sequence[Item], slot: Slot) -> None:
        try:
            for child in fresh:
                channel = self._channels[child.stage]
                try:
                    channel.put_nowait(child)
                except QueueFull:
                    slot.waiting = f"room in {child.stage}"
                    try:
                        await channel.put(child)
                    finally:
                        slot.waiting = None
        except ChannelClosed:
            return  # the run stops; the children are pending in the store

    async def failed(
        self, item: Item, slot: Slot, error: BaseException, random: Callable[[], float] | None = None
    ) -> None:
        """Decide what becomes of an item whose attempt failed, and make it so."""
        error = self.meaning(error, slot)
        if not isinstance(error, Exception) or isinstance(error, WriterStopped):
            raise error
        if await self._shared.patience.is_full(error):
            return await self._held.keep(item, slot, error, self.work)
        text = told(error)
        if isinstance(error, Skip):
            await self.settle(item, State.SKIPPED, slot, error=error.reason)
            self._shared.hook(ItemSkipped(self.stage.name, str(item.key), error.reason))
            return
        match self.decide(error, item, random):
            case Again(delay, counted):
                item.attempts += counted
                self.retries += 1
                due = time.time() + delay
                self.feeder.remember(item)  # before it can be read: else it would be fetched while it is here
                await self._commit(Completion(item, State.PENDING, error=text, due=due), slot)
                self.note_in_flight((), slot)  # in no hands, and yet pending
                if not self._shared.alone:
                    self.feeder.park(item, delay)
                self._shared.hook(ItemRetried(self.stage.name, str(item.key), item.attempts, delay, text))
            case GiveUp(reason):
                await self._die(item, slot, reason)
            case Stop():
                self._shared.stop(error)

    def decide(self, error: Exception, item: Item, random: Callable[[], float] | None = None) -> Decision:
        return self.stage.retry.decide(error, item.attempts + 1, random or self._shared.random)

    async def _die(self, item: Item, slot: Slot, reason: str) -> None:
        await self.settle(item, State.DEAD, slot, error=reason)
        self._shared.hook(ItemDied(self.stage.name, str(item.key), item.attempts, reason))

    def note_in_flight(self, items: Sequence[Item], slot: Slot) -> None:
        if self._durable:
            for number in range(self.stage.in_hand):
                self._places[slot.place + number] = self._sign * items[number].id if number < len(items) else 0

    # --- streaming stages ------------------------------------------------------------------------------------------

    async def _handle_stream(self, item: Item, slot: Slot) -> None:
        """An attempt at an item of a streaming stage: children are committed in chunks before it ends."""
        slot.items = (item,)
        item.started = time.time()
        self.note_in_flight(slot.items, slot)
        stream = Stream(slot, partial(self._emit, item, slot))
        slot.deadline.at = self._clock() + self._timeout
        try:
            await stream.run(self._call(item.record))  # type: ignore[arg-type]
            if slot.expired:
                raise self.timed_out(slot)
        except BaseException as error:  # noqa: BLE001 - failure is a value: the policy decides
            slot.deadline.at = NEVER
            await self.failed(item, slot, error)
        else:
            await self.settle(item, State.DONE, slot)
        slot.items = ()

    async def _emit(self, item: Item, slot: Slot, outputs: list[Any]) -> None:
        """Commit some of an item's outputs while it goes on."""
        children, rows = self.route(outputs)
        fresh = await self._commit(Completion(item, State.PENDING, children, rows), slot)
        if self._shared.alone:
            return
        self._tally.alive += len(fresh)
        await self._put(fresh, slot)
