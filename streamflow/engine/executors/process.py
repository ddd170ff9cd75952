"""Stages that run in worker processes: for code that uses the processor, hangs, eats memory or crashes.

`anyio.to_process` gives each call a worker of its own and kills it when the call is cancelled, so that a hang, a
memory hog or a crash costs only its own item. Limits are set inside the worker before each call: address space,
processor seconds, no core file, an empty environment, and death with the engine, together with all that its code
started.
"""

from __future__ import annotations

import math
import os
import pickle
import resource
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_process

from streamflow.deadline import NEVER, current
from streamflow.engine.context import WorkerContext
from streamflow.engine.executors.group import lead
from streamflow.engine.stage import Stage
from streamflow.errors import WorkerDied


@asynccontextmanager
async def in_processes(stage: Stage, workspace: Path) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
    """Run the stage's function in at most `stage.workers` processes; resources are opened once in each."""
    limiter = anyio.CapacityLimiter(stage.workers)
    wanted = dict(stage.signature.resources)
    memory, engine = stage.memory, os.getpid()
    file = _hide_main()

    async def call(record: Any) -> Any:
        seconds = _processor_seconds(stage)
        try:
            value, error = await anyio.to_process.run_sync(
                _work,
                pickle.dumps((stage.function, record, wanted), pickle.HIGHEST_PROTOCOL),
                workspace,
                memory,
                seconds,
                engine,
                cancellable=True,
                limiter=limiter,
            )
        except anyio.BrokenWorkerProcess as error:
            raise WorkerDied(
                f"the worker process of stage {stage.name!r} ended during the call: it crashed, or went over its limit "
                f"of {memory >> 20} MiB or {seconds} s of processor time ({error.__cause__!r})"
            ) from error
        if error is not None:
            raise error
        return value

    try:
        yield call
    finally:
        if file is not None:
            sys.modules["__main__"].__file__ = file


def _processor_seconds(stage: Stage) -> int:
    """As many as the attempt may last: the stage's timeout may have changed since it was opened."""
    deadline = current.get()
    left = deadline.at - deadline.clock() if deadline is not None and deadline.at < NEVER else stage.timeout
    return max(1, math.ceil(left))


def _hide_main() -> str | None:
    """Keep workers from running the program's main module again; its file, to be put back.

    anyio runs the file of `__main__` in each worker, so that functions defined there can be found. A process stage's
    function is never defined there, and running a program's start again costs a second, or starts it again where
    the file has no `if __name__ == "__main__"`.
    """
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is not None:
        del sys.modules["__main__"].__file__
    return file


# --- inside the worker ---------------------------------------------------------------------------------------------

_opened: dict[tuple[type[Any], Path], Any] = {}
_confined = False


def _work(
    pickled: bytes,
    workspace: Path,
    memory: int,
    seconds: int,
    engine: int,
) -> tuple[Any, Exception | None]:
    """Run one call and give its value or its error, in a form that survives the way back.

    The call comes pickled: reading it imports the stage's module, whose code is to be confined too.
    """
    _confine(engine)
    _limit(memory, seconds)
    try:
        function, record, wanted = _read(pickled)
        for kind in wanted.values():
            if (kind, workspace) not in _opened:
                _opened[kind, workspace] = kind(WorkerContext(workspace)).__enter__()
        return function(record, **{name: _opened[kind, workspace] for name, kind in wanted.items()}), None
    except SystemExit as error:
        return None, WorkerDied(f"the function called sys.exit({error.code!r})")
    except BaseException as error:  # noqa: BLE001 - it is the call's value: the engine decides
        return None, _portable(error)


def _read(pickled: bytes) -> tuple[Callable[..., Any], Any, Mapping[str, type[Any]]]:
    call: tuple[Callable[..., Any], Any, Mapping[str, type[Any]]] = pickle.loads(pickled)  # noqa: S301 - the engine's
    return call


def _confine(engine: int) -> None:
    global _confined
    if _confined:
        return
    lead(engine)
    _hide_protocol()
    os.environ.clear()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _confined = True


def _hide_protocol() -> None:
    """Give programs that the function starts, and `os.write(1, …)`, empty streams instead of the protocol's.

    anyio speaks over descriptors 0 and 1, which programs inherit. Its loop holds the streams, not their descriptors: so
    each stream's file is opened again on a private copy. Nothing is lost: no byte of the next call is sent before this
    one is answered. Descriptor 2 is a pipe that nobody reads, where a talkative program would hang when it is full.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream, mode in ((sys.__stdin__, "rb"), (sys.__stdout__, "wb")):
        file: Any = getattr(stream.buffer, "raw", stream.buffer)  # type: ignore[union-attr] # `-u`: stdout has no buffer
        number = file.fileno()
        file.__init__(os.dup(number), mode)  # copies made by `dup` are not inherited
        os.dup2(nowhere, number)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _limit(memory: int, seconds: int) -> None:
    """Soft limits only: the next call may be another stage's, with other limits."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(usage.ru_utime + usage.ru_stime) + seconds + 1
    for kind, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu)):
        _, hard = resource.getrlimit(kind)
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (soft, hard))


def _portable(error: BaseException) -> Exception:
    """The error itself where it is an Exception that can be pickled and read back, else one that tells the same."""
    error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - whatever a foreign class does when pickled
        return _told(error)
    return _told(error) if not isinstance(error, Exception) else error.with_traceback(None)


def _told(error: BaseException) -> RuntimeError:
    return RuntimeError("".join(traceback.format_exception_only(error)).strip())
