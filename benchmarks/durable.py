"""What a durable item costs: three stages, 16 workers each, `synchronous=FULL`, every end committed before it counts.

The baseline is `group_commit`, the loop that people write by hand; the peer is DBOS, three steps in a workflow, on
SQLite too.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.group_commit import durable_by_hand
from benchmarks.measure import Contender, Result, on_loop, side_by_side
from benchmarks.work import SAVING, by_engine, numbers
from streamflow.storage.sqlite import SqliteStore

WORKERS = 16
UNIT = "µs per item of three stages"
BUDGET = 1.8


def run(quick: bool, folder: Path, *, items: int | None = None, rounds: int | None = None) -> Iterator[Result]:
    """`folder` lies on the disk that is measured; what is written there is removed."""
    items = items or (2_000 if quick else 10_000)
    rounds = rounds or (3 if quick else 7)
    contenders: dict[str, Contender] = {
        "hand": lambda: _hand(items, folder) / items * 1e6,
        "engine": lambda: _engine(items, folder) / items * 1e6,
    }
    measured = side_by_side(contenders, "hand", rounds)["engine"]
    yield Result("durable, 3 stages, 16 workers", measured.value, UNIT, measured.baseline, measured.ratio, BUDGET)
    if not quick and importlib.util.find_spec("dbos") is not None:
        contenders = {"hand": contenders["hand"], "dbos": lambda: _dbos(items // 40, folder) / (items // 40) * 1e6}
        measured = side_by_side(contenders, "hand", 1)["dbos"]
        yield Result("peer, DBOS on SQLite, durable", measured.value, UNIT, measured.baseline, measured.ratio)


def _engine(items: int, folder: Path) -> float:
    with TemporaryDirectory(dir=folder) as made:
        store = SqliteStore(Path(made) / "engine.db")
        return on_loop(by_engine(SAVING, numbers(items), [WORKERS] * 3, store, folder=Path(made)))


def _hand(items: int, folder: Path) -> float:
    with TemporaryDirectory(dir=folder) as made:
        return on_loop(durable_by_hand(SAVING, numbers(items), WORKERS, Path(made) / "hand.db"))


def _dbos(items: int, folder: Path) -> float:
    """In a process of its own: the library keeps one state per process."""
    with TemporaryDirectory(dir=folder) as made:
        command = [sys.executable, "-m", "benchmarks.dbos_child", str(items), str(WORKERS), made]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return float(answer.stdout.split()[-1])
