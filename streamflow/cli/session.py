"""Running a pipeline for a person: the log, the progress, signals, the report and the exit code."""

from __future__ import annotations

import asyncio
import shlex
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from streamflow.cli.endings import (
    AT_ONCE,
    FAILED,
    error_code,
    exit_code,
    leave_after,
    leaving,
    signal_code,
    why,
)
from streamflow.cli.output import give_json, tell
from streamflow.cli.pipelines import registered
from streamflow.cli.service import Service
from streamflow.cli.stopping import signals, tell_what_is_waited_for
from streamflow.cli.telling import Telling, draining, line_for
from streamflow.engine.figures import Summary
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.errors import CredentialsRefused, DatabaseGone, Unavailable, UsageError
from streamflow.events import DRAINED, Draining, Event, RunStarted, SourceEnded
from streamflow.limits.allowance import LimitState
from streamflow.limits.registry import Registry
from streamflow.observe import summary as reports
from streamflow.observe.bottleneck import bottleneck
from streamflow.observe.log import Log
from streamflow.observe.progress import displayed
from streamflow.observe.stats import Observer
from streamflow.settings import Settings, load_settings
from streamflow.storage import inspect
from streamflow.storage.selection import Selection

_LETTERS = 20
"""Dead letters that a report holds at most."""

log = structlog.get_logger("streamflow")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run: what `run`, `watch`, `retry` and `demo` have in common.

    `called` is what the user calls the pipeline; `overrides` are settings, nested.
    """

    called: str
    watching: bool = False
    sequential: bool = False
    refresh: bool = False
    stale: bool = False
    requeue: Selection | None = None
    limit: int | None = None
    quiet: bool = False
    as_json: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)


def run_in_workspace(pipeline: Pipeline, inputs: Sequence[str], workspace: Path, options: Options) -> int:
    """Run a pipeline, tell how it went, and return the exit code. Raises UsageError where nothing could start."""
    named, workspace = workspace, workspace.absolute()  # a stage may change the current folder
    settings = load_settings(workspace, options.overrides)
    with Log(
        workspace,
        level=settings.log.level,
        console=None if options.quiet else "error",
        max_bytes=settings.log.max_bytes,
        keep=settings.log.keep,
        secrets=settings.secret_values(),
    ) as opened:
        session = _Session(pipeline, inputs, workspace, named, options, settings, opened)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            code = runner.run(session.run())
            with leaving(AT_ONCE, code, opened):
                runner.close()
            return code


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the `fast` extra is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _Session:
    """One run with everything around it."""

    def __init__(
        self,
        pipeline: Pipeline,
        inputs: Sequence[str],
        workspace: Path,
        named: Path,
        options: Options,
        settings: Settings,
        opened: Log,
    ) -> None:
        self._pipeline = pipeline
        self._inputs = inputs
        self._workspace = workspace
        self._named = named  # as the user calls it
        self._options = options
        self._log = opened
        self._run: Run | None = None
        self._limits: Registry | None = None
        self._signalled: str | None = None
        self._leaving_the_start: asyncio.TimerHandle | None = None
        self._empty_sources = 0
        self._telling = Telling(inputs, watching=options.watching, quiet=options.quiet)
        self._service = Service(pipeline, settings, self._read_settings, opened)
        self._beside: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        options = self._options
        task = asyncio.create_task(self._run_pipeline(), name="streamflow run")
        reload = self._service.reload if options.watching else None
        with self._service, signals(lambda name: self._stop(name, task), reload):
            try:
                summary = await task
            except asyncio.CancelledError:
                if self._signalled is None:
                    raise
                return signal_code(self._signalled)
            except UsageError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever stopped the run is told and logged
                return self._failed(error)
        limits = [limit.snapshot() for limit in self._limits or ()]
        report = await asyncio.to_thread(self._report, summary, limits)
        log.info(
            "run_reported",
            outcome=report.code,
            pending=sum(report.pending.values()),
            dead=report.dead,
            bottleneck=report.bottleneck.why if report.bottleneck is not None else None,
        )
        self._log.flush()
        if not options.quiet:
            tell(self._log.redact.text(reports.text(report)))
            if self._nothing_found():
                tell(f"No source of {self._pipeline.name} found anything to read in {' '.join(self._inputs)}.")
        if options.as_json:
            give_json(self._log.redact(reports.as_json(report)))
        return report.code

    async def _run_pipeline(self) -> Summary:
        def started(run: Run, limits: Registry) -> None:
            self._run, self._limits = run, limits
            self._service.started(run, limits)
            if self._signalled is not None:
                run.stop(self._signalled)

        def hook(event: Event) -> None:
            self._heard(event)
            if isinstance(event, RunStarted) and not self._options.quiet:
                display.set()

        async def show() -> None:
            await display.wait()
            assert self._run is not None  # noqa: S101 - started comes before any event
            assert self._limits is not None  # noqa: S101
            async with displayed(Observer(self._run, self._limits, time.monotonic())):
                await asyncio.get_running_loop().create_future()

        display = asyncio.Event()
        self._accompany(show(), "display")
        self._accompany(self._service.signs_of_life(), "signs of life")
        self._accompany(self._service.reloads(), "reloads")
        try:
            return await run_pipeline(
                self._pipeline,
                self._inputs,
                workspace=self._workspace,
                settings=self._service.settings,
                watching=self._options.watching,
                sequential=self._options.sequential,
                refresh=self._options.refresh,
                stale=self._options.stale,
                requeue=self._options.requeue,
                limit=self._options.limit,
                hook=hook,
                started=started,
            )
        finally:
            for beside in self._beside:
                beside.cancel()
            await asyncio.gather(*self._beside, return_exceptions=True)

    def _accompany(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Let something go on beside the run, until its end."""
        self._beside.append(asyncio.create_task(work, name=f"streamflow {name}"))

    def _read_settings(self) -> Settings:
        settings = load_settings(self._workspace, self._options.overrides)
        stages = [stage.name for stage in self._pipeline.stages]
        settings.check_names(services=self._pipeline.services, stages=stages)
        return settings

    def _stop(self, name: str, task: asyncio.Task[Summary]) -> None:
        again = self._signalled is not None
        if again and name == signal.SIGHUP.name:
            return  # a terminal that was closed and the shell in it both say so
        self._signalled = name
        if self._run is None:
            task.cancel()  # nothing has begun
            if not self._options.quiet:
                tell(f"Stopped by {name}.")
            leave_after(AT_ONCE, name, signal_code(name), self._log, starting=True)
            return
        is_starting = self._run.state == "starting"
        if again and not self._options.quiet:
            tell(f"{name} again: stopping at once. What is not committed stays pending.")
        if again:
            leave_after(AT_ONCE, name, signal_code(name), self._log, starting=is_starting)
        elif is_starting:
            seconds = self._run.grace + AT_ONCE
            self._leaving_the_start = leave_after(seconds, name, signal_code(name), self._log, starting=True)
        self._run.stop(name)

    def _heard(self, event: Event) -> None:
        """An event of the run."""
        level, name = line_for(event)
        getattr(log, level)(name, **asdict(event))
        self._service.heard(event)
        self._telling.heard(event)
        if isinstance(event, SourceEnded) and not event.records:
            self._empty_sources += 1
        if isinstance(event, Draining):
            self._draining(event)

    def _draining(self, event: Draining) -> None:
        assert self._run is not None  # noqa: S101 - it told
        if self._leaving_the_start is not None:
            self._leaving_the_start.cancel()  # it came to its end after all
        if event.reason == DRAINED:
            self._signalled = self._signalled or DRAINED  # a signal that follows is the second
        error = self._run.error
        code = error_code(error) if error is not None else signal_code(self._signalled or signal.SIGTERM.name)
        leave_after(event.grace + AT_ONCE, event.reason, code, self._log)
        if self._signalled is not None and not self._options.quiet:
            tell(draining(event))
            self._accompany(tell_what_is_waited_for(self._run, event.grace), "draining")

    def _failed(self, error: Exception) -> int:
        """What a source, a finalizer, the store or the engine itself raised."""
        log.info("run_failed", exc_info=error)
        self._log.flush()
        code = error_code(error) if isinstance(error, CredentialsRefused | Unavailable) else FAILED
        lines = [f"Error: {self._pipeline.name} failed: {why(error)}"]
        if not isinstance(error, DatabaseGone):
            lines.append("What was committed is kept; the same command goes on from there.")
        if self._log.path is not None and self._log.path.exists():
            lines.append(f"The whole story is in {self._log.path}.")
        tell(self._log.redact.text("\n".join(lines)))
        if self._options.as_json:
            give_json({"pipeline": self._pipeline.name, "outcome": "failed", "exit_code": code, "error": str(error)})
        return code

    def _report(self, summary: Summary, limits: Sequence[LimitState]) -> reports.Report:
        found = inspect.overview(self._workspace)
        letters = inspect.dead_letters(self._workspace, limit=_LETTERS) if found.dead else []
        return reports.Report(
            summary,
            str(self._named),
            exit_code(summary, found.dead),
            self._retry_command(),
            {name: counts.pending for name, counts in found.stages.items()},
            found.dead,
            letters,
            limits,
            None if self._options.sequential else bottleneck(reports.whole(summary, limits)),
            None if summary.error is None else why(summary.error),
        )

    def _retry_command(self) -> str:
        known = registered()
        name = "" if self._pipeline.name in known and self._options.called in known else f" {self._options.called}"
        return f"streamflow retry{name} -w {shlex.quote(str(self._named))}"

    def _nothing_found(self) -> bool:
        return (
            bool(self._inputs) and self._options.limit != 0 and self._empty_sources == len(self._pipeline.sources) > 0
        )
