"""Opening the workspace's own files, and nothing else that stands in the place of one: to open a FIFO waits for whoever
is at its other end, and a thread that waits there cannot be called back."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoFile(OSError):
    """Something else than a file is in its place; `strerror` says what."""


def open_plain(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """A descriptor of a file, which is not inherited. Does not wait. To be used as the `opener` of `open`, too.

    Raises NoFile, and OSError as `os.open` does.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ENXIO):  # ENXIO: a socket, or a FIFO without a reader
            check_plain(path)
        raise
    try:
        _check(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_plain(path: str | Path) -> None:
    """For those who open it themselves. Raises NoFile where something else than a file is there."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    _check(mode, path)


def _check(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        found = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NoFile(errno.EINVAL, f"{Path(path).name} is {found}, not a file", str(path))
