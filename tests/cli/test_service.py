"""`watch` as a service: what systemd is told, SIGHUP, and what a stopping run says; with real processes and signals."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.harness import read_until, started, write_pipeline, write_words

WATCH = ("watch", "tiny:pipeline", "in", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "ws").mkdir()
    return tmp_path


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(tmp_path / "notify"))
        yield listening


def heard_until(systemd: socket.socket, words: str, seconds: float = 60) -> list[str]:
    """All notices up to the first with these words; TimeoutError where there is silence before."""
    systemd.settimeout(seconds)
    notices = []
    while not notices or words not in notices[-1]:
        notices.append(systemd.recv(4096).decode())
    return notices


def test_systemd_hears_of_the_start_the_life_the_reload_and_the_end(folder: Path, systemd: socket.socket) -> None:
    write_words(folder / "in", "wait")
    told = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "400000"}
    with started(folder, *WATCH, STREAMFLOW_WATCH__QUIET="0.05", **told) as watching:
        heard_until(systemd, "READY=1")
        read_until(watching.stdout, "waiting")
        heard_until(systemd, "STATUS=1 active, 0 waiting, 0 done, 0 failed")
        assert heard_until(systemd, "WATCHDOG=1")
        os.kill(watching.pid, signal.SIGSTOP)  # a loop that is held up
        with pytest.raises(TimeoutError):
            heard_until(systemd, "this never comes", seconds=0.5)
        os.kill(watching.pid, signal.SIGCONT)
        assert heard_until(systemd, "WATCHDOG=1")
        watching.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in heard_until(systemd, "RELOADING=1")[-1]
        heard_until(systemd, "READY=1")
        watching.send_signal(signal.SIGTERM)
        assert "STATUS=finishing 1 of measure, for at most 30 s" in heard_until(systemd, "STOPPING=1")[-1]
        heard_until(systemd, "WATCHDOG=1")  # until the very end
        (folder / "go").touch()
        assert watching.wait(60) == 143


def test_sighup_takes_over_what_can_change_and_names_what_cannot(folder: Path) -> None:
    write_words(folder / "in", "wait")
    settings = folder / "ws" / "streamflow.toml"
    settings.write_text("[watch]\nquiet = 0.05\n")
    with started(folder, *WATCH) as watching:
        read_until(watching.stdout, "waiting")
        settings.write_text("[watch]\nquiet = 0.01\n[log]\nlevel = 'debug'\n[stages.measure]\nworkers = 3\n")
        watching.send_signal(signal.SIGHUP)
        assert "changed: log.level, watch.quiet." in read_until(watching.stderr, "Settings read again")
        read_until(watching.stderr, "A new start is needed for stages.measure.workers.")
        settings.write_text("[watch]\nquiet = 'soon'\n")
        watching.send_signal(signal.SIGHUP)
        assert "watch.quiet" in read_until(watching.stderr, "The settings stay as they were")
        (folder / "go").touch()
        read_until(watching.stdout, "measured wait")
        write_words(folder / "in", "dull", "second", name="second.txt")
        read_until(watching.stdout, "measured second")
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(60) == 143
    log = (folder / "ws" / "logs" / "streamflow.jsonl").read_text()
    assert "settings_refused" in log
    assert "item_skipped" in log  # of level debug


def test_what_is_not_finished_in_the_grace_period_is_named(folder: Path) -> None:
    write_words(folder / "in", "wait")
    with started(folder, *WATCH, STREAMFLOW_WATCH__QUIET="0.05", STREAMFLOW_GRACE="0.2") as watching:
        read_until(watching.stdout, "waiting")
        watching.send_signal(signal.SIGTERM)
        read_until(watching.stderr, "finishing 1 active item, for at most 0.2 s (1 of measure); the rest stays")
        read_until(watching.stderr, "Not finished: 1 of measure. They stay pending.")
        assert watching.wait(60) == 143
