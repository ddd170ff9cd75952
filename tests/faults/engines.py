"""Programs under fire: real processes, started ahead of their time and killed at a chosen one."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PATIENCE = 240.0
"""Seconds after which a test gives up: it takes far less, and one that hangs is to fail."""


def chance() -> random.Random:
    """What a test draws its kills from. The seed is printed; STREAMFLOW_KILL_SEED gives it again."""
    seed = int(os.environ.get("STREAMFLOW_KILL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"STREAMFLOW_KILL_SEED={seed}")
    return random.Random(seed)


class Engine:
    """A program that prints `ready` once its imports are done, and begins when it is sent a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def begin(self) -> None:
        await self.hear(b"ready\n")
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def hear(self, *beginnings: bytes) -> None:
        """Until it prints its next line, which is to begin like one of these."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line.startswith(beginnings), line

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    async def killed_after(self, seconds: float) -> int:
        """Kill it in so many seconds, unless it ends before; its status."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.process.wait()
        self.kill()
        return await self.gone()

    async def gone(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()


Make = Callable[..., Awaitable[Engine]]


@asynccontextmanager
async def engines(root: Path, module: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Make]:
    """Makes engines, which run a module with the given arguments; what is left of them at the end is killed."""
    made: list[Engine] = []

    async def make(*arguments: object) -> Engine:
        engine = Engine(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *map(str, arguments)),
                cwd=root,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )
        made.append(engine)
        return engine

    try:
        async with asyncio.timeout(PATIENCE):
            yield make
    finally:
        for engine in made:
            engine.kill()
        await asyncio.gather(*(engine.gone() for engine in made))
