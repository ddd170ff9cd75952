"""Measure the engine against its budgets:  python -m benchmarks [--quick] [NAME…]

Writes `latest.json` and `latest.svg` and prints the table. Exits 0 when everything was measured, whether or not a
budget was met: on a busy machine a figure may be off, and a person should look.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from rich.console import Console

from benchmarks import acks, durable, efficiency, limits, literature, memory, overhead, rate, report
from benchmarks.measure import Result

RESULTS = Path(__file__).parent / "results"

BENCHMARKS: dict[str, Callable[[bool, Path], Iterator[Result]]] = {
    "overhead": lambda quick, folder: overhead.run(quick),
    "efficiency": lambda quick, folder: efficiency.run(quick),
    "durable": durable.run,
    "acks": acks.run,
    "rate": lambda quick, folder: rate.run(quick),
    "limits": lambda quick, folder: limits.run(quick),
    "memory": memory.run,
    "literature": literature.run,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure streamflow against its budgets.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; all where none is named")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, no slow peers, under a minute")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for latest.json and latest.svg")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.names) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    given.output.mkdir(parents=True, exist_ok=True)
    progress = Console(stderr=True)
    results: list[Result] = []
    failed = False
    for name in given.names or BENCHMARKS:
        started = perf_counter()
        try:
            for result in BENCHMARKS[name](given.quick, given.output):
                results.append(result)
                progress.print(f"{result.name}: {report.figure(result.ratio)}", style="dim", highlight=False)
        except Exception:  # noqa: BLE001 - the other benchmarks are still worth having
            failed = True
            progress.print(f"{name} failed", style="red")
            traceback.print_exc()
        progress.print(f"{name}: {perf_counter() - started:.1f} s", style="dim", highlight=False)
    report.write(results, given.output)
    report.show(results, Console())
    progress.print(f"written: {given.output / 'latest.json'}, {given.output / 'latest.svg'}", highlight=False)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
