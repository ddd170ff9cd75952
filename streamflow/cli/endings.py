"""How a run ends for whoever started it: the exit code, why, and an end where it would not come by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from streamflow.cli.output import one_line, tell
from streamflow.engine.figures import Summary
from streamflow.errors import CredentialsRefused, ServiceError, Unavailable
from streamflow.events import DRAINED
from streamflow.observe.log import Log

DONE, FAILED, DEAD_LETTERS, CREDENTIALS, UNAVAILABLE = 0, 1, 3, 4, 5
AT_ONCE = 5.0
"""Seconds that a run has to end once all its work is cancelled."""
_NAMED = 5
"""Threads that are told by name."""

log = structlog.get_logger("streamflow")


def exit_code(summary: Summary, dead: int) -> int:
    """The exit code of a run that ended, in a workspace with so many dead letters."""
    if summary.error is not None:
        return error_code(summary.error)
    if summary.stopped_by is not None:
        return signal_code(summary.stopped_by)
    return DEAD_LETTERS if dead or summary.refused else DONE


def error_code(error: Exception) -> int:
    if isinstance(error, CredentialsRefused):
        return CREDENTIALS
    return UNAVAILABLE if isinstance(error, ServiceError) else FAILED


def signal_code(name: str) -> int:
    return 128 + (signal.SIGTERM if name == DRAINED else signal.Signals[name])


def why(error: Exception) -> str:
    """What stopped a run, and what to do."""
    if isinstance(error, CredentialsRefused):
        name = error.service or "NAME"
        return (
            f"{str(error).rstrip('.')}. Nothing is lost. Set the credentials in [services.{name}] of streamflow.toml "
            f"or in STREAMFLOW_SERVICES__{name.upper()}__API_KEY, and run it again"
        )
    if isinstance(error, Unavailable):
        return (
            f"{error}. Nothing is lost: run it again when {error.service} is back. How long a run waits for a service "
            "is the setting outage"
        )
    return f"{type(error).__name__}: {error}"


def leave_after(seconds: float, reason: str, code: int, opened: Log, *, starting: bool = False) -> asyncio.TimerHandle:
    """End the process if the run has not ended by then: code that swallows its cancellation cannot be stopped, and
    neither can a thread in which a run that is `starting` waits for a disk or a lock."""
    cause = "the start does not come to its end" if starting else "a stage's function ignores its cancellation"
    told = (
        f"{reason}: {cause}, so the process is ended. What was committed is kept, the rest stays pending; the same "
        "command goes on from there."
    )
    return asyncio.get_running_loop().call_later(seconds, _leave, told, code, opened)


@contextmanager
def leaving(seconds: float, code: int, opened: Log) -> Iterator[None]:
    """End the process if closing the loop takes longer, by a thread: what is left on the loop may block it."""
    told = (
        "The run has ended, but a task or a thread that its code left behind ignores its cancellation, so the "
        "process is ended. Nothing is lost."
    )
    timer = threading.Timer(seconds, _leave, (told, code, opened))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def leave_threads(code: int) -> None:
    """End the process if it is there for longer than `AT_ONCE`: the interpreter waits for threads that are no daemons.

    Those of idle pools end with it.
    """

    def leave() -> None:
        left = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
        names = [one_line(thread.name, 60) for thread in left]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        tell(
            f"All is done, but code left threads behind that go on ({', '.join(names[:_NAMED])}{more}), so the process "
            'is ended. Nothing is lost. Say daemon=True of such threads, or runs_in="process".'
        )
        os._exit(code)

    timer = threading.Timer(AT_ONCE, leave)
    timer.daemon = True
    timer.start()


def _leave(told: str, code: int, opened: Log) -> None:
    tell(told)
    log.warning("left_at_once", reason=told)
    opened.flush()
    os._exit(code)
