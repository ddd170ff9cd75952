"""Record types as tables: plain typed columns that `sqlite3`, Datasette and pandas understand."""

import enum
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from time import process_time
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamflow.errors import RecordError, WorkspaceError
from streamflow.record import record, record_type
from streamflow.storage import sqlite
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Plan, State
from streamflow.storage.tables import Table, from_text, to_text
from tests.test_record import texts

NOW = "2026-01-01T00:00:00.000"


class Kind(enum.Enum):
    BOOK = "book"


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Name:
    given: str
    raw: bytes = b""


@record(key=("key", "part"), table="everything")
class Everything:
    key: str
    part: int
    text: str = "t"
    number: int = 1
    real: float = 0.5
    flag: bool = True
    data: bytes = b"\x00\xff"
    when: datetime | None = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    day: date = date(2020, 1, 2)
    kind: Kind = Kind.BOOK
    level: Level = Level.LOW
    literal: Literal["a", "b"] | None = "a"
    names: tuple[Name, ...] = (Name("x", b"\x01"), Name("é"))
    tags: frozenset[str] = frozenset("ba")
    mixed: str | int = 5
    number_or_real: int | float = 2**53 + 1
    nothing: str | None = None


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as it:
        yield it


def put(connection: sqlite3.Connection, table: Table, value: Any) -> tuple[Any, ...]:
    connection.execute(table.create)
    connection.execute(table.insert, (*table.values(value), NOW, NOW))
    row: tuple[Any, ...] = connection.execute(table.select, table.key(value)).fetchone()
    return row


def test_columns_are_plain_and_typed(connection: sqlite3.Connection) -> None:
    table = Table(record_type(Everything))
    row = put(connection, table, Everything("k", 1))
    assert dict(zip((*table.columns, "created_at", "updated_at"), row, strict=True)) == {
        "key": "k",
        "part": 1,
        "text": "t",
        "number": 1,
        "real": 0.5,
        "flag": 1,
        "data": b"\x00\xff",
        "when": "2020-01-02T03:04:05Z",
        "day": "2020-01-02",
        "kind": "book",
        "level": 1,
        "literal": "a",
        "names": '[{"given":"x","raw":"AQ=="},{"given":"é","raw":""}]',
        "tags": '["a","b"]',
        "mixed": 5,
        "number_or_real": 2**53 + 1,
        "nothing": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    types = {row[1]: row[2] for row in connection.execute("PRAGMA table_info(everything)")}
    assert types["number"] == types["flag"] == types["level"] == "INTEGER"
    assert types["real"] == "REAL"
    assert types["data"] == "BLOB"
    assert types["text"] == types["when"] == types["kind"] == types["literal"] == types["names"] == "TEXT"
    assert types["created_at"] == types["updated_at"] == "TEXT"


def test_a_row_gives_back_its_record(connection: sqlite3.Connection) -> None:
    table = Table(record_type(Everything))
    for value in (Everything("k", 1), Everything("k", 2, when=None, literal=None, mixed="5", number_or_real=0.25)):
        assert table.record(put(connection, table, value)) == value


@settings(max_examples=200, deadline=None)
@given(
    key=texts,
    text=texts,
    number=st.integers(-(2**63), 2**63 - 1),
    real=st.floats(allow_nan=False, allow_infinity=False),
    mixed=st.integers(-9, 9) | texts,
    tags=st.frozensets(texts, max_size=3),
    names=st.lists(st.builds(Name, texts, st.binary(max_size=3)), max_size=2).map(tuple),
)
@example(key="5", text="5", number=5, real=5.0, mixed="5", tags=frozenset("5"), names=())
def test_any_content_comes_back(key: str, **fields: Any) -> None:
    table = Table(record_type(Everything))
    value = Everything(key, 1, **fields)
    with closing(sqlite3.connect(":memory:")) as connection:
        row = put(connection, table, value)
        assert table.record(row) == value
        assert row[:-2] == table.values(value), "so that an unchanged row is seen to be one"


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from(["\\", "u", "d", "D", "c", "8", "0", "f", "\udcff", "\ud800", "é", "x"]), max_size=14))
def test_text_that_looks_escaped_comes_back(text: str) -> None:
    escaped = to_text(text)
    assert from_text(escaped) == text
    escaped.encode("utf-8")


@given(texts, texts)
def test_escaping_keeps_texts_apart(one: str, other: str) -> None:
    assert (to_text(one) == to_text(other)) == (one == other)


def test_a_long_run_of_backslashes_takes_no_longer_than_its_length_warrants() -> None:
    text = "é" + "\\" * 200_000 + "\\u"
    began = process_time()
    assert from_text(to_text(text)) == text
    assert process_time() - began < 2


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_do_not_become_null(number: float) -> None:
    with pytest.raises(RecordError, match="only finite numbers"):
        Table(record_type(Everything)).values(Everything("k", 1, real=number))


def test_a_row_that_no_longer_fits_says_which_column() -> None:
    @record(key="n", table="them")
    class It:
        n: int
        year: int

    table = Table(record_type(It))
    with pytest.raises(RecordError, match=r"them\.year no longer fits It"):
        table.record((1, "soon", NOW))
    with pytest.raises(RecordError, match=r"a row of them no longer fits It.*year"):
        table.record((1, None, NOW))


@pytest.mark.parametrize("name", ["order", "select", "group", "values"])
def test_words_of_sql_are_good_names(connection: sqlite3.Connection, name: str) -> None:
    kind = record(key=name, table=name)(type("It", (), {"__annotations__": {name: str, "where": str}}))
    table = Table(record_type(kind))
    assert table.record(put(connection, table, kind("a", "b"))) == kind("a", "b")
    page = table.select_page(table.columns, is_first=True)
    assert connection.execute(page, (9,)).fetchall() == [("a", "b")]
    connection.execute(table.update, (*table.values(kind("a", "c")), NOW, *table.key(kind("a", "c"))))
    assert connection.execute(page, (9,)).fetchall() == [("a", "c")]


# --- tables of an older release ------------------------------------------------------------------------------------


def older() -> Any:
    @record(key="doi", table="works")
    class Work:
        doi: str
        title: str

    return Work


def newer() -> Any:
    @record(key="doi", table="works")
    class Work:
        doi: str
        title: str
        year: int | None = None
        venue: str = "unknown"
        authors: tuple[str, ...] = ()

    return Work


async def commit(path: Path, kind: Any, *rows: Any) -> list[Any]:
    store = SqliteStore(path)
    await store.open(Plan("test", {}, [record_type(kind)]))
    try:
        await store.commit(Completion(None, State.DONE, (), rows))
        return list(await store.rows(record_type(kind)))
    finally:
        await store.close()


@pytest.mark.asyncio
async def test_a_new_field_becomes_a_new_column_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "streamflow.db"
    old, new = older(), newer()
    await commit(path, old, old("a", "A"), old("b", "B"))
    assert await commit(path, new, new("c", "C", 2020, "here", ("x",))) == [
        new("a", "A"),
        new("b", "B"),
        new("c", "C", 2020, "here", ("x",)),
    ]


@pytest.mark.asyncio
async def test_an_older_release_leaves_the_columns_that_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "streamflow.db"
    old, new = older(), newer()
    await commit(path, new, new("a", "A", 2020, "here"))
    assert await commit(path, old, old("b", "B")) == [old("a", "A"), old("b", "B")]
    assert await commit(path, new) == [new("a", "A", 2020, "here"), new("b", "B")]


@pytest.mark.asyncio
async def test_an_unchanged_row_of_an_older_release_is_no_difference(tmp_path: Path) -> None:
    """The new fields of an old row hold their defaults: the same record again changes nothing."""
    path = tmp_path / "streamflow.db"
    old, new = older(), newer()
    await commit(path, old, old("a", "A"))
    store = SqliteStore(path)
    await store.open(Plan("test", {}, [record_type(new)]))
    try:
        await store.commit(Completion(None, State.DONE, (), [new("a", "A")]))
        assert list(store.differences()) == []
    finally:
        await store.close()


@pytest.mark.asyncio
async def test_a_table_without_the_new_columns_is_read_with_the_fields_defaults(tmp_path: Path) -> None:
    """As an export does before the next run: SQLite takes the name of a column that is not there for a text."""
    path = tmp_path / "streamflow.db"
    old, new = older(), newer()
    await commit(path, old, old("a", "A"))
    assert await SqliteStore(path).rows(record_type(new)) == [new("a", "A")]


@pytest.mark.asyncio
async def test_a_table_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "streamflow.db"
    await commit(path, older())

    @record(key="n", table="later")
    class Later:
        n: int

    with pytest.raises(WorkspaceError, match=r"no table 'later' yet: run the pipeline"):
        await SqliteStore(path).rows(record_type(Later))


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["title", ("doi", "title")])
async def test_another_key_is_refused_before_anything_is_changed(tmp_path: Path, key: Any) -> None:
    path = tmp_path / "streamflow.db"
    old = older()
    await commit(path, old, old("a", "A"))

    @record(key=key, table="works")
    class Work:
        doi: str
        title: str
        year: int | None = None

    @record(key="n", table="also")
    class Also:
        n: int

    advice = r"the table works has the key \(doi\), and Work has now .*ALTER TABLE works RENAME"
    with pytest.raises(WorkspaceError, match=advice):
        await SqliteStore(path).open(Plan("test", {}, [record_type(Also), record_type(Work)]))
    with pytest.raises(WorkspaceError, match=advice):
        await SqliteStore(path).rows(record_type(Work))
    with closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert "also" not in tables
        connection.execute("ALTER TABLE works RENAME TO works_old")
    assert await commit(path, Work, Work("a", "A")) == [Work("a", "A")]


@pytest.mark.asyncio
async def test_rows_come_page_by_page_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PAGE", 3)

    @record(key=("text", "part"), table="parts")
    class It:
        text: str
        part: int

    for count in (0, 1, 3, 4, 9):
        rows = sorted((It(text, part) for part in range(count) for text in ("a", "", "é", "\udcff")), key=_place)
        path = tmp_path / f"{count}.db"
        assert sorted(await commit(path, It, *rows), key=_place) == rows


def _place(row: Any) -> Any:
    return row.text, row.part
