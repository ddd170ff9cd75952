"""What the current task works on, for whoever acts in its name: a client that gives its calls keys.

Set once for each worker, whose items change; so it costs an item nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextvars import ContextVar
from typing import Protocol


class Item(Protocol):
    """An item: `id` is that of its admission, so it is another one when the item is done again on purpose."""

    @property
    def id(self) -> int: ...

    @property
    def key(self) -> Hashable: ...


class InHand(Protocol):
    """What a worker has in its hands: several items while it works on a batch."""

    @property
    def stage(self) -> str: ...

    @property
    def items(self) -> Sequence[Item]: ...


current: ContextVar[InHand | None] = ContextVar("streamflow_in_hand", default=None)
