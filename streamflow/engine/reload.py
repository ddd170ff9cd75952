"""Changing the settings of a run that goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from streamflow.engine.context import allowance
from streamflow.engine.launch import configured
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.run import Run
from streamflow.limits.registry import Registry
from streamflow.settings import Settings

LIVE = {
    "grace",
    "log.level",
    "watch.quiet",
    "watch.rescan",
    "watch.poll",
    "services.NAME.rate",
    "services.NAME.per",
    "services.NAME.burst",
    "services.NAME.concurrency",
    "stages.NAME.timeout",
    "stages.NAME.attempts",
}
"""The settings that a run takes over while it goes on; others need a new start."""


class Changes(NamedTuple):
    """Settings that differ, by their paths: those that are taken over, and those that wait for a new start."""

    live: tuple[str, ...]
    waiting: tuple[str, ...]


def changes(before: Settings, after: Settings) -> Changes:
    """What differs between two settings. Values are not told: some are secret."""
    live: list[str] = []
    waiting: list[str] = []
    for name in Settings.model_fields:
        for path, general in _different(name, getattr(before, name), getattr(after, name)):
            (live if general in LIVE else waiting).append(path)
    return Changes(tuple(live), tuple(waiting))


def _different(name: str, old: object, new: object) -> Iterator[tuple[str, str]]:
    """The paths of what differs below a top-level setting, each also with NAME for a name that users give."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            for field in _fields(old[key], new[key]):
                yield f"{name}.{key}.{field}", f"{name}.NAME.{field}"
    elif hasattr(type(new), "model_fields"):
        for field in _fields(old, new):
            yield f"{name}.{field}", f"{name}.{field}"
    elif old != new:
        yield name, name


def _fields(old: object, new: object) -> Iterator[str]:
    known: Iterable[str] = type(new).model_fields  # type: ignore[attr-defined]
    return (field for field in known if getattr(old, field) != getattr(new, field))


def take_over(run: Run, limits: Registry, pipeline: Pipeline, settings: Settings) -> None:
    """Give a run the `LIVE` settings, the log's left out. `pipeline` is as it was declared.

    Raises what `pipeline.adapt` raises, and SettingsError; then nothing has changed.
    """
    wanted = configured(pipeline, settings)
    for limit in limits:
        settings.check_rate(limit.name, limit.published.rate)
    for stage in wanted.stages:
        run.pools[stage.name].retune(stage)
    run.grace = settings.grace
    run.inputs.pace.change(settings.watch.quiet, settings.watch.rescan, settings.watch.poll)
    for limit in limits:
        limit.configure(replace(allowance(settings.services[limit.name]), windows=limit.user.windows))
