"""SIGHUP, and terminals that are closed while a run is on: real processes, signals and terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import cli, environment, read_until, started, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "in", "-w", "ws")
WATCH = ("watch", "tiny:pipeline", "in", "-w", "ws")
QUICKLY = {"STREAMFLOW_WATCH__QUIET": "0.05"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    (tmp_path / "in").mkdir()
    write_words(tmp_path / "in", "wait", "b")
    return tmp_path


@pytest.fixture
def ignored() -> Iterator[None]:
    """What is started meanwhile ignores SIGHUP, as under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def on_terminal(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of its own, and our end of that: who closes it closes the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamflow.cli", *arguments],
        cwd=folder,
        env=environment(QUICKLY),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def see(terminal: int, words: bytes) -> None:
    seen = b""
    while words not in seen:
        seen += os.read(terminal, 2**16)


def wait_for_log(folder: Path, process: subprocess.Popen[Any], event: str) -> None:
    while f'"{event}"' not in (folder / "ws" / "logs" / "streamflow.jsonl").read_text():
        assert process.poll() is None


def counts(folder: Path) -> tuple[int, int, int]:
    told = json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)["stages"]["measure"]
    return told["done"], told["pending"], told["dead"]


def test_a_batch_run_drains_and_the_same_again_changes_nothing(folder: Path) -> None:
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.send_signal(signal.SIGHUP)
        read_until(run.stderr, "SIGHUP: finishing 1 active item")
        run.send_signal(signal.SIGHUP)
        cli(folder, "health", "-w", "ws")  # it has been heard by now
        (folder / "go").touch()
        assert run.wait(60) == 129
    assert counts(folder) == (1, 1, 0)
    assert not (folder / "ws" / "control.sock").exists()


def test_another_signal_after_it_is_the_second(folder: Path) -> None:
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.send_signal(signal.SIGHUP)
        read_until(run.stderr, "SIGHUP: finishing 1 active item")
        run.send_signal(signal.SIGTERM)
        read_until(run.stderr, "SIGTERM again: stopping at once")
        assert run.wait(60) == 143


@pytest.mark.parametrize("command", [RUN, WATCH], ids=["run", "watch"])
def test_a_closed_terminal_drains_and_fails_nothing_that_writes_to_it(folder: Path, command: tuple[str, ...]) -> None:
    """Nobody would see what goes on."""
    with on_terminal(folder, *command) as (process, terminal):
        see(terminal, b"waiting\r\n")  # not the "waiting for input" of the progress
        os.close(terminal)
        wait_for_log(folder, process, "draining")
        (folder / "go").touch()  # the stage's function prints then
        assert process.wait(60) == 129
    assert counts(folder) == (1, 1, 0)
    assert "run_reported" in (folder / "ws" / "logs" / "streamflow.jsonl").read_text()


@pytest.mark.usefixtures("ignored")
def test_a_batch_run_that_ignores_it_goes_on(folder: Path) -> None:
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.send_signal(signal.SIGHUP)
        (folder / "go").touch()
        assert run.wait(60) == 0


@pytest.mark.usefixtures("ignored")
def test_a_watch_that_ignored_it_outlives_its_terminal(folder: Path) -> None:
    with on_terminal(folder, *WATCH) as (process, terminal):
        see(terminal, b"waiting\r\n")  # not the "waiting for input" of the progress
        os.close(terminal)
        wait_for_log(folder, process, "settings_reloaded")
        (folder / "go").touch()
        while counts(folder) != (2, 0, 0):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
