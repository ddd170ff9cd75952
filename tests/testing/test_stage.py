"""run_stage: a stage function called as the engine would."""

from collections.abc import AsyncIterator

import pytest

from streamflow.errors import HeldAcrossYield, RecordError, Skip, StageSignatureError
from streamflow.limits.limit import Limit
from streamflow.record import record
from streamflow.testing.stage import run_stage

pytestmark = pytest.mark.asyncio


@record(key="n")
class Number:
    n: int


@record(key="n", table="halves")
class Half:
    n: int
    value: float = 0.0


class Api:
    async def half(self, n: int) -> float:
        return n / 2


async def halve(number: Number, *, api: Api) -> Half | None:
    if number.n < 0:
        raise Skip("negative")
    return Half(number.n, await api.half(number.n)) if number.n else None


async def test_outputs_come_as_a_list_in_every_form() -> None:
    async def nested(number: Number) -> tuple[Half, list[Half | None]]:
        return Half(1), [None, Half(2)]

    async def stream(number: Number) -> AsyncIterator[Half]:
        yield Half(1)
        yield Half(2)

    def plain(number: Number) -> list[Half]:
        return [Half(1), Half(2)]

    assert await run_stage(halve, Number(3), api=Api()) == [Half(3, 1.5)]
    assert await run_stage(halve, Number(0), api=Api()) == []
    for function in (nested, stream, plain):
        assert await run_stage(function, Number(1)) == [Half(1), Half(2)]


async def test_what_the_function_raises_comes_out() -> None:
    with pytest.raises(Skip, match="negative"):
        await run_stage(halve, Number(-1), api=Api())


async def test_a_batch_gives_one_entry_for_each_input() -> None:
    async def batch(numbers: list[Number]) -> list[Half | Exception]:
        return [Half(each.n) if each.n else OSError("zero") for each in numbers][: len(numbers)]

    async def short(numbers: list[Number]) -> list[Half]:
        return []

    half, error = await run_stage(batch, [Number(1), Number(0)])
    assert half == Half(1)
    assert isinstance(error, OSError)
    with pytest.raises(StageSignatureError, match="one entry for each of its 1 inputs"):
        await run_stage(short, [Number(1)])


async def test_what_the_engine_would_refuse_is_refused() -> None:
    async def lies(number: Number) -> Half:
        return Number(1)  # type: ignore[return-value]

    async def forgets(number: Number) -> Half:
        return None  # type: ignore[return-value]

    async def infinite(number: Number) -> Half:
        return Half(1, float("inf"))

    async def mistyped(number: Number) -> Half:
        return Half(1, "a half")  # type: ignore[arg-type]

    async def holds(number: Number, *, limit: Limit) -> AsyncIterator[Half]:
        async with limit():
            yield Half(1)

    with pytest.raises(StageSignatureError, match="'lies' gave out a Number; its annotation says Half"):
        await run_stage(lies, Number(1))
    with pytest.raises(StageSignatureError, match=r"'forgets' gave out None; .* say `Half \| None`"):
        await run_stage(forgets, Number(1))
    with pytest.raises(StageSignatureError, match="takes Number, not Half"):
        await run_stage(lies, Half(1))
    with pytest.raises(StageSignatureError, match=r"\['api'\]"):
        await run_stage(halve, Number(1))
    with pytest.raises(RecordError, match="only finite numbers"):
        await run_stage(infinite, Number(1))
    with pytest.raises(RecordError, match="Expected `float`, got `str`"):
        await run_stage(mistyped, Number(1))
    with pytest.raises(HeldAcrossYield):
        await run_stage(holds, Number(1), limit=Limit("api", concurrency=1))
