"""The report: a JSON file for machines, a table and a picture for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from benchmarks.chart import draw
from benchmarks.measure import Result


def write(results: Sequence[Result], folder: Path) -> None:
    """Write `latest.json` and `latest.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "name": result.name,
            "value": _rounded(result.value),
            "unit": result.unit,
            "baseline": _rounded(result.baseline),
            "ratio": _rounded(result.ratio),
            "budget": result.budget,
            "met": result.met,
        }
        for result in results
    ]
    (folder / "latest.json").write_text(json.dumps(lines, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "latest.svg").write_text(draw(results), encoding="utf-8")


def show(results: Sequence[Result], console: Console) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    for name in ("value", "baseline"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for name in ("ratio", "budget"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("met")
    for result in results:
        table.add_row(
            result.name,
            figure(result.value),
            figure(result.baseline),
            result.unit,
            figure(result.ratio),
            bound(result),
            {True: "[green]yes", False: "[red]no", None: ""}[result.met],
        )
    # The figures are worth more than the width of the terminal, or of none.
    wide = console.options.update(width=1000)
    console.width = max(console.width, Measurement.get(console, wide, table).maximum)
    console.print(table)


def bound(result: Result) -> str:
    """The budget as people read it."""
    if result.budget is None:
        return ""
    unit = f" {result.unit.split()[0]}" if result.bounds == "value" else ""
    return f"{'≥' if result.floor else '≤'} {result.budget:g}{unit}"


def figure(value: float) -> str:
    """Three significant digits, and all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _rounded(value: float) -> float:
    return round(value, 4)
