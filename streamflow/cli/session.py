"""Running a pipeline for a person: the log, the progress, signals, the report and the exit code."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from streamflow.cli.output import count, give_json, tell
from streamflow.cli.pipelines import registered
from streamflow.cli.service import Service
from streamflow.cli.stopping import by_stage, signals, tell_what_is_waited_for
from streamflow.engine.figures import Summary
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.errors import CredentialsRefused, ServiceError, Unavailable, UsageError
from streamflow.events import (
    DRAINED,
    Abandoned,
    BreakerOpened,
    ControlUnavailable,
    Draining,
    Event,
    ItemDied,
    ItemRetried,
    ItemSkipped,
    LimitPaused,
    LoopBlocked,
    RecordRefused,
    RecordsRetracted,
    RunStarted,
    SourceEnded,
    StageCaughtUp,
    StageLacksRecords,
    StageStuck,
    StorageBlocked,
    StorageResumed,
    UncleanEnd,
)
from streamflow.limits.allowance import LimitState
from streamflow.limits.registry import Registry
from streamflow.observe import summary as reports
from streamflow.observe.bottleneck import bottleneck
from streamflow.observe.log import Log
from streamflow.observe.progress import displayed
from streamflow.observe.stats import Observer
from streamflow.observe.words import duration
from streamflow.settings import Settings, load_settings
from streamflow.storage import inspect
from streamflow.storage.trouble import Trouble

DONE, FAILED, DEAD_LETTERS, CREDENTIALS, UNAVAILABLE = 0, 1, 3, 4, 5
AT_ONCE = 5.0
"""Seconds that a run has to end once all its work is cancelled."""
_LETTERS = 20
"""Dead letters that a report holds at most."""
_WAITED_FOR: Mapping[str, str] = {Trouble.FULL: "room", Trouble.LOCKED: "another program to let go of the database"}
_GOES_ON = "Nothing is lost; it goes on by itself."

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
    limit: int | None = None
    quiet: bool = False
    as_json: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)


def run_in_workspace(pipeline: Pipeline, inputs: Sequence[str], workspace: Path, options: Options) -> int:
    """Run a pipeline, tell how it went, and return the exit code. Raises UsageError where nothing could start."""
    settings = load_settings(workspace, options.overrides)
    with Log(
        workspace,
        level=settings.log.level,
        console=None if options.quiet else "error",
        max_bytes=settings.log.max_bytes,
        keep=settings.log.keep,
        secrets=settings.secret_values(),
    ) as opened:
        session = _Session(pipeline, inputs, workspace, options, settings, opened)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            code = runner.run(session.run())
            with session.leaving(AT_ONCE, code):
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
        options: Options,
        settings: Settings,
        opened: Log,
    ) -> None:
        self._pipeline = pipeline
        self._inputs = inputs
        self._workspace = workspace
        self._options = options
        self._log = opened
        self._run: Run | None = None
        self._limits: Registry | None = None
        self._signalled: str | None = None
        self._empty_sources = 0
        self._told_slow: set[tuple[type[Event], str]] = set()
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
                return _signal_code(self._signalled)
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
        self._signalled = name
        if self._run is None:
            task.cancel()  # nothing has begun
            if not self._options.quiet:
                tell(f"Stopped by {name}.")
            return
        if again and not self._options.quiet:
            tell(f"{name} again: stopping at once. What is not committed stays pending.")
        if again:
            self._leave_after(AT_ONCE, name, _signal_code(name))
        self._run.stop(name)

    def _leave_after(self, seconds: float, reason: str, code: int) -> None:
        """End the process if the run has not ended by then: code that swallows its cancellation cannot be stopped."""
        told = (
            f"{reason}: a stage's function ignores its cancellation, so the process is ended. What was committed "
            "is kept, the rest stays pending; the same command goes on from there."
        )
        asyncio.get_running_loop().call_later(seconds, self._leave, told, code)

    @contextmanager
    def leaving(self, seconds: float, code: int) -> Iterator[None]:
        """End the process if closing the loop takes longer, by a thread: what is left on the loop may block it."""
        told = (
            "The run has ended, but a task or a thread that its code left behind ignores its cancellation, so the "
            "process is ended. Nothing is lost."
        )
        timer = threading.Timer(seconds, self._leave, (told, code))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _leave(self, told: str, code: int) -> None:
        tell(told)
        log.warning("left_at_once", reason=told)
        self._log.flush()
        os._exit(code)

    def _heard(self, event: Event) -> None:
        """An event of the run: a line in the log, and a word to the user where they need it now."""
        level, name = _line_for(event)
        getattr(log, level)(name, **asdict(event))
        self._service.heard(event)
        if isinstance(event, SourceEnded) and not event.records:
            self._empty_sources += 1
        if isinstance(event, RecordRefused):
            tell(f"A record of source {event.source!r} was refused: {event.error}")
        if isinstance(event, StorageBlocked):
            tell(f"{event.reason}: waiting for {_WAITED_FOR[event.reason]} in {event.workspace}. {_GOES_ON}")
        if isinstance(event, StorageResumed):
            tell(f"No longer {event.reason}, after {duration(event.seconds)}; going on.")
        if isinstance(event, Draining):
            if event.reason == DRAINED:
                self._signalled = self._signalled or DRAINED  # a signal that follows is the second
            error = self._run.error if self._run is not None else None
            code = _error_code(error) if error is not None else _signal_code(self._signalled or signal.SIGTERM.name)
            self._leave_after(event.grace + AT_ONCE, event.reason, code)
        if self._options.quiet:
            return
        if isinstance(event, LoopBlocked | StageStuck):
            self._tell_slow(event)
        if isinstance(event, UncleanEnd):
            told = f"The run before ended without a word, with {count(len(event.in_flight), 'item')} in work."
            if event.alone:
                told += f" What was in work at two such ends runs alone first: {count(len(event.alone), 'item')}."
            tell(told)
        if isinstance(event, RunStarted):
            if event.resumed:
                tell(f"Going on with {count(event.resumed, 'item')} left pending by an earlier run.")
            if self._options.watching:
                tell(
                    f"Watching {' '.join(self._inputs)}. Ctrl-C stops it: once to finish what is active, twice at once."
                )
        if isinstance(event, StageCaughtUp):
            if event.items:
                items = count(event.items, "item")
                tell(f"{event.stage}: {items} to work on, which are new to it or were done by another version.")
            if event.pruned:
                left_out = count(event.pruned, "record")
                tell(f"{left_out} for {event.stage} were pruned and are in no table; --refresh makes them again.")
            if event.unreadable:
                left_out = count(event.unreadable, "record")
                tell(f"{left_out} for {event.stage} no longer fit their type; --refresh makes them again.")
        if isinstance(event, StageLacksRecords):
            tell(
                f"{event.stage} is new, and no {event.record} of earlier runs was kept for it: it has no table, and no "
                "other stage takes it. --refresh makes them again."
            )
        if isinstance(event, RecordsRetracted):
            tell(f"Retracted {count(event.records, 'record')} that nothing emits any more.")
        if isinstance(event, Draining) and self._signalled is not None:
            active = count(sum(event.active.values()), "active item")
            stages = f" ({by_stage(event.active)})" if event.active else ""
            tell(
                f"{event.reason}: finishing {active}, for at most {event.grace:g} s{stages}; "
                "the rest stays pending. A second signal stops at once."
            )
            assert self._run is not None  # noqa: S101 - it told
            self._accompany(tell_what_is_waited_for(self._run, event.grace), "draining")
        if isinstance(event, Abandoned):
            tell(f"Not finished: {by_stage(event.items)}. They stay pending.")

    def _tell_slow(self, event: LoopBlocked | StageStuck) -> None:
        """Say once for each stage that its function does not let go, and where it stands."""
        if (type(event), event.stage) in self._told_slow:
            return
        self._told_slow.add((type(event), event.stage))
        who = f"The function of {event.stage}" if event.stage else "Something"
        where = event.stack.rpartition("\n")[2]
        if isinstance(event, LoopBlocked):
            tell(
                f'{who} holds up everything else: it blocks or computes, at {where}. Say runs_in="thread" or "process".'
            )
        else:
            tell(f'{who} goes on although its time is over, at {where}. In runs_in="process" it could be ended.')

    def _failed(self, error: Exception) -> int:
        """What a source, a finalizer, the store or the engine itself raised."""
        log.info("run_failed", exc_info=error)
        self._log.flush()
        code = _error_code(error) if isinstance(error, CredentialsRefused | Unavailable) else FAILED
        lines = [
            f"Error: {self._pipeline.name} failed: {_why(error)}",
            "What was committed is kept; the same command goes on from there.",
        ]
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
            str(self._workspace),
            _code(summary, found.dead),
            self._retry_command(),
            {name: counts.pending for name, counts in found.stages.items()},
            found.dead,
            letters,
            limits,
            None if self._options.sequential else bottleneck(reports.whole(summary, limits)),
            None if summary.error is None else _why(summary.error),
        )

    def _retry_command(self) -> str:
        known = registered()
        name = "" if self._pipeline.name in known and self._options.called in known else f" {self._options.called}"
        return f"streamflow retry{name} -w {shlex.quote(str(self._workspace))}"

    def _nothing_found(self) -> bool:
        return (
            bool(self._inputs) and self._options.limit != 0 and self._empty_sources == len(self._pipeline.sources) > 0
        )


def _code(summary: Summary, dead: int) -> int:
    if summary.error is not None:
        return _error_code(summary.error)
    if summary.stopped_by is not None:
        return _signal_code(summary.stopped_by)
    return DEAD_LETTERS if dead or summary.refused else DONE


def _error_code(error: Exception) -> int:
    if isinstance(error, CredentialsRefused):
        return CREDENTIALS
    return UNAVAILABLE if isinstance(error, ServiceError) else FAILED


def _why(error: Exception) -> str:
    if isinstance(error, CredentialsRefused):
        name = error.service or "NAME"
        return (
            f"{str(error).rstrip('.')}. Nothing is lost. Set the credentials in [services.{name}] of streamflow.toml "
            f"or in STREAMFLOW_SERVICES__{name.upper()}__API_KEY, and run it again"
        )
    if isinstance(error, Unavailable):
        return (
            f"{error}. Nothing is lost: run it again when {error.service} is back. How long a run waits for a service "
            "is the setting outage"
        )
    return f"{type(error).__name__}: {error}"


def _signal_code(name: str) -> int:
    return 128 + (signal.SIGTERM if name == DRAINED else signal.Signals[name])


def _line_for(event: Event) -> tuple[str, str]:
    """The level and the name of an event's line in the log."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    if isinstance(event, ItemSkipped | ItemRetried):
        return "debug" if isinstance(event, ItemSkipped) else "info", name
    noteworthy = isinstance(
        event, ItemDied | LimitPaused | BreakerOpened | StorageBlocked | ControlUnavailable
    ) or name in (
        "contents_differ",
        "stage_stuck",
        "loop_blocked",
        "unclean_end",
        "record_refused",
    )
    return "warning" if noteworthy else "info", name
