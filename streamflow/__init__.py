"""streamflow makes a script that calls rate-limited APIs concurrent, and durable.

The public names. They are imported when they are first used, so that a command line and a worker process that need few
of them start fast.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamflow.engine.context import Context as Context
    from streamflow.engine.context import WorkerContext as WorkerContext
    from streamflow.engine.figures import StageFigures as StageFigures
    from streamflow.engine.figures import Summary as Summary
    from streamflow.engine.launch import run_pipeline as run_pipeline
    from streamflow.engine.pipeline import Pipeline as Pipeline
    from streamflow.engine.run import Run as Run
    from streamflow.engine.source import Source as Source
    from streamflow.engine.stage import Batch as Batch
    from streamflow.engine.stage import Stage as Stage
    from streamflow.errors import CredentialsRefused as CredentialsRefused
    from streamflow.errors import NotFound as NotFound
    from streamflow.errors import PermanentError as PermanentError
    from streamflow.errors import PipelineError as PipelineError
    from streamflow.errors import RecordError as RecordError
    from streamflow.errors import Reject as Reject
    from streamflow.errors import RetryLater as RetryLater
    from streamflow.errors import ServiceError as ServiceError
    from streamflow.errors import SettingsError as SettingsError
    from streamflow.errors import Skip as Skip
    from streamflow.errors import StreamflowError as StreamflowError
    from streamflow.errors import TransientError as TransientError
    from streamflow.errors import UsageError as UsageError
    from streamflow.errors import WorkspaceError as WorkspaceError
    from streamflow.http.client import Client as Client
    from streamflow.http.service import Service as Service
    from streamflow.limits.retry import Retry as Retry
    from streamflow.limits.window import Window as Window
    from streamflow.record import latest as latest
    from streamflow.record import record as record
    from streamflow.record import union as union
    from streamflow.sources.files import Inputs as Inputs
    from streamflow.sources.walk import FoundFile as FoundFile
    from streamflow.storage.memory import MemoryStore as MemoryStore
    from streamflow.storage.reader import Reader as Reader
    from streamflow.storage.sqlite import SqliteStore as SqliteStore

    __version__: str

_HOMES = {
    "streamflow.engine.context": ("Context", "WorkerContext"),
    "streamflow.engine.figures": ("StageFigures", "Summary"),
    "streamflow.engine.launch": ("run_pipeline",),
    "streamflow.engine.pipeline": ("Pipeline",),
    "streamflow.engine.run": ("Run",),
    "streamflow.engine.source": ("Source",),
    "streamflow.engine.stage": ("Batch", "Stage"),
    "streamflow.errors": (
        "CredentialsRefused",
        "NotFound",
        "PermanentError",
        "PipelineError",
        "RecordError",
        "Reject",
        "RetryLater",
        "ServiceError",
        "SettingsError",
        "Skip",
        "StreamflowError",
        "TransientError",
        "UsageError",
        "WorkspaceError",
    ),
    "streamflow.http.client": ("Client",),
    "streamflow.http.service": ("Service",),
    "streamflow.limits.retry": ("Retry",),
    "streamflow.limits.window": ("Window",),
    "streamflow.record": ("latest", "record", "union"),
    "streamflow.sources.files": ("Inputs",),
    "streamflow.sources.walk": ("FoundFile",),
    "streamflow.storage.memory": ("MemoryStore",),
    "streamflow.storage.reader": ("Reader",),
    "streamflow.storage.sqlite": ("SqliteStore",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "Client",
    "Context",
    "CredentialsRefused",
    "FoundFile",
    "Inputs",
    "MemoryStore",
    "NotFound",
    "PermanentError",
    "Pipeline",
    "PipelineError",
    "Reader",
    "RecordError",
    "Reject",
    "Retry",
    "RetryLater",
    "Run",
    "Service",
    "ServiceError",
    "SettingsError",
    "Skip",
    "Source",
    "SqliteStore",
    "Stage",
    "StageFigures",
    "StreamflowError",
    "Summary",
    "TransientError",
    "UsageError",
    "Window",
    "WorkerContext",
    "WorkspaceError",
    "__version__",
    "latest",
    "record",
    "run_pipeline",
    "union",
]


class _Package(ModuleType):
    """Keeps the name `record` for the decorator: the import of a submodule gives its name to the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "record" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("streamflow-engine")
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
