"""How close stages that wait come to the ideal: the time that the bottleneck alone needs.

Three stages wait 20, 100 and 10 ms, as calls of an API do, with 32, 32 and 16 workers, so the second one is the
bottleneck. The ideal forgets that the first item must reach it and the last one must leave, so nobody gets 1.0. Waits
of a few milliseconds would measure the event loop's timers instead, which fire up to one millisecond late.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Iterator

from benchmarks.measure import Contender, Result, on_loop, side_by_side
from benchmarks.work import Found, Function, Kept, Raw, Read, by_engine, by_hand, numbers
from streamflow.storage.memory import MemoryStore

DELAYS = (0.020, 0.100, 0.010)
WORKERS = (32, 32, 16)
ITEMS = 2_048  # a multiple of the workers, or the last round of the bottleneck is half idle for everybody
BUDGETS = {"stock loop": 0.95, "uvloop": 0.97}


async def first(raw: Raw) -> Read:
    await asyncio.sleep(DELAYS[0])
    return Read(raw.n)


async def second(read: Read) -> Found:
    await asyncio.sleep(DELAYS[1])
    return Found(read.n)


async def third(found: Found) -> Kept:
    await asyncio.sleep(DELAYS[2])
    return Kept(found.n)


FUNCTIONS: tuple[Function, ...] = (first, second, third)


def run(quick: bool, *, items: int | None = None, rounds: int | None = None) -> Iterator[Result]:
    """Yields the engine's and the hand-written loop's efficiency on the stock loop and on uvloop."""
    items = items or (ITEMS // 2 if quick else ITEMS)
    rounds = rounds or (1 if quick else 3)
    ideal = items * max(delay / workers for delay, workers in zip(DELAYS, WORKERS, strict=True))
    for loop, budget in BUDGETS.items():
        if loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
            continue
        contenders: dict[str, Contender] = {
            "ideal": lambda: ideal,
            "engine": _timed(_engine, items, fast=loop == "uvloop"),
            "hand": _timed(_hand, items, fast=loop == "uvloop"),
        }
        for name, measured in side_by_side(contenders, "ideal", rounds, warm_up=False).items():
            engine = name == "engine"
            yield Result(
                f"efficiency, {loop}" if engine else f"efficiency, {loop}, by hand",
                measured.value,
                "s",
                measured.baseline,
                1 / measured.ratio,
                budget if engine else None,
                floor=True,
            )


def _timed(runner: Callable[[int], Awaitable[float]], items: int, *, fast: bool) -> Contender:
    async def main() -> float:
        return await runner(items)

    return lambda: on_loop(main(), fast=fast)


async def _engine(items: int) -> float:
    return await by_engine(FUNCTIONS, numbers(items), WORKERS, MemoryStore())


async def _hand(items: int) -> float:
    return await by_hand(FUNCTIONS, numbers(items), WORKERS)
