"""Functions for threads and processes, which must be importable, and the programs of subprocess tests."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from streamflow.engine.context import WorkerContext
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.errors import NotFound, Overloaded, Reject, RetryLater, Skip
from streamflow.limits.retry import Retry
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.memory import MemoryStore


@record(key="n")
class Job:
    n: int


@record(key="n", table="seen")
class Seen:
    n: int
    pid: int = 0
    thread: int = 0
    text: str = ""


def allowed(job: Job) -> Seen:
    """How many seconds of processor time its worker is still allowed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    left = resource.getrlimit(resource.RLIMIT_CPU)[0] - used.ru_utime - used.ru_stime
    return Seen(job.n, text=f"{left:.0f}")


class Unpicklable(Exception):
    def __init__(self, one: str, two: int) -> None:
        super().__init__(f"{one} {two}")


class Once:
    """A resource that notes each time that it is opened and closed."""

    def __init__(self, context: WorkerContext) -> None:
        self._log = context.workspace / "opened.txt"
        self.opened = 0

    def _note(self, what: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{what} {os.getpid()}\n")

    def __enter__(self) -> "Once":
        self.opened += 1
        self._note("open")
        return self

    def __exit__(self, *details: object) -> None:
        self._note("close")


def look(job: Job) -> Seen:
    return Seen(job.n, os.getpid(), threading.get_ident(), repr(dict(os.environ)))


def with_once(job: Job, *, once: Once) -> Seen:
    return Seen(job.n, os.getpid(), once.opened)


_NOISY = "import sys; text = sys.stdin.read(); print('out' * 50_000); print('err' * 50_000, file=sys.stderr)"


def starts_programs(job: Job) -> Seen:
    """As a function does that runs a tool such as ffmpeg, which reads what it is not given and talks a lot."""
    os.write(1, b"raw bytes")
    os.write(2, b"raw bytes")
    said = subprocess.run([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run([sys.executable, "-c", _NOISY], check=True)
    os.system("cat; echo x")  # noqa: S605
    return Seen(job.n, os.getpid(), text=f"{said.decode().strip()} {os.read(0, 10)!r}")


def sometimes_hangs(job: Job) -> Seen:
    if job.n == 2:
        time.sleep(3600)
    return Seen(job.n, os.getpid())


def sometimes_eats_memory(job: Job) -> Seen:
    return Seen(job.n, len(bytearray(2**30)) if job.n == 2 else 0)


def sometimes_aborts(job: Job) -> Seen:
    if job.n == 2:
        os.abort()
    return Seen(job.n)


def sometimes_exits(job: Job) -> Seen:
    if job.n == 2:
        sys.exit(3)
    return Seen(job.n)


def sometimes_leaves(job: Job) -> Seen:
    if job.n == 2:
        os._exit(0)
    return Seen(job.n)


def sometimes_is_killed(job: Job) -> Seen:
    if job.n == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return Seen(job.n)


def sometimes_computes_for_ever(job: Job) -> Seen:
    while job.n == 2:
        pass
    return Seen(job.n)


def meets(job: Job, *, meeting: "Meeting") -> Seen:
    meeting.attend(job.n)
    return Seen(job.n, os.getpid())


def fails(job: Job) -> Seen:
    match job.n:
        case 0:
            raise Skip("not wanted")
        case 1:
            raise Reject("never")
        case 2:
            raise RetryLater("later", delay=7.5)
        case 3:
            raise NotFound("gone", service="api", status=404)
        case 4:
            raise Overloaded("busy", service="api", status=429, retry_after=12.5)
        case 5:
            raise Unpicklable("told", 5)
        case _:
            raise ValueError("wrong", job.n)


def batch(jobs: list[Job]) -> list[Seen | Exception]:
    return [ValueError(job.n) if job.n == 3 else Seen(job.n, os.getpid()) for job in jobs]


class PidFile:
    def __init__(self, context: WorkerContext) -> None:
        self._path = context.workspace / f"worker-{os.getpid()}"

    def __enter__(self) -> "PidFile":
        self._path.touch()
        return self

    def __exit__(self, *details: object) -> None: ...


class Meeting:
    """Items announce themselves with their worker's pid, and wait until there is a file `over`."""

    def __init__(self, context: WorkerContext) -> None:
        self._folder = context.workspace

    def __enter__(self) -> "Meeting":
        return self

    def __exit__(self, *details: object) -> None: ...

    def attend(self, n: int) -> None:
        partial = self._folder / f"partial-{n}"
        partial.write_text(str(os.getpid()))
        partial.rename(self._folder / f"item-{n}")
        while not (self._folder / "over").exists():
            time.sleep(0.01)


class Folder:
    """The run's folder."""

    def __init__(self, context: WorkerContext) -> None:
        self.path = context.workspace

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *details: object) -> None: ...


def leaves_a_program(job: Job, *, folder: Folder) -> Seen:
    """Starts a program that nobody ends, tells its number, and goes on when there is a file `over`."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    partial = folder.path / f"partial-{job.n}"
    partial.write_text(str(program.pid))
    partial.rename(folder.path / f"program-{job.n}")
    while not (folder.path / "over").exists():
        time.sleep(0.01)
    return Seen(job.n)


def announces_and_hangs(job: Job, *, pid: PidFile) -> Seen:
    time.sleep(3600)
    return Seen(job.n)


def blocks(job: Job) -> Seen:
    threading.Event().wait()
    return Seen(job.n)


async def jobs(inputs: Inputs) -> AsyncIterator[Job]:
    for n in range(6):
        yield Job(n)


def engine(function: Any, runs_in: Any, folder: Path, timeout: float) -> Run:
    stage = Stage(function, runs_in=runs_in, workers=3, timeout=timeout, retry=Retry(attempts=1))
    pipeline = Pipeline("work", sources=[jobs], stages=[stage], resources=[PidFile, Folder])
    return Run(pipeline, MemoryStore(), resources={Inputs: Inputs(())}, workspace=folder)


async def main(what: str, folder: Path) -> None:
    function, runs_in, timeout = {
        "hang in processes": (announces_and_hangs, "process", 3600.0),
        "leave programs": (leaves_a_program, "process", 3600.0),
        "hang in threads": (blocks, "thread", 0.2),
    }[what]
    summary = await engine(function, runs_in, folder, timeout)()
    print(f"{summary.dead} dead", flush=True)


if __name__ == "__main__":
    from tests.engine.executors import work  # processes cannot import functions of `__main__`

    asyncio.run(work.main(sys.argv[1], Path(sys.argv[2])))
