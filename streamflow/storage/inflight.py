"""What is in flight, in a small file that outlives a process which ended without a word.

A file of whole numbers, mapped into memory: a header, then a place for each item that can be in workers' hands at
once, which holds the item's id, or 0. Whoever takes an item writes its id, and that is all it costs. The id is negative
where the item is worked on in a process of its own, which cannot end this one. Ids of items that have ended may stay:
the journal knows that they have. A clean end removes the file; so one that is there tells of an unclean end (kill -9,
a crash, a power cut), and of what was in flight then.

After kill -9 of the process the file is exact. After that of the machine it is as it was at the last `sync`.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from streamflow.plain_file import open_plain

log = structlog.get_logger("streamflow.storage")

_HEADER = struct.Struct("=8sqqq")  # format, run, whether one item runs alone, places; then the places
_FORMAT = b"SFLWFLY1"
_ALONE = 2
_FIRST = 4
_MOST = 2**20


@dataclass(frozen=True, slots=True)
class LeftInFlight:
    """What a process that ended uncleanly left: its run's number, the ids of the items in its workers' hands, which of
    them may have ended it, and whether it ran one item alone."""

    run: int
    items: frozenset[int]
    suspect: frozenset[int]
    alone: bool


def left_in_flight(path: Path) -> LeftInFlight | None:
    """What the last process left there, None after a clean end. A file that is none of ours is told of and ignored."""
    try:
        with open(path, "rb", opener=open_plain) as file:
            content = file.read(_HEADER.size + 8 * _MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("in_flight_file_ignored", path=str(path), reason=str(error))
        return None
    kind, run, alone, places = _HEADER.unpack_from(content) if len(content) >= _HEADER.size else (b"", 0, 0, 0)
    if kind != _FORMAT or len(content) != _HEADER.size + 8 * places:
        log.warning("in_flight_file_ignored", path=str(path), reason="it is not what a run leaves")
        return None
    items = struct.unpack_from(f"={places}q", content, _HEADER.size)
    return LeftInFlight(
        run, frozenset(map(abs, items)) - {0}, frozenset(number for number in items if number > 0), bool(alone)
    )


class InFlight:
    """What is in flight in this process, with a `path` in a file. `places[n]` holds the id of the n-th item, negative
    where that cannot end the process."""

    def __init__(self, places: int, path: Path | None = None, run: int = 0) -> None:
        """Begin the file anew. Raises OSError, also where the disk is full."""
        self._path = path
        self._descriptor = -1
        content = _HEADER.pack(_FORMAT, run, 0, places) + bytes(8 * places)
        if path is not None:
            self._descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)
        try:
            if path is not None:
                # Written, not just made longer: a mapped page without its place on the disk would end the process.
                os.pwrite(self._descriptor, content, 0)
            self._numbers = memoryview(mmap.mmap(self._descriptor, len(content))).cast("q")
        except BaseException:
            self.end()
            raise
        self.places = self._numbers[_FIRST:]

    def run_alone(self, alone: bool) -> None:
        """Note whether one item runs alone from now on."""
        self._numbers[_ALONE] = alone

    def sync(self) -> None:
        """Have the disk know, for a power cut. Blocks; may be called in any thread before the end."""
        if self._path is None:
            return
        with suppress(OSError):  # the disk's trouble is the writer's to tell
            os.fsync(self._descriptor)

    def end(self) -> None:
        """A clean end: nothing is in flight. What is written to `places` after this is lost."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
