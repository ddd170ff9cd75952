"""Bringing dead letters back into a run that is on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from streamflow.engine.pool import Pool
from streamflow.engine.tally import Tally
from streamflow.storage.selection import Selection
from streamflow.storage.store import Store

PAGE = 1000
"""Items that one transaction makes pending, at most."""


async def requeue(selection: Selection, store: Store, pools: Mapping[str, Pool], tally: Tally) -> dict[str, int]:
    """Make dead letters of a run's stages pending again and have their feeders bring them; how many of each stage.

    The run does not end meanwhile. An item that dies again meanwhile stays dead. Raises StorageError.
    """
    counts: Counter[str] = Counter()
    tally.feeding += 1
    try:
        for name in pools if selection.stage is None else [selection.stage]:
            feeder, after = pools[name].feeder, 0
            wanted = msgspec.structs.replace(selection, stage=name)
            while True:
                async with feeder.paging:
                    page = await store.requeue(wanted, after=after, limit=PAGE, due=time.time())
                    tally.alive += feeder.requeued(page)
                if not page:
                    break
                after = page[-1]
                counts[name] += len(page)
        return dict(counts)
    finally:
        tally.feeding -= 1
        tally.notify()
