"""The Store contract: where a run keeps its items and rows.

A store is told of each attempt's end by one `Completion`, and makes all of it durable or none: the rows, the
children, the item's own end state. It answers with the children that are new; within one epoch a key is admitted to
a stage once, so a repeated completion is harmless.

`finish` is the ready path, for stores that need no waiting; one that must wait answers None and does it in `commit`.
Only the run's own tasks call a store, and one conformance suite holds for every implementation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from streamflow.record import Key, RecordType
from streamflow.storage.cache import CachedAnswer
from streamflow.storage.inflight import InFlight
from streamflow.storage.selection import Selection


class State(StrEnum):
    """What became of an item. Every admitted item ends as exactly one of done, skipped or dead."""

    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"
    DEAD = "dead"


class Item(msgspec.Struct, eq=False, gc=False):
    """One record's passage through one stage. `id` is 0 until a durable store admits it.

    `due` is when to try again and `started` when the attempt began, both in seconds since the epoch. A Struct,
    because one is made for every record and stage, and it is made in a third of a slotted class's time; the garbage
    collector need not look at it, because no record refers to an item.
    """

    stage: str
    record: Any
    key: Key
    id: int = 0
    attempts: int = 0
    due: float | None = None
    started: float = 0.0

    def __repr__(self) -> str:
        return f"<Item {self.stage} {self.key!r}>"


@dataclass(slots=True)
class Completion:
    """What one attempt, or one source, hands to the store.

    `item` is None for records from a source. `state` is PENDING for a retry, then `due` says when (seconds since the
    epoch), and for a chunk of a streaming stage. `rows` go to the tables of their types. To `at_odds`, where it is
    given, the store adds the records of which it keeps another content until the next epoch.
    """

    item: Item | None
    state: State
    children: Sequence[Item] = ()
    rows: Sequence[Any] = ()
    error: str | None = None
    due: float | None = None
    ended: float = 0.0
    at_odds: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Items of one stage by state."""

    pending: int = 0
    done: int = 0
    skipped: int = 0
    dead: int = 0


def counted(rows: Iterable[tuple[Any, ...]], stages: Iterable[str]) -> dict[str, Counts]:
    """Rows of (stage, state, count) as `Counts`, stages without items included."""
    by_stage: dict[str, dict[State, int]] = {stage: {} for stage in stages}
    for stage, state, count in rows:
        by_stage.setdefault(stage, {})[State(state)] = count
    return {
        stage: Counts(*(found.get(state, 0) for state in (State.PENDING, State.DONE, State.SKIPPED, State.DEAD)))
        for stage, found in by_stage.items()
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """What a store must know of a pipeline: the record type and version of each stage, the tables, and the names of
    the record types that stages produce."""

    pipeline: str
    stages: Mapping[str, tuple[RecordType, int]]
    tables: Sequence[RecordType] = ()
    produced: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Suspect:
    """An item that was in flight at an unclean end of the process. It may have been at fault for `ends` of them;
    `attempts` counts those too."""

    stage: str
    key: str
    ends: int
    attempts: int

    def __str__(self) -> str:
        return f"{self.stage} {self.key}"

    @property
    def reason(self) -> str:
        """Why it is set aside."""
        return (
            f"the whole process ended {self.ends} times while this item was in work, the last time alone: by a crash, "
            'for lack of memory, or by kill -9; in a stage with runs_in="process" it would cost no other item anything'
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """What a store found: items pending per stage, and whether finalizers are owed.

    After an unclean end of the last process also what was in flight then, the items that are to run alone before
    anything else, and those that were set aside as dead letters.
    With `behind`, a new epoch was asked for and waits until what is pending has ended: then `renew` begins it.
    `lacking` stages are new, and of the records that they take nothing was kept. `requeued` are the dead letters that
    are pending again, by stage.
    """

    pending: Mapping[str, int] = field(default_factory=dict)
    changed: bool = False
    in_flight: Sequence[Suspect] = ()
    suspects: Sequence[Item] = ()
    set_aside: Sequence[Suspect] = ()
    behind: bool = False
    lacking: Sequence[str] = ()
    requeued: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Items that were made pending for a stage, records that no longer fit its type, and those that were pruned."""

    items: int = 0
    unreadable: int = 0
    pruned: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Two contents of one key that no merge rule covers."""

    record: str
    key: str
    fields: tuple[str, ...]


class Store(Protocol):
    """See the module's text."""

    @property
    def durable(self) -> bool:
        """Whether what is committed outlives the process."""

    async def open(
        self, plan: Plan, *, refresh: bool = False, stale: bool = False, requeue: Selection | None = None
    ) -> Opened:
        """Make ready. A new epoch begins, unless the last run is unfinished.

        What an earlier run left unfinished goes on in its epoch, a refresh too, asked for again or not. With `refresh`
        every key may be admitted once more in the epoch. With `stale`, `catch_up` includes the items that another
        version of their stage worked on. Either wants a new epoch; if items are pending, `behind` tells that it is
        still to begin. Dead letters of the plan's stages that `requeue` fits are made pending again, all or none: where
        anything is refused, nothing has changed. Raises WorkspaceError when what is stored does not fit the plan.
        """

    async def renew(self) -> None:
        """Begin the epoch that `open` could not begin, or the next one, which is no refresh.

        To be called when nothing is pending. It retracts nothing: what a source brought once stays.
        """

    def finish(self, item: Item, child: Item | None) -> bool | None:
        """The ready path of `commit`: an item is done, without rows and with at most one child.

        Whether the child is new; None where the store would have to wait, and nothing was done.
        """

    async def commit(self, completion: Completion) -> Sequence[Item]:
        """Commit and return the children that are new, with their ids.

        Raises StorageError when this completion cannot be stored; others in its group are not affected.
        A caller that is cancelled does not undo the commit.
        """

    def in_flight(self, places: int) -> InFlight:
        """Where to note the items in workers' hands; a durable store has it for the start after an unclean end."""

    def resume_from_here(self) -> None:
        """What is pending now is what `pending` gives. Nothing else may use the store meanwhile."""

    async def pending(self, stage: str, *, after: int, limit: int) -> Sequence[Item]:
        """Items that were pending when the store was opened or told so, or when the stage last caught up, by id, from
        the first above `after`."""

    async def catch_up(self, stage: str) -> CaughtUp:
        """Make pending what a stage owes: records that were there before it, and stale items where `open` was told.

        To be called at quiet, before the stages after it are. `pending` then gives these items.
        """

    async def prune(self, before: float) -> int:
        """Forget the records of items that ended well before that time (seconds since the epoch); how many.

        They are known as before. What wants such a record again, `catch_up` for a new version or a new stage, takes it
        from where else it is kept, or counts it as pruned.
        """

    async def retract(self) -> int:
        """Retract the records left without a parent, with all that came of them alone; how many.

        A record's parents are the items that last emitted it and the sources that ever brought it. To be called at
        quiet.
        """

    @property
    def resume_to(self) -> int:
        """The highest id that `pending` gives."""

    async def due(self, stage: str, *, until: float, limit: int) -> Sequence[Item]:
        """Pending items whose retry time is not after `until`, earliest first."""

    async def requeue(self, selection: Selection, *, after: int, limit: int, due: float) -> Sequence[int]:
        """Make the next dead letters by id pending again, due at that time, with all their attempts: at most `limit`
        above the id `after`. Their ids; none where there are no more.

        Raises StorageError when they cannot be.
        """

    async def states(self, items: Iterable[tuple[str, Key]]) -> Mapping[tuple[str, Key], tuple[State, str | None]]:
        """The states of these items, by stage and key, each with its last error.

        What is not known is left out; a store may forget items that ended well.
        """

    async def counts(self) -> Mapping[str, Counts]:
        """Items by stage and state."""

    async def rows(self, record_type: RecordType) -> Sequence[Any]:
        """All rows of a record type's table, by key. May be asked of a durable store that is not open.

        Raises WorkspaceError when there is no such table, or one with another key.
        """

    @property
    def changes(self) -> int:
        """How often something was committed since the store was opened."""

    async def finalized(self, changes: int) -> None:
        """Note that finalizers have seen everything, if nothing was committed after the first `changes` times."""

    async def keep(self, texts: Mapping[str, str]) -> None:
        """Make short texts durable, each under its name, in place of what it held before.

        Raises StorageError when they cannot be.
        """

    async def kept(self, prefix: str) -> Mapping[str, str]:
        """The texts whose names begin with `prefix`."""

    @property
    def identity(self) -> str:
        """A random text that tells this store from every other, once it is open; a durable one keeps it."""

    async def cache(self, answers: Mapping[bytes, CachedAnswer], used: Collection[bytes], today: int) -> None:
        """Keep answers of services, each under its key, and note that those under the keys `used` were of use today.

        A store may forget them at any time. Raises StorageError when they cannot be kept now.
        """

    async def cached(self, key: bytes) -> CachedAnswer | None:
        """The answer that is kept under a key."""

    def differences(self) -> Iterable[Difference]:
        """Contents that differed without a rule since the last call."""

    def lost(self) -> str | None:
        """Why what was committed is not kept any more, and what to do; None where it is."""

    async def close(self) -> None:
        """Let go of everything. Waiting commits are finished first."""
