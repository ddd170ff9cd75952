"""Standard streams that are closed, as daemons and cron jobs have them, or that nothing can be written to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import PIPELINE, environment, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")
IN_PROCESS = (
    PIPELINE.replace("async def measure", "def measure")
    .replace("await asyncio.sleep(0.01)", "pass")
    .replace("capacity=4", 'capacity=4, runs_in="process"')
)
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


def redirected(folder: Path, how: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its streams redirected by the shell."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m streamflow.cli "$@" {how}', sys.executable, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("source", [PIPELINE, IN_PROCESS], ids=["on the loop", "in processes"])
def test_a_run_does_without_its_streams(tmp_path: Path, closed: str, source: str) -> None:
    write_pipeline(tmp_path, source)
    write_words(tmp_path, "a", "b")
    done = redirected(tmp_path, closed, *RUN)
    assert done.returncode == 0
    assert "finished" not in done.stdout, "what belongs on stderr does not go to stdout"


@needs_full
@pytest.mark.parametrize("arguments", [(*RUN, "--json"), ("status", "-w", "ws"), ("--version",)])
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "a")
    assert redirected(tmp_path, "", *RUN).returncode == 0
    done = redirected(tmp_path, ">/dev/full", *arguments, *(["--quiet"] if arguments[0] == "run" else []))
    assert done.returncode == 1
    assert done.stderr == "Error: [Errno 28] No space left on device\n"


@needs_full
def test_messages_that_cannot_be_written_end_nothing(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "a", "bad")
    assert redirected(tmp_path, "2>/dev/full", *RUN).returncode == 3
