"""What a run tells of itself: figures of its stages while it goes on, a summary when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streamflow.engine.trace import Span


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage at a moment: items by state since the run began, and shares of its workers' time by what they did.

    The first of the `parked` items is due in `retry_in` seconds.
    """

    queued: int
    active: int
    parked: int
    done: int
    skipped: int
    dead: int
    retries: int
    capacity: int
    workers: int
    shares: Mapping[str, float] = field(default_factory=dict)
    paused: bool = False
    runs_in: str = "loop"
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended. `error` is what stopped it; `stopped_by` names the signal. `seconds` is wall time.

    `refused` counts records of sources that cannot be stored. For `fed` seconds more could come in. `processor` are the
    seconds for which its process kept processors busy, worker processes not counted.
    """

    pipeline: str
    stages: Mapping[str, StageFigures]
    seconds: float
    error: Exception | None = None
    stopped_by: str | None = None
    spans: Sequence[Span] = ()
    refused: int = 0
    fed: float = 0.0
    processor: float = 0.0

    @property
    def dead(self) -> int:
        return sum(figures.dead for figures in self.stages.values())

    @property
    def retries(self) -> int:
        return sum(figures.retries for figures in self.stages.values())


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Times as shares of their sum, the largest first."""
    total = sum(seconds.values())
    return {what: seconds[what] / total for what in sorted(seconds, key=lambda what: -seconds[what]) if seconds[what]}
