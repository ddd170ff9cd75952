"""How exactly a limit keeps its rate while 200 callers wait for it, in real time.

The rate to reach is the configured one less the margin that a limit keeps for jitter. No window, wherever it begins,
may hold more calls than the service allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from benchmarks.measure import Result, on_loop
from streamflow.limits.limit import Limit

CALLERS = 200
MARGIN = 0.02
RATES = (50, 200)
WITHIN = 0.01


def run(quick: bool, *, seconds: float | None = None, rates: Sequence[int] = RATES) -> Iterator[Result]:
    """Yields per rate how near it was, as the distance from what was to be reached, and the fullest window."""
    seconds = seconds or (3.0 if quick else 8.0)
    for rate in rates:
        times = on_loop(_granted(rate, seconds))
        reached = (len(times) - 1) / (times[-1] - times[0])
        wanted = rate * (1 - MARGIN)
        share = reached / wanted
        yield Result(f"rate, {rate}/s, {CALLERS} waiters", reached, "calls/s", wanted, share, 1 - WITHIN, floor=True)
        yield Result(f"rate, {rate}/s, not above", reached, "calls/s", wanted, share, 1 + WITHIN)
        fullest = max_in_window(times, 1.0)
        yield Result(f"rate, {rate}/s, fullest window", fullest, "calls in 1 s", rate, fullest / rate, 1.0)


def max_in_window(times: Sequence[float], length: float) -> int:
    """The most of the ascending `times` that any half-open window of that length holds."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= length:
            first += 1
        most = max(most, last - first + 1)
    return most


async def _granted(rate: int, seconds: float) -> list[float]:
    """When calls were granted."""
    loop = asyncio.get_running_loop()
    limit = Limit("benchmark", rate=rate, per=1.0, margin=MARGIN)
    times: list[float] = []

    async def call() -> None:
        while True:
            async with limit():
                times.append(loop.time())

    callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
    await asyncio.sleep(seconds)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    return times
