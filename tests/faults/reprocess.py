"""The program of the test that kills runs which do things again: `python -m tests.faults.reprocess FOLDER HOW`.

FOLDER holds `first`, the workspace of a finished first run. For the first, the second … commit of a second run, with
other functions and one stage more, a copy of that workspace is worked on by a process that is killed before the commit,
and another by one that is killed after it; each is then gone on with. It ends with the run that was not killed.
"""

import asyncio
import itertools
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage import parents, upkeep
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.writer import WriteConnection

ROOTS = 6


@record(key="n")
class Root:
    n: int


@record(key="n", table="middles")
class Middle:
    n: int
    said_by: int


@record(key=("n", "m"), table="leaves")
class Leaf:
    n: int
    m: int


@record(key="n", table="rates")
class Rate:
    n: str


def pipeline(age: int) -> Pipeline:
    """What the first run does, or the second; in the second there is one stage more."""

    async def roots(inputs: Inputs) -> AsyncIterator[Root]:
        for n in range(ROOTS):
            yield Root(n)

    async def read(root: Root) -> list[Middle]:
        return [Middle((root.n * age + k) % (ROOTS + 3 * age), age) for k in range(4 - age)]

    async def split(middle: Middle) -> AsyncIterator[Leaf]:
        for k in range(1 + middle.n % 3):
            yield Leaf((middle.n + k) % 7, k * age)
            await asyncio.sleep(0)

    async def rate(leaf: Leaf) -> Rate:
        return Rate(f"{leaf.n}, {leaf.m}")

    stages = [Stage(read, workers=3, version=age), Stage(split, workers=2, version=age)]
    return Pipeline("again", [roots], stages if age == 1 else [*stages, Stage(rate)])


async def work(folder: Path, age: int, **options: Any) -> None:
    store = SqliteStore(folder / "streamflow.db", synchronous="NORMAL")
    await Run(pipeline(age), store, resources={Inputs: Inputs(())}, workspace=folder, **options)()


def die_at(commit: int, *, before: bool) -> None:
    """Have this process killed around a commit."""
    commits = 0
    proper = WriteConnection.commit

    def counted(connection: WriteConnection) -> None:
        nonlocal commits
        commits += 1
        if before and commits == commit:
            os.kill(os.getpid(), signal.SIGKILL)
        proper(connection)
        if commits == commit:
            os.kill(os.getpid(), signal.SIGKILL)

    WriteConnection.commit = counted  # type: ignore[method-assign]


def in_a_fork(folder: Path, options: dict[str, Any], commit: int = 0, *, before: bool = False) -> int:
    """The exit code of the second run."""
    child = os.fork()
    if not child:
        die_at(commit, before=before)
        asyncio.run(work(folder, 2, **options))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path, how: str) -> None:
    parents.STEP = upkeep.PAGE = 3
    for commit, before in ((commit, before) for commit in itertools.count(1) for before in (True, False)):
        copy = folder / f"{how} {commit} {before}"
        shutil.copytree(folder / "first", copy)
        status = in_a_fork(copy, {how: True}, commit, before=before)
        if not status:
            return
        assert status == -signal.SIGKILL
        assert in_a_fork(copy, {how: True}) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
