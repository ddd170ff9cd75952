"""A store in memory, for tests and for runs that need no durability.

It remembers only live keys: once an item ended, its key may be admitted again. Rows of tables and dead letters stay.
It knows one epoch, so nothing in it is ever done again, and nothing retracted.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from streamflow.errors import StorageError, told
from streamflow.record import Key, RecordType, record_type
from streamflow.storage.cache import CachedAnswer
from streamflow.storage.inflight import InFlight
from streamflow.storage.selection import Selection
from streamflow.storage.store import CaughtUp, Completion, Counts, Difference, Item, Opened, Plan, State


class _Stage:
    """One stage's live items by key, and how many have ended: `finished` on the ready path, where hashing a state would
    cost, the others by state."""

    __slots__ = ("ended", "finished", "live")

    def __init__(self) -> None:
        self.live: dict[Key, Item] = {}
        self.finished = 0
        self.ended = dict.fromkeys(State, 0)


class MemoryStore:
    """See the module's text. Tables are dicts by key, in `tables`; dead letters are in `dead` with their errors."""

    durable = False

    def __init__(self) -> None:
        self.identity = secrets.token_hex(16)
        self.tables: dict[str, dict[Key, Any]] = defaultdict(dict)
        self.dead: list[tuple[Item, str]] = []
        self._stages: dict[str, _Stage] = {}
        self._differences: list[Difference] = []
        self._kept: dict[str, str] = {}
        self._changed = False
        self._changes = 0

    async def open(
        self, plan: Plan, *, refresh: bool = False, stale: bool = False, requeue: Selection | None = None
    ) -> Opened:
        for stage in plan.stages:
            self._stages.setdefault(
                stage, _Stage()
            ).live.clear()  # what a stopped run left is forgotten: its source gives it again
        return Opened(changed=self._changed)

    def finish(self, item: Item, child: Item | None) -> bool | None:
        stages = self._stages
        own = stages[item.stage]
        is_new = False
        if child is not None:
            try:
                is_new = stages[child.stage].live.setdefault(child.key, child) is child
            except TypeError:
                return None  # a key that is none: `commit` refuses it
            if not is_new:
                self._differences += self._at_odds(child)
        del own.live[item.key]
        own.finished += 1
        return is_new

    async def commit(self, completion: Completion) -> Sequence[Item]:
        try:
            puts, differences = self._merged(completion.rows)
            for child in completion.children:
                hash(child.key)
        except Exception as error:
            raise StorageError(f"the completion cannot be stored: {told(error)}") from error
        # From here on nothing fails: all of a completion comes, or nothing.
        self._changes += 1
        self._differences += differences
        for (table, key), row in puts.items():
            self.tables[table][key] = row
        item = completion.item
        if item is not None:
            if completion.state is State.PENDING:
                item.due = completion.due
            else:
                own = self._stages[item.stage]
                del own.live[item.key]
                own.ended[completion.state] += 1
                if completion.state is State.DEAD:
                    self.dead.append((item, completion.error or ""))
        fresh = self._admit(completion.children, completion.at_odds)
        self._changed = self._changed or bool(item is not None or puts or fresh)
        return fresh

    def _admit(self, children: Sequence[Item], at_odds: list[Any] | None = None) -> list[Item]:
        fresh = []
        odds: list[Difference] = []
        for child in children:
            if self._stages[child.stage].live.setdefault(child.key, child) is child:
                fresh.append(child)
            else:
                odds += self._at_odds(child)
                if at_odds is not None and self._stages[child.stage].live[child.key].record != child.record:
                    at_odds.append(child.record)
        self._differences += dict.fromkeys(odds)  # several stages may take it
        return fresh

    def _at_odds(self, child: Item) -> Iterator[Difference]:
        """Whether a record that is no row, and so is merged nowhere, says something else than the one that lives."""
        kind = record_type(type(child.record))
        if kind.table is None and (
            fields := kind.at_odds(self._stages[child.stage].live[child.key].record, child.record)
        ):
            yield Difference(kind.name, str(child.key), fields)

    def in_flight(self, places: int) -> InFlight:
        return InFlight(places)

    def resume_from_here(self) -> None:
        return None

    async def pending(self, stage: str, *, after: int, limit: int) -> Sequence[Item]:
        return ()

    async def renew(self) -> None:
        return None

    async def catch_up(self, stage: str) -> CaughtUp:
        return CaughtUp()

    async def prune(self, before: float) -> int:
        return 0

    async def retract(self) -> int:
        return 0

    @property
    def resume_to(self) -> int:
        return 0

    async def due(self, stage: str, *, until: float, limit: int) -> Sequence[Item]:
        waiting = [item for item in self._stages[stage].live.values() if item.due is not None and item.due <= until]
        return sorted(waiting, key=lambda item: item.due or 0.0)[:limit]

    async def requeue(self, selection: Selection, *, after: int, limit: int, due: float) -> Sequence[int]:
        return ()  # they are in no journal

    async def states(self, items: Iterable[tuple[str, Key]]) -> Mapping[tuple[str, Key], tuple[State, str | None]]:
        wanted = set(items)
        found: dict[tuple[str, Key], tuple[State, str | None]] = {
            (item.stage, item.key): (State.DEAD, error) for item, error in self.dead if (item.stage, item.key) in wanted
        }
        return found | {(stage, key): (State.PENDING, None) for stage, key in wanted if key in self._stages[stage].live}

    async def counts(self) -> Mapping[str, Counts]:
        return {
            stage: Counts(
                len(own.live),
                own.finished + own.ended[State.DONE],
                own.ended[State.SKIPPED],
                own.ended[State.DEAD],
            )
            for stage, own in self._stages.items()
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

    async def cache(self, answers: Mapping[bytes, CachedAnswer], used: Collection[bytes], today: int) -> None:
        return None  # nothing is kept for another run, and a run seldom asks twice

    async def cached(self, key: bytes) -> CachedAnswer | None:
        return None

    def differences(self) -> Iterable[Difference]:
        found, self._differences = self._differences, []
        return found

    def lost(self) -> str | None:
        return None

    async def close(self) -> None:
        return None

    def _merged(self, rows: Sequence[Any]) -> tuple[dict[tuple[str, Key], Any], list[Difference]]:
        """What the rows make of the tables, by table and key. Raises what a merge rule raises, and RecordError."""
        puts: dict[tuple[str, Key], Any] = {}
        differences = []
        for row in rows:
            kind = record_type(type(row))
            kind.check_finite(row)
            kind.values(row)
            key = kind.key_of(row)
            place = (kind.table or "", key)
            old = puts.get(place, self.tables[place[0]].get(key))
            if old is not None:
                row, fields = kind.merged(old, row)
                kind.values(row)  # a merge rule may give anything
                if fields:
                    differences.append(Difference(kind.name, str(key), fields))
            puts[place] = row
        return puts, differences
