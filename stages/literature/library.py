"""Where the papers of a run lie: the resource that process stages read files through."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


class ProcessContext(Protocol):
    """What a worker process knows of the run."""

    @property
    def workspace(self) -> Path:
        """The folder that `Paper.path` is relative to."""
        ...


class Library:
    """The folder of the run's papers. Opened once in each worker process."""

    def __init__(self, context: ProcessContext) -> None:
        self.root: Path = context.workspace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
