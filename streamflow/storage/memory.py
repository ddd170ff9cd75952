"""A store in memory, for tests and for runs that need no durability.

It remembers only live keys: once an item ended, its key may be admitted again. Rows of tables and dead letters stay.
It knows one epoch, so nothing in it is ever done again, and nothing retracted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamflow.record import Key, RecordType, record_type
from streamflow.storage.store import CaughtUp, Completion, Counts, Difference, Item, Opened, Plan, State


class MemoryStore:
    """See the module's text. Tables are dicts by key, in `tables`; dead letters are in `dead` with their errors."""

    durable = False

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Any]] = defaultdict(dict)
        self.dead: list[tuple[Item, str]] = []
        self._live: dict[str, dict[Key, Item]] = {}
        self._ended: dict[str, dict[State, int]] = {}
        self._finished: dict[str, int] = {}  # apart from `_ended`: on the ready path, hashing a State costs
        self._differences: list[Difference] = []
        self._kept: dict[str, str] = {}
        self._changed = False
        self._changes = 0

    async def open(self, plan: Plan, *, refresh: bool = False, stale: bool = False) -> Opened:
        for stage in plan.stages:
            self._live[stage] = {}  # what a stopped run left is forgotten: its source gives it again
            self._finished.setdefault(stage, 0)
            self._ended.setdefault(stage, dict.fromkeys(State, 0))
        return Opened(changed=self._changed)

    def finish(self, item: Item, child: Item | None) -> bool:
        live = self._live
        del live[item.stage][item.key]
        self._finished[item.stage] += 1
        return child is not None and live[child.stage].setdefault(child.key, child) is child

    async def commit(self, completion: Completion) -> Sequence[Item]:
        self._changed = True
        self._changes += 1
        for row in completion.rows:
            self._put(row)
        item = completion.item
        if item is not None:
            if completion.state is State.PENDING:
                item.due = completion.due
            else:
                del self._live[item.stage][item.key]
                self._ended[item.stage][completion.state] += 1
                if completion.state is State.DEAD:
                    self.dead.append((item, completion.error or ""))
        return self._admit(completion.children)

    def _admit(self, children: Sequence[Item]) -> list[Item]:
        fresh = []
        for child in children:
            if self._live[child.stage].setdefault(child.key, child) is child:
                fresh.append(child)
        return fresh

    async def pending(self, stage: str, *, after: int, limit: int) -> Sequence[Item]:
        return ()

    async def renew(self) -> None:
        return None

    async def catch_up(self, stage: str) -> CaughtUp:
        return CaughtUp()

    async def retract(self) -> int:
        return 0

    async def due(self, stage: str, *, until: float, limit: int) -> Sequence[Item]:
        waiting = [item for item in self._live[stage].values() if item.due is not None and item.due <= until]
        return sorted(waiting, key=lambda item: item.due or 0.0)[:limit]

    async def counts(self) -> Mapping[str, Counts]:
        return {
            stage: Counts(len(live), self._finished[stage] + ended[State.DONE], ended[State.SKIPPED], ended[State.DEAD])
            for stage, live in self._live.items()
            for ended in (self._ended[stage],)
        }

    async def rows(self, record_type: RecordType) -> Sequence[Any]:
        fields = record_type.key_fields
        rows = self.tables[record_type.table or ""].values()
        return sorted(rows, key=lambda row: [getattr(row, name) for name in fields])

    @property
    def changes(self) -> int:
        return self._changes

    async def finalized(self, changes: int) -> None:
        self._changed = self._changes > changes

    async def keep(self, texts: Mapping[str, str]) -> None:
        self._kept |= texts

    async def kept(self, prefix: str) -> Mapping[str, str]:
        return {name: text for name, text in self._kept.items() if name.startswith(prefix)}

    def differences(self) -> Iterable[Difference]:
        found, self._differences = self._differences, []
        return found

    async def close(self) -> None:
        return None

    def _put(self, row: Any) -> None:
        kind = record_type(type(row))
        table, key = self.tables[kind.table or ""], kind.key_of(row)
        if key in table:
            row, fields = kind.merged(table[key], row)
            if fields:
                self._differences.append(Difference(kind.name, str(key), fields))
        table[key] = row
