"""A worker process and the programs that its code starts, as one group that ends together.

A killed worker can kill nothing, and whoever kills it may be killed too. So the group has a watcher: it waits for the
end of the worker, or of the engine, and kills what there is left.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

_EVERY = 0.2
"""Seconds between two looks where the system does not tell of a process's end."""


def lead(engine: int) -> None:
    """Make this process the leader of a new group, which is killed when this process has ended, or the engine's.

    The watcher is a fork of this process. It is in the group, so that no other group can get its number before the
    kill; and it is no child of this process, whose code may wait for all its children. It holds no file of ours. A
    program that makes a session of its own leaves the group.
    """
    leader = os.getpid()
    if os.getsid(0) != leader:  # else it failed further on the last time
        os.setsid()
    if between := os.fork():
        if os.waitpid(between, 0)[1]:
            raise OSError(errno.EAGAIN, "no process can be made that would end this one's programs")
        return
    code = 1
    try:
        if not os.fork():
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):  # sent to the group, for the others
                signal.signal(number, signal.SIG_IGN)
            os.closerange(0, 3)
            _wait_for_end(leader, engine)
            os.killpg(0, signal.SIGKILL)
        code = 0
    finally:
        os._exit(code)


def _wait_for_end(*processes: int) -> None:
    """Return when one of these processes has ended."""
    try:
        poll = select.poll()
        for process in processes:
            poll.register(os.pidfd_open(process), select.POLLIN)
        poll.poll()
    except (AttributeError, OSError):  # not in this Python, or not on this system; or one has ended
        while all(map(_lives, processes)):
            time.sleep(_EVERY)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
