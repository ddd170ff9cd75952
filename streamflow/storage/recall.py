"""Making dead letters pending at the start of the run that works on them: all of them, or none where it is refused."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence

import aiosqlite

from streamflow.errors import JournalMismatch, RecordError
from streamflow.record import RecordType
from streamflow.storage.selection import Selection, page, requeue
from streamflow.storage.writer import transaction

_ALL = -1


Stages = Mapping[str, tuple[RecordType, int]]


async def chosen(connection: aiosqlite.Connection, selection: Selection, stages: Stages) -> list[int]:
    """The ids of the dead letters that are meant. Those of other stages are not: pending, they would stop every run."""
    rows = await connection.execute_fetchall(*page(selection, after=0, limit=_ALL))
    return [number for number, stage in rows if stage in stages]


def bring_back(connection: sqlite3.Connection, letters: Sequence[int], stages: Stages, counts: Counter[str]) -> None:
    """Make those of these items pending that are dead still, and count them.

    Raises JournalMismatch where one cannot be read, which no run could start with; then all stay dead.
    """
    with transaction(connection):
        for number, stage in requeue(connection, letters, None):
            ((encoded,),) = connection.execute("SELECT record FROM streamflow_items WHERE id = ?", (number,))
            try:
                stages[stage][0].decode(encoded.encode())
            except RecordError as error:
                raise JournalMismatch(
                    f"a dead letter of the stage {stage!r} cannot be read: {error}; give the new fields defaults, or "
                    f"drop the stage's with `streamflow journal drop --dead --stage {stage}`"
                ) from error
            counts[stage] += 1
