"""What a run in a workspace is made of."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from streamflow.engine.context import Context
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.errors import UsageError
from streamflow.http.service import Service
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window
from streamflow.sources.files import Inputs
from tests.engine.flows import Number, Result, flow

pytestmark = pytest.mark.asyncio

SHOP = Service("shop", "http://127.0.0.1:9", windows=(Window(100, 3600), Window(900, 60, "points")))


async def test_what_is_used_of_a_long_window_is_known_to_the_next_run(tmp_path: Path) -> None:
    used: list[float | None] = []

    async def calls(inputs: Inputs, *, context: Context) -> AsyncIterator[Number]:
        limit: Limit = context.client(SHOP).limit
        async with limit() as grant:
            grant.sent()
        used.append(limit.snapshot().windows[0].used)
        yield Number(1)

    async def double(number: Number) -> Result:
        return Result(number.n)

    pipeline = Pipeline("shop", sources=[calls], stages=[Stage(double)], services=["shop"])
    for _ in range(2):
        await run_pipeline(pipeline, workspace=tmp_path / "workspace")
    assert used == [1, 2]


async def settled(folder: Path, toml: str, service: Service) -> tuple[Window, ...]:
    """The windows of a service as a run with these settings has them."""
    (folder / "streamflow.toml").write_text(toml)
    seen: list[tuple[Window, ...]] = []

    class Shop:
        def __init__(self, context: Context) -> None:
            seen.append(context.client(service).limit.snapshot().effective.windows)

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

    async def double(number: Number, *, shop: Shop) -> Result:
        return Result(number.n)

    pipeline = flow(Stage(double), count=1, resources=[Shop], services=["shop"])
    await run_pipeline(pipeline, workspace=folder)
    return seen[0]


async def test_settings_replace_published_windows_and_add_others(tmp_path: Path) -> None:
    toml = (
        "[[services.shop.windows]]\nsize = 50\nper = 3600\n"
        "[[services.shop.windows]]\nkind = 'tokens'\nsize = 7\nper = 1\n"
    )
    service = replace(SHOP, timeout=5, cost={"tokens": 0})
    assert await settled(tmp_path, toml, service) == (
        Window(50, 3600),
        Window(900, 60, "points"),
        Window(7, 1, "tokens"),
    )


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("[[services.shop.windows]]\nkind = 'pionts'\nsize = 7\nper = 1", "pionts of shop.* mean 'points'"),
        ("[[services.shop.windows]]\nkind = 'tokens'\nsize = 7\nper = 1", "tokens of shop.* Known: points, requests"),
        ("[[services.shop.windows]]\nsize = 0.5\nper = 10", "whole window is 0.5 requests in 10 s"),
        ("[services.shop]\nper = 5", r"services\.shop\.per .* Set services\.shop\.rate too"),
    ],
)
async def test_a_limit_that_would_limit_nothing_or_everything_stops_the_start(
    tmp_path: Path, toml: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        await settled(tmp_path, toml, SHOP)


async def test_the_seconds_of_a_published_rate_may_be_set_alone(tmp_path: Path) -> None:
    await settled(tmp_path, "[services.shop]\nper = 5", replace(SHOP, rate=3))
