"""The table of kept answers: bounded, forgetful, and never a trouble to anybody."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.errors import StorageError
from streamflow.storage.cache import LARGEST, UNUSED_DAYS, CachedAnswer, CacheWriter, find, packed
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Plan

KEYS = [bytes([number]) * 16 for number in range(20)]
PLAN = Plan("test", {})


def answer(body: bytes = b"{}", *, used: int = 100) -> CachedAnswer:
    return CachedAnswer("api", {"etag": '"1"'}, body, used)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        yield opened


def there(connection: sqlite3.Connection) -> list[int]:
    return [number for number, key in enumerate(KEYS) if find(connection, key) is not None]


@pytest.mark.asyncio
async def test_an_answer_is_known_to_the_next_process(tmp_path: Path) -> None:
    for known in (None, answer(b'{"n": 1}')):
        store = SqliteStore(tmp_path / "streamflow.db")
        await store.open(PLAN)
        assert await store.cached(KEYS[0]) == known
        await store.cache({KEYS[0]: answer(b'{"n": 1}')}, (), 100)
        assert await store.cached(KEYS[0]) == answer(b'{"n": 1}')
        await store.close()


@pytest.mark.asyncio
async def test_a_store_knows_itself_from_others_after_a_restart_too(tmp_path: Path) -> None:
    identities = []
    for name in ("one.db", "one.db", "other.db"):
        store = SqliteStore(tmp_path / name)
        await store.open(PLAN)
        identities.append(store.identity)
        await store.close()
    assert identities[0] == identities[1] != identities[2]
    assert len(identities[0]) >= 32


@pytest.mark.asyncio
async def test_what_cannot_be_kept_now_is_refused_at_once_and_the_store_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "streamflow.db", busy_timeout=0.01)
    await store.open(PLAN)
    with closing(sqlite3.connect(tmp_path / "streamflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="cannot be written"):
            await store.cache({KEYS[0]: answer()}, (), 100)
    assert await store.cached(KEYS[0]) is None
    await store.cache({KEYS[0]: answer()}, (), 100)
    assert await store.cached(KEYS[0]) == answer()
    await store.close()


def test_nothing_is_found_where_nothing_was_kept(connection: sqlite3.Connection) -> None:
    assert find(connection, KEYS[0]) is None


@pytest.mark.parametrize(
    ("column", "damage"),
    [("body", b"no zlib"), ("body", b""), ("body", 5), ("headers", "{"), ("headers", '{"etag": 1}'), ("headers", None)],
)
def test_what_was_damaged_is_as_good_as_not_there(connection: sqlite3.Connection, column: str, damage: object) -> None:
    CacheWriter().write(connection, packed({KEYS[0]: answer()}), (), 100)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '')")
    connection.execute("PRAGMA writable_schema = RESET")
    connection.execute(f"UPDATE streamflow_cache SET {column} = ?", (damage,))  # noqa: S608
    assert find(connection, KEYS[0]) is None


def test_a_body_that_unpacks_to_more_than_was_ever_kept_is_not_unpacked(connection: sqlite3.Connection) -> None:
    CacheWriter().write(connection, packed({KEYS[0]: answer(bytes(LARGEST + 1))}), (), 100)
    assert find(connection, KEYS[0]) is None


def test_the_least_recently_used_go_when_there_is_too_much(connection: sqlite3.Connection) -> None:
    writer = CacheWriter(most=20_000)
    for number, key in enumerate(KEYS):
        writer.write(connection, packed({key: answer(os.urandom(1_000), used=100)}), (), 100)
        if number == 12:
            writer.write(connection, [], [KEYS[0]], 101)
    assert 0 in there(connection)
    assert 1 not in there(connection)
    assert 19 in there(connection)
    (size,) = connection.execute("SELECT sum(length(body)) FROM streamflow_cache").fetchone()
    assert size <= 20_000


def test_many_small_answers_are_bounded_too(connection: sqlite3.Connection) -> None:
    writer = CacheWriter(most=20_000)
    for number in range(1_000):
        writer.write(connection, packed({number.to_bytes(16): answer(b"")}), (), 100)
    assert connection.execute("SELECT count(*) FROM streamflow_cache").fetchone()[0] < 100


def test_what_was_of_no_use_for_long_goes(connection: sqlite3.Connection) -> None:
    CacheWriter().write(connection, packed({key: answer(used=100) for key in KEYS[:3]}), (), 100)
    CacheWriter().write(connection, [], [KEYS[1]], 100 + UNUSED_DAYS)
    CacheWriter().write(connection, [], (), 101 + UNUSED_DAYS)
    assert there(connection) == [1]
