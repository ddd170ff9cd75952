"""What becomes of items while a service is away; in memory and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.run import Run
from streamflow.engine.stage import Stage
from streamflow.errors import NotFound, Overloaded, TransientError, Unavailable, Unreachable
from streamflow.events import ItemDied
from streamflow.limits.keeping import keeping
from streamflow.limits.limit import Limit
from streamflow.limits.registry import Registry
from streamflow.limits.retry import Retry
from streamflow.limits.window import Window
from streamflow.sources.files import Inputs
from streamflow.storage.memory import MemoryStore
from streamflow.testing.clock import run_virtual
from tests.engine.flows import Number, Played, Result, flow, play_virtual, values

Away = Callable[[float, int], BaseException | None]


def now() -> float:
    return asyncio.get_running_loop().time()


class Shop:
    """An API whose calls fail as `away` says for the time at which they are made, and what they ask for."""

    def __init__(self, away: Away, *, host: str | None = None, **limit: Any) -> None:
        self.away = away
        self.host = host
        self.calls: list[float] = []
        self.numbers: list[int] = []
        self._limit: Limit | None = None
        self._given = {"rate": 20.0, "concurrency": 4, **limit}

    @property
    def limit(self) -> Limit:
        if self._limit is None:
            self._limit = Limit("shop", **self._given)
        return self._limit

    async def price(self, number: Number) -> Result:
        async with self.limit() as grant:
            if self.host is not None:
                grant.one_of_many(self.host)
            grant.sent()
            self.calls.append(now())
            self.numbers.append(number.n)
            error = self.away(now(), number.n)
            await asyncio.sleep(30 if isinstance(error, TimeoutError) else 0.05)
            if isinstance(error, TimeoutError):
                raise Unreachable("shop did not answer within 30 s", service="shop")
            if error is not None:
                raise error
        return Result(number.n, number.n)


class Asked(Shop):
    """Refuses until that time, and asks to wait for so long."""

    def __init__(self, retry_after: str, until: float, **limit: Any) -> None:
        super().__init__(lambda time, number: self._refuse() if time < until else None, rate=None, **limit)
        self._retry_after = retry_after

    def _refuse(self) -> Overloaded:
        asked = self.limit.refused({"retry-after": self._retry_after}, too_fast=True)
        return Overloaded("shop answered 429", service="shop", status=429, retry_after=asked)


def between(begin: float, end: float, error: Callable[[], BaseException]) -> Away:
    return lambda time, number: error() if begin <= time < end else None


def refusal() -> Overloaded:
    return Overloaded("shop answered 503", service="shop", status=503)


def failure() -> TransientError:
    return TransientError("shop answered 500", service="shop", status=500)


def unreachable() -> Unreachable:
    return Unreachable("shop could not be reached", service="shop")


def bought(shop: Shop, *, count: int = 10, workers: int = 8, **options: Any) -> Played:
    return play_virtual(flow(Stage(shop.price, name="price", workers=workers), count=count), **options)


@pytest.mark.parametrize("error", [refusal, unreachable, TimeoutError, failure])
def test_a_minute_away_costs_no_item_and_little_time(error: Callable[[], BaseException]) -> None:
    shop = Shop(between(5, 65, error))
    played = bought(shop, count=2000)
    assert values(played) == list(range(2000))
    assert not played.told(ItemDied)
    back = [time for time in shop.calls if time >= 65]
    # A probe that hangs, or the time until the next one, and then the full rate.
    assert back[0] <= 65 + (31 if error is TimeoutError else 8)
    in_ten = sum(time < back[0] + 10 for time in back)
    assert in_ten >= 0.95 * 10 * 20 * 0.98
    assert sum(5 <= time < 65 for time in shop.calls) <= 50


@pytest.mark.parametrize("error", [refusal, unreachable, TimeoutError])
@pytest.mark.parametrize("lasts", [60, 600])
def test_a_lone_item_survives(error: Callable[[], BaseException], lasts: float) -> None:
    played = bought(Shop(between(0, lasts, error)), count=1)
    assert values(played) == [0]
    assert not played.told(ItemDied)
    assert played.seconds <= lasts * 1.2 + 31


def test_a_lone_item_survives_when_the_service_goes_after_a_good_minute() -> None:
    shop = Shop(between(9.9, 70, refusal))  # the last of 190 calls
    played = bought(shop, count=190)
    assert len(values(played)) == 190
    assert not played.told(ItemDied)


def test_a_request_that_is_always_answered_with_an_error_becomes_a_dead_letter() -> None:
    """It is alone, so nothing tells it from an outage; but the service does answer."""
    shop = Shop(between(0, float("inf"), failure))
    played = bought(shop, count=3)
    assert len(played.told(ItemDied)) == 3
    assert played.seconds < 120


def test_failures_of_single_requests_do_not_hold_up_the_others() -> None:
    played = bought(Shop(lambda time, number: failure() if number % 10 == 0 else None), count=200)
    assert len(values(played)) == 180
    assert len(played.told(ItemDied)) == 20
    assert played.seconds < 300


def test_what_is_left_and_refused_as_if_the_service_were_away_stays_pending() -> None:
    """Nothing tells the one from the other when no other calls are left, and an item lost is worse than one kept."""
    shop = Shop(lambda time, number: refusal() if number % 10 == 0 else None, outage=300)
    played = bought(shop, count=200)
    assert len(values(played)) == 180
    assert isinstance(played.summary.error, Unavailable)
    assert played.seconds < 400


def test_what_waits_in_an_outage_uses_no_attempt_though_it_has_but_one() -> None:
    """The first five calls are what tells of the outage; all others are kept from it."""
    shop = Shop(between(0, 60, refusal))
    stage = Stage(shop.price, name="price", workers=8, retry=Retry(attempts=1))
    played = play_virtual(flow(stage, count=100))
    assert len(played.told(ItemDied)) <= 4
    assert len(values(played)) >= 96


def test_beyond_the_outage_a_run_stops_and_its_items_stay_pending() -> None:
    shop = Shop(between(10, float("inf"), refusal), outage=300)
    played = bought(shop, count=2000)
    error = played.summary.error
    assert isinstance(error, Unavailable)
    assert error.service == "shop"
    assert not played.told(ItemDied)
    assert 310 <= played.seconds <= 320
    figures = played.summary.stages["price"]
    assert (figures.dead, figures.done) == (0, len(values(played)))
    assert figures.done < 400


@pytest.mark.parametrize("count", [1, 4, 5, 100])
def test_a_wait_that_is_asked_for_and_longer_than_the_outage_ends_a_run_at_once(count: int) -> None:
    shop = Asked("7200", 7000, outage=300)
    played = bought(shop, count=count)
    assert isinstance(played.summary.error, Unavailable)
    assert played.seconds < 10
    assert not played.told(ItemDied)


@pytest.mark.parametrize("count", [1, 4])
def test_a_daemon_waits_for_as_long_as_it_is_asked(count: int) -> None:
    shop = Asked("7200", 7000)

    async def stop(run: Run) -> None:
        await asyncio.sleep(7210)
        run.stop("SIGTERM")

    assert len(values(bought(shop, count=count, daemon=True, watch=stop))) == count


def test_one_of_many_hosts_that_asks_for_a_day_holds_up_nobody() -> None:
    day = Overloaded("shop answered 429", service="shop", status=429, retry_after=86_400.0)
    shop = Shop(lambda time, number: day if number == 0 else None, host="publisher.example", outage=300)
    played = bought(shop, count=20)
    assert len(values(played)) == 19
    assert len(played.told(ItemDied)) == 1
    assert played.seconds <= 4 * Retry().cap + 10


def test_other_stages_go_on_while_a_service_is_away() -> None:
    shop = Shop(between(0, 100, refusal))
    times: list[float] = []

    async def double(number: Number) -> Result:
        times.append(now())
        return Result(1000 + number.n)

    played = play_virtual(flow(Stage(shop.price, name="price", workers=2, capacity=50), Stage(double), count=40))
    assert len(values(played)) == 80
    assert max(times) < 1


def test_a_run_says_what_it_waits_for() -> None:
    shop = Shop(between(0, 100, refusal))
    played = bought(shop, count=20)
    shares = played.summary.stages["price"].shares
    assert shares["breaker shop"] > 0.9


def test_a_daemon_waits() -> None:
    shop = Shop(between(0, 5000, refusal))

    async def stop(run: Run) -> None:
        await asyncio.sleep(6000)
        run.stop("SIGTERM")

    played = bought(shop, count=10, daemon=True, watch=stop)
    assert len(values(played)) == 10
    assert played.summary.error is None


def test_a_run_stops_where_what_its_limits_use_cannot_be_kept(tmp_path: Path) -> None:
    class Broken(MemoryStore):
        async def keep(self, texts: Mapping[str, str]) -> None:
            raise ValueError("no active connection")

    async def main() -> None:
        limits, store = Registry(), Broken()
        shop = Shop(lambda time, number: None)
        shop._limit = limits.limit("shop", windows=[Window(100, 3600)])
        pipeline = flow(Stage(shop.price, name="price"), count=10)
        run = Run(pipeline, store, resources={Inputs: Inputs([])}, workspace=tmp_path, beside=keeping(limits, store))
        with pytest.raises(ValueError, match="no active connection"):
            await run()
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    run_virtual(main(), latest=60)


def test_sequential_runs_wait_too() -> None:
    played = bought(Shop(between(1, 60, refusal)), count=50, sequential=True)
    assert len(values(played)) == 50


def test_a_not_found_is_an_answer() -> None:
    played = bought(Shop(lambda time, number: NotFound("404", service="shop", status=404)), count=200)
    assert len(played.told(ItemDied)) == 200
    assert played.seconds < 12
    assert "breaker shop" not in played.summary.stages["price"].shares
