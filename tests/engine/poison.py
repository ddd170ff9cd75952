"""A pipeline with a record that ends the whole process: `python -m tests.engine.poison FOLDER HOW`.

It prints a line for each call of the stage's function and each event worth one.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Batch, Stage
from streamflow.events import Event, ItemDied, UncleanEnd
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.sqlite import SqliteStore

COUNT = 24
POISON = 9


@record(key="n")
class Crate:
    n: int


@record(key="n", table="opened")
class Opened:
    n: int


async def crates(inputs: Inputs) -> AsyncIterator[Crate]:
    for n in range(COUNT):
        yield Crate(n)


def tell(*words: object) -> None:
    print(*words, flush=True)


async def open_one(crate: Crate) -> Opened:
    tell("call", crate.n)
    for _ in range(20):
        await asyncio.sleep(0)
    if crate.n == POISON:
        end()
    return Opened(crate.n)


async def open_as_stream(crate: Crate) -> AsyncIterator[Opened]:
    yield await open_one(crate)


async def open_many(crates: list[Crate]) -> list[Opened]:
    return await asyncio.gather(*map(open_one, crates))


def end() -> None:
    if Path(sys.argv[1], "mended").exists():
        return
    match sys.argv[2]:
        case "abort":
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(0)


STAGES = {
    "plain": Stage(open_one, name="open", workers=4),
    "stream": Stage(open_as_stream, name="open", workers=4),
    "batch": Stage(open_many, name="open", workers=2, batch=Batch(3)),
}


def heard(event: Event) -> None:
    if isinstance(event, UncleanEnd):
        tell("unclean", *(name.removeprefix("open ") for name in event.in_flight))
        tell("alone", *(name.removeprefix("open ") for name in event.alone))
    if isinstance(event, ItemDied):
        tell("died", event.key, event.attempts)


async def main(folder: Path, kind: str) -> None:
    pipeline = Pipeline("poison", sources=[crates], stages=[STAGES[kind]])
    store = SqliteStore(folder / "streamflow.db")
    await Run(pipeline, store, resources={Inputs: Inputs(())}, workspace=folder, hook=heard)()
    tell("ended")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[3]))
