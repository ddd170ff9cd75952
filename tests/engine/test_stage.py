"""Stages: what is read from a function's signature, and what is refused, with what to do about it."""

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any, Optional, Union

import pytest

from streamflow.engine.stage import Batch, Stage, read_signature
from streamflow.errors import PipelineError, StageSignatureError, UsageError
from streamflow.record import record


@record(key="n")
class Paper:
    n: int


@record(key="n")
class Work:
    n: int


@record(key="n")
class Closed:
    n: int


class Client: ...


async def nothing(paper: Paper) -> None: ...
async def one(paper: Paper) -> Work: ...  # type: ignore[empty-body]
async def maybe(paper: Paper) -> Work | None: ...
async def optional(paper: Paper) -> Optional[Work]: ...  # noqa: UP045
async def either(paper: Paper) -> Work | Closed: ...  # type: ignore[empty-body]
async def old_union(paper: Paper) -> Union[Work, Closed, None]: ...  # noqa: UP007
async def both(paper: Paper) -> tuple[Work, Closed]: ...  # type: ignore[empty-body]
async def many(paper: Paper) -> list[Work]: ...  # type: ignore[empty-body]
async def any_number(paper: Paper) -> tuple[Work, ...]: ...  # type: ignore[empty-body]
async def nested(paper: Paper) -> tuple[Work, list[Closed | None]] | None: ...
async def quoted(paper: "Paper") -> "Work | None": ...
async def client(paper: Paper, *, api: Client, other: Paper) -> Work: ...  # type: ignore[empty-body]


async def stream(paper: Paper) -> AsyncIterator[Work]:
    yield Work(1)


async def iterable(paper: Paper) -> AsyncIterable[Work | Closed]:
    yield Work(1)


async def generator(paper: Paper) -> AsyncGenerator[tuple[Work, Closed], None]:
    yield Work(1), Closed(1)


@pytest.mark.parametrize(
    ("function", "produces", "streams"),
    [
        (nothing, (), False),
        (one, (Work,), False),
        (maybe, (Work,), False),
        (optional, (Work,), False),
        (either, (Work, Closed), False),
        (old_union, (Work, Closed), False),
        (both, (Work, Closed), False),
        (many, (Work,), False),
        (any_number, (Work,), False),
        (nested, (Work, Closed), False),
        (quoted, (Work,), False),
        (stream, (Work,), True),
        (iterable, (Work, Closed), True),
        (generator, (Work, Closed), True),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_annotation_forms(function: Callable[..., Any], produces: tuple[type, ...], streams: bool) -> None:
    signature = Stage(function).signature
    assert (signature.takes, signature.produces, signature.streams) == (Paper, produces, streams)


def test_resources_are_the_keyword_only_parameters() -> None:
    assert Stage(client).signature.resources == {"api": Client, "other": Paper}


def test_batches_take_and_give_lists_with_failures_as_entries() -> None:
    async def batch(papers: list[Paper]) -> list[Work | Closed | Exception | None]:
        return []

    signature = Stage(batch, batch=Batch(5)).signature
    assert (signature.takes, signature.produces) == (Paper, (Work, Closed))


def test_defaults_and_names() -> None:
    stage = Stage(one)
    assert (stage.name, stage.room, stage.workers) == ("one", 16, 1)
    assert Stage(one, workers=20).room == 40
    assert Stage(one, capacity=3).room == 3
    assert Stage(one, name="other").name == "other"


def make_bad() -> dict[str, tuple[Callable[[], Any], str]]:
    """Each mistake with what its message must name: where it is and how to mend it."""

    def plain(paper: Paper) -> Work: ...  # type: ignore[empty-body]

    async def no_return(paper: Paper): ...  # type: ignore[no-untyped-def]

    async def no_hint(paper) -> Work: ...  # type: ignore[no-untyped-def]

    async def takes_nothing() -> Work: ...  # type: ignore[empty-body]

    async def takes_only_keywords(*, paper: Paper) -> Work: ...  # type: ignore[empty-body]

    async def takes_text(text: str) -> Work: ...  # type: ignore[empty-body]

    async def takes_two_types(it: Paper | Work) -> Closed: ...  # type: ignore[empty-body]

    async def takes_two(paper: Paper, work: Work) -> Closed: ...  # type: ignore[empty-body]

    async def gives_text(paper: Paper) -> str: ...  # type: ignore[empty-body]

    async def gives_dict(paper: Paper) -> dict[str, Work]: ...  # type: ignore[empty-body]

    async def list_without_batch(papers: list[Paper]) -> list[Work]: ...  # type: ignore[empty-body]

    async def yields(paper: Paper) -> Work:  # type: ignore[misc]
        yield Work(1)

    async def returns_a_stream(paper: Paper) -> AsyncIterator[Work]:
        return stream(paper)

    async def batch_stream(papers: list[Paper]) -> AsyncIterator[Work]:
        yield Work(1)

    async def unresolved(paper: Paper) -> "Missing": ...  # type: ignore[name-defined]  # noqa: F821

    class Sub(Paper): ...

    async def takes_subclass(it: Sub) -> Work: ...  # type: ignore[empty-body]

    def generates(paper: Paper) -> list[Work]:  # type: ignore[misc]
        yield Work(1)

    async def takes_any(*papers: Paper) -> Work: ...  # type: ignore[empty-body]

    async def takes_more(paper: Paper, **more: Client) -> Work: ...  # type: ignore[empty-body]

    class Callee:
        async def __call__(self, paper: Paper) -> Work: ...  # type: ignore[empty-body]

    def policy(**wrong: Any) -> Callable[[], Any]:
        return lambda: Stage(one, **wrong)

    return {
        "a partial": (lambda: Stage(functools.partial(one)), r"needs a function.*partial.*Define one"),
        "a callable object": (lambda: Stage(Callee()), r"needs a function.*Callee.*Define one"),
        "a stage in a stage": (lambda: Stage(Stage(one)), r"needs a function.*Stage"),  # type: ignore[arg-type]
        "a plain function that yields": (lambda: Stage(generates, runs_in="thread"), r"'generates' yields.*list"),
        "any number of records": (lambda: Stage(takes_any), r"'takes_any' takes `\*papers.*name each"),
        "any resources": (lambda: Stage(takes_more), r"'takes_more' takes `\*\*more.*name each"),
        **{
            f"timeout={wrong!r}": (policy(timeout=wrong), r"'one': timeout must be a positive number of seconds")
            for wrong in (None, "5", float("nan"), float("inf"), -1, True)
        },
        **{
            f"{what}={wrong!r}": (policy(**{what: wrong}), rf"'one': {what} must be a whole number of at least 1")
            for what in ("workers", "capacity", "memory")
            for wrong in ("3", 2.5, 0, True, *([] if what == "capacity" else [None]))
        },
        "retry=3": (policy(retry=3), r"'one': retry must be a policy, not 3: say Retry\(attempts=…\)"),
        "batch=3": (policy(batch=3), r"'one': batch must be a policy, not 3: say Batch\(max_size=…\)"),
        "version='2'": (policy(version="2"), r"'one': version must be a whole number, not '2'"),
        "runs_in='gpu'": (policy(runs_in="gpu"), r"'one': runs_in must be 'loop', 'thread' or 'process', not 'gpu'"),
        "a misspelt place": (policy(runs_in="proces"), r"is 'process' meant\?"),
        "a batch of text": (lambda: Batch("3"), r"max_size must be a whole number"),  # type: ignore[arg-type]
        "a batch without end": (lambda: Batch(3, max_wait=float("nan")), r"max_wait at least 0"),
        "a plain function on the loop": (lambda: Stage(plain), r"'plain'.*async def.*runs_in=.thread"),
        "a coroutine in a thread": (lambda: Stage(one, runs_in="thread"), r"'one'.*thread.*plain `def`"),
        "a coroutine in a process": (lambda: Stage(one, runs_in="process"), r"'one'.*process.*plain `def`"),
        "no return annotation": (lambda: Stage(no_return), r"'no_return'.*annotate the return type"),
        "no annotation": (lambda: Stage(no_hint), r"'no_hint'.*annotate the parameter 'paper'"),
        "no parameter": (lambda: Stage(takes_nothing), r"'takes_nothing'.*first parameter"),
        "no positional parameter": (lambda: Stage(takes_only_keywords), r"'takes_only_keywords'.*first parameter"),
        "no record": (lambda: Stage(takes_text), r"'takes_text'.*str.*@record"),
        "two types": (lambda: Stage(takes_two_types), r"'takes_two_types'.*exactly one type"),
        "two parameters": (lambda: Stage(takes_two), r"'takes_two'.*'work'.*put `\*,`"),
        "gives no record": (lambda: Stage(gives_text), r"'gives_text' produces str.*@record"),
        "gives a dict": (lambda: Stage(gives_dict), r"'gives_dict' produces dict"),
        "a list without a policy": (lambda: Stage(list_without_batch), r"'list_without_batch'.*batch=Batch"),
        "a policy without a list": (lambda: Stage(one, batch=Batch(2)), r"'one'.*batch.*list of records"),
        "yields without saying so": (lambda: Stage(yields), r"'yields'.*AsyncIterator"),
        "says so without yielding": (lambda: Stage(returns_a_stream), r"'returns_a_stream'.*`yield`"),
        "a batch that streams": (lambda: Stage(batch_stream, batch=Batch(2)), r"'batch_stream'.*return a list"),
        "a name that is not there": (lambda: Stage(unresolved), r"'unresolved'.*Missing.*top level"),
        "a subclass of a record": (lambda: Stage(takes_subclass), r"'takes_subclass'.*Sub.*@record"),
        "no workers": (lambda: Stage(one, workers=0), r"'one'.*workers.*at least 1"),
        "no capacity": (lambda: Stage(one, capacity=0), r"'one'.*capacity.*at least 1"),
        "no time": (lambda: Stage(one, timeout=0), r"'one'.*timeout.*positive"),
        "an empty batch": (lambda: Batch(0), r"max_size.*at least 1"),
        "a negative wait": (lambda: Batch(1, max_wait=-1), r"max_wait at least 0"),
    }


@pytest.mark.parametrize("name", [5, "../x", "a b", "a\n", None])
def test_names_are_words(name: Any) -> None:
    with pytest.raises(PipelineError, match=r"is no name for a stage: use letters"):
        Stage(one, name=name)


@pytest.mark.parametrize("mistake", make_bad())
def test_each_mistake_is_refused_with_where_it_is_and_how_to_mend_it(mistake: str) -> None:
    build, message = make_bad()[mistake]
    with pytest.raises(StageSignatureError, match=f"(?s){message}") as refused:
        build()
    assert isinstance(refused.value, PipelineError)
    assert isinstance(refused.value, UsageError)


def test_a_source_must_stream() -> None:
    async def source(inputs: object) -> Paper: ...  # type: ignore[empty-body]

    with pytest.raises(StageSignatureError, match=r"(?s)source 'x'.*AsyncIterator"):
        read_signature(source, "source 'x'", source=True)


def test_a_stage_can_be_tested_by_calling_it() -> None:
    async def pure(paper: Paper) -> Work:
        return Work(paper.n + 1)

    assert asyncio.run(Stage(pure).function(Paper(1))) == Work(2)
