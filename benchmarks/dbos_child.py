"""DBOS doing three durable steps per item, in a process of its own: prints the seconds it took.

python -m benchmarks.dbos_child ITEMS WORKERS FOLDER
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from time import perf_counter
from typing import Any


async def main(items: int, workers: int, folder: str) -> float:
    """Seconds for `items` workflows, `workers` at once, their journal in `folder`."""
    dbos: Any = importlib.import_module("dbos").DBOS
    url = f"sqlite:///{folder}/dbos.sqlite"
    dbos(config={"name": "benchmark", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})

    @dbos.step()  # type: ignore[untyped-decorator]
    async def read(n: int) -> int:
        return n

    @dbos.step()  # type: ignore[untyped-decorator]
    async def find(n: int) -> int:
        return n

    @dbos.step()  # type: ignore[untyped-decorator]
    async def save(n: int) -> int:
        return n

    @dbos.workflow()  # type: ignore[untyped-decorator]
    async def flow(n: int) -> int:
        saved: int = await save(await find(await read(n)))
        return saved

    dbos.launch()
    room = asyncio.Semaphore(workers)

    async def one(n: int) -> None:
        async with room:
            await flow(n)

    await one(-1)
    started = perf_counter()
    await asyncio.gather(*(one(n) for n in range(items)))
    seconds = perf_counter() - started
    dbos.destroy()
    return seconds


if __name__ == "__main__":
    print(asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
