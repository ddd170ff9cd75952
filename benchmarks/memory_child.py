"""A run in a process of its own: prints the peak of its resident memory in MB.

python -m benchmarks.memory_child (memory|journal) ITEMS FOLDER
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from benchmarks.work import Read, Saved, by_engine, find, numbers, read
from streamflow.storage.memory import MemoryStore
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Store

WORKERS = 16


async def store(read: Read) -> Saved:
    return Saved(read.n, "A title of usual length, for a row of usual size", 2024)


def main(kind: str, items: int, folder: Path) -> None:
    """Run `items` items: half as many records through two stages."""
    made: Store = MemoryStore() if kind == "memory" else SqliteStore(folder / "memory.db")
    functions = (read, find) if kind == "memory" else (read, store)
    asyncio.run(by_engine(functions, numbers(items // 2), [WORKERS] * 2, made, folder=folder))
    print(_peak() / 1e6)


def _peak() -> int:
    """In bytes. On Linux `ru_maxrss` begins with the peak of the process that started this one; `VmHWM` does not."""
    status = Path("/proc/self/status")
    if status.exists():
        (mark,) = (line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(mark[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
