"""Tracing: which worker was in a stage's function, from when to when."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from streamflow.engine.executors import Call
from streamflow.engine.stage import Stage


class Span(NamedTuple):
    """One call of a stage's function: by which worker, from when to when in seconds since the run's start."""

    stage: str
    worker: str
    start: float
    end: float


def traced(stage: Stage, call: Call, spans: list[Span], started: float) -> Call:
    """The call, with a span for each in `spans`; `started` is the run's start on `time.monotonic`."""
    if stage.signature.streams:
        return call

    async def traced_call(argument: Any) -> Any:
        start = time.monotonic() - started
        try:
            return await call(argument)
        finally:
            task = asyncio.current_task()
            worker = task.get_name() if task is not None else ""
            spans.append(Span(stage.name, worker, start, time.monotonic() - started))

    return traced_call
