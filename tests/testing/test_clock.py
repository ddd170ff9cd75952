"""Virtual time."""

from __future__ import annotations

import asyncio

import pytest

from streamflow.testing.clock import Stuck, run_virtual


def test_sleeping_takes_virtual_time_only_and_wakes_in_order_of_time() -> None:
    woken: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(nap("day", 86_400))
            group.create_task(nap("second", 1))
            group.create_task(nap("hour", 3_600))

    run_virtual(main())
    assert [name for name, _ in woken] == ["second", "hour", "day"]
    assert [at for _, at in woken] == pytest.approx([1, 3_600, 86_400])


def test_timeouts_fire_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(30)


def test_a_deadlock_is_reported_instead_of_hanging() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="every task waits"):
        run_virtual(main())


def test_endless_sleeping_is_stopped_at_the_latest_time() -> None:
    async def main() -> None:
        for _ in range(10_000):
            await asyncio.sleep(60)

    with pytest.raises(Stuck, match="virtual time passed 3600"):
        run_virtual(main(), latest=3_600)
