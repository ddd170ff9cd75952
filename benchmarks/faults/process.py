"""Processes that are made to fail, forked from this one, which has imported everything and has no loop or thread."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 300.0
"""Seconds after which a process counts as stuck."""
_LOOK_EVERY = 0.001


class CampaignFailed(AssertionError):
    """A fault did not fire, or a process did what it should not."""


@dataclass(frozen=True)
class Ended:
    """`status` is negative for a signal; `told` is what the work returned; `wrong` is what it wrote to stderr."""

    status: int
    seconds: float
    told: dict[str, Any] = field(default_factory=dict)
    wrong: str = ""


def forked(work: Callable[[], dict[str, Any] | None], scratch: Path, *, kill_after: float | None = None) -> Ended:
    """Do `work` in a process of its own, which is killed after so many seconds unless it has ended.

    Raises CampaignFailed for one that does not end.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    answer, errors = scratch / "answer.json", scratch / "stderr"
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    process = os.fork()
    if not process:
        _child(work, answer, errors)
    status = _wait(process, started + (PATIENCE if kill_after is None else kill_after))
    seconds = time.monotonic() - started
    wrong = errors.read_text(encoding="utf-8", errors="replace") if errors.exists() else ""
    if status == -signal.SIGKILL and kill_after is None and seconds >= PATIENCE:
        raise CampaignFailed(f"a run was stuck for {PATIENCE:.0f} s\n{wrong}")
    return Ended(status, seconds, json.loads(answer.read_bytes()) if status == 0 else {}, wrong)


def _child(work: Callable[[], dict[str, Any] | None], answer: Path, errors: Path) -> None:
    status = 1
    try:
        descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        told = json.dumps(work() or {})
        answer.write_text(told, encoding="utf-8")
        status = 0
    except BaseException:  # noqa: BLE001 - nothing may leave a forked process but its status
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _wait(process: int, until: float) -> int:
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            os.kill(process, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        time.sleep(_LOOK_EVERY)
