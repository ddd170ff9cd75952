"""What is told of failures and pauses, to hooks and in dead letters."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.context import Context
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.errors import Reject, Skip
from streamflow.events import Event, ItemDied, ItemRetried, ItemSkipped, LimitPaused
from streamflow.http.service import Service
from streamflow.sources.files import Inputs
from streamflow.storage.inspect import dead_letters
from tests.engine.flows import AT_ONCE, Number, Result, flow, play_virtual

SERVICE = Service("shop", "http://127.0.0.1:9")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise AttributeError("no response")


def test_an_error_without_words_costs_only_its_item() -> None:
    async def fails(number: Number) -> Result:
        if number.n == 3:
            raise Unspeakable
        return Result(number.n)

    played = play_virtual(flow(Stage(fails, retry=AT_ONCE)))
    assert [event.error for event in played.told(ItemRetried)] == ["Unspeakable", "Unspeakable"]
    assert [(event.key, event.error) for event in played.told(ItemDied)] == [("3", "Unspeakable (after 3 attempts)")]


async def ends_oddly(number: Number) -> Result:
    reason: Any = {0: 5, 1: None, 2: ["a", 2]}[number.n]
    raise Skip(reason) if number.n == 0 else Reject(reason)


@pytest.mark.asyncio
async def test_a_reason_that_is_no_text_is_kept_as_its_text(tmp_path: Path) -> None:
    told: list[Event] = []
    await run_pipeline(flow(Stage(ends_oddly), count=3), workspace=tmp_path, hook=told.append)
    assert [event.reason for event in told if isinstance(event, ItemSkipped)] == ["5"]
    assert [event.error for event in told if isinstance(event, ItemDied)] == ["None", "['a', 2]"]
    assert {letter.error for letter in dead_letters(tmp_path)} == {"None", "['a', 2]"}


async def refused(inputs: Inputs, *, context: Context) -> AsyncIterator[Number]:
    context.client(SERVICE).limit.pause(30, "shop asked to wait")
    yield Number(1)


async def double(number: Number) -> Result:
    return Result(number.n)


@pytest.mark.asyncio
async def test_a_pause_of_a_limit_is_told_to_the_hook_of_the_run(tmp_path: Path) -> None:
    told: list[Event] = []
    pipeline = Pipeline("shop", sources=[refused], stages=[Stage(double)], services=["shop"])
    await run_pipeline(pipeline, workspace=tmp_path / "workspace", hook=told.append)
    assert [event for event in told if isinstance(event, LimitPaused)] == [
        LimitPaused("shop", 30, "shop asked to wait")
    ]
