"""The pipeline of the kill test, and the program that runs it: `python -m tests.faults.fire FOLDER PORT`.

Three stages, each of which calls a counting server on loopback for every item. The program tells on stdout that it is
ready, waits for a line on stdin, runs to the end and tells that the run began and that it ended.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.events import Event, RunStarted
from streamflow.record import record, union
from streamflow.sources.files import Inputs
from streamflow.storage.reader import Reader
from streamflow.storage.sqlite import SqliteStore

PAPERS = 2_000


@record(key="n")
class Paper:
    n: int


@record(key="n", table="refs")
class Reference:
    n: int
    raw: str


@record(key="n", table="citations")
class Citation:
    n: int
    work: int


@record(key="work", table="works", merge={"seen_in": union})
class Work:
    work: int
    title: str
    seen_in: tuple[int, ...] = ()


@record(key="work", table="downloads")
class Download:
    work: int
    size: str


class Service:
    """Calls the counting server; connections are kept for the next call."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        for _, writer in self._idle:
            writer.close()

    async def call(self, path: str) -> str:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
        self._idle.append((reader, writer))
        return body.decode()


async def papers(inputs: Inputs) -> AsyncIterator[Paper]:
    for n in range(PAPERS):
        yield Paper(n)


async def extract(paper: Paper, *, service: Service) -> Reference:
    return Reference(paper.n, await service.call(f"extract/{paper.n}"))


async def enrich(reference: Reference, *, service: Service) -> tuple[Work, Citation]:
    work = reference.n // 2
    await service.call(f"enrich/{reference.n}")
    return Work(work, f"Work {work}", (reference.n,)), Citation(reference.n, work)


async def download(work: Work, *, service: Service) -> Download:
    return Download(work.work, await service.call(f"download/{work.work}"))


async def summarize(*, reader: Reader, service: Service, inputs: Inputs) -> None:
    rows = [str(len(await reader.records(kind))) for kind in (Reference, Work, Citation, Download)]
    folder = Path(inputs.arguments[0])
    partial = folder / "summary.part"
    partial.write_text(" ".join(rows))
    await service.call("summarize/0")
    partial.rename(folder / "summary.txt")


pipeline = Pipeline(
    "fire",
    sources=[papers],
    stages=[Stage(extract, workers=4, capacity=8), Stage(enrich, workers=4), Stage(download, workers=3, capacity=4)],
    resources=[Service],
    finalizers=[summarize],
)


def _tell(event: Event) -> None:
    if isinstance(event, RunStarted):
        print("began", flush=True)


async def main(folder: Path, port: int) -> None:
    store = SqliteStore(folder / "streamflow.db")
    async with Service(port) as service:
        resources = {Inputs: Inputs([str(folder)]), Reader: Reader(store), Service: service}
        await Run(pipeline, store, resources=resources, workspace=folder, hook=_tell)()
    print("ended", flush=True)


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
