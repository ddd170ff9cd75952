"""Pipelines: the graph from types, and each mistake in it."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from streamflow.engine.context import Context
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.errors import (
    CycleError,
    DuplicateName,
    MissingInput,
    MissingResource,
    NotImportable,
    PipelineError,
    StageSignatureError,
    WrongResource,
)
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.reader import Reader


@record(key="n")
class Paper:
    n: int


@record(key="n", table="works")
class Work:
    n: int


@record(key="n", table="closed")
class Closed:
    n: int


@record(key="n")
class Papers:
    n: int


class Api:
    def __init__(self, context: Context) -> None: ...
    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *details: object) -> None: ...


class Parser:
    def __init__(self, context: object) -> None: ...
    def __enter__(self) -> "Parser":
        return self

    def __exit__(self, *details: object) -> None: ...


async def folder(inputs: Inputs) -> AsyncIterator[Paper]:
    yield Paper(1)


async def extract(paper: Paper) -> Work | Closed: ...  # type: ignore[empty-body]
async def rate(work: Work) -> None: ...
async def with_api(paper: Paper, *, api: Api) -> Work: ...  # type: ignore[empty-body]
async def with_parser(paper: Paper, *, parser: Parser) -> Work: ...  # type: ignore[empty-body]
def in_process(paper: Paper) -> Work: ...  # type: ignore[empty-body]
def process_with_api(paper: Paper, *, api: Api) -> Work: ...  # type: ignore[empty-body]
def process_with_parser(paper: Paper, *, parser: Parser) -> Work: ...  # type: ignore[empty-body]
async def to_papers(paper: Paper) -> Papers: ...  # type: ignore[empty-body]
async def back(papers: Papers) -> Paper: ...  # type: ignore[empty-body]
async def itself(paper: Paper) -> Paper: ...  # type: ignore[empty-body]
async def finish(*, reader: Reader) -> None: ...


def pipeline(*stages: Stage, sources: Any = (folder,), **more: Any) -> Pipeline:
    return Pipeline("test", sources=list(sources), stages=list(stages), **more)


def test_the_graph_comes_from_types() -> None:
    built = pipeline(Stage(extract), Stage(rate), Stage(rate, name="rate_too"))
    assert built.routes == {Paper: ("extract",), Work: ("rate", "rate_too"), Closed: ()}
    assert [kind.table for kind in built.tables] == ["works", "closed"]
    assert built.stage("rate_too").function is rate


def test_mermaid() -> None:
    built = pipeline(Stage(extract), Stage(rate))
    lines = built.mermaid().splitlines()
    assert lines[0] == "flowchart LR"
    assert set(lines[1:]) == {
        "    extract[extract]",
        "    rate[rate]",
        "    folder([folder])",
        "    Closed[(closed)]",
        "    folder -->|Paper| extract",
        "    extract -->|Work| rate",
        "    extract --> Closed",
    }


def test_what_every_run_provides_needs_no_declaration() -> None:
    async def source(inputs: Inputs, *, reader: Reader) -> AsyncIterator[Paper]:
        yield Paper(1)

    async def stage(paper: Paper, *, context: Context) -> Work: ...  # type: ignore[empty-body]

    pipeline(Stage(stage), sources=[source], finalizers=[finish])


def test_resources_where_they_can_live() -> None:
    pipeline(Stage(with_api), resources=[Api])
    pipeline(Stage(process_with_parser, runs_in="process"), resources=[Parser])
    pipeline(Stage(process_with_parser, runs_in="thread"), resources=[Parser])


def make_bad() -> dict[str, tuple[type[PipelineError], Any, str]]:
    """Each mistake with its own error and what its message must name."""

    def local(paper: Paper) -> Work: ...  # type: ignore[empty-body]

    async def wants(*, api: Api) -> None: ...

    async def bad_source(inputs: Inputs) -> Paper: ...  # type: ignore[empty-body]

    async def work_source(inputs: Inputs) -> AsyncIterator[Work]:
        yield Work(1)

    @record(key="n", table="works")
    class Other:
        n: int

    @record(key="n", table="Works")
    class Capital:
        n: int

    async def capital(paper: Paper) -> Capital: ...  # type: ignore[empty-body]

    async def other(paper: Paper) -> Other: ...  # type: ignore[empty-body]

    def same_name() -> Any:
        @record(key="n")
        class Work:
            n: int

        async def second(paper: Paper) -> Work: ...  # type: ignore[empty-body]

        return second

    async def source_of_nothing() -> AsyncIterator[Paper]:
        yield Paper(1)

    def plain_source(inputs: Inputs) -> AsyncIterator[Paper]:  # type: ignore[misc]
        yield Paper(1)

    def plain_end(*, reader: Reader) -> None: ...
    async def streaming_end(*, reader: Reader) -> AsyncIterator[Paper]:
        yield Paper(1)

    async def end_of_one(paper: Paper) -> None: ...

    def made(**parts: Any) -> Any:
        return lambda: Pipeline(**{"name": "test", "sources": [folder], "stages": [Stage(extract)], **parts})

    async def source_wants(inputs: Inputs, *, api: Api) -> AsyncIterator[Paper]:
        yield Paper(1)

    return {
        "a bare function": (PipelineError, made(stages=[extract]), r"among its stages: write Stage\(extract\)"),
        "a bare stage": (PipelineError, made(stages=Stage(extract)), r"stages must be a list.*write stages=\[…\]"),
        "stages by a generator": (PipelineError, made(stages=(s for s in [Stage(extract)])), r"stages must be a list"),
        "a bare source": (PipelineError, made(sources=folder), r"sources must be a list.*write sources=\[…\]"),
        "services as one text": (PipelineError, made(services="crossref"), r"services must be a list, not 'crossref'"),
        "a source that is called": (
            StageSignatureError,
            made(sources=[folder(None)]),  # type: ignore[arg-type]
            r"the source 'folder' is called; give the function, sources=\[folder\]",
        ),
        "a partial for a source": (
            StageSignatureError,
            made(sources=[partial(folder)]),
            r"a source of .*functools.partial.*Define one",
        ),
        "a source without inputs": (
            StageSignatureError,
            made(sources=[source_of_nothing]),
            r"'source_of_nothing' takes nothing.*Inputs",
        ),
        "a plain source": (StageSignatureError, made(sources=[plain_source]), r"'plain_source' must be an async gen"),
        "a plain finalizer": (StageSignatureError, made(finalizers=[plain_end]), r"'plain_end' must be an `async def`"),
        "a streaming finalizer": (StageSignatureError, made(finalizers=[streaming_end]), r"yields nothing"),
        "a finalizer of records": (StageSignatureError, made(finalizers=[end_of_one]), r"'end_of_one' takes a record"),
        "no class for a resource": (WrongResource, made(resources=[object()]), r"among its resources: give the class"),
        **{
            f"the name {name!r}": (PipelineError, made(name=name), r"is no name for a pipeline: use letters")
            for name in ("", 5, "../x", None)
        },
        "two stages of one name": (
            DuplicateName,
            lambda: pipeline(Stage(extract), Stage(extract)),
            r"two stages named 'extract'.*rename",
        ),
        "two types of one name": (
            DuplicateName,
            lambda: pipeline(Stage(extract), Stage(same_name())),
            r"record types named 'Work'.*rename",
        ),
        "two types for one table": (
            DuplicateName,
            lambda: pipeline(Stage(extract), Stage(other)),
            r"tables named 'works'.*rename",
        ),
        "two tables that differ only in case": (
            DuplicateName,
            lambda: pipeline(Stage(extract), Stage(capital)),
            r"tables named 'Works' \(as 'works', for SQLite\): rename",
        ),
        "an input that nobody produces": (
            MissingInput,
            lambda: pipeline(Stage(extract), Stage(back)),
            r"'back' takes Papers.*is Paper meant.*mend the annotation",
        ),
        "a ring of two": (
            CycleError,
            lambda: pipeline(Stage(to_papers), Stage(back)),
            r"ring: \w+ → \w+ → \w+.*another record type",
        ),
        "a ring of one": (CycleError, lambda: pipeline(Stage(itself)), r"itself → itself"),
        "a resource that is not provided": (
            MissingResource,
            lambda: pipeline(Stage(with_api)),
            r"stage 'with_api' asks for api: Api.*add Api to its resources",
        ),
        "a finalizer's resource": (
            MissingResource,
            lambda: pipeline(Stage(extract), finalizers=[wants]),
            r"finalizer 'wants' asks for api: Api",
        ),
        "a source's resource": (
            MissingResource,
            lambda: pipeline(Stage(extract), sources=[source_wants]),
            r"source 'source_wants' asks for api: Api",
        ),
        "an API client in a process": (
            WrongResource,
            lambda: pipeline(Stage(process_with_api, runs_in="process"), resources=[Api]),
            r"'process_with_api' runs in a process.*Api cannot live.*stage on the loop",
        ),
        "an API client in a thread": (
            WrongResource,
            lambda: pipeline(Stage(process_with_api, runs_in="thread"), resources=[Api]),
            r"'process_with_api' runs in a thread",
        ),
        "a process resource on the loop": (
            WrongResource,
            lambda: pipeline(Stage(with_parser), resources=[Parser]),
            r"'with_parser' runs on the loop.*Parser cannot live.*async with",
        ),
        "a local function in a process": (
            NotImportable,
            lambda: pipeline(Stage(local, runs_in="process")),
            r"'local'.*top level of an importable module",
        ),
        "a source that does not stream": (
            StageSignatureError,
            lambda: pipeline(Stage(extract), sources=[bad_source]),
            r"source 'bad_source'.*AsyncIterator",
        ),
        "sources of other things": (
            MissingInput,
            lambda: pipeline(Stage(extract), sources=[work_source]),
            r"'extract' takes Paper",
        ),
    }


@pytest.mark.parametrize("mistake", make_bad())
def test_each_mistake_gets_its_own_error_with_where_and_how_to_mend_it(mistake: str) -> None:
    kind, build, message = make_bad()[mistake]
    with pytest.raises(PipelineError, match=f"(?s){message}") as refused:
        build()
    assert type(refused.value) is kind


def test_a_process_function_may_be_importable() -> None:
    pipeline(Stage(in_process, runs_in="process"))


def test_a_wide_diamond_is_no_ring_and_is_checked_fast() -> None:
    """Thirty layers of two stages have a billion paths."""
    kinds: list[Any] = []
    for depth in range(31):
        kind = type(f"Layer{depth}", (), {"__annotations__": {"n": int}, "__module__": __name__})
        kinds.append(record(key="n")(kind))
    stages = []
    for depth in range(30):
        for side in "ab":

            async def step(it: Any) -> Any: ...

            step.__annotations__ = {"it": kinds[depth], "return": kinds[depth + 1]}
            stages.append(Stage(step, name=f"step{depth}{side}"))

    async def source(inputs: Inputs) -> AsyncIterator[Any]:
        yield kinds[0](1)

    source.__annotations__["return"] = AsyncIterator[kinds[0]]
    assert len(pipeline(*stages, sources=[source]).routes) == 31
