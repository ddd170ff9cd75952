"""What holds for all tests: nothing is left behind.

After each test, its teardown included, there is no new thread, no new child process, no asyncio task that had to be
cancelled when its loop was closed, and no new file outside pytest's own temporary folders.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_STOPPING = 5.0
"""Seconds that a thread or a child, told to end, may take for it. Only failing tests take that long."""

_LASTING_TASKS = {"AnyIO process pool shutdown task"}  # lives by design until the loop closes, and kills the workers
_TOOLS = {"__pycache__", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_created: set[str] = set()
_watching = False
_left_tasks: list[str] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watching or event not in ("open", "sqlite3.connect", "os.mkdir"):
        return
    if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITES):
        return
    path = args[0]
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, (str, os.PathLike)) or os.fspath(path).startswith("file:"):
        return
    absolute = os.path.abspath(path)
    if not os.path.lexists(absolute):
        _created.add(absolute)


def _note_tasks(cancel_all: Any) -> Any:
    def note(loop: asyncio.AbstractEventLoop) -> None:
        if sys.exc_info()[1] is None:  # else the loop itself failed, and its main task could not end
            tasks = asyncio.all_tasks(loop)
            _left_tasks.extend(repr(task) for task in tasks if task.get_name() not in _LASTING_TASKS)
        cancel_all(loop)

    return note


def pytest_configure(config: pytest.Config) -> None:
    sys.addaudithook(_audit)
    runners: Any = asyncio.runners
    runners._cancel_all_tasks = _note_tasks(runners._cancel_all_tasks)


def children() -> dict[int, str]:
    """This process's children by pid, with their commands. Linux only; elsewhere none are seen."""
    found: dict[int, str] = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            pids = [int(pid) for pid in listing.read_text().split()]
        except OSError:
            continue  # the thread has ended
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[pid] = command or "a zombie that nobody waited for"
    return found


def _wait_for(pid: int) -> None:
    """Wait until a process that is ending has ended."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return
    try:
        select.select([descriptor], [], [], _STOPPING)
    finally:
        os.close(descriptor)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _watching
    item.stash[_THREADS] = set(threading.enumerate())
    item.stash[_CHILDREN] = set(children())
    _created.clear()
    _left_tasks.clear()
    _watching = True
    try:
        return (yield)
    finally:
        _watching = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    left = [*_left_threads(item), *_left_children(item), *_left_files(item)]
    left += [f"a task had to be cancelled: {task}" for task in _left_tasks]
    if left:
        pytest.fail("the test left behind:\n  " + "\n  ".join(left), pytrace=False)


_THREADS = pytest.StashKey[set[threading.Thread]]()
_CHILDREN = pytest.StashKey[set[int]]()


def _left_threads(item: pytest.Item) -> Iterator[str]:
    for thread in set(threading.enumerate()) - item.stash[_THREADS]:
        thread.join(_STOPPING)
        if thread.is_alive():
            yield f"the thread {thread.name!r}"


def _left_children(item: pytest.Item) -> Iterator[str]:
    for pid in children().keys() - item.stash[_CHILDREN]:
        _wait_for(pid)
    for pid, command in children().items():
        if pid not in item.stash[_CHILDREN]:
            yield f"the process {pid}: {command}"


def _left_files(item: pytest.Item) -> Iterator[str]:
    factory: Any = item.config._tmp_path_factory  # type: ignore[attr-defined]
    own = str(factory.getbasetemp().parent if factory._basetemp is None else factory.getbasetemp())
    for path in sorted(_created):
        if not path.startswith(own) and not _TOOLS & set(path.split(os.sep)) and os.path.isfile(path):
            yield f"the file {path}"
