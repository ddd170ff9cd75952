"""Bringing a source's records into the run: read, admit in groups, put into channels.

The reader never waits for a commit, and the admitter takes all that was read meanwhile: a fast source is admitted in
large transactions, a slow one record by record, without lingering.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import groupby
from operator import attrgetter
from typing import Any

from streamflow.engine.channel import ChannelClosed
from streamflow.engine.following import FilesInHand, PutOff
from streamflow.engine.shared import Shared
from streamflow.errors import StageSignatureError, StorageError, WriterStopped, told
from streamflow.events import RecordRefused
from streamflow.failpoints import failpoint
from streamflow.record import Key
from streamflow.storage.store import Completion, Item, State

_STAGE = attrgetter("stage")

READ_AHEAD = 256
"""Records of a source that may be read and not yet admitted. When as many are put off, no more are admitted."""

_REPLACED = "Another record of the same key came before this one could be worked on."


class Intake:
    """Feeds a run from one source.

    `records` counts what the source gave, `refused` what cannot be stored. `acknowledge` is given the records of each
    group once they are durable; `in_hand` follows the files that they came from. Nothing is admitted while `open` is
    not set.

    Within one epoch a key is admitted once. Where more epochs come (`renews`), a record that says something else than
    the one that was admitted is put off until `bring_again`, unless one of the same key replaces it before.
    """

    def __init__(
        self,
        name: str,
        stream: AsyncGenerator[Any, None],
        shared: Shared,
        open: asyncio.Event,
        *,
        renews: bool = False,
        limit: int | None = None,
        acknowledge: Callable[[list[Any]], Awaitable[None]] | None = None,
        in_hand: FilesInHand | None = None,
    ) -> None:
        self.name = name
        self.records = 0
        self.refused = 0
        self.is_admitting = False
        self._stream = stream
        self._shared = shared
        self._open = open
        self._renews = renews
        self._put_off: dict[tuple[type[Any], Key], tuple[Any, PutOff]] = {}
        self._is_due = False
        self._acknowledge = acknowledge
        self._in_hand = in_hand
        self._limit = limit if limit is not None else float("inf")
        self._read: list[Any] = []
        self._ended = False
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Until the source ends: read ahead, and admit what was read."""
        reader = asyncio.create_task(self._read_ahead(), name=f"streamflow source {self.name}")
        try:
            while not self._ended or self._read or self._put_off:
                if self._is_due:
                    await self._admit_again()
                elif self._read and len(self._put_off) < READ_AHEAD:
                    group, self._read = self._read, []
                    self.records += len(group)
                    self._moved.set()
                    await self._admit(group)
                else:
                    self._moved.clear()
                    await self._moved.wait()
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def run_one_by_one(self, settled: Callable[[], Awaitable[None]]) -> None:
        """Until the source ends: admit one record and wait until `settled` before the next."""
        async with aclosing(self._stream):
            while self.records < self._limit:
                try:
                    record = await anext(self._stream)
                except StopAsyncIteration:
                    return
                except SystemExit as error:
                    raise self._exited(error) from error
                self.records += 1
                if self._in_hand is not None:
                    self._in_hand.read()
                await self._admit([record])
                await settled()
                while self._put_off:
                    self._moved.clear()
                    await self._moved.wait()
                    await self._admit_again()
                    await settled()

    async def _read_ahead(self) -> None:
        try:
            async with aclosing(self._stream):
                if self._limit <= 0:
                    return
                async for record in self._stream:
                    self._read.append(record)
                    if self._in_hand is not None:
                        self._in_hand.read()
                    waiting = len(self._read)
                    if waiting == 1:
                        self._moved.set()
                    if self.records + waiting >= self._limit:
                        return
                    while len(self._read) >= READ_AHEAD:
                        self._moved.clear()
                        await self._moved.wait()
        except SystemExit as error:
            raise self._exited(error) from error
        finally:
            self._ended = True
            self._moved.set()

    def _exited(self, error: SystemExit) -> RuntimeError:
        return RuntimeError(f"the source {self.name!r} called sys.exit({error.code!r})")

    @property
    def puts_off(self) -> bool:
        """Whether a record waits for an epoch that is yet to begin."""
        return bool(self._put_off) and not self._is_due

    def bring_again(self) -> None:
        """A new epoch has begun: admit what was put off."""
        self._is_due = bool(self._put_off)
        self._moved.set()

    async def _admit_again(self) -> None:
        self._is_due = False
        group, self._put_off = list(self._put_off.values()), {}
        if self._in_hand is not None:
            self._in_hand.again([file for _, file in group])
        await self._admit([record for record, _ in group])

    async def _admit(self, records: Sequence[Any]) -> None:
        shared = self._shared
        children: list[Item] = []
        rows: list[Any] = []
        refused: StorageError | None = None
        for record in records:
            route = shared.routes.get(type(record))
            if route is None:
                raise StageSignatureError(
                    f"source {self.name!r} gave a {type(record).__name__}, which its annotation does not name"
                )
            if route.is_row:
                rows.append(record)
            try:
                for taker in route.takers:
                    children.append(Item(taker, record, route.key_of(record)))
            except (TypeError, ValueError) as error:  # a key of several fields that JSON cannot hold
                refused = StorageError(f"a record cannot be stored: its key: {error}")
        try:
            if refused is not None:
                raise refused
            completion = Completion(None, State.DONE, children, rows, at_odds=[] if self._renews else None)
            await self._open.wait()
            self.is_admitting = True
            try:
                fresh = await shared.store.commit(completion)
                shared.tally.alive += len(fresh)
            finally:
                self.is_admitting = False
        except WriterStopped:
            raise
        except StorageError as error:
            if len(records) == 1:
                self._refuse(told(error))
                return
            for record in records:  # one of them is at fault
                await self._admit([record])
            return
        failpoint("admitted")
        shared.tally.changed = shared.tally.changed or bool(fresh or rows)
        durable = self._durable(records, completion.at_odds or ()) if completion.at_odds or self._put_off else records
        if self._in_hand is not None and durable is records:
            self._in_hand.admitted(records)
        if not shared.tally.alive:
            shared.tally.notify()
        if self._acknowledge is not None and durable:
            await self._acknowledge(list(durable))
        try:
            for stage, several in groupby(fresh, key=_STAGE):
                await shared.channels[stage].put_all(list(several))
        except ChannelClosed:
            return  # the run stops; what was admitted is pending in the store

    def _durable(self, records: Sequence[Any], at_odds: Sequence[Any]) -> list[Any]:
        """Put off what is at odds with what this epoch has; the others."""
        odd = {id(record) for record in at_odds}
        durable = []
        for record in records:
            if id(record) in odd:
                self._put_one_off(record)
                continue
            self._drop_put_off(record)
            durable.append(record)
            if self._in_hand is not None:
                self._in_hand.admitted([record])
        return durable

    def _put_one_off(self, record: Any) -> None:
        place = self._drop_put_off(record)
        self._put_off[place] = record, self._in_hand.put_off() if self._in_hand is not None else None

    def _drop_put_off(self, record: Any) -> tuple[type[Any], Key]:
        """Of one key the last record counts. Gives the place of those of this key."""
        place = type(record), self._shared.routes[type(record)].key_of(record)
        replaced = self._put_off.pop(place, None)
        if replaced is not None and self._in_hand is not None:
            self._in_hand.failed(replaced[1], _REPLACED)
        return place

    def _refuse(self, why: str) -> None:
        """One record cannot be stored: the others go on."""
        self.refused += 1
        self._shared.hook(RecordRefused(self.name, why))
        if self._in_hand is not None:
            self._in_hand.refused(why)
