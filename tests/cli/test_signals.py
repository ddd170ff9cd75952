"""Signals at any moment, also before there is anything to stop: one line and the exit code, never a traceback."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from streamflow.cli.stopping import signals
from tests.cli.harness import PIPELINE, cli, read_until, started, write_pipeline, write_words

SLOW_IMPORT = "import os\nos.write(1, b'importing\\n')\nos.read(0, 1)\n"
"""A module whose import lasts until stdin ends, and begins with a word about it."""
ALL = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda of: str(int(of))
)


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """The exit code, and all that was said on stderr."""
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    return process.returncode, told


@ALL
@pytest.mark.parametrize("arguments", [("--help",), ("status", "-w", "ws")])
def test_while_a_command_starts(tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, code: int) -> None:
    (tmp_path / "typer.py").write_text(SLOW_IMPORT)
    with started(tmp_path, *arguments) as command:
        read_until(command.stdout, "importing")
        assert stopped(command, number) == (code, f"Stopped by {number.name}.\n")


@ALL
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "tiny:pipeline", "words.txt", "-w", "ws"),
        ("watch", "tiny:pipeline", ".", "-w", "ws"),
        ("bench", "tiny:pipeline"),
        ("simulate", "--pipeline", "tiny:pipeline"),
        ("export", "tiny:pipeline", "--format", "text", "-w", "ws"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_while_a_pipeline_is_imported(
    tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    write_pipeline(tmp_path, SLOW_IMPORT + PIPELINE)
    with started(tmp_path, *arguments) as command:
        read_until(command.stdout, "importing")
        assert stopped(command, number) == (code, f"Stopped by {number.name}.\n")
    assert not (tmp_path / "ws").exists()


def test_what_is_ignored_from_the_start_stays_ignored(tmp_path: Path) -> None:
    """Shells start what goes on in the background that way."""
    (tmp_path / "typer.py").write_text(SLOW_IMPORT)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with started(tmp_path, "--help") as command:
            read_until(command.stdout, "importing")
            command.send_signal(signal.SIGINT)
            assert stopped(command, signal.SIGTERM) == (143, "Stopped by SIGTERM.\n")
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_bench_ends_at_once_with_its_simulators(tmp_path: Path) -> None:
    with started(tmp_path, "bench", "literature", "--latency", "600", "-w", "kept") as command:
        read_until(command.stderr, "sequential run")
        assert stopped(command, signal.SIGINT) == (130, "Stopped by SIGINT.\n")


def test_an_export_leaves_no_part_of_its_file(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "a")
    assert cli(tmp_path, "run", "tiny:pipeline", "words.txt", "-w", "ws").returncode == 0
    before = set(tmp_path.iterdir())
    export = ("export", "tiny:pipeline", "--format", "text", "-w", "ws", "-o", "out.txt")
    done = cli(tmp_path, *export, STREAMFLOW_FAILPOINTS="before-rename:1:stop")
    assert (done.returncode, done.stderr) == (143, "Stopped by SIGTERM.\n")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.asyncio
async def test_after_a_run_signals_are_handled_as_before_it() -> None:
    heard: list[str] = []
    both = asyncio.Event()

    def stop(name: str) -> None:
        heard.append(name)
        if len(heard) == 2:
            both.set()

    before = {number: signal.signal(number, lambda *_: heard.append("before")) for number in (2, 15)}
    try:
        with signals(stop, None):
            for number in before:
                os.kill(os.getpid(), number)
            await both.wait()
        for number in before:
            os.kill(os.getpid(), number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == ["SIGINT", "SIGTERM", "before", "before"]
