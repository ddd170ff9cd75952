"""Several windows and kinds of cost in one limit; what services tell is left; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from streamflow.errors import CostTooLarge
from streamflow.limits.allowance import Allowance
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window
from streamflow.testing.clock import run_virtual

TOKENS = Window(1000, 60, "tokens")


def now() -> float:
    return asyncio.get_running_loop().time()


async def calls(limit: Limit, *costs: dict[str, float]) -> list[float]:
    """When calls of these costs, asked for in this order, are granted; each is sent and answered at once."""
    times = [0.0] * len(costs)

    async def call(number: int) -> None:
        async with limit(**costs[number]) as grant:
            grant.sent()
            times[number] = now()

    async with asyncio.TaskGroup() as group:
        for number in range(len(costs)):
            group.create_task(call(number))
    return times


def test_a_call_takes_of_every_window_or_waits_for_all() -> None:
    limit = Limit("api", windows=[Window(3, 1), Window(5, 100), TOKENS], margin=0.0)
    small: Sequence[dict[str, Any]] = [{"tokens": 10}] * 7
    assert run_virtual(calls(limit, *small)) == pytest.approx([0, 0, 0, 1, 1, 100, 100], abs=1e-3)


def test_a_large_request_is_not_starved_by_small_ones_behind_it() -> None:
    limit = Limit("api", windows=[TOKENS], margin=0.0)
    times = run_virtual(calls(limit, {"tokens": 600}, {"tokens": 900}, {"tokens": 10}, {"tokens": 10}))
    assert times == pytest.approx([0, 60, 60, 60], abs=1e-3)


def test_a_kind_that_a_call_does_not_name_costs_nothing_but_one_request() -> None:
    limit = Limit("api", windows=[Window(1, 10), Window(1, 60, "searches")], margin=0.0)
    costs: list[dict[str, float]] = [{"searches": 1}, {}, {"requests": 0, "searches": 1}, {}]
    assert run_virtual(calls(limit, *costs)) == pytest.approx([0, 10, 60, 60], abs=1e-3)


def test_a_window_keeps_a_margin_of_at_most_a_second() -> None:
    assert run_virtual(calls(Limit("api", windows=[Window(1, 10)]), {}, {}))[1] == pytest.approx(10.2, abs=1e-3)
    assert run_virtual(calls(Limit("api", windows=[Window(1, 3600)]), {}, {}))[1] == pytest.approx(3601, abs=1e-3)


def test_a_cost_above_any_window_is_refused() -> None:
    limit = Limit("openai", windows=[Window(500, 60), TOKENS])
    with pytest.raises(CostTooLarge, match=r"1,200 tokens .* whole window is 1,000 tokens in 60 s"):
        limit(tokens=1200)
    with pytest.raises(CostTooLarge, match="at least 0"):
        limit(tokens=-1)
    limit(tokens=1000)


def test_a_window_smaller_than_one_call_is_refused_and_a_rate_below_one_is_none() -> None:
    with pytest.raises(CostTooLarge, match=r"costs 1 requests .* whole window is 0.5 requests in 10 s"):
        Limit("api", windows=[Window(0.5, 10)]).check()
    Limit("api", rate=0.5, windows=[Window(1, 10)]).check()


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize(("true", "second"), [(100, 0.0), (600, 60.0)])
def test_what_a_call_truly_cost_is_settled(true: float, second: float, sent: bool) -> None:
    async def main() -> float:
        limit = Limit("api", windows=[TOKENS], margin=0.0)
        async with limit(tokens=500) as grant:
            if sent:
                grant.sent()
            grant.cost(tokens=true)
        assert limit.snapshot().windows[0].used == true
        return (await calls(limit, {"tokens": 900}))[0]

    assert run_virtual(main()) == pytest.approx(second, abs=1e-3)


@pytest.mark.parametrize("lasts", [1, 30])
@pytest.mark.parametrize("sent", [True, False])
def test_a_window_that_is_set_while_calls_are_under_way_holds_from_then_on(sent: bool, lasts: float) -> None:
    async def main() -> list[float]:
        limit, window = Limit("api", margin=0.0), Allowance(windows=(Window(5, 10),))

        async def call() -> None:
            async with limit() as grant:
                if sent:
                    grant.sent()
                await asyncio.sleep(lasts)

        under_way = [asyncio.create_task(call()) for _ in range(4)]
        await asyncio.sleep(0.5)
        limit.configure(window)
        first = await calls(limit, {}, {})
        limit.configure(Allowance())
        await asyncio.gather(*under_way, *(calls(limit) for _ in range(3)))
        limit.configure(window)
        await asyncio.sleep(30)
        began = now()
        return [*first, *(time - began for time in await calls(limit, *[{}] * 12))]

    assert run_virtual(main()) == pytest.approx([0.5, 10.5, *[0] * 5, *[10] * 5, *[20] * 2], abs=1e-3)


def test_a_call_that_outlasted_its_window_gives_nothing_back() -> None:
    async def main() -> float:
        limit = Limit("api", windows=[TOKENS], margin=0.0)
        async with limit(tokens=500) as grant:
            grant.sent()
            await asyncio.sleep(70)
            await calls(limit, {"tokens": 900})
            grant.cost(tokens=100)
            return (await calls(limit, {"tokens": 200}))[0]

    assert run_virtual(main()) == pytest.approx(130, abs=1e-3)


def test_what_is_given_back_wakes_whoever_waits_for_it() -> None:
    async def main() -> float:
        limit = Limit("api", windows=[TOKENS], margin=0.0)
        async with limit(tokens=1000) as grant:
            grant.sent()
            waiting = asyncio.create_task(calls(limit, {"tokens": 200}))
            await asyncio.sleep(5)
            grant.cost(tokens=800)
            return (await waiting)[0]

    assert run_virtual(main()) == pytest.approx(5, abs=1e-3)


def test_the_state_tells_each_window_declared_and_learnt() -> None:
    async def main() -> None:
        limit = Limit("api", windows=[TOKENS])
        async with limit(tokens=300) as grant:
            grant.sent()
        limit.learn({"x-ratelimit-limit": "50", "x-ratelimit-remaining": "20", "x-ratelimit-reset": "10"})
        declared, learnt = limit.snapshot().windows
        assert (declared.kind, declared.size, declared.per, declared.used, declared.remaining) == (
            "tokens", 1000, 60, 300, 700,
        )  # fmt: skip
        assert (learnt.kind, learnt.size, learnt.used, learnt.remaining, learnt.learnt) == (
            "requests",
            50,
            30,
            20,
            True,
        )

    run_virtual(main())


def test_a_told_budget_of_one_kind_holds_calls_of_that_kind_only() -> None:
    async def main() -> list[float]:
        limit = Limit("openai", windows=[TOKENS])
        limit.learn(
            {
                "x-ratelimit-limit-tokens": "600",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1m0s",
            }
        )
        return await calls(limit, {}, {"tokens": 100}, {"tokens": 100})

    assert run_virtual(main()) == pytest.approx([0, 10, 10], abs=11)


def test_a_used_up_resource_holds_only_the_calls_that_need_it() -> None:
    async def main() -> list[float]:
        limit = Limit("github", windows=[Window(30, 60, "search")])
        used_up = {"x-ratelimit-limit": "30", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "58"}
        limit.refused({**used_up, "x-ratelimit-resource": "search"}, too_fast=True)
        return await calls(limit, {}, {"search": 1})

    assert run_virtual(main()) == pytest.approx([0, 58], abs=1e-3)


def test_a_budget_that_refills_is_not_waited_for_until_it_is_full() -> None:
    async def main() -> list[float]:
        limit = Limit("openai", windows=[TOKENS])
        used_up = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "60s"}
        limit.refused({"x-ratelimit-limit-tokens": "600", **used_up}, too_fast=True)
        return await calls(limit, {}, {"tokens": 30})

    assert run_virtual(main()) == pytest.approx([0, 3], abs=1e-3)


def test_a_refusal_for_a_budget_that_no_call_tells_its_cost_of_holds_all() -> None:
    async def main() -> list[float]:
        limit = Limit("openai")
        used_up = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "60s"}
        limit.refused({"x-ratelimit-limit-tokens": "600", **used_up}, too_fast=True)
        return await calls(limit, {})

    assert run_virtual(main()) == pytest.approx([60], abs=1e-3)


def test_a_resource_that_calls_name_has_its_own_budget() -> None:
    used_up = {
        "x-ratelimit-limit": "30",
        "x-ratelimit-remaining": "1",
        "x-ratelimit-reset": "40",
        "x-ratelimit-resource": "search",
    }

    async def main(*windows: Window) -> list[float]:
        limit = Limit("github", windows=windows)
        limit.learn(used_up)
        return await calls(limit, {"requests": 5})

    assert run_virtual(main(Window(30, 60, "search"))) == pytest.approx([0], abs=1e-3)
    assert run_virtual(main()) == pytest.approx([40], abs=1e-3)


def test_names_that_a_service_makes_up_do_not_fill_the_memory() -> None:
    async def main() -> int:
        limit = Limit("api")
        for number in range(1000):
            letters = "".join(chr(97 + int(digit)) for digit in str(number))
            limit.learn({f"x-ratelimit-remaining-{letters}": "5", f"x-ratelimit-reset-{letters}": "10s"})
        return len(limit.snapshot().windows)

    assert run_virtual(main()) <= 32
