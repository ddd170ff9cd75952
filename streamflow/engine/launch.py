"""Running a pipeline in a workspace: the lock, the store, the resources, then the run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamflow.engine.context import Context
from streamflow.engine.control.answers import controlled
from streamflow.engine.figures import Summary
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.events import Hook
from streamflow.http.cache import Cache
from streamflow.http.session import open_session
from streamflow.limits.keeping import keeping
from streamflow.limits.registry import Registry
from streamflow.sections import StageSettings
from streamflow.settings import Settings, load_settings
from streamflow.sources.files import Inputs
from streamflow.sources.watch import Pace
from streamflow.storage import DATABASE
from streamflow.storage.files import FileStore
from streamflow.storage.lock import WorkspaceLock
from streamflow.storage.patience import Patience
from streamflow.storage.reader import Reader
from streamflow.storage.selection import Selection
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Store


async def run_pipeline(
    pipeline: Pipeline,
    arguments: Sequence[str] = (),
    *,
    workspace: Path,
    settings: Settings | None = None,
    store: Store | None = None,
    watching: bool = False,
    sequential: bool = False,
    refresh: bool = False,
    stale: bool = False,
    requeue: Selection | None = None,
    limit: int | None = None,
    trace: bool = False,
    hook: Hook = lambda event: None,
    started: Callable[[Run, Registry], None] = lambda run, limits: None,
) -> Summary:
    """Run a pipeline to its end, or with `watching` until it is stopped.

    `started` is given the run, to watch or to stop it, and its limits. Without a `store` the workspace's database is
    used. With `requeue` the dead letters that it fits are tried again. Raises UsageError when something is wrong before
    the start, and what a source or a finalizer raises.
    """
    workspace = workspace.absolute()  # noqa: ASYNC240 - no disk is asked. A stage may change the current folder
    settings = settings if settings is not None else load_settings(workspace)
    settings.check_names(services=pipeline.services, stages=[stage.name for stage in pipeline.stages])
    pipeline = configured(pipeline, settings)
    inputs = Inputs(
        arguments,
        watching,
        pace=Pace(settings.watch.quiet, settings.watch.rescan, settings.watch.poll),
        processed=settings.watch.processed,
        failed=settings.watch.failed,
        ignored=[workspace],
    )
    inputs.check()
    async with AsyncExitStack() as stack:
        stack.enter_context(WorkspaceLock(workspace))
        patience = Patience(workspace, hook)
        if store is None:
            store = SqliteStore(workspace / DATABASE, synchronous=settings.storage.synchronous, patience=patience)
        files = FileStore(workspace / "files", patience=patience)
        await files.sweep()
        session = await stack.enter_async_context(open_session())
        limits = Registry(hook=hook, outage=float("inf") if watching else settings.outage)
        cache = Cache(store)
        context = Context(workspace, settings, session, limits, files, cache, lambda: store.identity)
        resources: dict[type[Any], Any] = {Context: context, Inputs: inputs, Reader: Reader(store)}
        for kind in pipeline.resources:
            if hasattr(kind, "__aenter__"):
                resources[kind] = await stack.enter_async_context(kind(context))
        run = Run(
            pipeline,
            store,
            resources=resources,
            workspace=workspace,
            hook=hook,
            sequential=sequential,
            daemon=watching,
            limit=limit,
            refresh=refresh,
            stale=stale,
            requeue=requeue,
            grace=settings.grace,
            trace=trace,
            beside=_keeping(limits, cache, store),
            storage_patience=patience,
            retention=settings.retention.done,
        )
        await stack.enter_async_context(controlled(workspace, run, store, limits, hook))
        started(run, limits)
        return await run()


@asynccontextmanager
async def _keeping(limits: Registry, cache: Cache, store: Store) -> AsyncIterator[None]:
    """What a run keeps beside its items: what its limits used, and what services answered."""
    async with keeping(limits, store), cache.saving():
        yield


def configured(pipeline: Pipeline, settings: Settings) -> Pipeline:
    """The pipeline as the settings want it: adapted, and with what `[stages.NAME]` says."""
    if pipeline.adapt is not None:
        pipeline = pipeline.adapt(pipeline, settings)
    return replace(pipeline, stages=[_configured(stage, settings.stages) for stage in pipeline.stages])


def _configured(stage: Stage, given: Mapping[str, StageSettings]) -> Stage:
    said = given[stage.name]
    retry = stage.retry if said.attempts is None else replace(stage.retry, attempts=said.attempts)
    return replace(
        stage,
        workers=said.workers or stage.workers,
        capacity=said.capacity or stage.capacity,
        timeout=said.timeout or stage.timeout,
        retry=retry,
    )
