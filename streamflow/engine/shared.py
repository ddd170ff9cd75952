"""What the pools of a run share, and what the watchdog sees of each worker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamflow.deadline import Deadline
from streamflow.engine.channel import Channel
from streamflow.engine.tally import Tally
from streamflow.events import Hook
from streamflow.record import Key
from streamflow.storage.patience import Patience
from streamflow.storage.store import Item, Store


class Route:
    """Where records of one type go: into a table, into the channels of the stages that take it, or both."""

    __slots__ = ("is_row", "key_of", "takers")

    def __init__(self, key_of: Callable[[Any], Key], takers: tuple[str, ...], *, is_row: bool) -> None:
        self.key_of = key_of
        self.takers = takers
        self.is_row = is_row


class Slot:
    """One worker as the watchdog sees it. `items` are in its hands; `waiting` says for what it waits, if it does.

    `place` is where its items are noted as in flight, the first of as many as it can have at once.
    """

    __slots__ = (
        "deadline",
        "expired",
        "items",
        "number",
        "place",
        "stage",
        "task",
        "told_stuck",
        "waiting",
    )

    def __init__(self, stage: str, number: int, clock: Callable[[], float], place: int = 0) -> None:
        self.stage = stage
        self.number = number
        self.place = place
        self.deadline = Deadline(clock)
        self.task: asyncio.Task[None] | None = None
        self.items: Sequence[Item] = ()
        self.expired = False
        self.told_stuck = False
        self.waiting: str | None = None


@dataclass
class Shared:
    """What all pools of a run share. `stop` ends the run for an error that every item would meet."""

    store: Store
    channels: Mapping[str, Channel[Item]]
    routes: Mapping[type[Any], Route]
    tally: Tally
    hook: Hook
    stop: Callable[[Exception], None]
    clock: Callable[[], float]
    places: memoryview
    """The ids of the items in flight, where the store is durable: see `storage.inflight`."""
    patience: Patience
    random: Callable[[], float] = random.SystemRandom().random
    halted: bool = False
    """Whether the run is cancelling its tasks. A task's own count of cancellations does not tell: before Python 3.13 a
    task group of a stage's function can leave one behind."""
    alone: bool = False
    """Whether suspects run alone: what comes of them stays in the store, to be resumed with all that is pending."""

    def halt(self) -> None:
        """The run cancels its tasks: nobody takes from channels any more, so nobody may wait for room in one."""
        self.halted = True
        for channel in self.channels.values():
            channel.close()

    def at(self, slot: Slot) -> str:
        """What a worker is at that has an item: `work`, or what it waits for."""
        if slot.waiting == "writer" and self.patience.reason is not None:
            return f"writer ({self.patience.reason})"
        return slot.waiting or slot.deadline.waiting or "work"
