"""Reading what a streaming stage gives out, and committing it while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from streamflow.deadline import NEVER
from streamflow.engine.shared import Slot
from streamflow.errors import HeldAcrossYield

CHUNK = 64
"""Outputs of a streaming stage that are committed at once, at most."""


class Stream:
    """What a streaming stage gave out and is not committed yet; `emit` commits some outputs.

    Outputs are committed as soon as the stage waits for something, at most `CHUNK` at once, while it goes on; it is
    held back when a whole chunk waits.
    """

    def __init__(self, slot: Slot, emit: Callable[[list[Any]], Awaitable[None]]) -> None:
        self._slot = slot
        self._commit = emit
        self._outputs: list[Any] = []
        self._flushing: asyncio.Task[None] | None = None

    async def run(self, stream: AsyncGenerator[Any, None]) -> None:
        """Read the stream to its end. When this returns or raises, nothing of it is on the way any more."""
        loop = asyncio.get_running_loop()
        deadline = self._slot.deadline
        try:
            async for output in stream:
                if deadline.held:
                    raise HeldAcrossYield(
                        f"stage {self._slot.stage!r} yielded inside `async with` of a limit: leave the limit "
                        "first, because what reads the stream may wait"
                    )
                self._outputs.append(output)
                if len(self._outputs) == 1:
                    loop.call_soon(self._start)
                elif len(self._outputs) >= CHUNK:
                    with deadline.suspended("room"):
                        await self._flush()
        finally:
            deadline.at = NEVER
            await stream.aclose()
            # What was given out before a failure counts too: a second attempt gives it again, which is harmless.
            await self._flush()

    def _start(self) -> None:
        ended_well = self._flushing is None or (self._flushing.done() and self._flushing.exception() is None)
        if self._outputs and ended_well:
            self._flushing = asyncio.get_running_loop().create_task(self._emit(), name="streamflow flush")

    async def _flush(self) -> None:
        """Commit all outputs so far. Raises what an earlier commit in the background raised."""
        while self._flushing is not None or self._outputs:
            self._start()
            flushing = self._flushing
            if flushing is not None:
                await flushing
                self._flushing = None

    async def _emit(self) -> None:
        while self._outputs:
            outputs, self._outputs = self._outputs, []
            await self._commit(outputs)
