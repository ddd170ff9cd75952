"""The seal of a database: a checksum of its file, made whenever a run has closed it.

SQLite keeps no checksums of the database file, so a bit that a disk flips within a text is read as if it had been
written. The seal tells it from what was written: it holds for the file's size and time of writing, which a failing disk
leaves as they are, and every writer changes. Without a seal nothing is known: a killed run leaves none that holds.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from streamflow.errors import DatabaseDamaged
from streamflow.plain_file import open_plain
from streamflow.storage.trouble import Trouble, advice

NAME = "streamflow.seal"
BROKEN = "its bytes, or those of its seal, changed since the last run closed it, and no program wrote them"
ACCEPT = f"or take it as it is: remove {NAME}"
LARGEST = 2**30
"""Bytes of a database above which it is not sealed: to read it takes about a second for each of these, at each start
and end."""
_PART = 2**20


class _Seal(NamedTuple):
    size: int
    written: int  # nanoseconds
    digest: str


def seal(database: Path) -> None:
    """Seal a database that its last writer has closed. Blocks. Where it cannot be, there is no seal."""
    path = database.with_name(NAME)
    with suppress(OSError):
        path.unlink(missing_ok=True)
        # A time that no writer sets: theirs come from a clock that ticks every few milliseconds, so one who came right
        # after us would leave ours. In whole microseconds, which most file systems keep; one that does not has no seal.
        stamp = time.time_ns() // 1000 * 1000
        os.utime(database, ns=(stamp, stamp))
        found = _look(database)
        if found is not None and found.written == stamp:
            path.write_text(json.dumps(found._asdict()), encoding="utf-8")


def is_broken(database: Path) -> bool | None:
    """Whether the file changed without being written to; None where there is no seal that holds for it. Blocks."""
    try:
        with open(database.with_name(NAME), "rb", opener=open_plain) as file:
            sealed = _Seal(**json.loads(file.read()))
        status = database.stat()
        if (status.st_size, status.st_mtime_ns) != sealed[:2]:
            return None
        found = _look(database)
    except (OSError, ValueError, TypeError):
        return None
    return None if found is None or found[:2] != sealed[:2] else found.digest != sealed.digest


def check(database: Path) -> None:
    """Raises DatabaseDamaged where `is_broken`. Blocks."""
    if is_broken(database):
        raise DatabaseDamaged(f"{database}: {BROKEN}; {advice(Trouble.DAMAGED, database.parent)}; {ACCEPT}")


def _look(database: Path) -> _Seal | None:
    """None for one that is too large, or is written to meanwhile."""
    hashed = blake2b(digest_size=16)
    with open(database, "rb", buffering=0, opener=open_plain) as file:
        before = os.fstat(file.fileno())
        if before.st_size > LARGEST:
            return None
        while part := file.read(_PART):
            hashed.update(part)
        after = os.fstat(file.fileno())
    is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return _Seal(after.st_size, after.st_mtime_ns, hashed.hexdigest()) if is_same else None
