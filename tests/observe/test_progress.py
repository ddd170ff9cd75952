"""What the progress says, as a table and as lines."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

import pytest
from rich.console import Console

from streamflow.engine.figures import StageFigures
from streamflow.limits.allowance import Allowance, LimitState
from streamflow.observe import progress
from streamflow.observe.progress import line, picture
from streamflow.observe.stats import Observer, View
from streamflow.observe.words import duration

FREE = LimitState("crossref", Allowance(), Allowance(), Allowance(10, 1, 3), 3, 5, 40, 0.0, None)
PAUSED = replace(FREE, paused_for=12.0, paused_reason="crossref asked to wait 12 s")
EXTRACT = StageFigures(queued=0, active=0, parked=0, done=5, skipped=1, dead=0, retries=0, capacity=16, workers=2)
ENRICH = StageFigures(queued=16, active=8, parked=2, done=1234, skipped=0, dead=3, retries=4, capacity=16, workers=8)
VIEW = View(
    seconds=75.0,
    stages={"extract": EXTRACT, "enrich": ENRICH},
    rates={"extract": 0.0, "enrich": 16.4},
    waits={"extract": "", "enrich": "limit crossref"},
    limits=[FREE],
    eta=130.0,
    more=False,
)


def drawn(view: View, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(picture(view, width))
    return capture.get()


def test_the_table_shows_each_stage_and_the_time_to_go() -> None:
    shown = [" ".join(row.split()) for row in drawn(VIEW).splitlines()]
    assert shown[0] == "stage done active queued retry skipped failed rate waits for"
    assert shown[1] == "extract 5 0/2 0 ▱▱▱▱▱ - 1 - -"
    assert shown[2] == "enrich 1,234 8/8 16 ▰▰▰▰▰ 2 - 3 16/s limit crossref"
    assert shown[3] == "1 min 15 s so far, about 2 min 10 s to go"


def test_a_narrow_terminal_cuts_no_figure() -> None:
    shown = drawn(VIEW, width=70)
    assert "1,234" in shown
    assert "waits for" not in shown
    assert "…" not in shown


def test_a_line_tells_the_same() -> None:
    assert line(VIEW) == (
        "1 min 15 s so far, about 2 min 10 s to go | extract: 5 done | "
        "enrich: 1234 done, 8 active, 16 queued, 2 to retry, 3 failed, 16/s"
    )


def test_a_paused_limit_is_told() -> None:
    view = replace(VIEW, limits=[PAUSED])
    assert "crossref: paused for 12 s (crossref asked to wait 12 s)" in drawn(view)
    assert "crossref: paused for 12 s (crossref asked to wait 12 s)" in line(view)


@pytest.mark.parametrize(
    ("eta", "more", "told"),
    [
        (None, False, "1 min 15 s so far"),
        (40.0, True, "1 min 15 s so far, about 40 s to go, or more"),
        (0.0, True, "1 min 15 s so far, waiting for input"),
        (0.0, False, "1 min 15 s so far, finishing"),
    ],
)
def test_only_what_is_known_is_promised(eta: float | None, more: bool, told: str) -> None:
    assert drawn(replace(VIEW, eta=eta, more=more)).splitlines()[-1].strip() == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_written_for_people(seconds: float, told: str) -> None:
    assert duration(seconds) == told


class Fixed(Observer):
    """Always sees the same, and notes that it was asked."""

    def __init__(self) -> None:
        self.looked = asyncio.Event()

    def look(self, now: float) -> View:
        self.looked.set()
        return VIEW


@pytest.mark.asyncio
async def test_elsewhere_than_on_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    observer, stream = Fixed(), io.StringIO()
    async with progress.displayed(observer, stream):
        await observer.looked.wait()
    assert stream.getvalue().splitlines()[0] == line(VIEW)
    assert "\x1b" not in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.asyncio
async def test_on_a_terminal_the_table_is_drawn_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    observer, stream = Fixed(), Terminal()
    async with progress.displayed(observer, stream):
        await observer.looked.wait()
    assert "1,234" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("\x1b[2K")  # the last thing is to erase it
