"""What is told of failures and pauses, to hooks and in dead letters."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.context import Context
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Batch, Stage
from streamflow.errors import Reject, Skip
from streamflow.events import Event, ItemDied, ItemRetried, ItemSkipped, LimitPaused
from streamflow.http.service import Service
from streamflow.sources.files import Inputs
from streamflow.storage.inspect import dead_letters
from tests.engine.flows import AT_ONCE, Middle, Number, Result, flow, play_virtual, values

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


async def forgets(number: Number) -> Result:
    return None if number.n == 1 else Result(number.n)  # type: ignore[return-value]


async def forgets_one(batch: list[Number]) -> list[Result]:
    return [await forgets(number) for number in batch]


async def forgets_all(number: Number) -> list[Result]:
    return None if number.n == 1 else [Result(number.n)]  # type: ignore[return-value]


@pytest.mark.parametrize(
    "stage", [Stage(forgets), Stage(forgets_one, batch=Batch(3)), Stage(forgets_all)], ids=lambda stage: stage.name
)
def test_none_where_a_record_was_announced_is_a_dead_letter(stage: Stage) -> None:
    played = play_virtual(flow(stage, count=3))
    assert values(played) == [0, 2]
    [died] = played.told(ItemDied)
    assert (died.key, died.attempts) == ("1", 1)
    assert "gave out None; its annotation says Result" in died.error


def test_none_where_it_was_announced_ends_the_item() -> None:
    async def keeps_even(number: Number) -> Result | None:
        return Result(number.n) if number.n % 2 == 0 else None

    async def keeps_odd(number: Number) -> tuple[Middle | None, ...]:
        return (None, Middle(number.n) if number.n % 2 else None)

    played = play_virtual(flow(Stage(keeps_even), Stage(keeps_odd), count=4))
    assert (values(played), values(played, Middle)) == ([0, 2], [1, 3])
    assert played.summary.stages["keeps_even"].done == 4


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
