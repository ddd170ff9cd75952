"""Which settings a run takes over while it goes on, and that it does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamflow.engine.context import Context
from streamflow.engine.launch import run_pipeline
from streamflow.engine.reload import LIVE, changes, take_over
from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.errors import SettingsError
from streamflow.events import Event, ItemRetried
from streamflow.http.client import Service
from streamflow.limits.registry import Registry
from streamflow.settings import Settings
from streamflow.storage.memory import MemoryStore
from tests.engine.flows import Number, Result, flow

BEFORE = Settings.model_validate({"services": {"api": {"rate": 5, "api_key": "first secret"}}})


def after(**given: object) -> Settings:
    return Settings.model_validate({"services": {"api": {"rate": 5, "api_key": "first secret"}}, **given})


def test_what_differs_is_told_by_its_path_and_never_by_its_value() -> None:
    differ = changes(
        BEFORE,
        Settings.model_validate(
            {
                "grace": 5,
                "services": {"api": {"rate": 9, "api_key": "second secret"}},
                "stages": {"work": {"timeout": 3, "workers": 7}},
                "log": {"level": "debug"},
                "watch": {"poll": 3},
                "storage": {"synchronous": "NORMAL"},
            }
        ),
    )
    assert differ.live == ("services.api.rate", "stages.work.timeout", "log.level", "watch.poll", "grace")
    assert differ.waiting == ("services.api.api_key", "stages.work.workers", "storage.synchronous")
    assert changes(BEFORE, BEFORE) == ((), ())


def test_a_section_that_goes_away_differs_too() -> None:
    assert changes(BEFORE, Settings()).live == ("services.api.rate",)
    assert changes(BEFORE, Settings()).waiting == ("services.api.api_key",)


def test_every_live_setting_exists() -> None:
    for path in LIVE:
        section, _, field = path.replace("NAME.", "").rpartition(".")
        found: object = getattr(Settings(), section or field)
        if "NAME" in path:
            found = found["any"]  # type: ignore[index]
        assert not section or hasattr(found, field), path


API = Service("api", "http://127.0.0.1:9", rate=5, concurrency=2)


class Client:
    def __init__(self, context: Context) -> None:
        context.client(API)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


@pytest.mark.asyncio
async def test_a_run_goes_on_with_the_new_grace_timeout_attempts_rate_and_pace(tmp_path: Path) -> None:
    tried: list[int] = []
    events: list[Event] = []
    arrived, go = asyncio.Event(), asyncio.Event()

    async def work(number: Number, *, client: Client, context: Context) -> Result:
        tried.append(number.n)
        if number.n == 0:
            arrived.set()
            await go.wait()
            context.client(API)  # asked for later on, the limit is still the same
            return Result(number.n)
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    pipeline = flow(Stage(work, timeout=3600), count=2, resources=[Client], services=["api"])
    started: list[tuple[Run, Registry]] = []
    running = asyncio.create_task(
        run_pipeline(
            pipeline,
            workspace=tmp_path,
            settings=Settings(),
            store=MemoryStore(),
            hook=events.append,
            started=lambda run, limits: started.append((run, limits)),
        )
    )
    async with asyncio.timeout(20):
        await arrived.wait()
        ((run, limits),) = started
        limits.limit("rateless")
        with pytest.raises(SettingsError, match=r"services\.rateless\.rate too"):
            take_over(run, limits, pipeline, after(grace=3, services={"rateless": {"per": 5}}))
        assert run.grace == Settings().grace
        wanted = after(
            grace=1,
            services={"api": {"rate": 3, "concurrency": 1}},
            stages={"work": {"timeout": 0.05, "attempts": 1}},
            watch={"quiet": 7, "poll": 11},
        )
        take_over(run, limits, pipeline, wanted)
        go.set()
        summary = await running
    assert tried == [0, 1]
    assert summary.stages["work"].dead == 1
    assert not [event for event in events if isinstance(event, ItemRetried)]
    assert run.grace == 1
    assert (run.inputs.pace.quiet, run.inputs.pace.rescan, run.inputs.pace.poll) == (7, 60, 11)
    limit, _ = limits
    holds = limit.snapshot().effective
    assert (holds.rate, holds.concurrency) == (3, 1)
