"""What a run keeps of services' answers, to ask about them again instead of for them.

Looked up in the store, kept by it a moment later: no call waits for that, and what is lost costs a call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from streamflow.errors import StorageError
from streamflow.storage.cache import CachedAnswer

SAVE_EVERY = 1.0
"""Seconds for which answers are gathered, so that the writer has one more transaction a second at most."""
MOST_UNSAVED = 16 * 2**20
"""Bytes of bodies that wait to be saved. What comes beyond is not kept."""
_DAY = 86_400


class Keeper(Protocol):
    """Where answers are kept; a Store is one."""

    async def cache(self, answers: Mapping[bytes, CachedAnswer], used: Collection[bytes], today: int) -> None: ...

    async def cached(self, key: bytes) -> CachedAnswer | None: ...


class Cache:
    """The answers that one run knows. Empty, and taking none, outside of `saving`."""

    def __init__(self, keeper: Keeper, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._keeper = keeper
        self._wall_clock = wall_clock
        self._unsaved: dict[bytes, CachedAnswer] = {}
        self._size = 0
        self._used: set[bytes] = set()
        self._news = asyncio.Event()
        self._is_open = False

    async def find(self, key: bytes) -> CachedAnswer | None:
        """The answer that is known under a key."""
        if not self._is_open:
            return None
        return self._unsaved.get(key) or await self._keeper.cached(key)

    def keep(self, key: bytes, service: str, headers: Mapping[str, str], body: bytes) -> None:
        """Keep an answer, in place of the one before."""
        before = self._unsaved.get(key)
        size = self._size + len(body) - (len(before.body) if before else 0)
        if self._is_open and size <= MOST_UNSAVED:
            self._unsaved[key], self._size = CachedAnswer(service, headers, body, self._today), size
            self._news.set()

    def used(self, key: bytes, answer: CachedAnswer) -> None:
        """An answer was of use: it was asked about, and has not changed."""
        if self._is_open and answer.used != self._today:
            self._used.add(key)
            self._news.set()

    @property
    def _today(self) -> int:
        return int(self._wall_clock() // _DAY)

    @asynccontextmanager
    async def saving(self) -> AsyncIterator[None]:
        """Know what is kept, and keep more, until the end of the block."""
        ending = asyncio.Event()
        self._is_open = True
        task = asyncio.create_task(self._save_up(ending), name="streamflow cache")
        try:
            yield
        finally:
            # Not cancelled: a call of the database that is cancelled still runs.
            self._is_open = False
            ending.set()
            self._news.set()
            await task

    async def _save_up(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            await self._news.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_EVERY):
                    await ending.wait()
            self._news.clear()
            await self._save()
        await self._save()

    async def _save(self) -> None:
        answers, used = dict(self._unsaved), self._used
        self._used = set()
        if answers or used:
            with suppress(StorageError):  # they are let go: the next run makes these calls again
                await self._keeper.cache(answers, used, self._today)
        for key, answer in answers.items():
            if self._unsaved[key] is answer:
                del self._unsaved[key]
        self._size = sum(len(answer.body) for answer in self._unsaved.values())
