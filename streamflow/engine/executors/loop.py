"""Stages that run on the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from streamflow.engine.stage import Stage


@asynccontextmanager
async def on_loop(stage: Stage, resources: Mapping[type[Any], Any]) -> AsyncIterator[Callable[[Any], Any]]:
    """The stage's function with its resources filled in."""
    wanted = {name: resources[kind] for name, kind in stage.signature.resources.items()}
    yield partial(stage.function, **wanted) if wanted else stage.function
