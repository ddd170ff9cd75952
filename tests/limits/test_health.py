"""What the ends of calls change in a limit, and what is told to errors; the time is passed in."""

from __future__ import annotations

import pytest

from streamflow.errors import (
    BadAnswer,
    ForbiddenAddress,
    NotFound,
    Overloaded,
    PermanentError,
    ServiceError,
    TransientError,
    Unreachable,
)
from streamflow.events import BreakerClosed, BreakerOpened, ConcurrencyChanged, Event
from streamflow.limits.breaker import MINIMUM, Phase
from streamflow.limits.health import Health
from streamflow.limits.retry_budget import RESERVE


class Api:
    """A healthy API, and what was told of it."""

    def __init__(self, cap: float = 10, *, by_latency: bool = False) -> None:
        self.told: list[Event] = []
        self.cap = cap
        self.health = Health("api", by_latency=by_latency, hook=self.told.append, random=lambda: 0.5)

    @property
    def phase(self) -> Phase:
        return self.health.breaker.phase

    @property
    def slots(self) -> float:
        return self.health.slots(self.cap)

    def call(
        self,
        error: BaseException | None,
        at: float = 0.0,
        *,
        elsewhere: bool = False,
        host: str | None = None,
        took: float = 0.1,
    ) -> None:
        begun = self.health.begin(int(min(self.slots, 10)), at)
        self.health.end(begun, error, at, sent=at - took, cap=self.cap, elsewhere=elsewhere, host=host)


def away(number: int = 0) -> Overloaded:
    return Overloaded(f"api answered 503 ({number})", service="api", status=503)


def test_a_failure_is_the_items_until_the_breaker_opens_and_the_outages_from_then_on() -> None:
    api, errors = Api(), [away(number) for number in range(MINIMUM + 2)]
    for number, error in enumerate(errors):
        api.call(error, float(number))
    assert [error.outage for error in errors] == [False] * (MINIMUM - 1) + [True] * 3
    assert api.told[-1] == BreakerOpened("api", f"Overloaded: api answered 503 ({MINIMUM - 1})")
    api.call(None, 20.0)
    assert api.told[-1] == BreakerClosed("api", 20.0 - (MINIMUM - 1))


def test_what_exceeds_the_retry_budget_is_to_wait_but_not_in_an_outage() -> None:
    api = Api()
    errors: list[ServiceError] = []
    for number in range(40):
        errors.append(away(number))
        api.call(errors[-1])
        for _ in range(2):
            api.call(None)
    waits = [error.wait for error in errors]
    assert waits[: int(RESERVE)] == [0.0] * int(RESERVE)
    assert waits[-1] > 1.0
    for number in range(MINIMUM):
        errors.append(away(number))
        api.call(errors[-1])
    assert errors[-1].outage
    assert errors[-1].wait == 0.0


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (away(), 7),
        (Unreachable("silence", service="api"), 7),
        (TimeoutError(), 7),
        (TransientError("500", service="api", status=500), 10),
        (BadAnswer("HTML", service="api"), 10),
        (NotFound("404", service="api", status=404), 10),
        (KeyError("title"), 10),
        (None, 10),
    ],
)
def test_only_overload_takes_concurrency_away(error: Exception | None, left: int) -> None:
    api = Api()
    api.call(error, took=60.0)
    assert api.slots == left


def test_a_probe_that_fails_takes_no_more_away() -> None:
    api = Api(cap=100)
    for number in range(MINIMUM):
        api.call(away(), float(number))
    left = api.slots
    for number in range(20):
        api.call(away(), 10.0 + number)
    assert api.slots == left > 1


def test_after_an_outage_the_concurrency_is_soon_what_it_was() -> None:
    """Answers take three seconds, failures none. Without an outage it takes a round of answers for each step."""
    api = Api(cap=100)
    for _ in range(100):
        api.call(None, 3.0, took=3.0)
    for number in range(MINIMUM):
        api.call(away(), 3.0 + number / 100)
    assert (api.phase, api.slots) == (Phase.OPEN, 70)
    api.call(None, 8.0, took=3.0)
    assert (api.phase, api.slots) == (Phase.CLOSED, 70)
    for _ in range(30):
        api.call(None, 11.0, took=3.0)
    assert api.slots == 100


def test_error_pages_give_nothing_back() -> None:
    api = Api()
    api.call(away(), 0.0)
    for number in range(100):
        api.call(NotFound("404", service="api", status=404), 1.0 + number, took=0.001)
        api.call(TransientError("500", service="api", status=500), 1.0 + number, took=0.001)
        api.call(None, 1.0 + number, elsewhere=True)
        assert api.slots == 7
        api.call(KeyError("title"), 1.0 + number)
    for number in range(20):
        api.call(None, 200.0 + number)
    assert api.slots == 10


def test_changes_of_the_concurrency_are_told_now_and_then() -> None:
    api = Api(cap=100)
    for number in range(8):
        api.call(away(), number)
        for _ in range(2):
            api.call(None, number)
    told = [event for event in api.told if isinstance(event, ConcurrencyChanged)]
    assert told == [ConcurrencyChanged("api", 100, 70)]
    api.call(away(), 10.0)
    assert api.told[-1] == ConcurrencyChanged("api", 70, int(api.slots))
    api.call(away(), 11.0)
    assert len(api.told) == 2


def test_another_apis_failure_within_a_call_is_not_this_ones() -> None:
    api = Api()
    for _ in range(20):
        error = Unreachable("gone", service="another")
        api.call(error)
        assert not error.outage
    assert (api.phase, api.slots) == (Phase.CLOSED, 10)


def gone(host: str) -> Unreachable:
    return Unreachable(f"publisher could not be reached: {host}", service="api")


def test_where_calls_go_to_many_hosts_a_dead_one_is_only_that() -> None:
    api = Api()
    for number in range(100):
        api.call(gone("dead.example"), number, host="dead.example")
    assert (api.phase, api.slots) == (Phase.CLOSED, 10)


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("503", service="api", status=503),
        PermanentError("403", service="api", status=403),
        PermanentError("a page of HTML, no PDF"),
        BadAnswer("half a file", service="api"),
        None,
    ],
)
def test_where_calls_go_to_many_hosts_any_answer_says_that_we_are_connected(error: Exception | None) -> None:
    api = Api()
    for number in range(100):
        api.call(gone(f"{number}.example"), number, host=f"{number}.example")
        if number % 4 == 3:
            api.call(error, number, host="there.example")
    assert api.phase is Phase.CLOSED


def test_many_hosts_of_which_none_answers_are_our_own_connection() -> None:
    api, errors = Api(), [gone(f"{number}.example") for number in range(MINIMUM)]
    for number, error in enumerate(errors):
        api.call(error, host=f"{number}.example")
        api.call(ForbiddenAddress("10.0.0.1", service="api"), host="trap.example")
    assert api.phase is Phase.OPEN
    assert errors[-1].outage
    probe = gone("0.example")
    api.call(probe, 1.0, host="0.example")
    assert not probe.outage  # its host may be gone for good
    assert api.health.breaker.free_at(1.0) > 1.5
    api.call(PermanentError("404", service="api", status=404), 3.0, host="1.example")
    assert api.phase is Phase.CLOSED
