"""A disk that is really full, where the system lets us make a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import cli, environment, write_words
from tests.faults.small_disk import PIPELINE, WORDS


def _may_mount() -> bool:
    try:
        tried = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False, timeout=10
        )
    except OSError:
        return False
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not _may_mount(), reason="mounting in a namespace of our own is not allowed here")


def play(folder: Path, ending: str) -> dict[str, Any]:
    played = subprocess.run(
        ["unshare", "-rm", sys.executable, "-m", "tests.faults.small_disk", str(folder), ending],
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    answer: dict[str, Any] = json.loads(played.stdout)
    return answer


@needs_mounts
def test_a_run_on_a_full_disk_waits_and_goes_on_by_itself(tmp_path: Path) -> None:
    played = play(tmp_path, "goes-on")
    assert played["meanwhile"]["dead"] == 0
    assert played["meanwhile"]["done"] < WORDS
    assert played["codes"] == [0, 0]
    assert "waiting for room" in played["told"]
    assert "No longer disk full" in played["told"]
    assert played["finally"]["done"] == WORDS
    assert (played["files"], played["left over"]) == (WORDS, [])


@needs_mounts
def test_a_run_on_a_full_disk_can_be_stopped_and_loses_nothing(tmp_path: Path) -> None:
    played = play(tmp_path, "is-stopped")
    assert played["meanwhile"]["dead"] == 0
    assert played["codes"] == [143, 0]
    assert "No longer" not in played["told"]
    assert played["finally"]["done"] == WORDS
    assert played["finally"]["dead"] == played["finally"]["skipped"] == 0
    assert (played["files"], played["left over"]) == (WORDS, [])


@needs_mounts
def test_a_file_system_for_reading_only_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(PIPELINE, encoding="utf-8")
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o ro none disk && exec "$@"'
    command = [sys.executable, "-m", "streamflow.cli", "run", "tiny.py:pipeline", "-w", "disk/work"]
    played = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", *command],
        cwd=tmp_path,
        env=environment({"PYTHONPATH": str(Path(__file__).parents[2])}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert played.returncode == 2
    assert "Mount its file system for writing" in played.stderr
    assert "Traceback" not in played.stderr


LIMITED = """
import resource

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
"""


def test_a_disk_that_fails_stops_the_run_with_what_to_do_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files makes SQLite's writes fail as a broken disk would."""
    (tmp_path / "tiny.py").write_text(LIMITED + PIPELINE, encoding="utf-8")
    write_words(tmp_path, *(f"word{n:03}" for n in range(WORDS)))
    failed = cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work")
    assert failed.returncode == 1
    assert "disk I/O error" in failed.stderr
    assert "ulimit -f" in failed.stderr
    counts = json.loads(cli(tmp_path, "status", "-w", "work", "--json").stdout)["stages"]["keep"]
    assert counts["dead"] == 0
    assert counts["done"] < WORDS
    (tmp_path / "tiny.py").write_text(PIPELINE, encoding="utf-8")
    assert cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work").returncode == 0
    counts = json.loads(cli(tmp_path, "status", "-w", "work", "--json").stdout)["stages"]["keep"]
    assert (counts["done"], counts["dead"]) == (WORDS, 0)
