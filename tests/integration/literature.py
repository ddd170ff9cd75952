"""The literature pipeline over its simulators on loopback: real SQLite, real worker processes, no waiting for rates."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stages.literature.pipeline import pipeline
from stages.simulators import publisher
from stages.simulators.literature import literature_simulators
from streamflow.engine.figures import Summary
from streamflow.engine.launch import DATABASE, run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.events import Event, ItemSkipped
from streamflow.limits.retry import Retry
from streamflow.settings import load_settings
from streamflow.storage import inspect
from streamflow.testing.simulator import Simulator

SAMPLES = Path(pipeline.samples or ".")
RATE = 10_000.0
"""Requests a second that simulators and settings allow: no test waits for a rate."""
TABLES = (
    "no_metadata", "with_metadata", "citations", "unresolved", "merge_log", "to_download_references", "closed_access",
    "downloaded_references",
)  # fmt: skip


def impatient(attempts: int = 5) -> Pipeline:
    """The pipeline with retries that come at once."""
    quick = Retry(attempts=attempts, base=0.001, cap=0.005)
    return replace(pipeline, stages=[replace(stage, retry=quick) for stage in pipeline.stages])


@dataclass
class Ran:
    """What a run left in its workspace, and what it told."""

    workspace: Path
    summary: Summary
    events: Sequence[Event] = ()
    logs: Sequence[Mapping[str, Any]] = ()

    def rows(self, table: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.workspace / DATABASE)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608

    @property
    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows, times and the ports of the simulators aside."""
        contents = inspect.contents(self.workspace)
        return {table: [tuple(map(_without_port, row)) for row in rows] for table, rows in contents.items()}

    @property
    def dead(self) -> dict[str, str]:
        """The errors of the dead letters, by the key of their records' first field."""
        return {f"{letter.stage} {letter.key}": letter.error for letter in inspect.dead_letters(self.workspace)}

    @property
    def skipped(self) -> dict[str, str]:
        return {event.key: event.reason for event in self.events if isinstance(event, ItemSkipped)}

    @property
    def states(self) -> set[tuple[str, str, str]]:
        """Stage, key and state of every item."""
        with closing(sqlite3.connect(self.workspace / DATABASE)) as connection:
            return set(connection.execute("SELECT stage, key, state FROM streamflow_items"))

    def files(self) -> dict[str, int]:
        """The sizes of all files below `files/`, by path below the workspace."""
        root = self.workspace / "files"
        found = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.workspace)): path.stat().st_size for path in found}


def _without_port(value: Any) -> Any:
    return re.sub(r"127\.0\.0\.1:\d+", "loopback", value) if isinstance(value, str) else value


@dataclass
class World:
    """The simulators, and the settings that point a run at them."""

    simulators: Mapping[str, Simulator]
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    downloads: dict[str, Any] = field(default_factory=lambda: {"allow_private": True})

    async def run(
        self, workspace: Path, *inputs: str | Path, using: Pipeline = pipeline, sequential: bool = False, **more: Any
    ) -> Ran:
        """Run to the end; `more` goes to `run_pipeline`."""
        events: list[Event] = []
        workspace.mkdir(exist_ok=True)  # noqa: ASYNC240
        settings = load_settings(workspace, {"services": self.services, "download": self.downloads})
        summary = await run_pipeline(
            using,
            [str(one) for one in inputs],
            workspace=workspace,
            settings=settings,
            sequential=sequential,
            hook=events.append,
            **more,
        )
        return Ran(workspace, summary, events)

    @property
    def environment(self) -> dict[str, str]:
        """The same settings for a program of its own."""
        told = {"STREAMFLOW_DOWNLOAD__ALLOW_PRIVATE": "true"}
        for name, section in self.services.items():
            told |= {f"STREAMFLOW_SERVICES__{name}__{key}".upper(): str(value) for key, value in section.items()}
        return told

    @property
    def calls(self) -> dict[str, int]:
        """How often each thing was asked for, by service and thing."""
        return {f"{one.name} {key}": count for one in self.simulators.values() for key, count in one.calls.items()}

    @property
    def refused(self) -> int:
        return sum(one.refused for one in self.simulators.values())

    def forget(self) -> None:
        for one in self.simulators.values():
            one.forget()


@asynccontextmanager
async def world(*, faults: str | Mapping[str, str] = "", seed: int = 0) -> AsyncIterator[World]:
    """The services of the literature pipeline on free ports of loopback."""
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.object(publisher, "SLOW_SECONDS", 0.05))
        made = literature_simulators(faults=faults, seed=seed, scale=RATE)
        simulators = {one.name: await stack.enter_async_context(one) for one in made}
        services: dict[str, dict[str, Any]] = {
            name: {"base_url": one.url, "rate": RATE, "email": "reader@example.org"} for name, one in simulators.items()
        }
        services["arxiv"] = {"base_url": f"{simulators['publisher'].url}/arxiv"}
        yield World(simulators, services)


def bibliography(path: Path, *entries: Mapping[str, str]) -> Path:
    """Write a .bib file; its entries enter the pipeline at `enrich`."""
    path.write_text("\n".join(_entries(entries)), encoding="utf-8")
    return path


def _entries(entries: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for number, entry in enumerate(entries, start=1):
        fields = ", ".join(f"{name} = {{{value}}}" for name, value in entry.items())
        yield f"@article{{entry{number}, {fields}}}"
