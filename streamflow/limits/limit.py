"""The guard of one external API: a line in which calls wait for their grant.

The rules of the line:

- First come, first served. Only the head of the line waits for anything; the others wait for their turn.
- The head takes all that the API demands at once, or nothing: it waits for a concurrency slot, then for the
  rate, and looks at the pause last. What it waits for is taken without an `await` in between, so a
  cancelled waiter has taken nothing and leaves the line as it was.
- Calls are spaced evenly, because services count in sliding windows: a bucket that may run full lets twice
  its limit through in one window. The configured rate is lowered by `margin`, since calls that leave evenly
  do not arrive evenly.
- Grants that are spaced are not yet calls that are spaced: one that opens a connection leaves later than those
  after it. So the window is also counted by when calls were sent, which whoever makes them tells by
  `Grant.sent`; a call counts as not sent yet until that, or until its grant ends.
- Waiting suspends the item's deadline. Holding a grant is counted on the deadline, so that the engine can
  refuse a stage that yields while it holds one.

A window of calls of different cost, a circuit breaker and a concurrency that adapts join the line in
`_head_of_line`: one more thing to wait for, or another answer of `_slots`. How a call ended is seen in
`Grant.__aexit__`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from aiolimiter import AsyncLimiter

from streamflow import deadline
from streamflow.errors import CostTooLarge
from streamflow.limits.headers import MAX_PAUSE, Told, exhausted, retry_after, told
from streamflow.limits.window import Window

_SILENT_PAUSE = 60.0
"""Seconds. The longest pause after a refusal that does not say how long."""

_WORTH_TELLING = 1.0
"""Seconds by which a pause must grow to be told again: calls in flight are refused one after the other."""

_LATE = 0.005
"""Seconds that late wake-ups may be made up for. Timers of the selector loop fire up to a millisecond late, on a busy
machine more; lost at every grant, that would cost a tenth of 100 calls a second."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one party says a service allows; `None` where it says nothing.

    `rate` calls in `per` seconds, `concurrency` calls in flight, `burst` calls at once after a silence.
    """

    rate: float | None = None
    per: float | None = None
    concurrency: int | None = None
    burst: int | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "per", "concurrency", "burst"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, not {value!r}")


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit at one moment. `configured` is what we were given, `learnt` what the service's headers named,
    `effective` what holds. `paused_for` is in seconds, 0 while not paused; `granted` counts calls since the
    start, `held` is the sum of the seconds for which each of them held its grant."""

    name: str
    configured: Allowance
    learnt: Allowance
    effective: Allowance
    in_use: int
    waiting: int
    granted: int
    paused_for: float
    paused_reason: str | None
    held: float = 0.0


class Grant:
    """One call's leave to go ahead: `async with limit() as grant: …`. Usable once."""

    __slots__ = ("_cost", "_item", "_limit", "_told")

    def __init__(self, limit: Limit, cost: float) -> None:
        self._limit = limit
        self._cost = cost
        self._item: deadline.Deadline | None = None
        self._told = False

    def sent(self) -> None:
        """Tell that the call leaves now. A call that holds its grant for longer than an instant should, or it keeps
        its place in the window for as long again. Told once more, it counts as another call: a request that is
        repeated on a fresh connection may have been counted already.
        """
        window = self._limit._window
        if self._told:
            window.take(self._cost)
        self._told = True
        window.sent(self._cost, asyncio.get_running_loop().time())

    async def __aenter__(self) -> Grant:
        limit = self._limit
        if limit._ready(self._cost):
            await limit._take_ready(self._cost)
        else:
            with deadline.suspended(limit._waits_for):
                await limit._take_in_turn(self._cost)
        self._item = item = deadline.current.get()
        if item is not None:
            item.held += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._item is not None:
            self._item.held -= 1
        limit, now = self._limit, asyncio.get_running_loop().time()
        if not self._told:
            limit._window.sent(self._cost, now)  # or it never will be; nobody knows, so it counts
        limit._give_back(now)
        if limit._waiting and kind is None:
            await asyncio.sleep(0)  # the next call leaves before this task computes with its answer


class Limit:
    """Guards one API.

    `rate`, `per`, `concurrency` and `burst` are what the service publishes; `configured` is the user's word
    and replaces them. What the service tells in its headers replaces the published values, in both
    directions, but never exceeds the user's. `margin` is the share of the rate that is kept for jitter on
    the way. Without a rate, and without a concurrency, that side is unlimited.

    Time is that of the running loop. `on_pause` is told the name, the seconds and the reason of each pause.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: float | None = None,
        per: float = 1.0,
        concurrency: int | None = None,
        burst: int = 1,
        margin: float = 0.02,
        configured: Allowance | None = None,
        wall_clock: Callable[[], float] = time.time,
        on_pause: Callable[[str, float, str], None] | None = None,
    ) -> None:
        self.name = name
        self.published = Allowance(rate, per, concurrency, burst)
        self.user = configured or Allowance()
        if not 0 <= margin < 1:
            raise ValueError(f"margin is a share of the rate, at least 0 and below 1, not {margin!r}")
        self._margin = margin
        self._wall_clock = wall_clock
        self._on_pause = on_pause
        self._waits_for = f"limit {name}"
        self._told = Told()
        self._effective = self._combine()

        self._turn = asyncio.Lock()  # held by the head of the line; an asyncio.Lock wakes in order of arrival
        self._bucket: AsyncLimiter | None = None
        self._bucket_for: tuple[float, float, int] | None = None
        self._spacing = 0.0  # seconds between calls of cost one
        self._window = Window()
        self._owed_until = 0.0  # until then a dear call keeps the rate for itself
        self._freed: asyncio.Future[None] | None = None  # the head waits on it for a slot
        self._in_use = 0
        self._waiting = 0
        self._granted = 0
        self._held = 0.0  # ends minus beginnings of grants, so that of those in use the end is missing
        self._paused_until = 0.0
        self._paused_reason: str | None = None

    def __call__(self, cost: float = 1) -> Grant:
        """A grant to enter with `async with`. Raises `CostTooLarge` if no window could ever hold `cost`."""
        if cost != 1:
            self.check(cost)
        return Grant(self, cost)

    def check(self, cost: float) -> None:
        """Raise `CostTooLarge` if `cost` is more than a whole window. For declarations of pipelines."""
        if not cost >= 0:
            raise CostTooLarge(f"A call of {self.name} cannot cost {cost!r}: costs are at least 0.")
        rate = self._effective.rate
        if rate is not None and cost > max(rate, 1.0):
            raise CostTooLarge(
                f"A call of {self.name} that costs {cost:g} can never be granted: its whole window is"
                f" {rate:g} per {self._effective.per:g} s."
                f" Split the call, or raise [services.{self.name}] rate."
            )

    def pause(self, seconds: float, reason: str) -> None:
        """Hold every caller for `seconds` (at most a day). A shorter pause than the present one changes
        nothing.
        """
        if not seconds > 0:
            return
        seconds = min(seconds, MAX_PAUSE)
        now = asyncio.get_running_loop().time()
        until, before = now + seconds, self._paused_until
        if until > before:
            self._paused_until = until
            self._paused_reason = reason
            if self._on_pause is not None and (before <= now or until >= before + _WORTH_TELLING):
                self._on_pause(self.name, seconds, reason)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over what any response's headers tell: limits, and a used-up budget, which pauses."""
        now_told = told(headers)
        if now_told != self._told and now_told != Told():
            rate_told = now_told.rate is not None
            self._told = Told(
                now_told.rate if rate_told else self._told.rate,
                now_told.per if rate_told else self._told.per,
                now_told.concurrency or self._told.concurrency,
            )
            self._effective = self._combine()
            self._wake_head()
        if "x-ratelimit-remaining" in headers and (wait := exhausted(headers, self._wall_clock())):
            self.pause(wait, f"{self.name} has no calls left until its budget resets")

    def refused(self, headers: Mapping[str, str], *, too_fast: bool = False) -> float | None:
        """Pause as the headers of a refusal ask, and return the seconds they name, `None` if they name none.

        Without a word from the service, a refusal because of our speed (`too_fast`) pauses for one window:
        after it no sliding window counts what we did.
        """
        wait = retry_after(headers, self._wall_clock())
        if wait is None:
            wait = exhausted(headers, self._wall_clock())
        if wait is not None:
            self.pause(wait, f"{self.name} asked to wait {wait:.0f} s")
        elif too_fast:
            self.pause(min(self._effective.per or 1.0, _SILENT_PAUSE), f"{self.name} said too many requests")
        return wait

    def snapshot(self) -> LimitState:
        """The limit as it is now, for status and tests. Call it on the loop."""
        now = asyncio.get_running_loop().time()
        paused_for = max(0.0, self._paused_until - now)
        given, said = self._given(), self._told
        return LimitState(
            name=self.name,
            configured=given,
            learnt=Allowance(said.rate, said.per, said.concurrency),
            effective=self._effective,
            in_use=self._in_use,
            waiting=self._waiting,
            granted=self._granted,
            paused_for=paused_for,
            paused_reason=self._paused_reason if paused_for else None,
            held=max(0.0, self._held + self._in_use * now),
        )

    # What holds

    def _given(self) -> Allowance:
        user, published = self.user, self.published
        return Allowance(
            user.rate or published.rate,
            user.per or published.per,
            user.concurrency or published.concurrency,
            user.burst or published.burst,
        )

    def _combine(self) -> Allowance:
        given, said = self._given(), self._told
        rate, per, concurrency = given.rate, given.per, given.concurrency
        if said.rate and said.per:
            cap = rate / (per or 1.0) if rate and (self.user.rate or self.user.per) else float("inf")
            if said.rate / said.per <= cap:
                rate, per = said.rate, said.per
        if said.concurrency:
            concurrency = min(said.concurrency, self.user.concurrency or said.concurrency)
        return Allowance(rate, per, concurrency, given.burst)

    def _slots(self) -> float:
        return self._effective.concurrency or float("inf")

    # The line

    def _ready(self, cost: float) -> bool:
        """Whether a grant needs no waiting. Never overtakes: anybody in the line means no."""
        if self._waiting or self._in_use >= self._slots() or self._paused():
            return False
        if self._effective.rate is None or cost == 0:
            return True
        bucket = self._bucket
        if bucket is None or self._retuned():
            return False
        now = asyncio.get_running_loop().time()
        return self._free_at(cost, now) <= now and bucket.has_capacity(self._share(cost))

    async def _take_ready(self, cost: float) -> None:
        if self._bucket is not None and cost:
            await self._bucket.acquire(self._share(cost))  # with room in it, a bucket does not suspend
        self._grant(cost)

    async def _take_in_turn(self, cost: float) -> None:
        self._waiting += 1
        try:
            async with self._turn:
                await self._head_of_line(cost)
                self._grant(cost)  # nothing was awaited since the last look
        finally:
            self._waiting -= 1

    def _grant(self, cost: float) -> None:
        now = asyncio.get_running_loop().time()
        self._in_use += 1
        self._granted += 1
        self._held -= now
        self._window.take(cost)
        if self._bucket is not None and cost > self._share(cost):
            self._owed_until = now + cost * self._spacing

    def _free_at(self, cost: float, now: float) -> float:
        """When the bucket may be asked at the earliest. While nobody else is granted, that moment stays free."""
        return max(self._owed_until, self._window.free_at(cost, now))

    def _share(self, cost: float) -> float:
        """What a call takes out of the bucket, which holds a burst. The calls after it wait out the rest."""
        return min(cost, float(self._effective.burst or 1))

    async def _head_of_line(self, cost: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._in_use >= self._slots():
                self._freed = loop.create_future()
                await self._freed
            if (left := self._paused_until - loop.time()) > 0:
                await asyncio.sleep(left)
                continue  # the pause may have grown
            await self._pay(cost)
            # A pause that began while the rate was waited for holds this call too. Its place in the rate is then
            # given up, not kept: two places used at the end of the pause would be closer than the spacing.
            if not self._paused() and self._in_use < self._slots():
                return

    async def _pay(self, cost: float) -> None:
        """Wait for the rate. Takes its place in the same step in which it returns, or nothing."""
        while cost and (bucket := await self._current_bucket()) is not None:
            now = asyncio.get_running_loop().time()
            if (left := self._free_at(cost, now) - now) > 0:
                await asyncio.sleep(left)
                continue
            await bucket.acquire(self._share(cost))
            if not self._retuned():
                return

    def _retuned(self) -> bool:
        effective = self._effective
        return self._bucket_for != (effective.rate, effective.per, effective.burst)

    async def _current_bucket(self) -> AsyncLimiter | None:
        """The bucket for the rate that holds now. One for a new rate starts spent: calls of the old one count."""
        effective = self._effective
        if effective.rate is None or effective.per is None:
            self._bucket = None
            self._window.resize(float("inf"), 0.0)
            return None
        if self._bucket is None or self._retuned():
            first = self._bucket is None
            burst = effective.burst or 1
            spacing = self._spacing = effective.per / (effective.rate * (1 - self._margin))
            # Time that late wake-ups may be made up for: never more than a quarter of what the margin keeps free.
            late = min(_LATE, effective.per * self._margin / 4)
            size = burst + late / spacing
            self._bucket = AsyncLimiter(size, size * spacing)
            # As the spacing has it, `calls` and a burst take `calls` spacings; the first of them is no extra.
            calls = math.ceil(effective.rate)
            self._window.resize(calls + burst - 1, calls * spacing - late)
            self._bucket_for = (effective.rate, effective.per, burst)
            if not first:
                await self._bucket.acquire(size)  # an empty bucket never waits
        return self._bucket

    def _paused(self) -> bool:
        return self._paused_until > 0 and asyncio.get_running_loop().time() < self._paused_until

    def _give_back(self, now: float) -> None:
        self._in_use -= 1
        self._held += now
        self._wake_head()

    def _wake_head(self) -> None:
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)
