"""Run the campaign:  python -m benchmarks.faults [ROW…] [--quick] [--kills N] [--items N] [--seed N]

Prints the table, and exits with 1 where a fault did not fire, or anything was lost, doubled or not ended against the
promise.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from benchmarks.faults import cancelled, damage, kills, network, storage
from benchmarks.faults.campaign import Campaign, Row
from benchmarks.faults.process import CampaignFailed

ROWS: dict[str, tuple[str, Callable[[Campaign], Row]]] = {
    "kill": ("kill -9 at random", kills.at_random),
    "failpoints": ("kill -9 at every failpoint", kills.at_failpoints),
    "errors": ("an unknown error at every failpoint", kills.errors_at_failpoints),
    "full": ("full disk", kills.full_disk),
    "locked": ("database locked by another", storage.locked),
    "wal-cut": ("write-ahead log cut", damage.wal_cut),
    "wal-flip": ("bit of the write-ahead log flipped", damage.wal_flipped),
    "flip": ("bit of the database flipped", damage.flipped_after_an_end),
    "flip-killed": ("bit of a killed run's database flipped", damage.flipped_after_a_kill),
    "descriptors": ("64 descriptors", storage.few_descriptors),
    "clock": ("clock set by a day", storage.clock_set),
    "cancel": ("cancelled at the nth await", cancelled.at_each_await),
    "reset": ("connections reset", network.resets),
    "short": ("short bodies", network.short_bodies),
    "slow": ("slow answers", network.slow_answers),
    "drip": ("slow bodies", network.slow_bodies),
    "silent": ("a server that never answers", network.silence),
    "wrong": ("pages and nothing instead of JSON", network.wrong_bodies),
    "dns": ("name not resolved", network.no_name),
    "tls": ("bad TLS", network.bad_tls),
    "429": ("429 storms", network.storms),
    "503": ("503", network.unavailable),
    "away": ("503 without a break", network.away),
}
HEAD = ("fault", "fired", "lost", "doubled", "not ended", "calls repeated", "seconds", "how")


def main(arguments: list[str] | None = None) -> int:
    """Run the rows named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description="Run the fault campaign.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; all where none is named")
    parser.add_argument("--quick", action="store_true", help="each row small")
    parser.add_argument("--kills", type=int, help="kills at random (500; quick: 10)")
    parser.add_argument("--items", type=int, help="items over which they are spread (10,000; quick: 250)")
    parser.add_argument("--seed", type=int, default=None, help="what chance is drawn from; printed at each run")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.rows) - set(ROWS)):
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    failed = False
    lines = [HEAD]
    with tempfile.TemporaryDirectory(prefix="streamflow-faults-") as folder:
        for name in given.rows or ROWS:
            title, play = ROWS[name]
            quick: bool = given.quick
            campaign = Campaign(
                Path(folder) / name,
                random.Random(f"{seed} {name}"),
                kills=given.kills or (10 if quick else 500),
                items=given.items or (250 if quick else 10_000),
                papers=40 if quick else 200,
                often=4 if quick else 40,
                away=3.0 if quick else 60.0,
                locked=2.5 if quick else 30.0,
            )
            started = perf_counter()
            try:
                row = play(campaign)
            except CampaignFailed:
                failed = True
                print(f"{title}: failed", file=sys.stderr)
                traceback.print_exc()
                continue
            found = row.difference
            failed = failed or row.fired < 1 or (row.is_promised and not found.is_none)
            if row.fired < 1 or not found.is_none:
                print(f"{title}: {found}", file=sys.stderr)
            figures = (row.fired, found.lost, found.doubled, found.unended, found.repeated)
            seconds = f"{perf_counter() - started:.0f}"
            lines.append((title, *(f"{figure:,}" for figure in figures), seconds, row.note))
            print(f"{title}: {figures}", file=sys.stderr, flush=True)
    _print(lines)
    return int(failed)


def _print(lines: list[tuple[str, ...]]) -> None:
    """As a table in Markdown, so that it can be kept."""
    lines = [lines[0], ("---", *("--:" for _ in lines[0][1:-1]), "---"), *lines[1:]]
    for line in lines:
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    sys.exit(main())
