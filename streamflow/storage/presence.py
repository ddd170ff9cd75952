"""Whether the database that is open is still the one that its name leads to.

A file that is removed or replaced under SQLite stays open: commits go on and succeed, into what nobody finds again. A
log that is gone is as bad, since readers then see another database than the writer. So whoever has the database open
remembers which files they were, and looks now and then.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_HEADER = 100
"""Bytes that any database has at least."""


class Presence:
    """The files of a database that is open, and has been written to, as they are now."""

    def __init__(self, database: Path) -> None:
        """Raises OSError where there is no database."""
        self._database = database
        self._known = {database: database.stat()}
        for log in (database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm")):
            if log.exists():
                self._known[log] = log.stat()

    def lost(self) -> str | None:
        """What happened to them and what to do, None where they are in their places. Blocks for no longer than a look
        at them takes."""
        for path, known in self._known.items():
            if (found := self._what_happened(path, known)) is not None:
                return (
                    f"{path} was {found} while it was in use, so nothing that the run commits is kept. Put back what "
                    f"was there, or a copy, with what lies beside it ({self._database.name}*); else what it held is "
                    "lost: run it again, which begins anew with the input that is still there"
                )
        return None

    def put_logs_aside(self) -> None:
        """Where the database is lost: what was written to it and lies beside its place would else be taken into the one
        that is put there. To be called once it is closed."""
        for path, known in self._known.items():
            if path != self._database and self._what_happened(path, known) is None:
                with suppress(OSError):
                    path.replace(path.with_name(f"{path.name}.lost"))

    def _what_happened(self, path: Path, known: os.stat_result) -> str | None:
        try:
            now = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return "removed"
        except OSError:
            return None  # it cannot be told
        if not os.path.samestat(now, known) or not stat.S_ISREG(now.st_mode):
            return "replaced"
        return "emptied" if path == self._database and now.st_size < _HEADER else None
