"""Times of writes never go back, whatever is done to the clock, and over restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from streamflow.storage.stamps import RESERVED, Stamps


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE streamflow_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        yield connection


def reserved(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT value FROM streamflow_meta WHERE name = 'stamp'").fetchone()[0])


def test_each_is_later_than_the_last_when_the_clock_stands_still_or_is_set_back(
    connection: sqlite3.Connection,
) -> None:
    times = iter([1000.0, 1000.0, 1000.0005, 900.0, 1000.5])
    stamps = Stamps(0, lambda: next(times))
    made = [stamps.next(connection) for _ in range(5)]
    assert made == [f"1970-01-01T00:16:40.{ms:03}+00:00" for ms in (0, 1, 2, 3, 500)]


def test_a_restart_with_a_clock_that_was_set_back_goes_on_after_what_was_written(
    connection: sqlite3.Connection,
) -> None:
    before = Stamps(0, lambda: 5000.0)
    last = [before.next(connection) for _ in range(RESERVED + 2)][-1]
    assert Stamps(reserved(connection), lambda: 1.0).next(connection) > last


def test_the_database_is_written_to_once_a_second(connection: sqlite3.Connection) -> None:
    now = 7000.0
    stamps = Stamps(0, lambda: now)
    for _ in range(500):
        stamps.next(connection)
        stamps.committed()
        now += 0.001
    assert connection.total_changes == 1


def test_what_was_rolled_back_is_reserved_again(connection: sqlite3.Connection) -> None:
    stamps = Stamps(0, lambda: 7000.0)
    connection.execute("BEGIN")
    stamps.next(connection)
    connection.execute("ROLLBACK")
    stamps.next(connection)
    assert reserved(connection) > 7_000_000


def test_what_was_taken_back_in_a_transaction_that_goes_on_is_reserved_again(connection: sqlite3.Connection) -> None:
    stamps = Stamps(0, lambda: 7000.0)
    connection.execute("BEGIN")
    connection.execute("SAVEPOINT completion")
    stamps.next(connection)
    connection.execute("ROLLBACK TO completion")
    stamps.undone()
    connection.execute("COMMIT")
    stamps.committed()
    stamps.next(connection)
    assert reserved(connection) > 7_000_000
