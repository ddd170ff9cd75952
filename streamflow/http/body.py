"""Reading a body piece by piece, with patience for each piece rather than for the whole."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Content(Protocol):
    """The part of `aiohttp.StreamReader` that is used here."""

    async def readany(self) -> bytes: ...


class Silent(Exception):
    """Nothing came for as long as was allowed."""


async def next_chunk(content: Content, patience: float) -> bytes:
    """What has come of a body, at least one byte; empty at its end. Raises `Silent` after `patience` seconds.

    aiohttp decodes in pieces, so a chunk is small (below 1 MB) even where a few bytes stand for gigabytes.
    """
    try:
        async with asyncio.timeout(patience) as silence:
            return await content.readany()
    except TimeoutError:
        if silence.expired():
            raise Silent from None
        raise
