"""Named points at which a test makes the process fail: `STREAMFLOW_FAILPOINTS=before-commit:3:kill,renamed:1:error`.

Each part is NAME:NTH:ACTION: the nth time that the process comes to the point, counted from 1, it does one of

    kill      SIGKILL to itself
    stop      SIGTERM to itself
    error     raises `Injected`
    full      raises the ENOSPC of a full disk

A firing is first written, as the same text, to the file named by STREAMFLOW_FAILPOINTS_LOG: whoever injected a fault
must know that it happened. Nothing is armed unless the variable is set when this is imported, or `arm` is called.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from itertools import count

POINTS = {
    "admitted": "the records of a source are in the journal, and in no channel yet",
    "before-commit": "all is written within the transaction, which has not been committed",
    "committed": "the transaction is durable, and nobody has been told",
    "acknowledged": "those who waited for the commit are being told",
    "file-written": "the temporary file has its bytes, and they may not be on the disk",
    "before-rename": "the temporary file is on the disk",
    "renamed": "the file has its name, which may not be on the disk",
}
ACTIONS = ("kill", "stop", "error", "full")
VARIABLES = ("STREAMFLOW_FAILPOINTS", "STREAMFLOW_FAILPOINTS_LOG")

_armed: dict[str, tuple[Iterator[int], dict[int, str]]] = {}
_log: str | None = None


class Injected(Exception):
    """A failpoint's error."""


def arm(text: str, log: str | None = None) -> None:
    """Arm the points of `text`, and no others; an empty text disarms. Raises ValueError for any other text."""
    global _log
    _armed.clear()
    _log = log
    for part in filter(None, text.split(",")):
        name, nth, action = ([*part.split(":"), "", ""])[:3]
        if name not in POINTS or action not in ACTIONS or not nth.isdecimal() or part.count(":") != 2:
            raise ValueError(
                f"the failpoint {part!r} is not NAME:NTH:ACTION with a name of {', '.join(POINTS)} and an action of "
                f"{', '.join(ACTIONS)}"
            )
        _armed.setdefault(name, (count(1), {}))[1][int(nth)] = action


def failpoint(name: str) -> None:
    """Fail here, if that is armed."""
    if _armed:
        _reach(name)


def _reach(name: str) -> None:
    counter, actions = _armed.get(name, (None, {}))
    if counter is None:
        return
    number = next(counter)  # one step of the interpreter, so that threads need no lock
    action = actions.get(number)
    if action is None:
        return
    if _log:
        with open(_log, "ab", buffering=0) as log:
            log.write(f"{name}:{number}:{action}\n".encode())
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "stop":
        os.kill(os.getpid(), signal.SIGTERM)
        return
    if action == "full":
        raise OSError(errno.ENOSPC, f"injected at the failpoint {name}")
    raise Injected(f"injected at the failpoint {name}")


arm(os.environ.get(VARIABLES[0], ""), os.environ.get(VARIABLES[1]))
