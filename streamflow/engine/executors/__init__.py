"""Where a stage's function runs: loop, thread or process.

An executor is an async context manager that gives a `Call`: one record, or one list for a batch stage, in; what the
function gave out. Cancelling a call ends it: at once on the loop and in a process, whose worker is killed; a thread's
call is abandoned, because a thread cannot be ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from streamflow.engine.executors.loop import on_loop
from streamflow.engine.executors.process import in_processes
from streamflow.engine.executors.thread import in_threads
from streamflow.engine.stage import Stage

Call = Callable[[Any], Awaitable[Any]]


def executor(stage: Stage, resources: Mapping[type[Any], Any], workspace: Path) -> AbstractAsyncContextManager[Call]:
    """The executor that a stage asks for. `resources` are those that live on the loop."""
    if stage.runs_in == "loop":
        return on_loop(stage, resources)
    return (in_threads if stage.runs_in == "thread" else in_processes)(stage, workspace)
