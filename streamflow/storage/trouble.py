"""What is wrong with the disk or the database, read from an error, and what to do about it.

SQLite's result codes: https://www.sqlite.org/rescode.html. Some of them say less than the operating system knew: out of
room is `SQLITE_FULL` when it writes pages, but `SQLITE_IOERR_SHMSIZE` or `SQLITE_CANTOPEN` beside them, and a quota
that is used up is `SQLITE_IOERR_WRITE`. So for those the folder is asked (`has_room`).
"""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
import tempfile
from enum import StrEnum
from pathlib import Path

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_PROBE = 2**20
"""Bytes that must be writable for a folder to have room: more than SQLite asks for at once beside its pages."""


class Trouble(StrEnum):
    """The storage's own trouble, which no item is at fault for. The first two pass, so they are waited out."""

    FULL = "disk full"
    LOCKED = "database locked"
    FAILING = "disk error"
    UNOPENABLE = "cannot be opened"
    READ_ONLY = "read-only"
    DAMAGED = "database damaged"
    CHANGED = "tables missing or changed"
    UNKNOWN = "database error"


PASSING = (Trouble.FULL, Trouble.LOCKED)
MAYBE_FULL = (Trouble.FAILING, Trouble.UNOPENABLE)
_BY_CODE = {
    "SQLITE_FULL": Trouble.FULL,
    "SQLITE_BUSY": Trouble.LOCKED,
    "SQLITE_PROTOCOL": Trouble.LOCKED,  # too many others at the same moment
    "SQLITE_IOERR": Trouble.FAILING,
    "SQLITE_CANTOPEN": Trouble.UNOPENABLE,
    "SQLITE_PERM": Trouble.UNOPENABLE,
    "SQLITE_READONLY": Trouble.READ_ONLY,
    "SQLITE_CORRUPT": Trouble.DAMAGED,
    "SQLITE_NOTADB": Trouble.DAMAGED,
    "SQLITE_ERROR": Trouble.CHANGED,  # our statements are right where the tables are ours
    "SQLITE_SCHEMA": Trouble.CHANGED,
    # What a value is at fault for, or a statement's use.
    "SQLITE_CONSTRAINT": None,
    "SQLITE_MISMATCH": None,
    "SQLITE_TOOBIG": None,
    "SQLITE_RANGE": None,
    "SQLITE_MISUSE": None,
}


def trouble(error: BaseException) -> Trouble | None:
    """The storage's trouble that an error tells of, None where it tells of none: then what was written is at fault.

    Of the operating system's errors only a full disk is told; it is also found in what an error was raised from.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            return Trouble.FULL
        cause = cause.__cause__
    if not isinstance(error, sqlite3.Error):
        return None
    name = getattr(error, "sqlite_errorname", None)
    if name is None:  # raised by Python's module itself, before SQLite was asked
        return None if isinstance(error, sqlite3.InterfaceError | sqlite3.ProgrammingError) else Trouble.UNKNOWN
    # An extended code's name begins with its primary code's: SQLITE_BUSY_RECOVERY, SQLITE_IOERR_WRITE.
    return _BY_CODE.get("_".join(name.split("_")[:2]), Trouble.UNKNOWN)


def diagnose(error: BaseException, folder: Path) -> Trouble | None:
    """The same, with a look at the workspace where the error may stand for a full disk. Blocks."""
    found = trouble(error)
    return Trouble.FULL if found in MAYBE_FULL and not has_room(folder) else found


def has_room(folder: Path) -> bool:
    """Whether a small file can be written into a folder. Blocks.

    It is tried: what the file system says to be free is not what a quota leaves to us. False only for want of room.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            left = _PROBE
            while left:  # an unbuffered file takes what there is room for, and says why only when asked again
                left -= probe.write(bytes(left))
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno not in NO_ROOM
    return True


def lacks_room(error: BaseException, folder: Path) -> bool:
    """Whether the full disk that an error tells of is the one of a folder. Blocks.

    It is if the error names a file of the folder: there may be room for a small file, and none for that one.
    """
    cause: BaseException | None = error
    while cause is not None:
        name = cause.filename if isinstance(cause, OSError) else None
        if isinstance(name, str | bytes) and Path(os.fsdecode(name)).absolute().is_relative_to(folder.absolute()):
            return True
        cause = cause.__cause__
    return not has_room(folder)


def advice(found: Trouble | None, workspace: Path) -> str:
    """What to do, as the end of a message."""
    if found in PASSING:
        return remedy(found, workspace)
    return f"{remedy(found, workspace)}; `streamflow doctor -w {shlex.quote(str(workspace))}` tells more"


def remedy(found: Trouble | None, workspace: Path) -> str:
    """The same, for whoever has called the doctor already."""
    match found:
        case Trouble.FULL:
            return f"make room on the disk of {workspace}"
        case Trouble.LOCKED:
            return "close the other program that writes to it, such as a database browser"
        case Trouble.FAILING:
            return "look at the disk's health and at the limits that hold for you (`dmesg`, `ulimit -f`)"
        case Trouble.UNOPENABLE:
            return f"check the rights of {workspace} and of what is in it, and how many files may be open (`ulimit -n`)"
        case Trouble.READ_ONLY:
            return (
                f"mount its file system for writing, or change the rights of {workspace} and of what is in it, or "
                "choose another workspace (-w)"
            )
        case Trouble.DAMAGED:
            return (
                "restore a copy, or save what is readable (`sqlite3 streamflow.db .recover`) and move it away to start "
                "anew"
            )
        case Trouble.CHANGED:
            return "restore a copy: a table was dropped or changed by somebody else than streamflow"
    return "run it again; if that does not help, restore a copy"
