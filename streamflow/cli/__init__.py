"""The command line, from its first moment. The verbs are in `streamflow.cli.app`.

Importing them takes long enough for a Ctrl-C to come in between, and an exception that a signal raises inside an import
is lost, or ends it with a traceback. So what answers signals comes first, and raises nothing: it ends the process. That
is as good as an end by `kill -9`, which every command survives.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """The entry point. Ends the process with the exit code of design §7."""
    at_signals(leave)

    from streamflow.cli.app import command

    code = command()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        from streamflow.cli.endings import leave_threads

        leave_threads(code)
    sys.exit(code)


def at_signals(handler: Callable[[int, FrameType | None], NoReturn]) -> None:
    """Handle SIGINT, SIGTERM and SIGHUP, unless whoever started the process had them ignored, as `nohup` has."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def leave(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the process here and now."""
    _tell(number)
    os._exit(128 + number)


def unwind(number: int, frame: FrameType | None = None) -> NoReturn:
    """End the process by way of everything that cleans up. Only where nothing is imported any more."""
    _tell(number)
    sys.exit(128 + number)


def _tell(number: int) -> None:
    with suppress(OSError):  # it is closed, or nobody reads it
        os.write(2, f"Stopped by {signal.Signals(number).name}.\n".encode())
