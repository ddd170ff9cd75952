"""Telling the KeyboardInterrupt of a signal from one that somebody's code raised."""

from __future__ import annotations

import signal
import traceback
from typing import Any


def is_of_a_signal(error: KeyboardInterrupt) -> bool:
    """Whether a SIGINT brought it: its handler stands where it was raised. Python's own cannot be seen there, and is
    believed; a loop that handles SIGINT itself raises nothing."""
    handler: Any = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        return True
    code = getattr(getattr(handler, "func", handler), "__code__", None)  # asyncio's is a partial
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))
