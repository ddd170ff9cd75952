"""What a stage's function raises that is no Exception ends its item, not the run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streamflow.engine.stage import Stage
from streamflow.events import ItemDied
from streamflow.limits.retry import Retry
from tests.engine.flows import Number, Result, flow, play_virtual, values

ONCE = Retry(attempts=1)


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("sequential", [False, True])
def test_an_exit_that_a_function_raises_is_a_failure_of_its_item(error: BaseException, sequential: bool) -> None:
    async def leaves(number: Number) -> Result:
        if number.n == 1:
            raise error
        return Result(number.n)

    played = play_virtual(flow(Stage(leaves, retry=ONCE), count=3), sequential=sequential)
    assert values(played) == [0, 2]
    (died,) = played.told(ItemDied)
    assert type(error).__name__ in died.error


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
def test_an_exit_that_a_stream_raises_is_a_failure_of_its_item(error: BaseException) -> None:
    async def leaves(number: Number) -> AsyncIterator[Result]:
        yield Result(number.n)
        if number.n == 1:
            raise error

    played = play_virtual(flow(Stage(leaves, retry=ONCE), count=3))
    assert [event.key for event in played.told(ItemDied)] == ["1"]
