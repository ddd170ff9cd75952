"""The times at which rows are written: they never go back, and no two writes have the same.

So a row's `updated_at` tells whether it was written in this epoch, whatever is done to the clock. A clock that is set
back is waited for: until it has caught up, times go on by milliseconds.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

RESERVED = 1_000
"""Milliseconds by which the time in the database is ahead of the last write: so that few writes need to note it."""
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class Stamps:
    """Times for one database, in milliseconds since 1970. `reserved` is what the database says; no stamp in it is
    later."""

    def __init__(self, reserved: int, clock: Callable[[], float] = time.time) -> None:
        self._last = self._reserved = self._reserving = reserved
        self._clock = clock

    def next(self, connection: sqlite3.Connection) -> str:
        """The time of a write, ISO 8601 in UTC. To be called inside its transaction."""
        self._last = now = max(int(self._clock() * 1000), self._last + 1)
        if now > self._reserved:
            self._reserving = now + RESERVED
            connection.execute(
                "INSERT INTO streamflow_meta VALUES ('stamp', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (str(self._reserving),),
            )
        return (_1970 + timedelta(milliseconds=now)).isoformat(timespec="milliseconds")

    def committed(self) -> None:
        """The transaction in which `next` was called is durable."""
        self._reserved = self._reserving

    def undone(self) -> None:
        """What `next` wrote was taken back, and its transaction goes on: the time is to be reserved anew."""
        self._reserving = self._reserved
