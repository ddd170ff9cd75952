"""Record types as SQLite tables: columns, upserts, merges, new columns in old databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any, Literal, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import to_builtins

from streamflow.errors import RecordError, WorkspaceError
from streamflow.record import PLAIN, Key, RecordType, members

# A run of backslashes is looked at from its beginning only, else a long one would be looked at from each of its signs.
_SURROGATE = re.compile(r"(?<!\\)(\\*+)([\ud800-\udfff]|u[dD][89a-fA-F][0-9a-fA-F]{2})")
_ESCAPED = re.compile(r"(?<!\\)(\\++)u([dD][89a-fA-F][0-9a-fA-F]{2})")


def to_text(text: str) -> str:
    r"""Text that SQLite can hold: lone surrogates, as in file names that are not UTF-8, become `\udcXX`.

    `from_text` gives back the original for any text; backslashes before such sequences are doubled.
    """
    if text.isascii() and "\\u" not in text:
        return text

    def escape(match: re.Match[str]) -> str:
        slashes, rest = match.groups()
        if len(rest) == 1:
            return f"{slashes * 2}\\u{ord(rest):04x}"
        return slashes * 2 + rest

    return _SURROGATE.sub(escape, text)


def from_text(text: str) -> str:
    """The inverse of `to_text`."""
    if "\\u" not in text:
        return text

    def unescape(match: re.Match[str]) -> str:
        slashes, code = match.groups()
        half = "\\" * (len(slashes) // 2)
        return half + (chr(int(code, 16)) if len(slashes) % 2 else f"u{code}")

    return _ESCAPED.sub(unescape, text)


def key_text(key: Key) -> str:
    """A key as the journal holds it."""
    return to_text(key) if isinstance(key, str) else int.__repr__(key)


# How a column holds fields of these types: most as they are, the others as the text or number that names them.
_HELD: dict[Any, type[Any]] = {kind: kind for kind in (str, int, float, bool, bytes)}
_HELD |= dict.fromkeys((datetime, date, time, timedelta, UUID, Decimal), str)


def _held(hint: Any) -> frozenset[type[Any]] | None:
    """The types that a column holds for a field, None apart; None where it holds JSON."""
    kinds: set[type[Any]] = set()
    for member in members(hint):
        if get_origin(member) is Literal:
            kinds.update(type(value) for value in get_args(member))
        elif isinstance(member, type) and issubclass(member, Enum):
            kinds.update(type(each.value) for each in member)
        elif member in _HELD:
            kinds.add(_HELD[member])
        elif member is not type(None):
            return None
    return frozenset(kinds - {type(None)})


def _affinity(hint: Any) -> str:
    kinds = _held(hint)
    if kinds is None or kinds <= {str}:
        return "TEXT"
    if kinds <= {int, bool}:
        return "INTEGER"
    if kinds <= {float}:
        return "REAL"
    if kinds <= {int, bool, float}:
        return "NUMERIC"
    return "BLOB"  # values stay what they are, be it bytes, or text beside numbers


def _to_column(hint: Any) -> Callable[[Any], Any]:
    """What makes a field of this type into its column's value."""
    if _held(hint) is None:
        return _json
    kinds = [kind for kind in members(hint) if kind is not type(None)]
    if all(get_origin(kind) is Literal or _HELD.get(kind) is kind for kind in kinds):
        return _bindable
    return lambda value: _bindable(to_builtins(value))


@dataclass(frozen=True, eq=False)
class Table:
    """The SQL of one record type. Statements take and give values in the order of `columns`."""

    type: RecordType

    @cached_property
    def name(self) -> str:
        return self.type.table or ""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.type.fields)

    @cached_property
    def _converters(self) -> tuple[Callable[[Any], Any], ...]:
        return tuple(map(_to_column, self.type.fields.values()))

    @cached_property
    def _is_plain(self) -> bool:
        """Whether every column holds its field as it is: rows are made for every completion, most of them so."""
        return all(set(members(hint)) <= PLAIN for hint in self.type.fields.values())

    @cached_property
    def _is_json(self) -> tuple[bool, ...]:
        return tuple(_held(hint) is None for hint in self.type.fields.values())

    @cached_property
    def create(self) -> str:
        columns = [f'"{name}" {_affinity(hint)}' for name, hint in self.type.fields.items()]
        keys = ", ".join(f'"{name}"' for name in self.type.key_fields)
        return (
            f'CREATE TABLE IF NOT EXISTS "{self.name}" ({", ".join(columns)}, '
            f"created_at TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY ({keys}))"
        )

    def additions(self, present: Sequence[str]) -> list[str]:
        """Statements that add the columns an older table lacks."""
        return [
            f'ALTER TABLE "{self.name}" ADD COLUMN "{name}" {_affinity(hint)}'
            for name, hint in self.type.fields.items()
            if name not in present
        ]

    @cached_property
    def insert(self) -> str:
        """Insert a row unless its key is there; the count of changed rows tells whether all were new."""
        names = ", ".join(f'"{name}"' for name in self.columns)
        marks = ", ".join("?" * len(self.columns))
        return (
            f'INSERT INTO "{self.name}" ({names}, created_at, updated_at) '  # noqa: S608 - names are identifiers
            f"VALUES ({marks}, ?, ?) ON CONFLICT DO NOTHING"
        )

    @cached_property
    def update(self) -> str:
        """Takes the columns, updated_at, then the key."""
        names = ", ".join(f'"{name}" = ?' for name in self.columns)
        return f'UPDATE "{self.name}" SET {names}, updated_at = ? WHERE {self._where}'  # noqa: S608

    @cached_property
    def select(self) -> str:
        names = ", ".join(f'"{name}"' for name in self.columns)
        return f'SELECT {names}, created_at, updated_at FROM "{self.name}" WHERE {self._where}'  # noqa: S608

    @cached_property
    def delete(self) -> str:
        return f'DELETE FROM "{self.name}" WHERE {self._where}'  # noqa: S608

    def check(self, info: Sequence[tuple[Any, ...]]) -> None:
        """Raises WorkspaceError when a table, as `PRAGMA table_info` tells of it, has another key."""
        key = {row[1] for row in info if row[5]}
        if info and key != set(self.type.key_fields):
            raise WorkspaceError(
                f"the table {self.name} has the key {_listed(sorted(key))}, and {self.type.name} has now "
                f"{_listed(self.type.key_fields)}: give the record type another table=, or put the old one aside with "
                f"`ALTER TABLE {self.name} RENAME TO {self.name}_old` and run with --refresh"
            )

    def select_page(self, present: Collection[str], *, is_first: bool) -> str:
        """Select rows by key, of a table that has these columns; NULL stands for those that it lacks.

        Takes the key after which the page begins, unless it is the first, and the length.
        """
        names = ", ".join(f'"{name}"' if name in present else "NULL" for name in self.columns)
        keys = ", ".join(f'"{name}"' for name in self.type.key_fields)
        after = "" if is_first else f"WHERE ({keys}) > ({', '.join('?' * len(self.type.key_fields))}) "
        return f'SELECT {names} FROM "{self.name}" {after}ORDER BY {keys} LIMIT ?'  # noqa: S608

    @cached_property
    def _where(self) -> str:
        return " AND ".join(f'"{name}" = ?' for name in self.type.key_fields)

    def values(self, value: Any) -> tuple[Any, ...]:
        """A record as one value per column. Raises RecordError for what could not be read again: a value of another
        type than its field's, a number that is not finite."""
        self.type.check_finite(value)
        fields = self.type.values(value)
        if self._is_plain:
            return tuple([to_text(field) if type(field) is str else field for field in fields])
        return tuple(convert(field) for convert, field in zip(self._converters, fields, strict=True))

    def key(self, value: Any) -> tuple[Any, ...]:
        """The key of a record as the values its columns hold."""
        return tuple(_bindable(getattr(value, name)) for name in self.type.key_fields)

    def emitted(self, value: Any) -> tuple[str, str]:
        """A record as its parents name it: its type's name, and its key as text."""
        return self.type.name, key_text(self.type.key_of(value))

    def key_from_text(self, text: str) -> tuple[Any, ...]:
        """The same from a key as the journal holds it. Raises RecordError for one of another shape."""
        return tuple(map(_bindable, self.type.key_values(from_text(text))))

    def record(self, row: Sequence[Any]) -> Any:
        """The record that a row of `select` or `select_page` holds. Raises RecordError when it no longer fits."""
        fields: dict[str, Any] = {}
        for (name, hint), is_json, value in zip(self.type.fields.items(), self._is_json, row, strict=False):
            if value is None and name not in self.type.optional:
                continue  # a column added to an old table: the field's default holds
            try:
                if isinstance(value, str):
                    value = json.loads(from_text(value)) if is_json else from_text(value)
                fields[name] = msgspec.convert(value, hint, strict=False, builtin_types=() if is_json else (bytes,))
            except (msgspec.ValidationError, ValueError) as error:
                raise RecordError(f"{self.name}.{name} no longer fits {self.type.name}: {error}") from error
        try:
            return self.type.cls(**fields)
        except TypeError as error:
            raise RecordError(f"a row of {self.name} no longer fits {self.type.name}: {error}") from error


def _listed(names: Sequence[str]) -> str:
    return f"({', '.join(names)})"


def _bindable(value: Any) -> Any:
    return to_text(value) if isinstance(value, str) else value


def _json(value: Any) -> str | None:
    if value is None:
        return None
    # Sets are sorted, so that equal records have equal columns.
    return to_text(json.dumps(to_builtins(value, order="deterministic"), ensure_ascii=False, separators=(",", ":")))
