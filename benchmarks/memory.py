"""Peak memory of a million items over that of a thousand, in processes of their own.

Half as many records go through two stages, which makes the items. The second stage's output is thrown away without a
journal, and is a row with one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measure import Result

FEW = 1_000
MANY = 1_000_000
BUDGETS = {"memory store": 5.0, "journal": 20.0}
"""In MB (of 10**6 bytes)."""


def run(quick: bool, folder: Path, *, many: int | None = None) -> Iterator[Result]:
    """`folder` is where journals are written; what is written there is removed."""
    many = many or (50_000 if quick else MANY)
    for kind, budget in BUDGETS.items():
        few = median(_peak(kind, FEW, folder) for _ in range(3))
        peak = _peak(kind, many, folder)
        name = f"memory, {kind}, {many:,} items over {FEW:,}"
        yield Result(name, peak - few, "MB more", few, peak / few, budget, bounds="value")


def _peak(kind: str, items: int, folder: Path) -> float:
    """Peak resident memory in MB."""
    with TemporaryDirectory(dir=folder) as made:
        command = [sys.executable, "-m", "benchmarks.memory_child", kind.split()[0], str(items), made]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)
    return float(answer.stdout)
