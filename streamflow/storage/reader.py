"""What finalizers read the tables with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from streamflow.errors import RecordError
from streamflow.record import record_type
from streamflow.storage.store import Store

T = TypeVar("T")


class Reader:
    """Reads the rows of record types from the run's store, never through the writer's connection."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def records(self, kind: type[T]) -> Sequence[T]:
        """All rows of a record type's table, by key. Raises RecordError for a type that is no row."""
        described = record_type(kind)
        if described.table is None:
            raise RecordError(f"{described.name} has no table to read: give it one with @record(table=…)")
        return await self._store.rows(described)
