"""Keeping a daemon's database from growing with time."""

from __future__ import annotations

import asyncio
import time

from streamflow.events import Hook, RecordsPruned
from streamflow.storage.store import Store

EVERY = 3600.0
"""Seconds between two looks at what has become old."""


async def prune_regularly(store: Store, age: float, hook: Hook) -> None:
    """Forget the records of items that ended well `age` seconds ago, for as long as the run is on."""
    while True:
        if items := await store.prune(time.time() - age):
            hook(RecordsPruned(items))
        await asyncio.sleep(EVERY)
