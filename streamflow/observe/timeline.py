"""Pictures of what the workers did over time, from the spans of a traced run: an SVG, and lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from streamflow.engine.trace import Span

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
_LEVELS = " ▁▂▃▄▅▆▇█"
_WIDTH, _LEFT, _ROW, _GAP, _TOP = 960, 110, 7, 8, 34


def drawing(spans: Sequence[Span], workers: Mapping[str, int], width: int = 60) -> str:
    """One line for each stage: how many of its workers had an item in hand, from none to all, over the run's time."""
    if not spans:
        return ""
    first, total = _extent(spans)
    name_width = max(map(len, workers))
    lines = []
    for stage, count in workers.items():
        busy = [0.0] * width
        for span in spans:
            if span.stage == stage:
                _add(busy, (span.start - first) / total * width, (span.end - first) / total * width)
        cells = "".join(_LEVELS[min(8, -int(-min(1.0, share / count) * 8 // 1))] for share in busy)
        lines.append(f"{stage.ljust(name_width)} ▕{cells}▏ {count} worker{'s' if count != 1 else ''}")
    end_label = f"{total:.1f} s"
    axis = f"{' ' * name_width}  0{end_label.rjust(width - 1)}"
    return "\n".join([*lines, axis])


def svg(spans: Sequence[Span], stages: Sequence[str], title: str) -> str:
    """One bar for each call of a stage's function, one row for each worker, one colour for each stage."""
    first, total = _extent(spans) if spans else (0.0, 1.0)
    scale = (_WIDTH - _LEFT - 20) / total
    rows: dict[tuple[str, str], float] = {}
    parts: list[str] = []
    y = float(_TOP)
    for stage in stages:
        workers = list(dict.fromkeys(span.worker for span in sorted(spans, key=_by_start) if span.stage == stage))
        middle = y + max(1, len(workers)) * _ROW / 2 + 4
        parts.append(f'<text x="{_LEFT - 10}" y="{middle:.0f}" text-anchor="end">{escape(stage)}</text>')
        for number, worker in enumerate(workers):
            rows[stage, worker] = y + number * _ROW
        y += max(1, len(workers)) * _ROW + _GAP
    colours = {stage: _COLOURS[number % len(_COLOURS)] for number, stage in enumerate(stages)}
    for span in spans:
        top = rows[span.stage, span.worker]
        x, width = _LEFT + (span.start - first) * scale, max(0.3, (span.end - span.start) * scale)
        parts.append(
            f'<rect x="{x:.1f}" y="{top:.0f}" width="{width:.1f}" height="{_ROW - 1}" fill="{colours[span.stage]}"/>'
        )
    parts += _axis(total, scale, y)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 30:.0f}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>' + "".join(parts) + "</svg>\n"
    )


def _axis(total: float, scale: float, y: float) -> list[str]:
    step = next(
        (step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800) if total / step <= 10), total / 10
    )
    parts = []
    for number in range(int(total / step) + 1):
        x = _LEFT + number * step * scale
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{y:.0f}" stroke="#ddd" stroke-width="0.5"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.0f}" text-anchor="middle">{number * step:g} s</text>')
    return parts


def _extent(spans: Sequence[Span]) -> tuple[float, float]:
    first = min(span.start for span in spans)
    return first, max(max(span.end for span in spans) - first, 0.001)


def _by_start(span: Span) -> float:
    return span.start


def _add(busy: list[float], start: float, end: float) -> None:
    """Add to each cell the part of it that lies between start and end."""
    cell = int(start)
    while cell < end and cell < len(busy):
        busy[cell] += max(0.0, min(end, cell + 1) - max(start, cell))
        cell += 1
