"""Waiting until the disk has room again, or until another program has let go of the database.

Nobody is at fault for either, so nothing is failed for them: what could not be written is kept and tried again, and
whoever waits for it goes on waiting. That is what pauses the intake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

from streamflow.deadline import suspended
from streamflow.errors import told
from streamflow.events import Hook, StorageBlocked, StorageResumed
from streamflow.storage.trouble import MAYBE_FULL, PASSING, Trouble, diagnose, has_room, lacks_room, trouble

T = TypeVar("T")

FIRST, LONGEST, LONGEST_COSTLY = 0.1, 5.0, 60.0
"""Seconds before the second try, and the most that pass between two."""


class Patience:
    """What a run has for its storage. `folder` is the workspace; `hook` is told when waiting begins and ends."""

    def __init__(self, folder: Path, hook: Hook = lambda event: None, *, first: float = FIRST) -> None:
        self.folder = folder
        self._hook = hook
        self._first = first
        self._waiting: list[Trouble] = []
        self._since = 0.0

    @property
    def reason(self) -> Trouble | None:
        """What is waited for now, None where nothing is."""
        return self._waiting[0] if self._waiting else None

    @property
    def waited(self) -> float:
        """For how many seconds something has been waited for, without a break."""
        return asyncio.get_running_loop().time() - self._since if self._waiting else 0.0

    async def persist(
        self, work: Callable[[], Awaitable[T]], *, costly: bool = False, over: asyncio.Event | None = None
    ) -> T:
        """What `work` returns, tried for as long as the disk is full or the database locked. The deadline is suspended.

        What is `costly` is not tried before a file can be written into the folder. Once `over` is set, one last try is
        made at once. Raises what `work` raises for any other reason.
        """
        try:
            return await work()
        except Exception as error:
            why = await self._passing(error)
            if why is None or _is_set(over):
                raise
            met = told(error)
        with self._waits(why, met, over):
            longest = LONGEST_COSTLY if costly else LONGEST
            for tries in count():
                with suspended(why):
                    await _pause(delay(tries, self._first, longest), over)
                    if costly and not await asyncio.to_thread(has_room, self.folder):
                        continue
                try:
                    return await work()
                except Exception as error:
                    if await self._passing(error) is None or _is_set(over):
                        raise
        raise AssertionError("counting has no end")

    async def is_full(self, error: BaseException) -> bool:
        """Whether an error tells of a full disk, and that is the workspace's, not another."""
        return trouble(error) is Trouble.FULL and await asyncio.to_thread(lacks_room, error, self.folder)

    async def _passing(self, error: Exception) -> Trouble | None:
        """The trouble that an error tells of, if it passes by itself."""
        found = trouble(error)
        if found in MAYBE_FULL:
            found = await asyncio.to_thread(diagnose, error, self.folder)
        return found if found in PASSING else None

    @contextmanager
    def _waits(self, why: Trouble, error: str, over: asyncio.Event | None) -> Iterator[None]:
        """Count who waits. The first to begin is told, and the last to end when it goes on."""
        clock = asyncio.get_running_loop().time
        if not self._waiting:
            self._since = clock()
            self._hook(StorageBlocked(str(why), str(self.folder), error))
        self._waiting.append(why)
        try:
            yield
        finally:
            self._waiting.remove(why)
        if not self._waiting and not _is_set(over):
            self._hook(StorageResumed(str(why), clock() - self._since))


def delay(tries: int, first: float = FIRST, longest: float = LONGEST) -> float:
    """Seconds to wait after so many tries again: doubled each time, never more than the longest."""
    return float(min(longest, first * 2 ** min(tries, 30)))


def _is_set(over: asyncio.Event | None) -> bool:
    return over is not None and over.is_set()


async def _pause(seconds: float, over: asyncio.Event | None) -> None:
    if over is None:
        return await asyncio.sleep(seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()
