"""What a run in a workspace is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamflow.engine.context import Context
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.http.service import Service
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window
from streamflow.sources.files import Inputs
from tests.engine.flows import Number, Result

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


async def test_settings_replace_published_windows_and_add_others(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "streamflow.toml").write_text(
        "[[services.shop.windows]]\nsize = 50\nper = 3600\n"
        "[[services.shop.windows]]\nkind = 'tokens'\nsize = 7\nper = 1\n"
    )
    seen: list[tuple[Window, ...]] = []

    async def looks(inputs: Inputs, *, context: Context) -> AsyncIterator[Number]:
        seen.append(context.client(replace(SHOP, timeout=5)).limit.snapshot().effective.windows)
        yield Number(1)

    async def double(number: Number) -> Result:
        return Result(number.n)

    pipeline = Pipeline("shop", sources=[looks], stages=[Stage(double)], services=["shop"])
    await run_pipeline(pipeline, workspace=workspace)
    assert seen == [(Window(50, 3600), Window(900, 60, "points"), Window(7, 1, "tokens"))]
