"""Opening what lies below a folder without leaving it.

A path is looked at first and opened later; in between, whoever may write to the folder can put a symlink into its
place. So each part of the way is opened from the one before it, and none may be a symlink.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def folder_within(root: Path, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder of these parts below `root`, made where it is missing and `make` says so.

    Raises OSError; where a symlink is in the way with ELOOP or ENOTDIR.
    """
    here = os.open(root, _FOLDER)
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
                    os.fsync(here)
            above, here = here, os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
            os.close(above)
        yield here
    finally:
        os.close(here)


def open_within(path: Path, root: Path | None) -> int:
    """A descriptor of a file below `root`, for reading; without a root only the last part may not be a symlink.

    A named pipe is opened too, without waiting for its other end. Raises OSError.
    """
    if root is None:
        return os.open(path, _FILE | os.O_NOFOLLOW)
    *folders, name = path.relative_to(root).parts
    with folder_within(root, folders) as folder:
        return os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=folder)


def is_symlink_in_the_way(error: OSError) -> bool:
    return error.errno in (errno.ELOOP, errno.ENOTDIR)
