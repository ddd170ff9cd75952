"""One limit per API."""

from __future__ import annotations

import asyncio

import pytest

from streamflow.errors import PipelineError
from streamflow.events import Event, LimitPaused
from streamflow.limits.allowance import Allowance
from streamflow.limits.registry import Registry
from streamflow.testing.clock import run_virtual


def test_clients_of_one_api_share_its_limit() -> None:
    registry = Registry()
    first = registry.limit("crossref", rate=10, concurrency=3)
    assert registry.limit("crossref", rate=10, concurrency=3) is first
    assert registry.limit("openalex", rate=10, concurrency=3) is not first
    assert [limit.name for limit in registry] == ["crossref", "openalex"]


@pytest.mark.parametrize("other", [{"rate": 5}, {"rate": 10, "configured": Allowance(rate=1)}])
def test_two_declarations_of_one_api_must_agree(other: dict[str, object]) -> None:
    registry = Registry()
    registry.limit("crossref", rate=10)
    with pytest.raises(PipelineError, match="'crossref' is declared twice"):
        registry.limit("crossref", **other)  # type: ignore[arg-type]


def test_pauses_are_told_once_when_they_begin_and_when_they_grow() -> None:
    told: list[Event] = []

    async def refusals() -> None:
        limit = Registry(hook=told.append).limit("crossref", concurrency=3)
        for _ in range(3):  # the calls in flight are refused one after the other
            limit.refused({"retry-after": "30"})
            await asyncio.sleep(0.01)
        limit.pause(10, "shorter than the present one")
        limit.pause(60, "grown")
        async with limit():
            pass
        limit.pause(1e9, "again")

    run_virtual(refusals())
    assert told == [
        LimitPaused("crossref", 30.0, "crossref asked to wait 30 s"),
        LimitPaused("crossref", 60, "grown"),
        LimitPaused("crossref", 86_400.0, "again"),
    ]
