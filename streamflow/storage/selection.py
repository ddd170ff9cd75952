"""Which dead letters are meant, and making them pending again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import msgspec

_DEAD = "SELECT id, stage FROM streamflow_items WHERE state = 'dead'"
# The stored reason begins with the error's type name, if it has one (`errors.told`), and may end with the attempts.
_OF_KIND = (
    "(error = ? OR substr(error, 1, length(?) + 1) = ? || ':' OR substr(error, 1, length(?) + 8) = ? || ' (after ')"
)
_STILL_DEAD = _DEAD + " AND id IN (SELECT value FROM json_each(?))"  # noqa: S608 - no values
_REQUEUE = (
    "UPDATE streamflow_items SET state = 'pending', attempts = 0, started = NULL, ended = NULL, due = ?, error = NULL "
    "WHERE id = ?"
)


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dead letters that fit all that is given; the empty one means all.

    Texts are as the database holds them (`tables.to_text`). `keys`: those with one of these, where there are any;
    `error`: those whose reason begins with this type's name; `since` and `until`: those that ended in this time, in
    seconds since the epoch.
    """

    stage: str | None = None
    keys: tuple[str, ...] = ()
    error: str | None = None
    since: float | None = None
    until: float | None = None

    def where(self) -> tuple[str, list[str | float]]:
        """Conditions to put behind others, and their parameters."""
        conditions: list[str] = []
        parameters: list[str | float] = []
        if self.stage is not None:
            # Its own index would give the stage's items by key, to be sorted anew for each page.
            conditions.append("stage = ?" if self.keys else "+stage = ?")
            parameters.append(self.stage)
        if self.keys:
            conditions.append(f"key IN ({', '.join('?' * len(self.keys))})")
            parameters += self.keys
        if self.error is not None:
            conditions.append(_OF_KIND)
            parameters += [self.error] * 5
        if self.since is not None:
            conditions.append("ended >= ?")
            parameters.append(self.since)
        if self.until is not None:
            conditions.append("ended <= ?")
            parameters.append(self.until)
        return "".join(f" AND {condition}" for condition in conditions), parameters


ALL = Selection()


def page(selection: Selection, *, after: int, limit: int) -> tuple[str, list[str | float]]:
    """A statement that gives (id, stage) of dead letters by their ids, from the first above `after`."""
    where, parameters = selection.where()
    return f"{_DEAD}{where} AND id > ? ORDER BY id LIMIT ?", [*parameters, after, limit]


def requeue(connection: sqlite3.Connection, ids: Sequence[int], due: float | None) -> list[tuple[int, str]]:
    """Make those of these items pending that are dead still, with all their attempts; which they were, and their
    stages. Call it in a transaction."""
    found = connection.execute(_STILL_DEAD, (json.dumps(ids),)).fetchall()
    connection.executemany(_REQUEUE, [(due, number) for number, _ in found])
    return found
