"""A stage: a function plus its policy. Its inputs, outputs and resources are read from the function's signature."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import re
import types
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from streamflow.errors import PipelineError, StageSignatureError
from streamflow.limits.retry import Retry
from streamflow.record import is_record

RunsIn = Literal["loop", "thread", "process"]
_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator)
_UNIONS = (Union, types.UnionType)
_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Batch:
    """Take up to `max_size` items at once, waiting at most `max_wait` seconds for them after the first."""

    max_size: int
    max_wait: float = 0.05

    def __post_init__(self) -> None:
        if not (is_count(self.max_size) and is_seconds(self.max_wait)):
            raise StageSignatureError(
                f"{self}: max_size must be a whole number of at least 1 and max_wait at least 0 seconds"
            )


@dataclass(frozen=True, slots=True)
class Signature:
    """What a stage's or a source's function takes and produces. `streams` tells an async generator, `or_nothing` that
    None stands in the return annotation."""

    takes: type[Any] | None
    produces: tuple[type[Any], ...]
    resources: Mapping[str, type[Any]]
    streams: bool
    or_nothing: bool

    def wrong_output(self, where: str, output: object) -> StageSignatureError:
        """The error for an output that the annotation does not name."""
        expected = " | ".join(kind.__name__ for kind in self.produces) or "None"
        if output is None:
            return StageSignatureError(
                f"{where} gave out None; its annotation says {expected}. Where that is meant, say `{expected} | None`; "
                "else a `return` without a value is left"
            )
        return StageSignatureError(f"{where} gave out a {type(output).__name__}; its annotation says {expected}")


@dataclass(frozen=True)
class Stage:
    """A function from one record to none, one or many, and how the engine runs it.

    `workers` items are worked on at once; `capacity` items may wait in the channel (twice the workers, at least 16,
    where not given). `timeout` is in seconds and bounds one attempt, waiting for limits and for room not counted.
    `runs_in` is where the function runs: "loop" for `async def`, "thread" and "process" for plain `def`; a process
    may use `memory` bytes. A changed `version` makes a later run work on known items again. With `newest_first` the
    item that came last is taken first.

    Raises StageSignatureError when the function's signature does not say what the stage takes and produces.
    """

    function: Callable[..., Any]
    name: str = ""
    workers: int = 1
    capacity: int | None = None
    timeout: float = 300.0
    retry: Retry = field(default_factory=Retry)
    batch: Batch | None = None
    runs_in: RunsIn = "loop"
    memory: int = 2 * 2**30
    version: int = 1
    newest_first: bool = False
    signature: Signature = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_function(self.function, "a stage", "Stage(function, …)")
        if self.name == "":
            object.__setattr__(self, "name", self.function.__name__)
        check_name(self.name, "stage")
        self._check_policy(f"stage {self.name!r}")
        object.__setattr__(self, "signature", self._read())

    @property
    def room(self) -> int:
        """The capacity of the stage's channel, in items."""
        return self.capacity if self.capacity is not None else max(16, 2 * self.workers)

    @property
    def in_hand(self) -> int:
        """The most items that one worker can have in its hands."""
        return self.batch.max_size if self.batch is not None else 1

    def _check_policy(self, where: str) -> None:
        for what, value in (("workers", self.workers), ("capacity", self.capacity), ("memory", self.memory)):
            if not is_count(value) and not (what == "capacity" and value is None):
                raise StageSignatureError(f"{where}: {what} must be a whole number of at least 1, not {value!r}")
        if not (is_seconds(self.timeout) and self.timeout > 0):
            raise StageSignatureError(f"{where}: timeout must be a positive number of seconds, not {self.timeout!r}")
        if not isinstance(self.version, int):
            raise StageSignatureError(f"{where}: version must be a whole number, not {self.version!r}")
        if not isinstance(self.retry, Retry):
            raise StageSignatureError(f"{where}: retry must be a policy, not {self.retry!r}: say Retry(attempts=…)")
        if not (self.batch is None or isinstance(self.batch, Batch)):
            raise StageSignatureError(f"{where}: batch must be a policy, not {self.batch!r}: say Batch(max_size=…)")
        if self.runs_in not in get_args(RunsIn):
            near = difflib.get_close_matches(str(self.runs_in), get_args(RunsIn), 1)
            hint = f" (is {near[0]!r} meant?)" if near else ""
            raise StageSignatureError(
                f"{where}: runs_in must be 'loop', 'thread' or 'process', not {self.runs_in!r}{hint}"
            )

    def _read(self) -> Signature:
        where = f"stage {self.name!r}"
        function = self.function
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if self.runs_in == "loop" and not is_async:
            raise StageSignatureError(
                f"{where} runs on the loop, so its function must be `async def`; for blocking code say "
                'runs_in="thread" or runs_in="process"'
            )
        if self.runs_in != "loop" and is_async:
            raise StageSignatureError(f"{where} runs in a {self.runs_in}, so its function must be a plain `def`")
        if inspect.isgeneratorfunction(function):
            raise StageSignatureError(f"{where} yields, which a plain `def` cannot: return a list of its outputs")
        signature = read_signature(function, where)
        if signature.takes is None:
            raise StageSignatureError(f"{where} takes nothing: give its function a first parameter of a record type")
        self._check_stream(where, signature)
        if self.batch is None and get_origin(_first_hint(function)) is list:
            raise StageSignatureError(f"{where} takes a list: say batch=Batch(max_size=…)")
        if self.batch is not None and get_origin(_first_hint(function)) is not list:
            raise StageSignatureError(f"{where} has a batch policy: its first parameter must be a list of records")
        return signature

    def _check_stream(self, where: str, signature: Signature) -> None:
        generates = inspect.isasyncgenfunction(self.function)
        if generates and not signature.streams:
            raise StageSignatureError(f"{where} yields, so it streams: annotate it `-> AsyncIterator[…]`")
        if signature.streams and not generates:
            raise StageSignatureError(
                f"{where} says that it streams and is no async generator: `yield` its outputs on the loop, or return "
                "them as a list"
            )
        if signature.streams and self.batch is not None:
            raise StageSignatureError(f"{where} streams and has a batch policy: return a list, an entry for each input")


def check_function(function: object, where: str, how: str) -> None:
    """Refuse what is no plain function. Raises StageSignatureError."""
    if isinstance(function, functools.partial) or not inspect.isroutine(function):
        raise StageSignatureError(
            f"{where} needs a function and was given {function!r}: its inputs, outputs and name are read from it. "
            f"Define one with `def` or `async def`, and say {how}"
        )


def check_name(name: object, what: str) -> None:
    """Names stand in settings, commands and files. Raises PipelineError."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise PipelineError(f"{name!r} is no name for a {what}: use letters, digits, `_` and `-`")


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_seconds(value: object) -> bool:
    """Whether it is a finite number that is not negative."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def read_signature(function: Callable[..., Any], where: str, *, source: bool = False) -> Signature:
    """Read what a function takes and produces. `where` names it in errors.

    A source's first parameter is its inputs, of any type. Raises StageSignatureError.
    """
    hints = _hints(function, where)
    parameters = list(inspect.signature(function).parameters.values())
    if "return" not in hints:
        raise StageSignatureError(
            f"{where} does not say what it produces: annotate the return type (None for a stage that only ends items)"
        )
    streams, produced = False, hints["return"]
    if get_origin(produced) in _STREAMS:
        streams, produced = True, get_args(produced)[0]
    if source and not streams:
        raise StageSignatureError(f"{where} must be an async generator: annotate it `-> AsyncIterator[…]`")
    produces = tuple(dict.fromkeys(_records(produced, where)))
    resources: dict[str, type[Any]] = {}
    takes: type[Any] | None = None
    if source and not any(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters):
        raise StageSignatureError(f"{where} takes nothing: give it a first parameter for the run's inputs: Inputs")
    for number, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise StageSignatureError(f"{where} takes `{parameter}`: name each parameter")
        hint = hints.get(parameter.name)
        if hint is None:
            raise StageSignatureError(f"{where}: annotate the parameter {parameter.name!r}")
        if parameter.kind is parameter.KEYWORD_ONLY:
            resources[parameter.name] = hint
        elif number == 0:
            takes = None if source else _input(hint, where)
        else:
            raise StageSignatureError(
                f"{where} has a second positional parameter {parameter.name!r}: put `*,` before the resources"
            )
    return Signature(takes, produces, resources, streams, _has_none(produced))


def read_resources(function: Callable[..., Any], where: str, *, records: bool = False) -> Mapping[str, type[Any]]:
    """The resources that a function asks for by keyword. Its first parameter is a list where `records` says so, and
    it has no other. Raises StageSignatureError.
    """
    hints = _hints(function, where)
    parameters = list(inspect.signature(function).parameters.values())
    if records:
        if not parameters or parameters[0].kind is parameters[0].KEYWORD_ONLY:
            raise StageSignatureError(f"{where} takes nothing: give it a first parameter, the list of records")
        del parameters[0]
    for parameter in parameters:
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise StageSignatureError(f"{where} has a parameter {parameter.name!r} too many: put `*,` before resources")
        if parameter.name not in hints:
            raise StageSignatureError(f"{where}: annotate the parameter {parameter.name!r}")
    return {parameter.name: hints[parameter.name] for parameter in parameters}


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise StageSignatureError(
            f"{where}: an annotation cannot be resolved ({error}); its types must be importable at the module's top "
            "level, not only under TYPE_CHECKING"
        ) from error
    if "return" in hints and hints["return"] is type(None):
        hints["return"] = None
    return hints


def _first_hint(function: Callable[..., Any]) -> Any:
    first = next(iter(inspect.signature(function).parameters))
    return get_type_hints(function)[first]


def _input(hint: Any, where: str) -> type[Any]:
    if get_origin(hint) is list:
        (hint,) = get_args(hint)
    if not is_record(hint):
        raise StageSignatureError(
            f"{where} takes {shown(hint)}, which is no record type: a stage takes exactly one type made by @record"
        )
    taken: type[Any] = hint
    return taken


def _records(hint: Any, where: str) -> Iterator[type[Any]]:
    """The record types in a return annotation."""
    if hint is None or hint is type(None) or hint is Ellipsis:
        return
    if is_record(hint):
        yield hint
    elif isinstance(hint, type) and issubclass(hint, Exception):
        return  # an entry of a batch may be its failure
    elif get_origin(hint) in (*_UNIONS, tuple, list):
        for inner in get_args(hint):
            yield from _records(inner, where)
    else:
        raise StageSignatureError(
            f"{where} produces {shown(hint)}, which is no record type: use types made by @record, None, and unions, "
            "tuples, lists or an AsyncIterator of them"
        )


def _has_none(hint: Any) -> bool:
    return hint is None or hint is type(None) or any(map(_has_none, get_args(hint)))


def shown(hint: Any) -> str:
    """A type as people write it."""
    return getattr(hint, "__qualname__", None) or str(hint)
