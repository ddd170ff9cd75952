"""Stages that run in threads: for blocking code that gives the interpreter free while it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from streamflow.engine.context import WorkerContext
from streamflow.engine.stage import Stage


@asynccontextmanager
async def in_threads(stage: Stage, workspace: Path) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
    """Run the stage's function in at most `stage.workers` threads; its resources are opened once for all of them."""
    limiter = anyio.CapacityLimiter(stage.workers)
    with ExitStack() as stack:
        context = WorkerContext(workspace)
        wanted = {
            name: stack.enter_context(kind(context)) for name, kind in stage.signature.resources.items()
        }
        function = partial(stage.function, **wanted)

        async def call(record: Any) -> Any:
            # An abandoned thread keeps its place in the limiter: no more threads run than the stage has workers.
            return await anyio.to_thread.run_sync(function, record, abandon_on_cancel=True, limiter=limiter)

        yield call
