"""Records: what a declaration may say, how contents merge, and that encoding gives back what it was given."""

import dataclasses
import enum
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow.errors import RecordError, UsageError
from streamflow.record import is_record, latest, record, record_type, union


@dataclasses.dataclass(frozen=True)
class Name:
    given: str
    family: str


class Kind(enum.Enum):
    BOOK = "book"
    PAPER = "paper"


@record(key="key")
class Everything:
    key: str
    text: str
    number: int
    real: float
    flag: bool
    data: bytes
    maybe: str | None
    names: tuple[Name, ...]
    tags: frozenset[str]
    pair: tuple[int, str]
    when: datetime | None
    day: date | None
    kind: Kind
    literal: Literal["a", "b"]


# Any text, lone surrogates included; a high one before a low one is no lone one.
texts = st.text(st.characters(exclude_categories=()), max_size=20).filter(
    lambda text: not any("\ud800" <= a <= "\udbff" and "\udc00" <= b <= "\udfff" for a, b in itertools.pairwise(text))
)
everything = st.builds(
    Everything,
    key=texts,
    text=texts,
    number=st.integers(-(2**63), 2**63 - 1),
    real=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    data=st.binary(max_size=20),
    maybe=st.none() | texts,
    names=st.lists(st.builds(Name, texts, texts), max_size=3).map(tuple),
    tags=st.frozensets(texts, max_size=3),
    pair=st.tuples(st.integers(-9, 9), texts),
    when=st.none() | st.datetimes(timezones=st.just(UTC)),
    day=st.none() | st.dates(),
    kind=st.sampled_from(Kind),
    literal=st.sampled_from(["a", "b"]),
)


@settings(max_examples=200, deadline=None)
@given(everything)
def test_decode_gives_back_what_was_encoded(value: Everything) -> None:
    described = record_type(Everything)
    encoded = described.encode(value)
    assert described.decode(encoded) == value
    encoded.decode("utf-8")


def test_records_are_immutable_hashable_and_equal_by_value() -> None:
    @record(key="n")
    class It:
        n: int
        text: str = ""

    assert It(1, "a") == It(1, "a")
    assert len({It(1), It(1), It(2)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        It(1).n = 2
    with pytest.raises((AttributeError, TypeError)):
        It(1).other = 2
    assert is_record(It)
    assert not is_record(It(1))


def test_a_subclass_of_a_record_is_none() -> None:
    @record(key="n")
    class Base:
        n: int

    class Sub(Base): ...

    assert not is_record(Sub)
    with pytest.raises(RecordError, match="Sub is not a record: decorate it"):
        record_type(Sub)


def test_keys_are_text_that_tells_keys_apart() -> None:
    @record(key="n")
    class One:
        n: int

    @record(key=("a", "b"))
    class Two:
        a: str
        b: str | int

    assert record_type(One).key_of(One(-7)) == -7
    pairs = [("a", "b"), ('a","b', ""), ("a", '"b'), ("", 'a","b'), ("1", 1), ("1", "1"), ("\udcff", "")]
    keys = [record_type(Two).key_of(Two(*pair)) for pair in pairs]
    assert len({*keys}) == len(pairs)
    assert [record_type(Two).key_values(str(key)) for key in keys] == pairs
    assert record_type(One).key_values("-7") == (-7,)
    for kind, text in [(One, "a"), *((Two, text) for text in ("a", "5", '"ab"', '["a"]', '["a",[1]]', '[1,"b"]'))]:
        with pytest.raises(RecordError, match="no key of"):
            record_type(kind).key_values(text)


# --- what cannot be stored -----------------------------------------------------------------------------------------


@record(key="n")
class Loose:
    n: int
    real: float | None = None
    reals: tuple[float, ...] = ()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_only_finite_numbers_can_be_stored(number: float) -> None:
    with pytest.raises(RecordError, match=r"Loose\.real is (nan|inf|-inf): only finite numbers"):
        record_type(Loose).encode(Loose(1, number))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_only_finite_numbers_can_be_stored_inside_tuples_too(number: float) -> None:
    with pytest.raises(RecordError, match="only finite numbers"):
        record_type(Loose).encode(Loose(1, None, (1.0, number)))


def test_what_json_cannot_carry_is_refused() -> None:
    with pytest.raises(RecordError, match="Loose cannot be stored"):
        record_type(Loose).encode(Loose(object()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (b'{"n":"x"}', "no longer fits"),
        (b"{}", "no longer fits.*n"),
        (b"{", "cannot be read"),
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_stored_bytes_that_no_longer_fit_are_refused_by_name(stored: bytes, told: str) -> None:
    with pytest.raises(RecordError, match=f"a stored Loose {told}"):
        record_type(Loose).decode(stored)


def test_new_fields_with_defaults_and_dropped_fields_do_not_matter() -> None:
    assert record_type(Loose).decode(b'{"n":1,"gone":[1,2]}') == Loose(1)


# --- identity ------------------------------------------------------------------------------------------------------


@record(key="n", merge={"seen": union, "most": max})
class Seen:
    n: int
    title: str = ""
    seen: tuple[str, ...] = ()
    most: int = 0


def identity(value: Any) -> bytes:
    described = record_type(type(value))
    return described.identity(value, described.encode(value))


def test_identity_tells_contents_apart_and_leaves_out_what_merges() -> None:
    assert identity(Seen(1, "a")) == identity(Seen(1, "a", ("x",), 9))
    assert identity(Seen(1, "a")) != identity(Seen(1, "b"))
    assert identity(Loose(1, 0.5)) == identity(Loose(1, 0.5))
    assert identity(Loose(1, 0.5)) != identity(Loose(1, 0.25))
    assert len(identity(Loose(1))) == 16


def test_identity_and_code_are_the_same_in_every_process() -> None:
    """Else a later run would take unchanged records for changed ones. Sets have another order in each process."""
    program = (
        "from tests.test_record import *; it = Tagged(1, frozenset('abcdefgh'));"
        "print(record_type(Tagged).encode(it), identity(it).hex(), identity(TaggedToo(1, frozenset('abcdefgh'))).hex())"
    )
    told = set()
    for seed in "123":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        told.add(ran.stdout)
    assert len(told) == 1


@record(key="n")
class Tagged:
    n: int
    tags: frozenset[str]


@record(key="n", merge={"most": max})
class TaggedToo:
    n: int
    tags: frozenset[str]
    most: int = 0


# --- merging -------------------------------------------------------------------------------------------------------


@record(
    key="n",
    merge={"low": min, "high": max, "seen": union, "status": latest("at"), "at": max},
)
class Many:
    n: int
    free: int
    other: str
    low: int | None = None
    high: int | None = None
    seen: tuple[int, ...] = ()
    status: str | None = None
    at: int | None = None


many = st.builds(
    Many,
    st.just(1),
    free=st.sampled_from([1, 10, 2]),
    other=st.sampled_from(["a", 'a"', "b"]),
    low=st.none() | st.integers(0, 3),
    high=st.none() | st.integers(0, 3),
    seen=st.lists(st.integers(0, 3), max_size=2).map(lambda seen: union((), seen)),
    status=st.none() | st.sampled_from(["x", "y"]),
    at=st.none() | st.integers(0, 2),
)


@settings(max_examples=400, deadline=None)
@given(many, many, many)
def test_merging_is_commutative_associative_and_idempotent(a: Many, b: Many, c: Many) -> None:
    """So the order of arrival never changes a table, whether rules cover the differences or not."""

    def merge(left: Many, right: Many) -> Many:
        merged: Many = record_type(Many).merged(left, right)[0]
        return merged

    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)


def test_rules() -> None:
    old = Many(1, 5, "o", low=3, high=3, seen=(1, 2), status="old", at=1)
    new = Many(1, 5, "o", low=4, high=4, seen=(2, 3), status="new", at=2)
    merged, conflicts = record_type(Many).merged(old, new)
    assert merged == Many(1, 5, "o", low=3, high=4, seen=(1, 2, 3), status="new", at=2)
    assert conflicts == ()


def test_fields_without_a_rule_are_named() -> None:
    merged, conflicts = record_type(Many).merged(Many(1, 5, "b"), Many(1, 6, "a"))
    assert conflicts == ("free", "other")
    assert merged in (Many(1, 5, "b"), Many(1, 6, "a")), "those fields come from one of the two, together"


def test_a_replacement_takes_the_new_content_and_still_merges_what_merges() -> None:
    replaced = record_type(Many).replaced(Many(1, 5, "b", high=9), Many(1, 6, "c", high=2))
    assert replaced == Many(1, 6, "c", high=9)


# --- mistakes ------------------------------------------------------------------------------------------------------


def mistakes() -> dict[str, tuple[Callable[[], Any], str]]:
    """Each mistake with what its message must name."""

    def declare(annotations: dict[str, Any], **how: Any) -> Callable[[], Any]:
        return lambda: record(**{"key": "n", **how})(type("It", (), {"__annotations__": annotations}))

    return {
        "no key": (lambda: record(type("It", (), {})), r"It says nothing of its key: write @record\(key=…\)"),  # type: ignore[arg-type]
        "a key of another type": (declare({"n": int}, key=5), r"It: the key is 5; name a field"),
        "a rule by its name": (declare({"n": int, "v": int}, merge={"v": "max"}), r"It\.v merges by 'max'.*itself"),
        "an unknown key": (declare({"m": int}), r"It has no field 'n'.*it has m"),
        "an empty key": (declare({"n": int}, key=()), r"It has an empty key: name the field"),
        "a merge of nothing": (declare({"n": int}, merge={"gone": max}), r"It has no field 'gone'"),
        "a time that is not there": (
            declare({"n": int, "x": str}, merge={"x": latest("at")}),
            r"It has no field 'at'",
        ),
        "a key that merges": (declare({"n": int}, merge={"n": max}), r"It: n is part of the key and cannot merge"),
        "a table with a space": (declare({"n": int}, table="two words"), r"'two words' is no table name; use letters"),
        "a table of SQLite": (declare({"n": int}, table="sqlite_master"), r"'sqlite_master' is no table name"),
        "a table of ours in capitals": (
            declare({"n": int}, table="STREAMFLOW_items"),
            r"'STREAMFLOW_items' is no table",
        ),
        "fields that differ only in case": (
            declare({"n": int, "v": int, "V": int}, table="t"),
            r"'v' and 'V' differ only in case.*rename one",
        ),
        "the store's own column in capitals": (
            declare({"n": int, "Created_At": str}, table="t"),
            r"every table already has Created_At; rename the field",
        ),
        "a table of ours": (declare({"n": int}, table="streamflow_items"), r"'streamflow_items' is no table name"),
        "a column of ours": (
            declare({"n": int, "created_at": str}, table="t"),
            r"every table already has created_at; rename the field",
        ),
        "a list": (declare({"n": int, "x": list[str]}), r"It\.x is a list, which can change.*tuple\[T, \.\.\.\]"),
        "a dict": (declare({"n": int, "x": dict[str, str] | None}), r"It\.x is a dict.*frozen dataclass"),
        "a set": (declare({"n": int, "x": set[str]}), r"It\.x is a set.*frozenset\[T\]"),
        "a list in a tuple": (declare({"n": int, "x": tuple[list[str], ...]}), r"It\.x is a list"),
        "a float key": (declare({"n": float}), r"It\.n is part of the key and must be str or int"),
        "an optional key": (declare({"n": str | None}), r"It\.n is part of the key and must be str or int"),
        "a name that is not there": (
            declare({"n": int, "x": "Missing"}),
            r"It: an annotation cannot be resolved.*above",
        ),
    }


@pytest.mark.parametrize("mistake", mistakes())
def test_each_mistake_is_refused_with_what_to_do(mistake: str) -> None:
    build, message = mistakes()[mistake]
    with pytest.raises(RecordError, match=f"(?s){message}") as refused:
        build()
    assert isinstance(refused.value, UsageError)


@pytest.mark.parametrize("other", [int, str, object, type(None)])
def test_other_types_are_no_records(other: type) -> None:
    with pytest.raises(RecordError, match="is not a record: decorate it with @record"):
        record_type(other)
