"""What is made of a run's events: a line in its log, and a word to the user where they need it now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from streamflow.cli.output import count, tell
from streamflow.cli.stopping import by_stage
from streamflow.events import (
    Abandoned,
    BreakerOpened,
    ContentsDiffer,
    ControlUnavailable,
    DeadLettersRequeued,
    Draining,
    Event,
    FileNotMoved,
    ItemDied,
    ItemSkipped,
    LimitPaused,
    LoopBlocked,
    RecordRefused,
    RecordsRetracted,
    RunStarted,
    StageCaughtUp,
    StageLacksRecords,
    StageStuck,
    StorageBlocked,
    StorageResumed,
    UncleanEnd,
)
from streamflow.observe.words import duration
from streamflow.storage.trouble import Trouble

_WARNINGS = (
    BreakerOpened,
    ContentsDiffer,
    ControlUnavailable,
    FileNotMoved,
    ItemDied,
    LimitPaused,
    LoopBlocked,
    RecordRefused,
    StageStuck,
    StorageBlocked,
    UncleanEnd,
)
_WAITED_FOR: Mapping[str, str] = {Trouble.FULL: "room", Trouble.LOCKED: "another program to let go of the database"}


def line_for(event: Event) -> tuple[str, str]:
    """The level and the name of an event's line in the log."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    if isinstance(event, ItemSkipped):
        return "debug", name
    return "warning" if isinstance(event, _WARNINGS) else "info", name


class Telling:
    """Tells of a run while it goes on. Where it is `quiet`, only what waits for the user or is lost to them."""

    def __init__(self, inputs: Sequence[str], *, watching: bool, quiet: bool) -> None:
        self._inputs = inputs
        self._watching = watching
        self._quiet = quiet
        self._told_once: set[tuple[type[Event], str]] = set()

    def heard(self, event: Event) -> None:
        """An event of the run."""
        for text in self._needed(event):
            tell(text)
        if not self._quiet:
            for text in self._wanted(event):
                tell(text)

    def _needed(self, event: Event) -> Iterator[str]:
        match event:
            case RecordRefused():
                yield f"A record of source {event.source!r} was refused: {event.error}"
            case FileNotMoved() if (FileNotMoved, event.reason) not in self._told_once:
                self._told_once.add((FileNotMoved, event.reason))
                yield (
                    f"{event.path} has ended and cannot be moved to its place: {event.reason}. It stays, and is tried "
                    "again; the log names all such files."
                )
            case StorageBlocked():
                what = _WAITED_FOR[event.reason]
                yield f"{event.reason}: waiting for {what} in {event.workspace}. Nothing is lost; it goes on by itself."
            case StorageResumed():
                yield f"No longer {event.reason}, after {duration(event.seconds)}; going on."

    def _wanted(self, event: Event) -> Iterator[str]:
        match event:
            case RunStarted():
                if event.resumed:
                    yield f"Going on with {count(event.resumed, 'item')} left pending by an earlier run."
                if self._watching:
                    where = " ".join(self._inputs)
                    yield f"Watching {where}. Ctrl-C stops it: once to finish what is active, twice at once."
            case UncleanEnd():
                told = f"The run before ended without a word, with {count(len(event.in_flight), 'item')} in work."
                if event.alone:
                    alone = count(len(event.alone), "item")
                    told += f" What was in work at two such ends runs alone first: {alone}."
                yield told
            case DeadLettersRequeued():
                yield f"Trying again: {by_stage(event.items)}."
            case StageCaughtUp():
                if event.items:
                    items = count(event.items, "item")
                    yield f"{event.stage}: {items} to work on, which are new to it or were done by another version."
                if event.pruned:
                    left_out = count(event.pruned, "record")
                    yield f"{left_out} for {event.stage} were pruned and are in no table; --refresh makes them again."
                if event.unreadable:
                    left_out = count(event.unreadable, "record")
                    yield f"{left_out} for {event.stage} no longer fit their type; --refresh makes them again."
            case StageLacksRecords():
                yield (
                    f"{event.stage} is new, and no {event.record} of earlier runs was kept for it: it has no table, "
                    "and no other stage takes it. --refresh makes them again."
                )
            case RecordsRetracted():
                yield f"Retracted {count(event.records, 'record')} that nothing emits any more."
            case Abandoned():
                yield f"Not finished: {by_stage(event.items)}. They stay pending."
            case LoopBlocked() | StageStuck() if (type(event), event.stage) not in self._told_once:
                self._told_once.add((type(event), event.stage))
                yield _slow(event)


def draining(event: Draining) -> str:
    """That the run was told to stop, and finishes what is active."""
    active = count(sum(event.active.values()), "active item")
    stages = f" ({by_stage(event.active)})" if event.active else ""
    return (
        f"{event.reason}: finishing {active}, for at most {event.grace:g} s{stages}; "
        "the rest stays pending. A second signal stops at once."
    )


def _slow(event: LoopBlocked | StageStuck) -> str:
    """That a stage's function does not let go, and where it stands."""
    who = f"The function of {event.stage}" if event.stage else "Something"
    where = event.stack.rpartition("\n")[2]
    if isinstance(event, LoopBlocked):
        return f'{who} holds up everything else: it blocks or computes, at {where}. Say runs_in="thread" or "process".'
    return f'{who} goes on although its time is over, at {where}. In runs_in="process" it could be ended.'
