"""A service that is away for a while, over real HTTP and with a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from streamflow import Context, Inputs, Pipeline, Service, Stage, record
from streamflow.engine.launch import run_pipeline
from streamflow.events import BreakerClosed, BreakerOpened, Event
from streamflow.settings import load_settings
from streamflow.storage import inspect
from streamflow.testing.simulator import Call, Reply, Simulator

pytestmark = pytest.mark.asyncio


@record(key="n")
class Wanted:
    n: int


@record(key="n", table="prices")
class Price:
    n: int
    price: int


class Shop:
    def __init__(self, context: Context) -> None:
        self.client = context.client(Service("shop", "http://localhost", rate=1000, concurrency=4))

    async def __aenter__(self) -> Shop:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class ShopSimulator(Simulator):
    """Refuses the calls from the 20th to the 28th."""

    name: ClassVar[str] = "shop"
    status = 503

    def answer(self, call: Call, key: str) -> Reply:
        if 20 <= self.calls.total() <= 28:
            return Reply(self.status)
        return Reply.json({"price": 7})


async def wanted(inputs: Inputs) -> AsyncIterator[Wanted]:
    for n in range(60):
        yield Wanted(n)


async def price(wanted: Wanted, *, shop: Shop) -> Price:
    found: dict[str, Any] = await shop.client.json(f"/{wanted.n}", type=dict)
    return Price(wanted.n, found["price"])


@pytest.mark.parametrize("status", [500, 503])
async def test_items_wait_until_it_is_back(tmp_path: Path, status: int) -> None:
    told: list[Event] = []
    pipeline = Pipeline(
        "shopping", sources=[wanted], stages=[Stage(price, workers=8)], resources=[Shop], services=["shop"]
    )
    simulator = ShopSimulator()
    simulator.status = status
    async with simulator:
        settings = load_settings(tmp_path, {"services": {"shop": {"base_url": simulator.url}}})
        summary = await run_pipeline(pipeline, workspace=tmp_path, settings=settings, hook=told.append)
    assert summary.error is None
    found = inspect.overview(tmp_path).stages["price"]
    assert (found.done, found.dead, found.pending) == (60, 0, 0)
    assert simulator.calls.total() == 60 + 9
    assert [type(event) for event in told if isinstance(event, BreakerOpened | BreakerClosed)] == [
        BreakerOpened,
        BreakerClosed,
    ]
