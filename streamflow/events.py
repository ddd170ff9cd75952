"""What happens in a run, told as frozen events to hooks of one method.

Events are for what is worth a line: item counts and rates are read from the run's snapshot instead, because an event
per item would cost more than the item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunStarted:
    pipeline: str
    workspace: str | None
    resumed: int


@dataclass(frozen=True, slots=True)
class UncleanEnd:
    """The process before this one ended without a word, and these items, each as `stage key`, were in its workers'
    hands. Those in `alone` were so at two such ends: they run first, one at a time."""

    in_flight: tuple[str, ...]
    alone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunEnded:
    pipeline: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SourceEnded:
    source: str
    records: int


@dataclass(frozen=True, slots=True)
class RecordRefused:
    """A source gave a record that cannot be stored; the others go on."""

    source: str
    error: str


@dataclass(frozen=True, slots=True)
class FileNotMoved:
    """A file of a watched folder has ended and could not be moved to its place; that is tried again."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ItemRetried:
    """An attempt failed; the item is tried again `delay` seconds from now."""

    stage: str
    key: str
    attempt: int
    delay: float
    error: str


@dataclass(frozen=True, slots=True)
class ItemSkipped:
    stage: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class ItemDied:
    """An item became a dead letter."""

    stage: str
    key: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class DeadLettersRequeued:
    """Dead letters, by stage, were made pending again at the start of a run that was to try them again."""

    items: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ContentsDiffer:
    """Two different contents of one key arrived and no merge rule says which fields win."""

    record: str
    key: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageStuck:
    """A stage's function ignores its cancellation at the deadline; `stack` says where it stands."""

    stage: str
    key: str
    seconds: float
    stack: str


@dataclass(frozen=True, slots=True)
class LoopBlocked:
    """A function holds the event loop, and nothing else runs meanwhile; `stack` says where it stands.

    `stage` and `key` are empty where it is not a stage's. Told from another thread, since the loop cannot.
    """

    stage: str
    key: str
    seconds: float
    stack: str


@dataclass(frozen=True, slots=True)
class LimitPaused:
    limit: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerOpened:
    """An API is away: its calls wait, but for a probe now and then. `error` is what the last call met."""

    limit: str
    error: str


@dataclass(frozen=True, slots=True)
class BreakerClosed:
    """The API has answered again, after so many seconds."""

    limit: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ConcurrencyChanged:
    """So many calls of the API may be in flight now; None: any number. Told every ten seconds at most."""

    limit: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class StageCaughtUp:
    """A stage is given items that no source brought: records from before it was there, or stale ones.

    `unreadable` records no longer fit its type and were left out; so were `pruned` ones, which are kept nowhere else.
    """

    stage: str
    items: int
    unreadable: int
    pruned: int = 0


@dataclass(frozen=True, slots=True)
class RecordsPruned:
    """The records of so many items that ended long ago were forgotten."""

    items: int


@dataclass(frozen=True, slots=True)
class StageLacksRecords:
    """A stage is new, and of the records that it takes nothing was kept."""

    stage: str
    record: str


@dataclass(frozen=True, slots=True)
class RecordsRetracted:
    """Records were removed that nothing emits any more, with all that came of them alone."""

    records: int


@dataclass(frozen=True, slots=True)
class StorageBlocked:
    """Nothing can be saved for now: the disk is full, or another program has locked the database. It is waited for."""

    reason: str
    workspace: str
    error: str


@dataclass(frozen=True, slots=True)
class StorageResumed:
    """What was waited for is over, after `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FinalizerEnded:
    finalizer: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Draining:
    """A signal, or an error that no item would escape, asked the run to stop; `active` items, by stage, are being
    finished."""

    reason: str
    active: Mapping[str, int]
    grace: float


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The grace period is over, or a second signal came: these items, by stage, were not finished and stay pending."""

    items: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ControlUnavailable:
    """The run cannot be asked through its control socket; it goes on without."""

    workspace: str
    reason: str


DRAINED = "streamflow drain"
"""The reason of a run that was stopped through its control socket."""

Event = (
    RunStarted
    | UncleanEnd
    | RunEnded
    | SourceEnded
    | RecordRefused
    | FileNotMoved
    | ItemRetried
    | ItemSkipped
    | ItemDied
    | DeadLettersRequeued
    | ContentsDiffer
    | StageStuck
    | LoopBlocked
    | LimitPaused
    | BreakerOpened
    | BreakerClosed
    | ConcurrencyChanged
    | StorageBlocked
    | StorageResumed
    | StageCaughtUp
    | RecordsPruned
    | StageLacksRecords
    | RecordsRetracted
    | FinalizerEnded
    | Draining
    | ControlUnavailable
    | Abandoned
)

Hook = Callable[[Event], None]
