"""What the engine costs per item and stage, without a journal, against a hand-written `asyncio.Queue` loop.

Both run the same functions on the same records, with queues of the same room and as many workers. The engine adds the
item around each record, counters, the deadline, the key's admission and the promise to lose nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from benchmarks.measure import Contender, Result, on_loop, side_by_side
from benchmarks.peers import available
from benchmarks.work import NO_OP, YIELDING, Function, by_engine, by_hand, numbers
from streamflow.storage.memory import MemoryStore

UNIT = "µs per item and stage"
BUDGET = 1.2
PEER_WORKERS = 4


def run(quick: bool, *, items: int | None = None, rounds: int | None = None) -> Iterator[Result]:
    """Yields a line per kind of stage and count of workers, then the peers."""
    items = items or 20_000
    rounds = rounds or (5 if quick else 9)
    for what, functions in (("no-op", NO_OP), ("sleep(0)", YIELDING)):
        for workers in (1, 4, 16):
            measured = side_by_side(
                {
                    "hand": _timed(_hand, functions, workers, items),
                    "engine": _timed(_engine, functions, workers, items),
                },
                "hand",
                rounds,
            )["engine"]
            name = f"overhead, {what}, {workers} worker{'s' * (workers > 1)}"
            yield Result(name, measured.value, UNIT, measured.baseline, measured.ratio, BUDGET)
    if not quick:
        yield from _peers(items // 10, rounds // 2)


def _peers(items: int, rounds: int) -> Iterator[Result]:
    contenders = {"hand": _timed(_hand, NO_OP, PEER_WORKERS, items)}
    for name, peer in available().items():
        contenders[name] = _timed(peer, NO_OP, PEER_WORKERS, items)
    for name, measured in side_by_side(contenders, "hand", rounds).items():
        yield Result(f"peer, {name}, no-op, 4 workers", measured.value, UNIT, measured.baseline, measured.ratio)


Runner = Callable[[Sequence[Function], int, int], Awaitable[float]]


def _timed(runner: Runner, functions: Sequence[Function], workers: int, items: int) -> Contender:
    async def main() -> float:
        return await runner(functions, workers, items)

    return lambda: on_loop(main()) / items / len(functions) * 1e6


async def _engine(functions: Sequence[Function], workers: int, items: int) -> float:
    return await by_engine(functions, numbers(items), [workers] * len(functions), MemoryStore())


async def _hand(functions: Sequence[Function], workers: int, items: int) -> float:
    return await by_hand(functions, numbers(items), [workers] * len(functions))
