"""What limits used outlives the process: read at the start, saved ahead while calls are made, made exact at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec

from streamflow.errors import StorageError, WriterStopped
from streamflow.limits.limit import Limit
from streamflow.limits.rates import Kept
from streamflow.limits.registry import Registry

PREFIX = "limit:"
"""Begins the names of the texts."""
_PATIENCE = 1.0
"""Seconds until what could not be saved is tried again."""


class Keeper(Protocol):
    """Where texts are kept; a Store is one."""

    async def keep(self, texts: Mapping[str, str]) -> None: ...

    async def kept(self, prefix: str) -> Mapping[str, str]: ...


@asynccontextmanager
async def keeping(limits: Registry, keeper: Keeper) -> AsyncIterator[None]:
    """Keep what these limits use, from here on until the end of the block.

    Where that fails otherwise than by the storage's state, the block is cancelled and the error raised: calls wait for
    what is saved ahead, and would for ever.
    """
    found = await keeper.kept(PREFIX)
    limits.each(lambda limit: limit.begin_keeping(read(found.get(PREFIX + limit.name))))
    ending = asyncio.Event()
    task = asyncio.create_task(_keep_up(limits, keeper, ending), name="streamflow limits")
    block, failed = asyncio.current_task(), False

    def stop(task: asyncio.Task[None]) -> None:
        nonlocal failed
        if block is not None and not ending.is_set():
            failed = True
            block.cancel()

    task.add_done_callback(stop)
    try:
        yield
    finally:
        # Not cancelled: a call of the database that is cancelled still runs.
        ending.set()
        limits.used.set()
        if failed and block is not None:
            block.uncancel()
        await task


async def _keep_up(limits: Registry, keeper: Keeper, ending: asyncio.Event) -> None:
    while not ending.is_set():
        await limits.used.wait()
        limits.used.clear()
        await _save(keeper, [limit for limit in limits if limit.to_keep], ending)
    await _save(keeper, [limit for limit in limits if limit.was_used], ending)


async def _save(keeper: Keeper, limits: list[Limit], ending: asyncio.Event) -> None:
    """Save, and let the calls go that wait for it. Where that fails they wait on, and it is tried again."""
    while limits:
        taken = {limit.name: limit.keep(ahead=not ending.is_set()) for limit in limits}
        texts = {PREFIX + name: msgspec.json.encode(kept).decode() for name, (kept, _) in taken.items()}
        try:
            await keeper.keep(texts)
        except WriterStopped:
            return
        except StorageError:
            if ending.is_set():
                return  # what was saved ahead stands
            await asyncio.sleep(_PATIENCE)
            continue
        for _, saved in taken.values():
            saved()
        return


def read(text: str | None) -> Kept | None:
    """What was kept. Of what cannot be read it is only known that calls were made."""
    try:
        return None if text is None else msgspec.json.decode(text, type=Kept)
    except msgspec.DecodeError:
        return Kept(None, [])
