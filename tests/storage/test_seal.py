"""A database whose bytes changed without being written to is refused; one that somebody wrote to is not."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.errors import DatabaseDamaged
from streamflow.record import encoded_identity, record, record_type, union
from streamflow.storage import seal
from streamflow.storage.doctor import examine
from streamflow.storage.prune import prune
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item, Plan, State


@record(key="n", table="kept", merge={"seen": union})
class Kept:
    n: int
    text: str
    seen: tuple[int, ...] = ()


PLAN = Plan("test", {"stage": (record_type(Kept), 1)}, [record_type(Kept)])


async def run(database: Path) -> None:
    store = SqliteStore(database, synchronous="NORMAL")
    opened = await store.open(PLAN)
    try:
        if not opened.pending:
            children = [Item("stage", Kept(n, "a text that is long enough", (n,)), n) for n in range(50)]
            rows = [Kept(n, f"the text of {n}", (n,)) for n in range(50)]
            await store.commit(Completion(None, State.DONE, children, rows))
    finally:
        await store.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "streamflow.db"


def flip(path: Path, text: bytes) -> None:
    """A bit of the sign before this text, as a disk does it: nobody wrote."""
    status, at = path.stat(), path.read_bytes().index(text) - 1
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def verdict(database: Path, check: str) -> str:
    (found,) = [finding for finding in examine(database.parent) if finding.check == check]
    return found.verdict


@pytest.mark.asyncio
async def test_a_flipped_bit_is_refused_until_it_is_accepted(database: Path) -> None:
    await run(database)
    await run(database)
    assert verdict(database, "seal") == "ok"
    flip(database, b"he text of 7")
    assert verdict(database, "pages") == "ok", "SQLite does not see it"
    assert verdict(database, "seal") == "bad"
    with pytest.raises(DatabaseDamaged, match=r"no program wrote them.*restore a copy.*remove streamflow\.seal"):
        await run(database)
    with pytest.raises(DatabaseDamaged, match="no program wrote them"):
        prune(database.parent, 0.0)  # its writes would make the damage look as if it had been written
    flip(database, b"he text of 7")
    await run(database)
    flip(database, b"he text of 7")
    (database.parent / seal.NAME).unlink()
    await run(database)
    assert verdict(database, "seal") == "ok"


@pytest.mark.asyncio
async def test_a_database_that_was_written_to_has_no_seal(database: Path) -> None:
    await run(database)
    with closing(sqlite3.connect(database)) as connection:  # within the tick of the file system's clock
        connection.execute("UPDATE kept SET text = 'edited by hand' WHERE n = 7")
        connection.commit()
    assert seal.is_broken(database) is None
    assert verdict(database, "seal") == "note"
    await run(database)
    assert seal.is_broken(database) is False


@pytest.mark.asyncio
async def test_a_large_database_and_a_torn_seal_are_no_hindrance(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(database)
    (database.parent / seal.NAME).write_bytes(b'{"size": 1')
    assert seal.is_broken(database) is None
    monkeypatch.setattr(seal, "LARGEST", 1000)
    await run(database)
    assert not (database.parent / seal.NAME).exists()


@pytest.mark.asyncio
async def test_a_run_whose_storage_failed_seals_nothing(database: Path) -> None:
    store = SqliteStore(database)
    await store.open(PLAN)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE kept")
    with pytest.raises(Exception, match="no such table"):
        await store.commit(Completion(None, State.DONE, [], [Kept(1, "")]))
    await store.close()
    assert not (database.parent / seal.NAME).exists()


@pytest.mark.asyncio
async def test_without_a_seal_the_journal_tells_of_the_records_that_it_holds(database: Path) -> None:
    await run(database)
    assert verdict(database, "records") == "ok"
    (database.parent / seal.NAME).unlink()
    flip(database, b"long enough")
    assert verdict(database, "pages") == "ok"
    assert verdict(database, "records") == "bad"


def test_the_hash_of_a_record_is_known_without_its_type() -> None:
    kind = record_type(Kept)
    for value in (Kept(1, "a"), Kept(2, "\ud800 ü", (3, 4))):
        encoded = kind.encode(value)
        assert encoded_identity(encoded, ["seen"]) == kind.identity(value, encoded)
