"""What is in flight in a run: the count that tells when nothing is left to do, without sentinels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Tally:
    """Counts of one run, changed by plain attribute writes on the loop.

    `alive` items are in a channel, in a worker's hands or parked. It grows by an item's children before the item
    leaves it, so it is 0 only when nothing is left. `gathered` of them wait in a batch for others. `feeding`
    sources and feeders may still bring items. `changed` is set by every commit and cleared when finalizers have
    run.
    """

    __slots__ = ("_waiters", "alive", "changed", "emptied", "feeding", "gathered")

    def __init__(self) -> None:
        self.alive = 0
        self.feeding = 0
        self.gathered = 0
        self.changed = False
        self.emptied = 0.0
        """When `alive` last fell to 0, by the loop's clock."""
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def quiet(self) -> bool:
        return not self.alive and not self.feeding

    @property
    def all_gathered(self) -> bool:
        """Whether nothing is left that could bring items to a batch which waits for more."""
        return not self.feeding and self.alive == self.gathered

    def notify(self) -> None:
        """To be called when `alive` or `feeding` fell to 0, or something was committed without an item."""
        self.emptied = asyncio.get_running_loop().time()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Return when a condition on these counts holds."""
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
