"""Items that found the disk full, kept in their workers' hands until there is room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from streamflow.engine.shared import Slot
from streamflow.storage.patience import Patience
from streamflow.storage.store import Item


class Held:
    """Of one stage. A worker holds one item at most, and takes no other meanwhile: so the stages before it wait too."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._met: dict[Slot, Exception | None] = {}
        """By the worker that holds an item: what the last attempt at it met."""

    async def keep(
        self, item: Item, slot: Slot, error: Exception, attempt: Callable[[Slot, Item], Awaitable[None]]
    ) -> None:
        """Try an item again once there is room, as often as it finds none; none of these attempts counts.

        To be called by each attempt that finds the disk full, with what it met.
        """
        is_held, self._met[slot] = slot in self._met, error
        if is_held:
            return

        async def again() -> None:
            if self._met[slot] is None:
                await attempt(slot, item)
            met, self._met[slot] = self._met[slot], None
            if met is not None:
                slot.items = (item,)
                raise met

        try:
            await self._patience.persist(again, costly=True)
        finally:
            del self._met[slot]
