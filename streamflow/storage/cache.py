"""Answers of services, kept to be asked about again: has it changed since?

They lie in a table of their own, which is made when the first one is kept and may be dropped by whoever wants the room:
an answer that is missing costs a call and nothing else. So nothing waits for them to be written, and what cannot be
written now is let go.

Bounded: by the size of an answer, by the size of all, and by the days for which one was of no use. The least recently
used go first, counted by days, so that use costs one small change a day.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Mapping

import msgspec

LARGEST = 2 * 2**20
"""Bytes of an answer, decoded. A larger one is not kept."""
MOST = 256 * 2**20
"""Bytes of all answers, packed."""
UNUSED_DAYS = 90
_ROOM = 0.9  # of `MOST`: how much is left after some had to go, so that it is not done again at once
_OVERHEAD = 256  # bytes of a row beside what it holds: many small answers are bounded too

_TABLE = """
CREATE TABLE IF NOT EXISTS streamflow_cache (
    key BLOB PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL,
    service TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS streamflow_cache_used ON streamflow_cache (used, size)"
_THERE = "SELECT 1 FROM sqlite_schema WHERE name = 'streamflow_cache'"
_FIND = "SELECT service, headers, body, used FROM streamflow_cache WHERE key = ?"
_KEEP = "INSERT OR REPLACE INTO streamflow_cache VALUES (?, ?, ?, ?, ?, ?)"
_USE = "UPDATE streamflow_cache SET used = ? WHERE key = ?"
_TOO_OLD = "DELETE FROM streamflow_cache WHERE used < ?"
_SIZE = "SELECT coalesce(sum(size), 0) FROM streamflow_cache"
_TOO_MUCH = """
DELETE FROM streamflow_cache WHERE rowid IN (
    SELECT id FROM (SELECT rowid AS id, sum(size) OVER (ORDER BY used DESC, rowid DESC) AS total FROM streamflow_cache)
    WHERE total > ?
)
"""

Packed = tuple[bytes, int, int, str, str, bytes]


class CachedAnswer(msgspec.Struct, frozen=True):
    """An answer with status 200: the decoded body, and the headers that go with it, named in lower case. `used` is the
    day when it was last of use, in days since 1970."""

    service: str
    headers: Mapping[str, str]
    body: bytes
    used: int


def packed(answers: Mapping[bytes, CachedAnswer]) -> list[Packed]:
    """Answers as rows. Computes; needs no database."""
    rows = []
    for key, answer in answers.items():
        headers, body = msgspec.json.encode(answer.headers).decode(), zlib.compress(answer.body)
        rows.append((key, answer.used, len(headers) + len(body) + _OVERHEAD, answer.service, headers, body))
    return rows


def find(connection: sqlite3.Connection, key: bytes) -> CachedAnswer | None:
    """The answer that is kept under a key. What cannot be read is as good as not there."""
    if connection.execute(_THERE).fetchone() is None:
        return None
    row = connection.execute(_FIND, (key,)).fetchone()
    if row is None:
        return None
    service, headers, body, used = row
    try:
        unpacking = zlib.decompressobj()
        unpacked = unpacking.decompress(body, LARGEST)
        if not unpacking.eof:
            return None
        return CachedAnswer(service, msgspec.json.decode(headers, type=dict[str, str]), unpacked, used)
    except (zlib.error, msgspec.DecodeError, TypeError):
        return None


class CacheWriter:
    """Changes the table, inside transactions of the writer. One for each time that a store is open."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._unweighed = most  # bytes written since all were weighed; at first nobody knows

    def write(
        self, connection: sqlite3.Connection, rows: Iterable[Packed], used: Collection[bytes], today: int
    ) -> None:
        """Keep these rows, note those that were of use today, and let go of what is too much."""
        connection.execute(_TABLE)
        connection.execute(_INDEX)
        rows = list(rows)
        connection.executemany(_KEEP, rows)
        connection.executemany(_USE, [(today, key) for key in used])
        unweighed = self._unweighed + sum(row[2] for row in rows)
        if unweighed > self._most * (1 - _ROOM) / 2:
            connection.execute(_TOO_OLD, (today - UNUSED_DAYS,))
            (size,) = connection.execute(_SIZE).fetchone()
            if size > self._most:
                connection.execute(_TOO_MUCH, (self._most * _ROOM,))
            unweighed = 0
        self._unweighed = unweighed
