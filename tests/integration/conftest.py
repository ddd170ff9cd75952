"""A run over the sample papers that the integration tests look at together, since none of them changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.integration.literature import SAMPLES, Ran, world


@dataclass(frozen=True)
class Calm:
    """The undisturbed run: what it left, and the calls it made."""

    ran: Ran
    calls: Mapping[str, int]
    refused: int
    again: Ran
    calls_again: Mapping[str, int]


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    workspace = tmp_path_factory.mktemp("calm")

    async def run() -> Calm:
        async with world() as made:
            ran = await made.run(workspace, SAMPLES)
            calls, refused = made.calls, made.refused
            made.forget()
            again = await made.run(workspace, SAMPLES)
            return Calm(ran, calls, refused, again, made.calls)

    return asyncio.run(run())
