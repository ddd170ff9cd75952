"""Holds the lock of a workspace's database: `python -m benchmarks.faults.locker WORKSPACE SECONDS ANSWER`.

Says so once it has it. Into the file ANSWER goes what the run says meanwhile that its stages' time goes to.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from streamflow.engine.control.client import ask
from streamflow.engine.control.messages import Standing, Status
from streamflow.storage import DATABASE


def main(workspace: Path, seconds: float, answer: Path) -> None:
    with closing(sqlite3.connect(workspace / DATABASE, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + seconds
        print("locked", flush=True)
        time.sleep(0.9 * seconds)
        standing = ask(workspace, Status(), Standing)
        answer.write_text(str(standing and {name: stage.shares for name, stage in standing.stages.items()}))
        time.sleep(max(0.0, until - time.monotonic()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
