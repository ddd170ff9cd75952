"""A pipeline: stages, sources, resources and finalizers. Its graph is derived from record types. No I/O here."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamflow.engine.context import Context
from streamflow.engine.source import Source
from streamflow.engine.stage import Stage, check_function, check_name, read_signature, shown
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
from streamflow.record import RecordType, record_type
from streamflow.sources.files import Inputs
from streamflow.storage.reader import Reader

if TYPE_CHECKING:
    from streamflow.settings import Settings

PROVIDED: tuple[type[Any], ...] = (Context, Inputs, Reader)
"""What every run provides beside the pipeline's own resources."""


@dataclass(frozen=True)
class Pipeline:
    """Stages and what feeds, serves and ends them.

    `sources` are async generator functions that take the run's `Inputs` and yield records, or such in a `Source`.
    `resources` are classes made with the run's `Context`; async context managers live on the loop, plain ones in
    threads and processes. `finalizers` are async functions run when the pipeline goes quiet.

    The rest serves commands, which so need not know the pipeline: `services` names the `[services.NAME]` it reads;
    `samples` is a folder of inputs for `demo`; `simulators(names, latency=…, faults=…, scale=…, seed=…, extra=…)`
    makes the simulators of some of the `simulated` services; `exporters[format](reader, out)` writes what `export`
    gives out, where the reader is a `Reader` and `out` a text stream. `adapt(pipeline, settings)` is asked before a run
    for the pipeline that the settings want, such as one with another function in a stage; names of stages stay.

    Raises a PipelineError that says what is wrong, where, and how to mend it.
    """

    name: str
    sources: Sequence[Callable[..., Any] | Source]
    stages: Sequence[Stage]
    resources: Sequence[type[Any]] = ()
    finalizers: Sequence[Callable[..., Any]] = ()
    services: Sequence[str] = ()
    samples: Path | None = None
    simulated: Sequence[str] = ()
    simulators: Callable[..., Sequence[Any]] | None = None
    exporters: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    adapt: Callable[[Pipeline, Settings], Pipeline] | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "pipeline")
        self._check_parts()
        self._check_names()
        self._check_inputs()
        self._check_cycles()
        for stage in self.stages:
            self._check_resources(f"stage {stage.name!r}", stage.signature.resources, stage.runs_in)
            if stage.runs_in == "process":
                _check_importable(stage)
        for source in self.all_sources:
            self._check_resources(f"source {source.name!r}", source.signature.resources, "loop")
            self._check_resources(f"what acknowledges for {source.name!r}", source.acknowledges_with, "loop")
        for finalizer in self.finalizers:
            where = f"finalizer {finalizer.__name__!r}"
            signature = read_signature(finalizer, where)
            if signature.takes is not None:
                raise StageSignatureError(f"{where} takes a record, and is given none: put `*,` before its resources")
            self._check_resources(where, signature.resources, "loop")

    @cached_property
    def all_sources(self) -> tuple[Source, ...]:
        """The sources, those that were given as functions too."""
        return tuple(source if isinstance(source, Source) else Source(source) for source in self.sources)

    @cached_property
    def routes(self) -> Mapping[type[Any], tuple[str, ...]]:
        """For each record type that flows, the names of the stages that take it; none for end products."""
        routes: dict[type[Any], list[str]] = {kind: [] for kind in self.record_classes}
        for stage in self.stages:
            if stage.signature.takes is not None:
                routes[stage.signature.takes].append(stage.name)
        return {kind: tuple(names) for kind, names in routes.items()}

    @cached_property
    def record_classes(self) -> tuple[type[Any], ...]:
        """All record types that sources and stages produce or take, in the order of first mention."""
        signatures = [*(source.signature for source in self.all_sources), *(stage.signature for stage in self.stages)]
        mentioned = [kind for signature in signatures for kind in (signature.takes, *signature.produces) if kind]
        return tuple(dict.fromkeys(mentioned))

    @cached_property
    def tables(self) -> tuple[RecordType, ...]:
        """The record types that are rows."""
        return tuple(kind for kind in map(record_type, self.record_classes) if kind.table)

    @cached_property
    def downstream(self) -> tuple[Stage, ...]:
        """The stages in an order in which each comes after those that feed it."""
        feeds = {s.name: {t for kind in s.signature.produces for t in self.routes[kind]} for s in self.stages}
        order = TopologicalSorter({name: {s for s in feeds if name in feeds[s]} for name in feeds}).static_order()
        return tuple(map(self.stage, order))

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises KeyError."""
        return {stage.name: stage for stage in self.stages}[name]

    def mermaid(self) -> str:
        """The graph as Mermaid text."""
        lines = ["flowchart LR"]
        lines += [f"    {stage.name}[{stage.name}]" for stage in self.stages]
        edges: list[str] = []
        for source in self.all_sources:
            lines.append(f"    {source.name}([{source.name}])")
            edges += self._edges(source.name, source.signature.produces)
        for stage in self.stages:
            edges += self._edges(stage.name, stage.signature.produces)
        ends = [kind for kind, takers in self.routes.items() if not takers]
        lines += [f"    {kind.__name__}[({record_type(kind).table or kind.__name__})]" for kind in ends]
        return "\n".join([*lines, *edges]) + "\n"

    def _edges(self, producer: str, produces: Iterable[type[Any]]) -> list[str]:
        return [
            f"    {producer} -->|{kind.__name__}| {taker}" if taker != kind.__name__ else f"    {producer} --> {taker}"
            for kind in produces
            for taker in self.routes[kind] or (kind.__name__,)
        ]

    def _check_parts(self) -> None:
        """Each part is a list of the right things."""
        for part in ("sources", "stages", "resources", "finalizers", "services", "simulated"):
            given = getattr(self, part)
            if not isinstance(given, Sequence) or isinstance(given, str):  # an iterator would be used up by one look
                raise PipelineError(f"pipeline {self.name!r}: {part} must be a list, not {given!r}: write {part}=[…]")
        where = f"pipeline {self.name!r}"
        stages: Sequence[object] = self.stages
        for stage in stages:
            if not isinstance(stage, Stage):
                name = getattr(stage, "__name__", "…")
                raise PipelineError(f"{where} has {stage!r} among its stages: write Stage({name})")
        sources: Sequence[Any] = self.sources
        for given in sources:
            source = given.function if isinstance(given, Source) else given
            if inspect.isasyncgen(source):
                name = source.__name__
                raise StageSignatureError(
                    f"{where}: the source {name!r} is called; give the function, sources=[{name}]"
                )
            check_function(source, f"a source of {where}", "sources=[function]")
            if inspect.iscoroutinefunction(source) or inspect.isgeneratorfunction(source):
                raise StageSignatureError(
                    f"source {source.__name__!r} must be an async generator: `async def`, `yield`, and annotate it "
                    "`-> AsyncIterator[…]`"
                )
        for finalizer in self.finalizers:
            check_function(finalizer, f"a finalizer of {where}", "finalizers=[function]")
            if not inspect.iscoroutinefunction(finalizer):
                raise StageSignatureError(
                    f"finalizer {finalizer.__name__!r} must be an `async def` that yields nothing"
                )
        kinds: Sequence[object] = self.resources
        for kind in kinds:
            if not isinstance(kind, type):
                raise WrongResource(
                    f"{where} has {kind!r} among its resources: give the class, which is made with the run's Context"
                )

    def _check_names(self) -> None:
        for what, names in (
            ("stages", [stage.name for stage in self.stages]),
            ("record types", [kind.__name__ for kind in self.record_classes]),
            ("tables", [kind.table or "" for kind in self.tables]),
        ):
            known: dict[str, str] = {}
            for name in names:
                # SQLite takes tables whose names differ only in case for one.
                folded = name.casefold() if what == "tables" else name
                if folded in known:
                    also = "" if known[folded] == name else f" (as {known[folded]!r}, for SQLite)"
                    raise DuplicateName(
                        f"pipeline {self.name!r} has two {what} named {name!r}{also}: rename one of them"
                    )
                known[folded] = name

    def _check_inputs(self) -> None:
        produced = {kind for source in self.all_sources for kind in source.signature.produces}
        produced.update(kind for stage in self.stages for kind in stage.signature.produces)
        for stage in self.stages:
            takes = stage.signature.takes
            if takes is not None and takes not in produced:
                near = difflib.get_close_matches(takes.__name__, [kind.__name__ for kind in produced], 1)
                hint = f" (is {near[0]} meant?)" if near else ""
                raise MissingInput(
                    f"stage {stage.name!r} takes {takes.__name__}, which no source and no stage of pipeline "
                    f"{self.name!r} produces{hint}: add what produces it, or mend the annotation"
                )

    def _check_cycles(self) -> None:
        after = {s.name: {t for kind in s.signature.produces for t in self.routes[kind]} for s in self.stages}
        done: set[str] = set()

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                ring = " → ".join((*path[path.index(name) :], name))
                raise CycleError(
                    f"the stages of pipeline {self.name!r} feed each other in a ring: {ring}; full channels would lock "
                    "it. Give one of the outputs another record type"
                )
            if name not in done:
                for following in sorted(after[name]):
                    visit(following, (*path, name))
                done.add(name)

        for name in after:
            visit(name, ())

    def _check_resources(self, where: str, resources: Mapping[str, type[Any]], runs_in: str) -> None:
        for name, kind in resources.items():
            if kind not in (*self.resources, *PROVIDED):
                raise MissingResource(
                    f"{where} asks for {name}: {shown(kind)}, which pipeline {self.name!r} does not provide; "
                    f"add {shown(kind)} to its resources"
                )
            if runs_in != "loop" and not hasattr(kind, "__enter__"):
                raise WrongResource(
                    f"{where} runs in a {runs_in}, where {kind.__qualname__} cannot live: it is an async context "
                    "manager and belongs to the loop. Call it in a stage on the loop and pass on what it gives"
                )
            if runs_in == "loop" and kind in self.resources and not hasattr(kind, "__aenter__"):
                raise WrongResource(
                    f"{where} runs on the loop, where {kind.__qualname__} cannot live: give it `async with` methods"
                )


def _check_importable(stage: Stage) -> None:
    function = stage.function
    module = inspect.getmodule(function)
    if module is None or module.__name__ == "__main__" or "<locals>" in function.__qualname__:
        raise NotImportable(
            f"stage {stage.name!r} runs in a process, which must import its function {function.__qualname__!r}: "
            "define it at the top level of an importable module"
        )
