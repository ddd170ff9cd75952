"""Following the files of a watched folder to the end of what they became, and filing them then.

A file has ended when its source has asked for the next one, what it gave of this one is durable, and all items that
these records became have ended. What comes of those items is theirs. Whether an item has ended is asked of the store,
now and then and a page at a time: so items carry nothing for it, and nothing has to be remembered for a next start,
which finds the file in its place, admits its records as known ones, and learns that they have ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyio import to_thread

from streamflow.engine.shared import Route
from streamflow.events import FileNotMoved, Hook
from streamflow.record import Key
from streamflow.sources.filing import Filing
from streamflow.sources.walk import FoundFile
from streamflow.storage.store import State, Store

LOOK_EVERY = 0.5
"""Seconds between two looks at the store, if something was committed."""
_PAGE = 256
"""Files that are looked at at once."""


@dataclass(eq=False, slots=True)
class _File:
    """A file in hand: `waiting` records are not admitted yet; `items` have perhaps not ended; an `obstacle` kept it
    from being moved."""

    found: FoundFile
    records: int = 0
    waiting: int = 0
    is_read: bool = False
    items: set[tuple[str, Key]] = field(default_factory=set)
    reason: str | None = None
    obstacle: str = ""
    is_told: bool = False


PutOff = _File | None


class Following:
    """Follows files to their end."""

    def __init__(
        self, filing: Filing, store: Store, routes: Mapping[type[Any], Route], hook: Hook = lambda event: None
    ) -> None:
        self._filing = filing
        self._store = store
        self._routes = routes
        self._hook = hook
        self._files: deque[_File] = deque()
        self._seen = -1
        self._looking = asyncio.Lock()

    def _follow(self, file: _File) -> None:
        """From now on: nothing more comes of it."""
        self._files.append(file)
        self._seen = -1

    def _items(self, record: Any) -> Iterable[tuple[str, Key]]:
        route = self._routes[type(record)]
        return ((taker, route.key_of(record)) for taker in route.takers)

    async def run(self) -> None:
        """File what has ended, for as long as the run is on."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """File what has ended by now. Who looks while another does waits for what that one finds."""
        async with self._looking:
            if self._seen == self._store.changes:
                return
            self._seen = self._store.changes  # first: what is committed or followed meanwhile comes next
            for _ in range(-(-len(self._files) // _PAGE)):
                page = [self._files.popleft() for _ in range(min(_PAGE, len(self._files)))]
                self._files.extend(page)  # until it is known better: a cancelled look loses none
                ended = await self._ended(page)
                if ended:
                    filed = await to_thread.run_sync(self._file, ended)
                    self._tell(ended - filed)
                    self._files = deque(file for file in self._files if file not in filed)
                    if len(filed) < len(ended):
                        self._seen = -1  # no commit tells when a move can be made

    async def _ended(self, page: Sequence[_File]) -> set[_File]:
        wanted = {item for file in page for item in file.items}
        states = await self._store.states(wanted) if wanted else {}
        ended = set()
        for file in page:
            for item in list(file.items):
                state, error = states.get(item, (State.DONE, None))
                if state is State.PENDING:
                    continue
                file.items.discard(item)
                if state is State.DEAD:
                    file.reason = file.reason or f"{item[0]}: {error}"
            if not file.items:
                ended.add(file)
        return ended

    def _file(self, ended: Iterable[_File]) -> set[_File]:
        """Move files; those for which that failed are left for the next look."""
        filed = set()
        for file in ended:
            try:
                self._filing.move(file.found, file.reason)
                filed.add(file)
            except OSError as error:
                file.obstacle = error.strerror or str(error)
        return filed

    def _tell(self, files: Iterable[_File]) -> None:
        """Tell once of each file that it could not be moved."""
        for file in files:
            if not file.is_told:
                self._hook(FileNotMoved(str(file.found.path), file.obstacle))
            file.is_told = True


class FilesInHand:
    """What one source has in hand: between two files that it asks for, all that it gives is of the first."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._file: _File | None = None
        self._order: deque[_File | None] = deque()

    def take(self, found: FoundFile) -> None:
        self._file = _File(found)

    def done(self) -> None:
        """The source asks for the next file."""
        file, self._file = self._file, None
        if file is None:
            return
        file.is_read = True
        if not file.records:
            file.reason = "No record came of this file. The log says why, if it could not be read."
        self._settle(file)

    def read(self) -> None:
        """The source gave a record."""
        if self._file is not None:
            self._file.records += 1
            self._file.waiting += 1
        self._order.append(self._file)

    def admitted(self, records: Sequence[Any]) -> None:
        """These records are durable: those that were read first, of those that were not told yet."""
        for record in records:
            file = self._order.popleft()
            if file is not None:
                file.items.update(self._following._items(record))
                file.waiting -= 1
                self._settle(file)

    def refused(self, error: str) -> None:
        """The record that is next cannot be stored."""
        self.failed(self.put_off(), error)

    def put_off(self) -> PutOff:
        """The record that is next is admitted later. What it came of, for `again` or `failed`."""
        return self._order.popleft()

    def again(self, put_off: Sequence[PutOff]) -> None:
        """Records that were put off are the next to be admitted."""
        self._order.extendleft(reversed(put_off))

    def failed(self, put_off: PutOff, error: str) -> None:
        """A record that was put off is not admitted any more."""
        if put_off is not None:
            put_off.reason = put_off.reason or error
            put_off.waiting -= 1
            self._settle(put_off)

    def _settle(self, file: _File) -> None:
        if file.is_read and not file.waiting:
            self._following._follow(file)
