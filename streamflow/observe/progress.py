"""The progress of a run on stderr: a live table on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamflow.limits.allowance import LimitState
from streamflow.observe.stats import Observer, View
from streamflow.observe.words import duration, pace

LIVE_EVERY = 0.25
PLAIN_EVERY = 5.0
"""Seconds between two pictures and between two lines."""
_NARROWEST = 15


@asynccontextmanager
async def displayed(observer: Observer, stream: TextIO | None = None) -> AsyncIterator[None]:
    """Show what the observer sees for as long as the block lasts. What is printed meanwhile appears above the table."""
    stream = stream if stream is not None else sys.stderr
    show = _show_live if stream.isatty() else _show_lines
    task = asyncio.create_task(show(observer, stream), name="streamflow progress")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _show_live(observer: Observer, stream: TextIO) -> None:
    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            live.update(picture(observer.look(time.monotonic()), console.width), refresh=True)
            await asyncio.sleep(LIVE_EVERY)


async def _show_lines(observer: Observer, stream: TextIO) -> None:
    while True:
        await asyncio.sleep(PLAIN_EVERY)
        print(line(observer.look(time.monotonic())), file=stream, flush=True)


def picture(view: View, width: int = 120) -> Group:
    """The table of stages, with a line for the limits that hold somebody up and one for the time."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    headings = ("stage", "done", "active", "queued", "retry", "skipped", "failed", "rate")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "stage" else "right", no_wrap=True)
    rows = [_row(name, view) for name in view.stages]
    taken = sum(max(len(cell) for cell in column) + 2 for column in zip(*rows, map(Text, headings), strict=True))
    if roomy := width - taken >= _NARROWEST:
        # Beside the figures only where there is room for it: they must not be cut.
        table.add_column("waits for", no_wrap=True, overflow="ellipsis", style="dim", max_width=width - taken - 2)
    for name, row in zip(view.stages, rows, strict=True):
        table.add_row(*row, *([Text(_waits_for(view.waits[name]))] if roomy else []))
    parts: list[Table | Text] = [table, *(Text(text, style="yellow") for text in map(_held_up, view.limits) if text)]
    return Group(*parts, Text(_times(view), style="dim"))


def _row(name: str, view: View) -> list[Text]:
    stage, rate = view.stages[name], view.rates[name]
    return [
        Text(name, style="bold" if stage.active else ""),
        Text(f"{stage.done:,}", style="green" if stage.done else "dim"),
        Text(f"{stage.active}/{stage.workers}", style="" if stage.active else "dim"),
        _bar(stage.queued, stage.capacity),
        _number(stage.parked, "yellow"),
        _number(stage.skipped, ""),
        _number(stage.dead, "red"),
        Text(pace(rate), style="" if rate else "dim"),
    ]


def line(view: View) -> str:
    """The same in one plain line."""
    parts = []
    for name, stage in view.stages.items():
        told = [f"{stage.done} done"]
        told += [f"{stage.active} active"] if stage.active else []
        told += [f"{stage.queued} queued"] if stage.queued else []
        told += [f"{stage.parked} to retry"] if stage.parked else []
        told += [f"{stage.dead} failed"] if stage.dead else []
        told += [pace(view.rates[name])] if view.rates[name] else []
        parts.append(f"{name}: {', '.join(told)}")
    parts += filter(None, map(_held_up, view.limits))
    return f"{_times(view)} | {' | '.join(parts)}"


def _times(view: View) -> str:
    elapsed = duration(float(int(view.seconds)) if view.seconds >= 1 else view.seconds)
    if view.eta is None:
        return f"{elapsed} so far"
    if not view.eta:
        return f"{elapsed} so far, waiting for input" if view.more else f"{elapsed} so far, finishing"
    return f"{elapsed} so far, about {duration(max(1.0, view.eta))} to go{', or more' if view.more else ''}"


def _held_up(limit: LimitState) -> str:
    if limit.away_for:
        away = duration(limit.away_for)
        return f"{limit.name}: breaker {limit.breaker} for {away}, its calls wait ({_short(limit.failure or '')})"
    if limit.paused_for:
        return f"{limit.name}: paused for {duration(limit.paused_for)} ({limit.paused_reason})"
    return ""


def _short(text: str, width: int = 120) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _waits_for(waits: str) -> str:
    """Working is no waiting; the others are told as they are: `limit crossref`, `breaker crossref`, `room in x`."""
    return "" if waits == "work" else waits


def _number(count: int, style: str) -> Text:
    return Text(f"{count:,}", style=style) if count else Text("-", style="dim")


def _bar(queued: int, capacity: int) -> Text:
    """How full a channel is, in five cells."""
    if not capacity:
        return Text(f"{queued}", style="" if queued else "dim")
    full = min(5, -(-queued * 5 // capacity))
    bar = Text(f"{queued} ", style="" if queued else "dim")
    return bar.append("▰" * full, style="cyan").append("▱" * (5 - full), style="dim")
