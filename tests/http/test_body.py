"""Patience with bodies, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from streamflow.http.body import Silent, next_chunk
from streamflow.testing.clock import run_virtual


class Dripping:
    """A byte every `gap` seconds, `count` times."""

    def __init__(self, gap: float, count: int) -> None:
        self.gap = gap
        self.count = count

    async def readany(self) -> bytes:
        await asyncio.sleep(self.gap)
        self.count -= 1
        return b"x" if self.count >= 0 else b""


async def read(content: Dripping, patience: float) -> int:
    size = 0
    while chunk := await next_chunk(content, patience):
        size += len(chunk)
    return size


def test_a_slow_but_steady_body_is_read_to_its_end() -> None:
    assert run_virtual(read(Dripping(gap=9, count=100), patience=10)) == 100


def test_silence_ends_the_reading() -> None:
    with pytest.raises(Silent):
        run_virtual(read(Dripping(gap=11, count=100), patience=10))


def test_another_deadline_is_not_taken_for_silence() -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            await read(Dripping(gap=11, count=100), patience=10)

    with pytest.raises(TimeoutError):
        run_virtual(main())
