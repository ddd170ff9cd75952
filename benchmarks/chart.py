"""The picture of a report: each ratio as a dot on a logarithmic axis, its budget as a tick on the same line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from benchmarks.measure import Result

ROW = 22
TOP = 64
LEFT, RIGHT, WIDTH = 330, 240, 1000
COLOURS = {True: "#1a7f37", False: "#cf222e", None: "#8c959f"}
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def draw(results: Sequence[Result]) -> str:
    """The SVG's text."""
    ratios = [result.ratio for result in results if result.ratio > 0]
    budgets = [result.budget for result in results if result.budget and result.bounds == "ratio"]
    low = min([0.8, *ratios, *budgets]) * 0.85
    high = max([1.25, *ratios, *budgets]) * 1.15

    def x(ratio: float) -> float:
        share = (math.log(ratio) - math.log(low)) / (math.log(high) - math.log(low))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    height = TOP + ROW * len(results) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(12, 24, "streamflow against its baselines", size=16),
        _text(WIDTH - 12, 24, "dot: ratio to the baseline · bar: budget · grey: to compare", "end", "#57606a"),
    ]
    for tick in TICKS:
        if low <= tick <= high:
            at = x(tick)
            colour = "#57606a" if tick == 1 else "#eaeef2"
            parts.append(_line(at, TOP - 12, at, height - 14, colour))
            parts.append(_text(at, TOP - 18, f"{tick:g}×", "middle", "#57606a"))
    for number, result in enumerate(results):
        parts += _row(result, TOP + ROW * number + 4, x)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(result: Result, y: float, x: Callable[[float], float]) -> list[str]:
    colour = COLOURS[result.met]
    parts = [_text(LEFT - 14, y + 4, result.name, "end")]
    told = f"{result.ratio:.3g}×"
    if result.bounds == "value":
        told = f"{result.value:+.1f} {result.unit.split()[0]}"
    if result.budget is not None:
        told += f"  ({'≥' if result.floor else '≤'} {result.budget:g})"
    if result.ratio > 0:
        at = x(result.ratio)
        parts.append(_line(x(1), y, at, y, colour, 3))
        parts.append(f'<circle cx="{at:.1f}" cy="{y}" r="4.5" fill="{colour}"/>')
    if result.budget is not None and result.bounds == "ratio":
        at = x(result.budget)
        parts.append(_line(at, y - 7, at, y + 7, "#24292f", 2))
    mark = {True: "met", False: "NOT met", None: ""}[result.met]
    parts.append(_text(WIDTH - RIGHT + 20, y + 4, told))
    parts.append(_text(WIDTH - 12, y + 4, mark, "end", colour))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#24292f", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}"/>'
