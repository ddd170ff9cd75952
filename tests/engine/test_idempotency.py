"""At least once by the engine, once at a service that takes keys: over loopback, with lost answers and kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from streamflow.engine.context import Context
from streamflow.engine.launch import run_pipeline
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage
from streamflow.http.service import Service
from streamflow.limits.retry import Retry
from streamflow.record import record
from streamflow.sources.files import Inputs
from streamflow.storage.memory import MemoryStore
from streamflow.storage.store import Store
from tests.cli.harness import environment
from tests.http.serving import serving

pytestmark = pytest.mark.asyncio

PIPELINE = """
import os
from collections.abc import AsyncIterator

from streamflow import Context, Inputs, Pipeline, Service, Stage, record

BANK = Service("bank", os.environ["BANK"], idempotency="Idempotency-Key")


@record(key="number")
class Order:
    number: int


@record(key="number", table="paid")
class Paid:
    number: int
    receipt: str


class Bank:
    def __init__(self, context: Context) -> None:
        self.client = context.client(BANK)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        return None


async def orders(inputs: Inputs) -> AsyncIterator[Order]:
    for number in range(3):
        yield Order(number)


async def pay(order: Order, *, bank: Bank) -> Paid:
    return Paid(order.number, await bank.client.text("/charge", method="POST", data=str(order.number)))


pipeline = Pipeline("shop", sources=[orders], stages=[Stage(pay, workers=3)], resources=[Bank], services=["bank"])
"""


@record(key="number")
class Order:
    number: int


@record(key="number", table="paid")
class Paid:
    number: int
    receipt: str


class Bank:
    """Charges once for each key. `calls` are all that came, by key; `charged` the orders, by what was charged."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.receipts: dict[str, str] = {}
        self.charged: Counter[str] = Counter()

    async def charge(self, request: web.Request) -> tuple[str, bool]:
        """The receipt, and whether it is new."""
        key, order = request.headers["Idempotency-Key"], await request.text()
        self.calls[key] += 1
        is_new = key not in self.receipts
        if is_new:
            self.charged[order] += 1
            self.receipts[key] = f"receipt {len(self.receipts)}"
        return self.receipts[key], is_new


def shop(base: str, name: str = "shop") -> Pipeline:
    class Charging:
        def __init__(self, context: Context) -> None:
            self.client = context.client(Service("bank", base, idempotency="Idempotency-Key"))

        async def __aenter__(self) -> Charging:
            return self

        async def __aexit__(self, *exc: object) -> None:
            return None

    async def orders(inputs: Inputs) -> AsyncIterator[Order]:
        for number in range(3):
            yield Order(number)

    async def pay(order: Order, *, bank: Charging) -> Paid:
        receipt = await bank.client.text("/charge", method="POST", data=str(order.number))
        return Paid(order.number, receipt)

    pay.__annotations__ |= {"order": Order, "bank": Charging, "return": Paid}
    stage = Stage(pay, workers=3, retry=Retry(attempts=5, base=0.0, cap=0.0))
    return Pipeline(name, sources=[orders], stages=[stage], resources=[Charging], services=["bank"])


@pytest.mark.parametrize("make", [lambda: None, MemoryStore], ids=["durable", "memory"])
async def test_a_call_whose_answer_was_lost_has_its_effect_once(tmp_path: Path, make: type[Store]) -> None:
    bank = Bank()

    async def handler(request: web.Request) -> web.StreamResponse:
        receipt, is_new = await bank.charge(request)
        if is_new and request.transport is not None:
            request.transport.abort()
        return web.Response(text=receipt)

    async with serving(handler) as base, asyncio.timeout(30):
        summary = await run_pipeline(shop(str(base)), workspace=tmp_path / "workspace", store=make())
    assert summary.stages["pay"].done == 3
    assert summary.retries >= 3
    assert bank.charged == {"0": 1, "1": 1, "2": 1}
    assert set(bank.calls.values()) == {2}


async def test_what_is_done_again_on_purpose_has_its_effect_again(tmp_path: Path) -> None:
    bank = Bank()

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text=(await bank.charge(request))[0])

    async with serving(handler) as base:
        for refresh in (False, False, True):
            await run_pipeline(shop(str(base)), workspace=tmp_path / "workspace", refresh=refresh)
        assert set(bank.charged.values()) == {2}
        await run_pipeline(shop(str(base)), workspace=tmp_path / "another")
    assert set(bank.charged.values()) == {3}


async def test_a_process_that_was_killed_makes_the_same_calls_again(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PIPELINE, encoding="utf-8")
    bank = Bank()
    process: asyncio.subprocess.Process | None = None

    async def handler(request: web.Request) -> web.StreamResponse:
        receipt, _ = await bank.charge(request)
        if len(bank.calls) == 3 and bank.calls.total() == 3:  # all have had their effect, none its answer
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
        if bank.calls.total() <= 3:
            await asyncio.Event().wait()
        return web.Response(text=receipt)

    async def run(base: str) -> int:
        nonlocal process
        command = [sys.executable, "-m", "streamflow.cli", "run", "shop:pipeline", "-w", "workspace", "--quiet"]
        variables = environment({"BANK": base})
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=variables)
        return await process.wait()

    async with serving(handler) as base, asyncio.timeout(60):
        assert await run(str(base)) == -signal.SIGKILL
        assert await run(str(base)) == 0
    assert bank.charged == {"0": 1, "1": 1, "2": 1}
    assert set(bank.calls.values()) == {2}
