"""Where the papers of a run lie: the resource that process stages read files through."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from streamflow.engine.context import WorkerContext


class Library:
    """The folder of the run's papers, which `Paper.path` is relative to. Opened once in each worker process."""

    def __init__(self, context: WorkerContext) -> None:
        self.root: Path = context.workspace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
