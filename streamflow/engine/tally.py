"""What is in flight in a run: the count that tells when nothing is left to do, without sentinels."""

from __future__ import annotations

import asyncio


class Tally:
    """Counts of one run, changed by plain attribute writes on the loop.

    `alive` items are in a channel, in a worker's hands or parked. It grows by an item's children before the item
    leaves it, so it is 0 only when nothing is left. `feeding` sources and feeders may still bring items. `changed`
    is set by every commit and cleared when finalizers have run.
    """

    __slots__ = ("_waiters", "alive", "changed", "feeding")

    def __init__(self) -> None:
        self.alive = 0
        self.feeding = 0
        self.changed = False
        self._waiters: list[tuple[bool, asyncio.Future[None]]] = []

    @property
    def quiet(self) -> bool:
        return not self.alive and not self.feeding

    def notify(self) -> None:
        """To be called when `alive` or `feeding` fell to 0."""
        for with_sources, waiter in self._waiters:
            if not waiter.done() and not self.alive and not (with_sources and self.feeding):
                waiter.set_result(None)

    async def wait_quiet(self) -> None:
        """Return when nothing is in flight and nothing more will come."""
        while not self.quiet:
            await self._wait(with_sources=True)

    async def wait_empty(self) -> None:
        """Return when nothing is in flight, whatever sources may bring later."""
        while self.alive:
            await self._wait(with_sources=False)

    async def _wait(self, *, with_sources: bool) -> None:
        entry = (with_sources, asyncio.get_running_loop().create_future())
        self._waiters.append(entry)
        try:
            await entry[1]
        finally:
            self._waiters.remove(entry)
