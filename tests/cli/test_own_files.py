"""Other things than files in the places of the workspace's own files."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.harness import cli, read_until, started, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    (tmp_path / "ws").mkdir()
    return tmp_path


def test_a_run_that_cannot_note_what_is_in_flight_goes_on_without(folder: Path) -> None:
    (folder / "ws" / "streamflow.inflight").mkdir()
    write_words(folder, "a", "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        uptime = 0.0
        while uptime < 1.5:  # so that the disk was to be told of it once
            uptime = json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)["uptime"]
        (folder / "go").touch()
        assert run.wait(60) == 0
    assert "in_flight_file_missing" in (folder / "ws" / "logs" / "streamflow.jsonl").read_text()


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("streamflow.toml", 2, "streamflow.toml is a FIFO, not a file"),
        ("streamflow.lock", 2, "streamflow.lock is a FIFO, not a file. Move that away"),
        ("streamflow.db", 2, "streamflow.db is a FIFO, not a file. Move that away"),
        ("streamflow.db-wal", 2, "streamflow.db-wal is a FIFO, not a file. Move that away"),
        ("streamflow.inflight", 0, ""),
        ("streamflow.seal", 0, ""),
        ("logs/streamflow.jsonl", 0, "streamflow.jsonl is a FIFO, not a file. The run goes on without it"),
    ],
)
def test_a_fifo_in_the_place_of_a_file_holds_nothing_up(folder: Path, name: str, code: int, words: str) -> None:
    (folder / "ws" / "logs").mkdir()
    os.mkfifo(folder / "ws" / name)
    write_words(folder, "a")
    done = cli(folder, *RUN)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    if name.startswith("streamflow.db"):
        for command in ("status", "dead list", "doctor", "export tiny:pipeline --format text", "prune"):
            looked = cli(folder, *command.split(), "-w", "ws")
            assert looked.returncode == (1 if command == "doctor" else 2)
            assert f"{name} is a FIFO" in looked.stdout + looked.stderr or command == "prune"


def test_a_folder_in_the_place_of_the_lock_is_told_as_one(folder: Path) -> None:
    write_words(folder, "a")
    (folder / "ws" / "streamflow.lock").mkdir()
    done = cli(folder, *RUN)
    assert done.returncode == 2
    assert "streamflow.lock is a folder, not a file. Move that away" in done.stderr


def test_a_start_that_waits_in_a_thread_is_ended_by_a_signal(folder: Path) -> None:
    write_words(folder, "a")
    assert cli(folder, *RUN).returncode == 0
    with closing(sqlite3.connect(folder / "ws" / "streamflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # for which a start waits for a minute
        with started(folder, *RUN, STREAMFLOW_GRACE="0.1") as run:
            while not (folder / "ws" / "control.sock").exists():
                os.sched_yield()
            run.send_signal(signal.SIGTERM)
            assert "the start does not come to its end" in read_until(run.stderr, "SIGTERM")
            assert run.wait(30) == 143
