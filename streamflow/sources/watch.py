"""The files of a folder, each as soon as it is whole, and again when it has changed.

A file is whole when its size, time and inode have stayed the same for a quiet period and no partial download
stands beside it. Notifications of the operating system say where to look; they get lost (full queues, network
file systems, a folder replaced by another), so the folder is also scanned at the start and now and then. Among
whole files the newest comes first, decided anew for each file that is asked for.

Memory: 16 bytes for each file that was given and still exists, more for those that are not yet given.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import os
import stat
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Protocol

import structlog
from anyio import to_thread

from streamflow.sources.walk import (
    PARTIAL,
    FileStat,
    FoundFile,
    file_stat,
    has_suffix,
    is_of_workspace,
    is_passed_over,
    walk,
)

log = structlog.get_logger("streamflow.sources")

Listen = Callable[[str, asyncio.Event], AsyncGenerator[Iterable[str]]]

_BATCH = 256
_CHANGES = 10_000  # told and not yet looked at; with more, everything is looked at
_WARNINGS = 1_000
_DEBOUNCE_MS, _STEP_MS = 200, 50
_UNNOTIFIED_RESCAN = 5.0


class Clock(Protocol):
    def time(self) -> float: ...

    async def wait(self, event: asyncio.Event, until: float) -> None:
        """Return when the event is set, or at `until` at the latest."""


class LoopClock:
    """The clock of the running loop."""

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait(self, event: asyncio.Event, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await event.wait()
        except TimeoutError:
            pass


class Pace:
    """How long a file must be left alone to count as whole, and how often the folder is scanned, in seconds.

    With `poll` it is scanned that often and notifications are not used: for network file systems. May change at any
    time.
    """

    def __init__(self, quiet: float = 2.0, rescan: float = 60.0, poll: float | None = None) -> None:
        self.quiet, self.rescan, self.poll = quiet, rescan, poll
        self._followers: set[asyncio.Event] = set()

    def change(self, quiet: float, rescan: float, poll: float | None) -> None:
        self.quiet, self.rescan, self.poll = quiet, rescan, poll
        for woken in self._followers:
            woken.set()

    @contextmanager
    def followed(self, woken: asyncio.Event) -> Iterator[None]:
        """Set `woken` at each change."""
        self._followers.add(woken)
        try:
            yield
        finally:
            self._followers.discard(woken)


class Settling:
    """Decides which files are whole. Does no I/O: it is told what was seen, and when."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: dict[str, tuple[FileStat, float]] = {}  # in the order of their times
        self._ready: dict[str, FileStat] = {}
        self._newest: list[tuple[int, str]] = []  # a heap; entries that `_ready` does not confirm are void
        self._given: set[bytes] = set()

    def see(self, path: str, seen: FileStat | None, now: float) -> None:
        """Take note of a file's state; None when it is gone."""
        if seen is None or _fingerprint(path, seen) in self._given:
            self._waiting.pop(path, None)
            self._ready.pop(path, None)
            return
        if self._ready.get(path) == seen:
            return
        self._ready.pop(path, None)
        before = self._waiting.get(path)
        if before is None or before[0] != seen:
            self._waiting.pop(path, None)
            self._waiting[path] = (seen, now + self._pace.quiet)
        elif before[1] <= now:
            del self._waiting[path]
            self._ready[path] = seen
            heapq.heappush(self._newest, (-seen.mtime, path))

    def due(self, now: float, limit: int) -> list[str]:
        """The files whose quiet period is over, if they are still as they were: to be seen again."""
        found: list[str] = []
        for path, (_, until) in self._waiting.items():
            if until > now or len(found) == limit:
                break
            found.append(path)
        return found

    def next_due(self) -> float:
        return next((until for _, until in self._waiting.values()), float("inf"))

    def newest(self) -> tuple[str, FileStat] | None:
        """The newest whole file that was not given yet."""
        while self._newest:
            mtime, path = self._newest[0]
            seen = self._ready.get(path)
            if seen is not None and seen.mtime == -mtime:
                return path, seen
            heapq.heappop(self._newest)
        return None

    def give(self, path: str, seen: FileStat) -> None:
        self._ready.pop(path, None)
        self._given.add(_fingerprint(path, seen))

    def postpone(self, path: str, now: float) -> None:
        """Another quiet period for a file that only looks whole."""
        seen = self._ready.pop(path, None) or self._waiting.pop(path)[0]
        self._waiting[path] = (seen, now + self._pace.quiet)

    def forget_all_but(self, present: set[bytes]) -> None:
        self._given &= present


class _Folder:
    """The eyes of `Settling`: looks at the folder, in threads, and tells what is there."""

    def __init__(self, folder: Path, suffixes: tuple[str, ...], ignored: Collection[str], pace: Pace) -> None:
        self.path = str(folder)
        self._suffixes = suffixes
        # One that holds the folder itself does not count: the user asked for this folder.
        self._ignored = {each for each in ignored if Path(each) != folder and Path(each).is_relative_to(folder)}
        self._warned: set[str] = set()
        self.settling = Settling(pace)

    def identity(self) -> tuple[int, int] | None:
        """Tells this folder from another one that took its name."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    async def scan(self, now: Callable[[], float]) -> None:
        """Look at everything."""
        present: set[bytes] = set()
        walked = walk(self.path, self._suffixes, self._ignored, self.warn_once)
        try:
            while batch := await to_thread.run_sync(lambda: list(islice(walked, _BATCH))):
                for path, seen in batch:
                    self.settling.see(path, seen, now())
                    present.add(_fingerprint(path, seen))
        except OSError as error:  # the folder itself; it may come back
            self.warn_once("watched_folder_unreadable", self.path, str(error.strerror))
            return
        self.settling.forget_all_but(present)

    async def look(self, paths: Iterable[str], now: Callable[[], float]) -> None:
        """Look at these again, whatever they are by now; a new folder is looked through."""
        found = await to_thread.run_sync(lambda: [each for path in paths for each in self._at(path)])
        for path, seen in found:
            self.settling.see(path, seen, now())

    async def newest(self, now: Callable[[], float]) -> FoundFile | None:
        """The newest whole file, looked at once more at the moment it is given."""
        while due := self.settling.due(now(), _BATCH):
            for path, state in await to_thread.run_sync(self._states, due):
                self.settling.see(path, state, now())
        while (candidate := self.settling.newest()) is not None:
            path, seen = candidate
            state, is_partial = await to_thread.run_sync(self._once_more, path)
            if state != seen:
                self.settling.see(path, state, now())
            elif is_partial:
                self.settling.postpone(path, now())
            else:
                self.settling.give(path, seen)
                return FoundFile(Path(path), os.path.basename(path), Path(self.path), seen)
        return None

    def _at(self, path: str) -> Iterable[tuple[str, FileStat | None]]:
        inside = os.path.relpath(path, self.path).split(os.sep)
        if any(map(is_passed_over, inside)) or is_of_workspace(self.path, inside):
            return []
        if any(Path(path).is_relative_to(each) for each in self._ignored):
            return []
        if os.path.isdir(path):
            if os.path.realpath(path) != path:
                return []
            try:
                return list(walk(path, self._suffixes, self._ignored, self.warn_once))
            except OSError:
                return []
        return [(path, self._state(path))] if has_suffix(inside[-1], self._suffixes) else []

    def _states(self, paths: Iterable[str]) -> list[tuple[str, FileStat | None]]:
        return [(path, self._state(path)) for path in paths]

    def _once_more(self, path: str) -> tuple[FileStat | None, bool]:
        return self._state(path), _partial(path)

    def _state(self, path: str) -> FileStat | None:
        try:
            status = os.lstat(path)
        except OSError:
            return None
        within = os.path.realpath(path) == path  # no symlink on the way to it
        return file_stat(status) if within and stat.S_ISREG(status.st_mode) else None

    def warn_once(self, event: str, path: str, reason: str) -> None:
        if path not in self._warned and len(self._warned) < _WARNINGS:
            self._warned.add(path)
            log.warning(event, path=path, reason=reason)


class _Listener:
    """Collects the changes that the operating system tells of. Its failure costs speed, not files."""

    def __init__(self, folder: _Folder, listen: Listen, woken: asyncio.Event) -> None:
        self._folder = folder
        self._listen = listen
        self._woken = woken
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._identity: tuple[int, int] | None = None
        self.paths: dict[str, None] = {}
        self.overflowed = False

    @property
    def listening(self) -> bool:
        return self._task is not None and not self._task.done()

    async def ensure(self) -> None:
        """Listen to the folder that has the name now."""
        identity = await to_thread.run_sync(self._folder.identity)
        if self._task is not None and (self._task.done() or identity != self._identity):
            await self.close()
        if self._task is None and identity is not None:
            self._identity = identity
            self._stop = asyncio.Event()
            self._task = asyncio.create_task(self._run(self._stop))

    async def _run(self, stop: asyncio.Event) -> None:
        try:
            async with aclosing(self._listen(self._folder.path, stop)) as changes:
                async for changed in changes:
                    for path in changed:
                        self.paths[path] = None
                    if len(self.paths) > _CHANGES:
                        self.paths.clear()
                        self.overflowed = True
                    self._woken.set()
        except Exception as error:  # noqa: BLE001 - whatever it is, scans go on
            # A name that is no UTF-8 ends it too. Scans find that file, and listen anew: its like come late, not never.
            self._folder.warn_once("notifications_unavailable", self._folder.path, _first(error))
            self._woken.set()

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self._stop.set()  # the thread that waits for the operating system sees it within its step
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()


async def watch(
    folder: Path,
    suffixes: tuple[str, ...],
    pace: Pace | None = None,
    *,
    ignored: Collection[str] = (),
    clock: Clock | None = None,
    listen: Listen | None = None,
) -> AsyncGenerator[FoundFile]:
    """The whole files below `folder`, without an end. Close the generator (`aclosing`) to stop watching.

    A file comes once for each state that lasted through a quiet period.
    """
    clock, pace = clock or LoopClock(), pace or Pace()
    looked_at = _Folder(folder, suffixes, ignored, pace)
    woken = asyncio.Event()
    listener = _Listener(looked_at, listen or _notifications, woken)
    scanned_at, scans = float("-inf"), 0
    following = ExitStack()
    try:
        following.enter_context(pace.followed(woken))
        while True:
            if scans == 1:  # early: it sees what was made between the first scan and the first notification
                interval = min(pace.quiet, pace.poll or pace.rescan)
            else:
                interval = pace.poll or (pace.rescan if listener.listening else min(pace.rescan, _UNNOTIFIED_RESCAN))
            if clock.time() >= scanned_at + interval or listener.overflowed:
                listener.overflowed = False
                if pace.poll is None:
                    await listener.ensure()
                else:
                    await listener.close()
                await looked_at.scan(clock.time)
                scanned_at, scans = clock.time(), scans + 1
                continue
            while listener.paths:
                changed, listener.paths = listener.paths, {}
                await looked_at.look(changed, clock.time)
            found = await looked_at.newest(clock.time)
            if found is not None:
                yield found
            elif not woken.is_set():
                await clock.wait(woken, min(scanned_at + interval, looked_at.settling.next_due()))
            woken.clear()
    finally:
        following.close()
        await listener.close()


async def _notifications(folder: str, stop: asyncio.Event) -> AsyncGenerator[Iterable[str]]:
    from watchfiles import awatch  # takes longer to import than a small run takes

    changes = awatch(
        folder,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        stop_event=stop,
        recursive=True,
        ignore_permission_denied=True,
    )
    async with aclosing(changes):
        async for changed in changes:
            yield [path for _, path in changed]


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def _partial(path: str) -> bool:
    """Whether a browser still writes to this file. Firefox keeps an empty file in its place meanwhile."""
    folder, name = os.path.split(path)
    if any(os.path.lexists(path + ending) for ending in PARTIAL):
        return True
    try:
        if os.path.getsize(path):
            return False
        stem = os.path.splitext(name)[0]
        with os.scandir(folder) as scan:
            return any(entry.name.startswith(stem) and entry.name.endswith(PARTIAL) for entry in scan)
    except OSError:
        return False


def _fingerprint(path: str, seen: FileStat) -> bytes:
    text = f"{seen.size} {seen.mtime} {seen.inode} ".encode() + os.fsencode(path)
    return hashlib.blake2b(text, digest_size=16).digest()
