"""The files below a folder: which of them are inputs, and what tells one state of a file from another.

Folders are walked to their depths in the order of names, so that two runs see the same order. Passed over are
hidden and temporary names, symlinks, and what a workspace that lies among the inputs made by itself (its
`files/` and `logs/`): else a run would read its own downloads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import structlog

from streamflow.storage import DATABASE, lock
from streamflow.storage.within import open_within

log = structlog.get_logger("streamflow.sources")

# Names under which browsers, editors, and copying and syncing tools keep what they have not finished.
PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".tmp", ".temp")
_TEMPORARY = re.compile(r"^[.#]|^~\$|~$|(?i:\.(?:part|partial|filepart|crdownload|download|opdownload|te?mp|swp)$)")
_WORKSPACE_MARKS = {DATABASE, lock.FILE_NAME}
_WORKSPACE_FOLDERS = {"files", "logs"}


class FileStat(NamedTuple):
    """What tells one state of a file from another without reading it. `mtime` is in nanoseconds."""

    size: int
    mtime: int
    inode: int


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the user's: `path` is absolute, `name` is its last part.

    `folder` is the one that was named, where the file was found below one; `stat` is as it was found.
    """

    path: Path
    name: str
    folder: Path | None = field(default=None, compare=False)
    stat: FileStat | None = field(default=None, compare=False, repr=False)

    def open(self) -> BinaryIO:
        """The file's bytes. No symlink below `folder` is followed, also none that was put there since it was found.

        Raises OSError.
        """
        return os.fdopen(open_within(self.path, self.folder), "rb")


def _warn(event: str, path: str, reason: str) -> None:
    log.warning(event, path=path, reason=reason)


def walk(
    folder: str,
    suffixes: tuple[str, ...],
    ignored: Collection[str] = (),
    warn: Callable[[str, str, str], None] = _warn,
) -> Iterator[tuple[str, FileStat]]:
    """The files below a folder with their stats, in the order of names. Blocks.

    What goes away midway or cannot be read is passed over with a warning; only the first folder raises OSError.
    """
    levels = [iter(_listing(folder))]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            continue
        try:
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                # One that stays within the folder is no loss: the walk comes to its target by itself.
                if not f"{target}{os.sep}".startswith(os.path.join(folder, "")):
                    warn("symlink_refused", entry.path, f"it leads out of the folder, to {target}")
            elif entry.is_dir(follow_symlinks=False):
                if entry.path not in ignored:
                    levels.append(iter(_listing(entry.path)))
            elif has_suffix(entry.name, suffixes) and entry.is_file(follow_symlinks=False):
                yield entry.path, file_stat(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue
        except OSError as error:
            warn("input_unreadable", entry.path, str(error.strerror))


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    return not suffixes or name.lower().endswith(suffixes)


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or not finished by the program that writes it."""
    return _TEMPORARY.search(name) is not None


def is_of_workspace(folder: str, inside: Sequence[str]) -> bool:
    """Whether the path of these parts below a folder is one that a workspace made by itself."""
    above = folder
    for part in inside:
        if part in _WORKSPACE_FOLDERS and any(os.path.lexists(os.path.join(above, m)) for m in _WORKSPACE_MARKS):
            return True
        above = os.path.join(above, part)
    return False


def file_stat(status: os.stat_result) -> FileStat:
    return FileStat(status.st_size, status.st_mtime_ns, status.st_ino)


def _listing(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if not is_passed_over(entry.name)), key=lambda e: e.name)
    if any(entry.name in _WORKSPACE_MARKS for entry in entries):
        entries = [entry for entry in entries if entry.name not in _WORKSPACE_FOLDERS]
    return entries
