"""Whether a run goes on as it should: its loop is not held up, its writer commits, no stage is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamflow.engine.run import Run
from streamflow.storage.store import Store
from streamflow.storage.trouble import remedy

EVERY = 1.0
"""Seconds between two looks."""
HELD_UP = 5.0
"""Seconds for which the loop may be held up. It is told for a minute: whoever asks can ask only when it is over."""
_TOLD_FOR = 60.0
NOTHING_SAVED = 15.0
"""Seconds for which workers may wait for a commit without there being one, and anybody for the disk or the database."""


class Pulse:
    """Looks at a run every second. `every_look` is called with each, by the loop's clock."""

    def __init__(self, run: Run, store: Store, every_look: Callable[[], object] = lambda: None) -> None:
        self._run = run
        self._store = store
        self._every_look = every_look
        self._held_up_for = 0.0
        self._held_up_until = float("-inf")
        self._changes = -1
        self._saved_at = 0.0

    async def beat(self) -> None:
        """Look, for as long as the run is on."""
        loop = asyncio.get_running_loop()
        self._saved_at = before = loop.time()
        while True:
            await asyncio.sleep(EVERY)
            now = loop.time()
            if now - before - EVERY > HELD_UP:
                self._held_up_for, self._held_up_until = now - before - EVERY, now
            before = now
            self._look_at_the_writer(now)
            self._every_look()

    def troubles(self) -> list[str]:
        """What is wrong with the run, the worst first."""
        now = asyncio.get_running_loop().time()
        found = [] if (lost := self._store.lost()) is None else [lost]
        found += [
            f"stage {slot.stage!r} is stuck: its function ignores its end at the timeout; the log shows where it stands"
            for pool in self._run.pools.values()
            for slot in pool.slots
            if slot.told_stuck
        ]
        self._look_at_the_writer(now)
        patience = self._run.patience
        if patience.reason is not None and patience.waited > NOTHING_SAVED:
            found.append(
                f"{patience.reason} for {patience.waited:.0f} s, and what is to be kept waits for it: "
                f"{remedy(patience.reason, patience.folder)}"
            )
        elif now - self._saved_at > NOTHING_SAVED:
            found.append(
                f"nothing could be saved for {now - self._saved_at:.0f} s: is the disk full, or the database locked?"
            )
        if now < self._held_up_until + _TOLD_FOR:
            found.append(
                f"the event loop was held up for {self._held_up_for:.0f} s: a stage on the loop computes or sleeps; "
                'runs_in="process" or "thread" would help'
            )
        return found

    def _look_at_the_writer(self, now: float) -> None:
        waiting = any(slot.waiting == "writer" for pool in self._run.pools.values() for slot in pool.slots)
        changes = self._store.changes if waiting else -1
        if not waiting or changes != self._changes:
            self._saved_at, self._changes = now, changes
