"""Failpoints fire once, when they are told to, and nobody misses that they did."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamflow import failpoints
from streamflow.failpoints import VARIABLES, Injected, arm, failpoint
from streamflow.settings import load_settings
from tests.cli.harness import environment


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    arm("")


def test_a_point_fires_at_its_nth_time_only_and_writes_it_down(tmp_path: Path) -> None:
    log = tmp_path / "fired"
    arm("before-commit:2:error,before-commit:3:full", str(log))
    failpoint("before-commit")
    failpoint("renamed")
    assert not log.exists()
    with pytest.raises(Injected):
        failpoint("before-commit")
    with pytest.raises(OSError, match="before-commit") as full:
        failpoint("before-commit")
    assert full.value.errno == errno.ENOSPC
    failpoint("before-commit")
    assert log.read_text() == "before-commit:2:error\nbefore-commit:3:full\n"


def test_nothing_is_armed_by_itself() -> None:
    for name in failpoints.POINTS:
        failpoint(name)


@pytest.mark.parametrize("text", ["nowhere:1:kill", "renamed:1:burn", "renamed:first:kill", "renamed:1", "a:b:c:d"])
def test_a_text_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAME:NTH:ACTION"):
        arm(text)


def test_the_environment_arms_and_a_kill_is_a_kill(tmp_path: Path) -> None:
    log = tmp_path / "fired"
    program = "from streamflow.failpoints import failpoint\nfailpoint('renamed')\nprint('not killed', flush=True)"
    killed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment({VARIABLES[0]: "renamed:1:kill", VARIABLES[1]: str(log)}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b"")
    assert log.read_text() == "renamed:1:kill\n"


def test_the_settings_know_that_the_variables_are_none_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "renamed:1:kill")
    assert load_settings(tmp_path).grace == 30.0
