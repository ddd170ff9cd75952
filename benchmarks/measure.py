"""How things are measured: side by side in one run, in turns, as ratios.

A machine's speed changes from minute to minute, and more so where others share it. So contenders run in rounds, each
once per round, the order turned by one from round to round, after a warm-up; a ratio is the median over the rounds of
ratios within a round. The garbage collector stays as it is: it is part of what a program costs.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Contender = Callable[[], float]
"""Runs once and answers its figure, such as microseconds per item."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report. `ratio` is what was measured against `baseline`, which stands in the same unit.

    `budget` bounds the ratio, or the value where `bounds` says so, from above or, with `floor`, from below. Lines
    without a budget are there to compare.
    """

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float
    budget: float | None = None
    floor: bool = False
    bounds: Literal["ratio", "value"] = "ratio"

    @property
    def met(self) -> bool | None:
        if self.budget is None:
            return None
        figure = self.ratio if self.bounds == "ratio" else self.value
        return figure >= self.budget if self.floor else figure <= self.budget


@dataclass(frozen=True, slots=True)
class Measured:
    """A contender's median figure, its reference's, and the median of their ratios within a round."""

    value: float
    baseline: float
    ratio: float


def side_by_side(
    contenders: Mapping[str, Contender], reference: str, rounds: int, *, warm_up: bool = True
) -> dict[str, Measured]:
    """Run the contenders in turns; what each of them makes of the reference."""
    names = list(contenders)
    if warm_up:
        for name in names:
            contenders[name]()
    figures: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()  # nobody pays for another's garbage
            figures[name].append(contenders[name]())
    base = figures[reference]
    return {
        name: Measured(median(own), median(base), median(a / b for a, b in zip(own, base, strict=True)))
        for name, own in figures.items()
        if name != reference
    }


def on_loop(main: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run on a fresh event loop: the standard library's, or uvloop's where `fast`."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if fast:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
