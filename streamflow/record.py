"""Records: the immutable, typed, keyed values that flow through a pipeline.

    @record(key="doi", table="with_metadata", merge={"seen_in": union})
    class Work:
        doi: str
        title: str
        seen_in: tuple[str, ...] = ()

A record's content is a function of its key, or its type declares for each field that may differ how two contents
merge. Merge rules are commutative and associative, so the order of arrival never changes a table.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from streamflow.errors import RecordError

T = TypeVar("T")
Key = str | int
"""A single key field as it is, or several as the text of a JSON array."""
MergeRule = Callable[[Any, Any], Any]

_IMMUTABLE = (tuple, frozenset)
PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
"""Types whose values a database and JSON hold as they are."""
_SCALARS = (str, int, float, bool, bytes, type(None), datetime, date, time, timedelta, UUID, Decimal)


def union(old: Any, new: Any) -> tuple[Any, ...]:
    """Merge two tuples into the sorted tuple of their distinct values."""
    return tuple(sorted({*old, *new}, key=lambda value: (str(type(value)), value)))


@dataclasses.dataclass(frozen=True)
class latest:
    """Merge by taking the field from the record whose field `by` is greater; equal times take the greater value."""

    by: str


@dataclasses.dataclass(frozen=True)
class RecordType:
    """What the engine knows of one record type. `table` is None for records that are no rows."""

    cls: type[Any]
    name: str
    key_fields: tuple[str, ...]
    table: str | None
    merge: Mapping[str, MergeRule | latest]
    fields: Mapping[str, Any]
    optional: frozenset[str]
    key_of: Callable[[Any], Key]
    _encode: Callable[[Any], bytes]
    _decode: Callable[[bytes], Any]
    _floats: tuple[str, ...]
    _values: Callable[[Any], tuple[Any, ...]]
    _fits: Callable[[tuple[Any, ...]], bool]

    def values(self, value: Any) -> tuple[Any, ...]:
        """The values of the fields, in their order.

        Raises RecordError when one is not of its field's type: it could be stored, but never be read again.
        """
        values = self._values(value)
        if not self._fits(values):
            try:
                plain = msgspec.to_builtins(value, builtin_types=(bytes,))
                msgspec.convert(plain, self.cls, builtin_types=(bytes,))
            except (TypeError, ValueError) as error:
                raise RecordError(f"{self.name} cannot be stored: {error}") from error
        return values

    def key_values(self, key: str) -> tuple[str | int, ...]:
        """The values of the key's fields from the text of a key.

        Raises RecordError for the text of one that had other fields.
        """
        hints = [self.fields[name] for name in self.key_fields]
        values: Any = None
        with suppress(ValueError):
            values = json.loads(key) if not _is_plain_key(hints) else [int(key) if hints[0] is int else key]
        is_list = isinstance(values, list) and len(values) == len(hints)
        if not is_list or not all(type(value) in members(hint) for value, hint in zip(values, hints, strict=True)):
            raise RecordError(f"{key!r} is no key of {self.name}")
        return tuple(values)

    def encode(self, value: Any) -> bytes:
        """The record as JSON; `decode` gives back an equal record, lone surrogates included.

        Raises RecordError where JSON cannot carry the value (NaN, infinities, a wrong type).
        """
        self.check_finite(value)
        try:
            return self._encode(value)
        except UnicodeEncodeError:
            return json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":")).encode()
        except (TypeError, ValueError, OverflowError) as error:
            raise RecordError(f"{self.name} cannot be stored: {error}") from error

    def check_finite(self, value: Any) -> None:
        """Raises RecordError for NaN and infinities, at any depth."""
        for name in self._floats:
            number = getattr(value, name)
            if isinstance(number, float):
                if not math.isfinite(number):
                    raise RecordError(f"{self.name}.{name} is {number}: only finite numbers can be stored; use None")
            elif number is not None:
                try:
                    json.dumps(_plain(number), allow_nan=False)
                except ValueError:
                    raise RecordError(f"{self.name}.{name} is {number}: only finite numbers can be stored") from None

    def decode(self, data: bytes) -> Any:
        """Raises RecordError when the stored bytes no longer fit the type."""
        try:
            return self._decode(data)
        except msgspec.ValidationError as error:
            raise RecordError(f"a stored {self.name} no longer fits its type: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            try:
                return msgspec.convert(json.loads(data), self.cls)
            except (ValueError, msgspec.ValidationError) as error:
                raise RecordError(f"a stored {self.name} cannot be read: {error}") from error

    def identity(self, value: Any, encoded: bytes) -> bytes:
        """Sixteen bytes that tell whether a record of the same key says something new.

        Fields that merge are left out: they may differ with the order of arrival, which is no change.
        """
        if self.merge:
            own = [getattr(value, name) for name in self.fields if name not in self.merge]
            encoded = json.dumps(_plain(own)).encode()
        return _hash(encoded)

    def merged(self, old: Any, new: Any) -> tuple[Any, tuple[str, ...]]:
        """One content from two of the same key, and the fields that differ without a rule.

        Those fields take the content that encodes smaller, so that the result does not depend on the order.
        """
        if old == new:
            return old, ()
        changes: dict[str, Any] = {}
        conflicts: list[str] = []
        for name in self.fields:
            before, after = getattr(old, name), getattr(new, name)
            if before == after:
                continue
            rule = self.merge.get(name)
            if rule is None:
                conflicts.append(name)
            elif isinstance(rule, latest):
                changes[name] = _later(rule, name, old, new)
            elif before is None or after is None:
                changes[name] = after if before is None else before
            else:
                changes[name] = rule(before, after)
        if conflicts and self._encode_fields(new, conflicts) < self._encode_fields(old, conflicts):
            changes.update((name, getattr(new, name)) for name in conflicts)
        return dataclasses.replace(old, **changes), tuple(conflicts)

    def at_odds(self, old: Any, new: Any) -> tuple[str, ...]:
        """The fields without a rule in which two contents of one key differ."""
        own = [name for name in self.fields if name not in self.merge]
        return tuple(name for name in own if getattr(old, name) != getattr(new, name))

    def replaced(self, old: Any, new: Any) -> Any:
        """The new content, with the fields that merge merged."""
        merged, _ = self.merged(old, new)
        return dataclasses.replace(new, **{name: getattr(merged, name) for name in self.merge})

    def _encode_fields(self, value: Any, names: list[str]) -> list[str]:
        # Compared field by field: the order must be the same whichever of the fields differ.
        return [json.dumps(_plain(getattr(value, name))) for name in names]


def encoded_identity(encoded: bytes, merging: Collection[str]) -> bytes:
    """`RecordType.identity` without the type. Raises ValueError for what is no JSON object."""
    if merging:
        fields = json.loads(encoded)
        if not isinstance(fields, dict):
            raise ValueError("it is no JSON object")
        encoded = json.dumps([value for name, value in fields.items() if name not in merging]).encode()
    return _hash(encoded)


def _hash(encoded: bytes) -> bytes:
    return blake2b(encoded, digest_size=16).digest()


def _plain(value: Any) -> Any:
    """The value as JSON's types. Sets are sorted: each process has its own order of them."""
    return msgspec.to_builtins(value, order="deterministic")


def _may_hold_float(hint: Any) -> bool:
    if dataclasses.is_dataclass(hint):
        return any(map(_may_hold_float, get_type_hints(hint).values()))
    return hint is float or any(map(_may_hold_float, get_args(hint)))


def _later(rule: latest, name: str, old: Any, new: Any) -> Any:
    """A field by `latest`. No time is earlier than any, and at equal times no value loses to any."""
    ranks = [(it is not None, it) for it in (getattr(old, rule.by), getattr(new, rule.by))]
    if ranks[0] != ranks[1]:
        return getattr(max(zip(ranks, (old, new), strict=True), key=lambda pair: pair[0])[1], name)
    return max((getattr(old, name), getattr(new, name)), key=lambda value: (value is not None, value))


@dataclass_transform(frozen_default=True)
def record(
    *bare: typing.Never,
    key: str | tuple[str, ...] = (),
    table: str | None = None,
    merge: Mapping[str, MergeRule | latest] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Make a class a record type: a frozen, slotted dataclass with a key.

    `key` is one field or a tuple of fields and is unique within the type. With `table`, records are upserted by key
    into that table in the transaction that emits them. `merge` maps fields to `min`, `max`, `union`,
    `latest("time_field")` or any other commutative function of two values.

    Raises RecordError when the declaration cannot work; the message says how to mend it.
    """

    if bare:
        named = getattr(bare[0], "__qualname__", repr(bare[0]))
        raise RecordError(f"{named} says nothing of its key: write @record(key=…), naming the field that identifies it")

    def decorate(cls: type[T]) -> type[T]:
        made: type[T] = dataclasses.dataclass(frozen=True, slots=True)(cls)
        made.__record__ = _describe(made, key, table, dict(merge or {}))  # type: ignore[attr-defined]
        return made

    return decorate


def is_record(cls: object) -> bool:
    """Whether a type was made by `@record`. A subclass of a record type is not one by itself."""
    return isinstance(cls, type) and "__record__" in cls.__dict__


def record_type(cls: type[Any]) -> RecordType:
    """What `@record` declared about a type. Raises RecordError for other types."""
    if not is_record(cls):
        raise RecordError(f"{cls.__qualname__} is not a record: decorate it with @record(key=…)")
    described: RecordType = cls.__dict__["__record__"]
    return described


def _describe(
    cls: type[Any], key: str | tuple[str, ...], table: str | None, merge: dict[str, MergeRule | latest]
) -> RecordType:
    name = cls.__qualname__.rpartition(".")[2]
    fields = [field.name for field in dataclasses.fields(cls)]
    key_fields = (key,) if isinstance(key, str) else key
    if not isinstance(key_fields, tuple):
        raise RecordError(f"{name}: the key is {key!r}; name a field, or a tuple of fields")
    for field, rule in merge.items():
        if not callable(rule) and not isinstance(rule, latest):
            raise RecordError(
                f"{name}.{field} merges by {rule!r}, which is no rule: give the function itself, as min, max or union"
            )
    for wanted in (*key_fields, *merge, *(rule.by for rule in merge.values() if isinstance(rule, latest))):
        if wanted not in fields:
            raise RecordError(
                f"{name} has no field {wanted!r}, which its key or merge names; it has {', '.join(fields)}"
            )
    if not key_fields:
        raise RecordError(f"{name} has an empty key: name the field that identifies it")
    if overlap := set(key_fields) & set(merge):
        raise RecordError(f"{name}: {', '.join(sorted(overlap))} is part of the key and cannot merge")
    if table is not None:
        _check_table(name, table, fields)
    decoder: list[Callable[[bytes], Any]] = []

    def decode(data: bytes) -> Any:
        # Built at first use: forward references to types below the record resolve only then.
        if not decoder:
            decoder.append(msgspec.json.Decoder(cls).decode)
        return decoder[0](data)

    hints = _hints(cls, name, fields)
    return RecordType(
        cls=cls,
        name=name,
        key_fields=key_fields,
        table=table,
        merge=merge,
        fields=hints,
        optional=frozenset(field for field, hint in hints.items() if type(None) in members(hint)),
        key_of=_key_function(name, key_fields, hints),
        _encode=msgspec.json.Encoder(order="deterministic").encode,
        _decode=decode,
        _floats=tuple(field for field, hint in hints.items() if _may_hold_float(hint)),
        _values=_values_function(fields),
        _fits=_fits_function(hints),
    )


def _check_table(name: str, table: str, fields: list[str]) -> None:
    """SQLite takes names that differ only in case for one."""
    if not table.isidentifier():
        raise RecordError(f"{name}: {table!r} is no table name; use letters, digits and underscores")
    if table.casefold().startswith(("sqlite_", "streamflow_")):
        raise RecordError(f"{name}: {table!r} is no table name: the store's own begin like that; choose another")
    if taken := [field for field in fields if field.casefold() in ("created_at", "updated_at")]:
        raise RecordError(f"{name}: every table already has {', '.join(sorted(taken))}; rename the field")
    columns: dict[str, str] = {}
    for field in fields:
        if (other := columns.setdefault(field.casefold(), field)) != field:
            raise RecordError(f"{name}: {other!r} and {field!r} differ only in case, which no table tells; rename one")


def _values_function(fields: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(fields) == 1:
        get = attrgetter(*fields)
        return lambda value: (get(value),)
    return attrgetter(*fields)


def _fits_function(hints: Mapping[str, Any]) -> Callable[[tuple[Any, ...]], bool]:
    """A quick look at the types of all values, for rows are many; False where it cannot tell."""
    if not all(map(_is_of_scalars, hints.values())):
        return lambda values: False
    shape = msgspec.defstruct("_Shape", list(hints.items()), array_like=True, gc=False)
    are_plain = all(set(members(hint)) <= PLAIN for hint in hints.values())
    known: set[tuple[type[Any], ...]] = set()  # of plain fields the types decide, and they are few

    def fits(values: tuple[Any, ...]) -> bool:
        kinds = tuple(map(type, values))
        if kinds in known:
            return True
        try:
            msgspec.convert(values, shape, builtin_types=(bytes,))
        except msgspec.ValidationError:
            return False
        if are_plain:
            known.add(kinds)
        return True

    return fits


def _is_of_scalars(hint: Any) -> bool:
    if get_origin(hint) is Literal or hint is Ellipsis:
        return True
    if args := get_args(hint):
        return all(map(_is_of_scalars, args))
    return hint in _SCALARS or (isinstance(hint, type) and issubclass(hint, Enum))


def _hints(cls: type[Any], name: str, fields: list[str]) -> dict[str, Any]:
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise RecordError(
            f"{name}: an annotation cannot be resolved ({error}); define the type above the record"
        ) from error
    for field in fields:
        _check_immutable(f"{name}.{field}", hints[field])
    return {field: hints[field] for field in fields}


def members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the type itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return get_args(hint)
    return (hint,)


def _check_immutable(where: str, hint: Any) -> None:
    for member in members(hint):
        origin = get_origin(member) or member
        if origin in (list, dict, set, bytearray):
            instead = {list: "tuple[T, ...]", set: "frozenset[T]"}.get(origin, "a tuple or a frozen dataclass")
            raise RecordError(f"{where} is a {origin.__name__}, which can change as it flows; use {instead}")
        if origin in _IMMUTABLE:
            for inner in get_args(member):
                if inner is not Ellipsis:
                    _check_immutable(where, inner)


def _is_plain_key(hints: list[Any]) -> bool:
    """Whether a key is its one field as it is, and not a JSON array."""
    return len(hints) == 1 and len(members(hints[0])) == 1


def _key_function(name: str, key_fields: tuple[str, ...], hints: Mapping[str, Any]) -> Callable[[Any], Key]:
    for field in key_fields:
        if not set(members(hints[field])) <= {str, int}:
            raise RecordError(f"{name}.{field} is part of the key and must be str or int, not {hints[field]}")
    if _is_plain_key([hints[field] for field in key_fields]):
        return typing.cast("Callable[[Any], Key]", attrgetter(key_fields[0]))
    return lambda value: json.dumps([getattr(value, f) for f in key_fields], ensure_ascii=False, separators=(",", ":"))
