"""A run as a service: what systemd is told of it, and its settings read again at SIGHUP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import structlog

from streamflow.cli.output import tell
from streamflow.cli.stopping import by_stage
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.reload import changes, take_over
from streamflow.engine.run import Run
from streamflow.events import Draining, Event, RunStarted
from streamflow.limits.registry import Registry
from streamflow.observe.log import Log
from streamflow.observe.systemd import Notices
from streamflow.settings import Settings

log = structlog.get_logger("streamflow")


class Service:
    """Goes on beside a run, in a `with` block. `read` gives the settings as they are by now, or says what is wrong."""

    def __init__(self, pipeline: Pipeline, settings: Settings, read: Callable[[], Settings], opened: Log) -> None:
        self.settings = settings
        self._pipeline = pipeline
        self._read = read
        self._log = opened
        self._notices = Notices()
        self._reload = asyncio.Event()
        self._has_begun = asyncio.Event()
        self._run: Run | None = None
        self._limits: Registry | None = None
        self._is_stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._notices.close()

    def started(self, run: Run, limits: Registry) -> None:
        self._run, self._limits = run, limits

    def heard(self, event: Event) -> None:
        """An event of the run."""
        if isinstance(event, RunStarted):
            self._has_begun.set()
            self._notices.ready(self._status())
        if isinstance(event, Draining):
            self._is_stopping = True
            self._notices.stopping(f"finishing {by_stage(event.active) or 'nothing'}, for at most {event.grace:g} s")

    def reload(self) -> None:
        """Read the settings again, as soon as the run goes on; several wishes are one."""
        self._reload.set()

    async def signs_of_life(self) -> None:
        await self._notices.signs_of_life(self._status)

    async def reloads(self) -> None:
        """Read the settings again whenever that is wished, for as long as the run is on."""
        await self._has_begun.wait()
        while True:
            await self._reload.wait()
            self._reload.clear()
            if self._run is not None and self._limits is not None and not self._is_stopping:
                await self._reload_settings(self._run, self._limits)

    async def _reload_settings(self, run: Run, limits: Registry) -> None:
        """Take over what has changed in the settings, or leave everything as it is and say why."""
        self._notices.reloading()
        try:
            settings = await asyncio.to_thread(self._read)
            differ = changes(self.settings, settings)
            take_over(run, limits, self._pipeline, settings)
        except Exception as error:  # noqa: BLE001 - a pipeline's own function may be asked
            log.warning("settings_refused", reason=str(error))
            tell(f"The settings stay as they were: {error}")
        else:
            self.settings = settings
            self._log.set_level(settings.log.level)
            log.info("settings_reloaded", taken_over=differ.live, need_a_new_start=differ.waiting)
            tell(f"Settings read again; changed: {', '.join(differ.live) or 'nothing'}.")
            if differ.waiting:
                tell(f"A new start is needed for {', '.join(differ.waiting)}.")
        finally:
            if not self._is_stopping:
                self._notices.ready(self._status())

    def _status(self) -> str:
        """How it stands, in a line."""
        if self._run is None:
            return "starting"
        figures = self._run.figures().values()
        done = sum(each.done + each.skipped for each in figures)
        waiting = sum(each.queued + each.parked for each in figures)
        dead = sum(each.dead for each in figures)
        state = "stopping: " if self._is_stopping else ""
        return f"{state}{sum(each.active for each in figures)} active, {waiting} waiting, {done} done, {dead} failed"
