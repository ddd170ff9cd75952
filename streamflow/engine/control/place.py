"""Where a run listens: `control.sock` in its workspace, for its owner only.

The socket is bound in a new folder that nobody else can enter, made private there, and then renamed to its place. So
it can be reached by nobody else at any moment, and whatever stands in its place (the socket of a process that was
killed, a symlink) gives way to it in the same step. Whoever listens holds the workspace's lock, so there is only one.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streamflow.errors import ControlError

NAME = "control.sock"
_NEW = ".control.new"
_LONGEST = 100
"""Bytes of a path that may be bound. The address of a socket holds 107 on Linux and 103 on macOS."""
_BACKLOG = 16


@contextmanager
def listening(workspace: Path) -> Iterator[socket.socket]:
    """A socket that listens in the workspace for as long as the block lasts. Does not block, and is not inherited.

    Raises OSError where the folder's file system has no sockets or is full.
    """
    workspace = workspace.absolute()
    place, new = workspace / NAME, workspace / _NEW
    shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed meanwhile
    new.mkdir(0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            with _within_reach(new) as folder:
                listener.bind(str(folder / NAME))
            os.chmod(new / NAME, 0o600)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            made = os.lstat(new / NAME)
            os.replace(new / NAME, place)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        try:
            yield listener
        finally:
            with suppress(OSError):
                if os.path.samestat(os.lstat(place), made):
                    place.unlink()


def connected(workspace: Path, timeout: float) -> socket.socket | None:
    """A connection to the process that listens in a workspace, or None where there is none.

    Raises ControlError where there is something that cannot be asked.
    """
    place = workspace.absolute() / NAME
    try:
        mode = os.lstat(place).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _out_of_reach(place, error) from error
    if not stat.S_ISSOCK(mode):
        raise ControlError(
            f"{place} is no socket, so the process that holds the workspace cannot be asked. Find out who put it there."
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        with _within_reach(place.parent) as folder:
            connection.connect(str(folder / NAME))
    except (ConnectionRefusedError, FileNotFoundError):  # left by a process that was killed, or gone this moment
        connection.close()
        return None
    except OSError as error:
        connection.close()
        if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
            raise silent(workspace) from None
        raise _out_of_reach(place, error) from error
    return connection


def is_stranger(connection: socket.socket) -> bool:
    """Whether somebody else than the owner of this process, or root, is at the other end. Told by Linux only;
    elsewhere the socket's mode is what keeps others out."""
    if not hasattr(socket, "SO_PEERCRED"):
        return False
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return user not in (os.geteuid(), 0)


def silent(workspace: Path) -> ControlError:
    return ControlError(
        f"The process that holds the workspace {workspace} does not answer: its event loop is blocked, for instance by "
        "a stage on the loop that computes or sleeps. The log may say which. What it was asked for and has not done by "
        "now it will not do."
    )


def _out_of_reach(place: Path, error: OSError) -> ControlError:
    return ControlError(
        f"The process that holds the workspace cannot be asked: {place}: {error.strerror or error}. Only the user who "
        "started it can."
    )


@contextmanager
def _within_reach(folder: Path) -> Iterator[Path]:
    """The folder by a path that is short enough for the address of a socket: by a link where it is too long."""
    if len(os.fsencode(folder / NAME)) <= _LONGEST:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="streamflow-") as temporary:
        link = Path(temporary, "w")
        link.symlink_to(folder, target_is_directory=True)
        yield link
