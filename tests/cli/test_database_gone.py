"""A run whose database is taken away under it: it must not go on as if nothing had happened."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.harness import cli, read_until, started, write_pipeline, write_words


def remove(workspace: Path) -> None:
    for path in workspace.glob("streamflow.db*"):
        path.unlink()


def remove_log(workspace: Path) -> None:
    (workspace / "streamflow.db-wal").unlink()


def replace(workspace: Path) -> None:
    copy = workspace / "copy"
    shutil.copy(workspace / "streamflow.db", copy)
    copy.replace(workspace / "streamflow.db")


def empty(workspace: Path) -> None:
    (workspace / "streamflow.db").write_bytes(b"")


def remove_all(workspace: Path) -> None:
    shutil.rmtree(workspace)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("harm", "word"),
    [(remove, "removed"), (remove_log, "removed"), (replace, "replaced"), (empty, "emptied"), (remove_all, "removed")],
)
def test_a_daemon_at_rest_ends_and_says_what_is_lost(folder: Path, harm: Callable[[Path], None], word: str) -> None:
    (folder / "in").mkdir()
    write_words(folder / "in", "a")
    with started(folder, "watch", "tiny:pipeline", "in", "-w", "ws", STREAMFLOW_WATCH__QUIET="0.05") as watching:
        read_until(watching.stdout, "measured a")
        harm(folder / "ws")
        told = read_until(watching.stderr, "Error:")
        assert f"was {word} while it was in use" in told
        assert "run it again" in told
        assert "What was committed is kept" not in watching.stderr.read()  # type: ignore[union-attr]
        assert watching.wait(60) == 1


def test_a_copy_that_is_put_back_is_not_changed_by_what_the_lost_one_left(folder: Path) -> None:
    write_words(folder, "a")
    cli(folder, "run", "tiny:pipeline", "words.txt", "-w", "ws")
    copy = (folder / "ws" / "streamflow.db").read_bytes()
    write_words(folder, "b", "c", "wait")
    with started(folder, "run", "tiny:pipeline", "words.txt", "-w", "ws") as running:
        read_until(running.stdout, "waiting")
        (folder / "copy").write_bytes(copy)
        (folder / "copy").replace(folder / "ws" / "streamflow.db")
        read_until(running.stderr, "was replaced while it was in use")
        assert running.wait(60) == 1
    assert (folder / "ws" / "streamflow.db-wal.lost").exists()
    cli(folder, "status", "-w", "ws")
    with closing(sqlite3.connect(folder / "ws" / "streamflow.db")) as connection:
        assert connection.execute("SELECT word FROM lengths").fetchall() == [("a",)]


def test_a_batch_run_ends_although_its_stage_goes_on(folder: Path) -> None:
    write_words(folder, "a", "wait")
    run = ("run", "tiny:pipeline", "words.txt", "-w", "ws")
    with started(folder, *run) as running:
        read_until(running.stdout, "waiting")
        remove(folder / "ws")
        read_until(running.stderr, "was removed while it was in use")
        assert running.wait(60) == 1
    (folder / "go").touch()
    again = cli(folder, *run)
    assert (again.returncode, again.stdout) == (0, "measured a\nwaiting\nmeasured wait\n")
