"""The campaign's pipeline: three stages with children, tables, a merge, a file, and a call that is counted.

Of `papers` papers come two and a half times as many items, and half as many files. Each call appends a line to a file,
which survives any end of the process, and where a base URL is set it is made by HTTP as well.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from streamflow.engine.context import Context
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.http.client import Service
from streamflow.limits.retry import Retry
from streamflow.record import record, union
from streamflow.sources.files import Inputs
from streamflow.testing.simulator import Call, Reply, Simulator

CALLS = "calls"
"""The file in the workspace that counts."""
CATALOGUE = Service("catalogue", base_url="", timeout=0.4, idle_timeout=0.4)
LAST_BEFORE_AWAY = 20
STAGES = 3
ENRICHERS = 8
"""Calls that may be in flight at once."""
ITEMS_A_PAPER = 2.5


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
    path: str
    sha256: str


class Catalogue:
    """The external service. `on_call` is told how many calls this process has begun."""

    on_call: Callable[[int], None] = staticmethod(lambda calls: None)

    def __init__(self, context: Context) -> None:
        self._path = context.workspace / CALLS
        self._calls = 0
        is_served = context.settings.services[CATALOGUE.name].base_url is not None
        self._client = context.client(CATALOGUE) if is_served else None

    async def __aenter__(self) -> Self:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self

    async def __aexit__(self, *details: object) -> None:
        os.close(self._file)

    async def title(self, reference: int) -> str:
        self._calls += 1
        os.write(self._file, b"%d\n" % reference)
        Catalogue.on_call(self._calls)
        work = reference // 2
        if self._client is None:
            return f"Work {work}"
        answer: dict[str, Any] = await self._client.json(f"works/{work}", type=dict[str, Any])
        return str(answer["title"])


class Simulated(Simulator):
    """The service on loopback; a refusal tells of a short pause. From its 20th call on it is `away` for so many
    seconds."""

    name = "catalogue"
    away = 0.0
    _back = 0.0

    def answer(self, call: Call, key: str) -> Reply:
        if self.away and self.calls.total() >= LAST_BEFORE_AWAY:
            self._back = self._back or self.clock() + self.away
            if self.clock() < self._back:
                return Reply(503)
        return Reply.json({"title": f"Work {key.rpartition('/')[2]}", "abstract": "x" * 2000})


async def extract(paper: Paper) -> list[Reference]:
    return [Reference(paper.n, f"reference {paper.n}")]


async def enrich(reference: Reference, *, catalogue: Catalogue) -> tuple[Work, Citation]:
    work = reference.n // 2
    return Work(work, await catalogue.title(reference.n), (reference.n,)), Citation(reference.n, work)


async def download(work: Work, *, context: Context) -> Download:
    stored = await context.files.write(f"{work.work}.txt", f"The text of work {work.work}\n".encode() * 50)
    return Download(work.work, stored.path, stored.sha256)


def pipeline(papers: int) -> Pipeline:
    async def some_papers(inputs: Inputs) -> AsyncIterator[Paper]:
        for n in range(papers):
            yield Paper(n)

    retry = Retry(30, base=0.01, cap=0.05)
    return Pipeline(
        "campaign",
        sources=[some_papers],
        stages=[
            Stage(extract, workers=4, capacity=8, retry=retry),
            Stage(enrich, workers=ENRICHERS, capacity=16, retry=retry, timeout=10),
            Stage(download, workers=8, capacity=8, retry=retry),
        ],
        resources=[Catalogue],
        services=[CATALOGUE.name],
    )
