"""Who ended the process: blaming items that were in flight at unclean ends.

An unclean end says nothing of whose fault it was, so it counts against all items that were in flight, but for those in
processes of their own: they can end those only. An item that was in flight at `ALONE_AFTER` of them runs alone at the
next start, which shows whether it is at fault; one that was in flight alone at a further one is set aside as a dead
letter. An attempt that ends in an ordinary way clears its item: the count holds as long as the item's attempts are what
they were.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from dataclasses import dataclass

from streamflow.storage.inflight import LeftInFlight
from streamflow.storage.store import Suspect
from streamflow.storage.tables import from_text

ALONE_AFTER = 2
"""Unclean ends after which an item that was in flight at all of them runs alone."""

_PENDING = "SELECT stage, key, attempts FROM streamflow_items WHERE id = ? AND state = 'pending'"
_SET_ASIDE = "UPDATE streamflow_items SET state = 'dead', attempts = ?, ended = ?, due = NULL, error = ? WHERE id = ?"
_NOTE = "INSERT INTO streamflow_meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an unclean end means. `run` is the number of the run that begins now; `in_flight` is what was, by its
    names; `suspects` are ids of items to run alone, in their order; `set_aside` are dead letters now."""

    run: int
    in_flight: tuple[Suspect, ...] = ()
    suspects: tuple[int, ...] = ()
    set_aside: tuple[Suspect, ...] = ()


def judge(connection: sqlite3.Connection, left: LeftInFlight | None) -> Verdict:
    """Count what the last process left in flight, in one transaction. Every run begins with it.

    The run's number is kept too: what was left counts once, and only where it was left beside this database.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        verdict = _judged(connection, left)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return verdict


def _judged(connection: sqlite3.Connection, left: LeftInFlight | None) -> Verdict:
    meta: dict[str, str] = dict(connection.execute("SELECT * FROM streamflow_meta"))
    run = int.from_bytes(os.urandom(7), "little")
    if left is not None and meta.get("run") != str(left.run):
        left = None
    before: dict[str, list[int]] = json.loads(meta.get("suspects", "{}"))
    blamed = {int(number): (ends, attempts) for number, (ends, attempts) in before.items()}
    in_flight, set_aside = [], []
    still: dict[int, tuple[int, int]] = {}
    for number in sorted(blamed.keys() | (left.items if left is not None else set())):
        found = connection.execute(_PENDING, (number,)).fetchone()
        if found is None:
            continue  # it has ended
        stage, key, attempts = found
        ends, attempts_then = blamed.get(number, (0, attempts))
        if attempts != attempts_then:
            ends = 0
        if left is not None and number in left.items:
            ends += number in left.suspect
            suspect = Suspect(from_text(stage), from_text(key), ends, attempts + ends)
            in_flight.append(suspect)
            if left.alone and number in left.suspect and ends > ALONE_AFTER:
                set_aside.append(suspect)
                connection.execute(_SET_ASIDE, (suspect.attempts, time.time(), suspect.reason, number))
                continue
        if ends:
            still[number] = (ends, attempts)
    connection.executemany(_NOTE, [("run", str(run)), ("suspects", json.dumps(still))])
    suspects = tuple(number for number, (ends, _) in still.items() if ends >= ALONE_AFTER)
    return Verdict(run, tuple(in_flight), suspects, tuple(set_aside))
