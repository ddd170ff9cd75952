"""A source: a function that yields records, and what tells its other side that they are safe."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamflow.engine.stage import Signature, read_resources, read_signature
from streamflow.errors import StageSignatureError


@dataclass(frozen=True)
class Source:
    """An async generator function of the run's `Inputs` that yields records.

    `acknowledge` is an async function of a list of its records, with resources by keyword as stages have them. It is
    called once what the records became is durable, also for records that were known already, in the order in which
    they came, group by group; never before, and not for records that cannot be stored. A process that is killed in
    between does not call it: the other side gives these records again, which is harmless. What it raises ends the run,
    as what the source raises does.

    Raises StageSignatureError when a signature does not say what it takes and produces.
    """

    function: Callable[..., Any]
    name: str = ""
    acknowledge: Callable[..., Awaitable[None]] | None = None
    signature: Signature = field(init=False, repr=False)
    acknowledges_with: Mapping[str, type[Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.function.__name__)
        where = f"source {self.name!r}"
        object.__setattr__(self, "signature", read_signature(self.function, where, source=True))
        resources: Mapping[str, type[Any]] = {}
        if self.acknowledge is not None:
            if not inspect.iscoroutinefunction(self.acknowledge):
                raise StageSignatureError(f"{where}: what acknowledges must be `async def`")
            resources = read_resources(self.acknowledge, f"what acknowledges for {where}", records=True)
        object.__setattr__(self, "acknowledges_with", resources)
