"""Asking the process that holds a workspace."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from streamflow.engine.control.messages import MAX_ANSWER, Request, decode_answer, encode_request
from streamflow.engine.control.place import connected, silent
from streamflow.errors import ControlError

PATIENCE = 5.0
"""Seconds that an answer may take."""

T = TypeVar("T", bound=msgspec.Struct)


def ask(workspace: Path, request: Request, kind: type[T], *, timeout: float = PATIENCE) -> T | None:
    """The answer of the process that holds the workspace; None where there is none, or it ended before it answered.

    Raises UsageError with the reason for which it refuses, and ControlError when it is silent or cannot be understood.
    """
    until = time.monotonic() + timeout
    line = encode_request(request)
    connection = connected(workspace, timeout)
    if connection is None:
        return None
    with connection:
        try:
            with suppress(BrokenPipeError):  # who does not want to hear may still have said why
                connection.sendall(line)
            answer = _read_line(connection, until)
        except TimeoutError:
            raise silent(workspace) from None
        except ConnectionError:
            return None
    return decode_answer(answer, kind) if answer.endswith(b"\n") else None


def _read_line(connection: socket.socket, until: float) -> bytes:
    """What comes until a line's end, or until the end. Raises TimeoutError, and ControlError for an endless line."""
    received = bytearray()
    while not received.endswith(b"\n"):
        connection.settimeout(max(until - time.monotonic(), 0.001))
        part = connection.recv(2**16)
        if not part:
            break
        received += part
        if len(received) > MAX_ANSWER:
            raise ControlError("The process that holds the workspace gave an answer without an end.")
    return bytes(received)
