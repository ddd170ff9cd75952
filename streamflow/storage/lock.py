"""One process per workspace.

The lock is an advisory one of the kernel on `<workspace>/streamflow.lock`; it ends with the process that took it,
however that ends, so there are no stale locks to remove. The file stays, since removing it would let two processes
lock two files of one name. Its content only names the holder, for messages. The descriptor is not inherited: a
worker process that outlives its engine does not keep the workspace locked.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from streamflow.errors import WorkspaceError, WorkspaceLocked
from streamflow.plain_file import NoFile, open_plain

FILE_NAME = "streamflow.lock"
_LONGEST = 4096
_ADVICE = {
    errno.EROFS: "Mount its file system for writing",
    errno.ENOSPC: "Make room on its disk",
    errno.EDQUOT: "Make room in your quota",
    errno.EMFILE: "Allow more open files (`ulimit -n`)",
    errno.ELOOP: f"Remove the symlink {FILE_NAME} in it",
    errno.ENAMETOOLONG: "Choose a shorter name",
}


class WorkspaceLock:
    """Holds a workspace: `with WorkspaceLock(workspace): …`. Not reentrant, in one process neither."""

    def __init__(self, workspace: Path) -> None:
        self.path = workspace / FILE_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, making the workspace where it is missing. Does not wait.

        Raises `WorkspaceLocked`, which names the holder, and `WorkspaceError` where the folder cannot be used.
        """
        if self._descriptor is not None:
            raise RuntimeError("this lock is already held")
        descriptor = self._open()
        try:
            _lock(descriptor)
        except OSError as error:
            content = _read(descriptor)
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise WorkspaceLocked(
                    f"The workspace {self.path.parent} is in use by {_holder(content)}. Wait until it ends, stop it,"
                    " or choose another workspace (-w). `streamflow status` shows what it does."
                ) from None
            raise WorkspaceError(
                f"The workspace {self.path.parent} cannot be locked: {error.strerror}. Put it on a local disk."
            ) from error
        with suppress(OSError):  # a full disk: the lock holds, and `prune` needs it to make room
            _overwrite(descriptor, _describe_this_process())
        self._descriptor = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.ftruncate(descriptor, 0)
                # Unlocked by name: a child between its fork and its exec has the descriptor for a moment.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        workspace = self.path.parent
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            return open_plain(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        except FileExistsError as error:
            raise WorkspaceError(f"{workspace} is a file; a workspace is a folder. Choose another (-w).") from error
        except OSError as error:
            is_file = not isinstance(error, NoFile)
            advice = _ADVICE.get(error.errno or 0, "Change its permissions") if is_file else "Move that away"
            raise WorkspaceError(
                f"The workspace {workspace} cannot be written to: {error.strerror}. {advice}, or choose another"
                " workspace (-w)."
            ) from error


def holder(workspace: Path) -> dict[str, object] | None:
    """Who holds a workspace (pid, command, host, since), or None when it is free. Takes no lock that lasts."""
    try:
        descriptor = open_plain(workspace / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> None:
    """Try for 50 ms: whoever asks for the `holder` has the lock for a moment."""
    for _ in range(5):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _describe_this_process() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "command": " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])[:500],
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _overwrite(descriptor: int, content: dict[str, object]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content).encode("ascii"), 0)


def _read(descriptor: int) -> dict[str, object]:
    try:
        content = json.loads(os.pread(descriptor, _LONGEST, 0))
    except (OSError, ValueError):
        return {}  # the holder has the lock and has not yet written its name
    return content if isinstance(content, dict) else {}


def _holder(content: dict[str, object]) -> str:
    if "pid" not in content:
        return "another process"
    command = str(content.get("command", "?"))
    return f"process {content['pid']} ({command!r} on {content.get('host')}, since {content.get('since')})"
