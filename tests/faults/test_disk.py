"""A disk that is really full, where the system lets us make a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import environment
from tests.faults.small_disk import WORDS


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
