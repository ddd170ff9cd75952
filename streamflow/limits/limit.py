"""The guard of one external API: a line in which calls wait for their grant.

The rules of the line:

- First come, first served. Only the head of the line waits for anything; the others wait for their turn. So a dear
  call is not starved by cheap ones behind it.
- The head takes all that the API demands at once, or nothing: a concurrency slot, what its cost takes of every window
  and budget (`rates`), no pause, and that the API is there (`health`). What it waits for is taken without an `await`
  in between, so a cancelled waiter has taken nothing and leaves the line as it was.
- A call counts as not sent yet until whoever makes it tells `Grant.sent`, or its grant ends.
- Waiting suspends the item's deadline. Holding a grant is counted on the deadline, so that the engine can
  refuse a stage that yields while it holds one.

- What lasts too long is no wait: where the API is away, or its budget used up, for longer than `outage`, the head
  raises `Unavailable`, and so does each that becomes head after it. It does so as soon as it is known: at once, where
  the service names a time beyond that. What we space or spread ourselves is no such lack, however slow.

`_free_at` says what holds the head up; what else may do so joins there, and tells `_news` when it no longer does. How
a call ended is seen in `Grant.__aexit__`.
"""

from __future__ import annotations

import asyncio
import random as randomness
import time
from collections.abc import Callable, Mapping, Sequence

from streamflow.errors import CostTooLarge
from streamflow.events import Hook, LimitPaused
from streamflow.limits.allowance import Allowance, LimitState, effective, given
from streamflow.limits.grant import Grant
from streamflow.limits.headers import MAX_PAUSE, Left, Told, budgets, retry_after, told
from streamflow.limits.health import Begun, Health
from streamflow.limits.outage import Lack, local_time
from streamflow.limits.pause import Pause
from streamflow.limits.rates import Cost, Kept, Rates
from streamflow.limits.window import REQUESTS, Window

_SILENT_PAUSE = 60.0
"""Seconds. The longest pause after a refusal that does not say how long."""

_PLAIN: Cost = {REQUESTS: 1}
_NEVER = float("inf")
_RANDOM = randomness.SystemRandom().random


class Limit:
    """Guards one API.

    `rate`, `per`, `concurrency`, `burst` and `windows` are what the service publishes; `configured` is the user's word
    and replaces them, a window that of the same kind and seconds. What the service tells in its headers replaces the
    published values, in both directions, but never exceeds the user's. `margin` is the share of the rate, and of each
    window's length, that is kept for jitter on the way. What nobody names is unlimited.

    `adaptive` lets latency steer the calls in flight, up to the concurrency: for a server whose capacity nobody knows.
    Overloads steer them always.

    Time is that of the running loop. `outage` is for how many seconds the API may be away before the line gives up.
    `hook` is told of pauses, and of the API's health; `on_use` is called when `keep` has something to keep.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: float | None = None,
        per: float = 1.0,
        concurrency: int | None = None,
        burst: int = 1,
        windows: Sequence[Window] = (),
        margin: float = 0.02,
        adaptive: bool = False,
        configured: Allowance | None = None,
        outage: float = _NEVER,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _RANDOM,
        hook: Hook = lambda event: None,
        on_use: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.published = Allowance(rate, per, concurrency, burst, tuple(windows))
        self.user = configured or Allowance()
        if not 0 <= margin < 1:
            raise ValueError(f"margin is a share of the rate, at least 0 and below 1, not {margin!r}")
        self._wall_clock = wall_clock
        self._hook = hook
        self._outage = outage
        self._health = Health(name, by_latency=adaptive, hook=hook, random=random)
        self._told = Told()
        self._rates = Rates(margin, on_use, outage)
        self._tune(0.0)  # there are no calls yet

        self._turn = asyncio.Lock()  # held by the head of the line; an asyncio.Lock wakes in order of arrival
        self._told_head: asyncio.Future[None] | None = None  # the head waits on it for news
        self._in_use = 0
        self._waiting = 0
        self._granted = 0
        self._unchanged = 0
        self._held = 0.0  # ends minus beginnings of grants, so that of those in use the end is missing
        self._pause = Pause()

    def __call__(self, requests: float = 1, **others: float) -> Grant:
        """A grant to enter with `async with`: `limit()` for a call that costs one request, `limit(tokens=1200)` for
        one that costs tokens too. Raises `CostTooLarge` if a window could never hold the cost.
        """
        if requests == 1 and not others:
            return Grant(self, _PLAIN)
        self.check(requests, **others)
        return Grant(self, {REQUESTS: requests, **others})

    def check(self, requests: float = 1, **others: float) -> None:
        """Raise `CostTooLarge` if a call of this cost is more than a whole window. For what can be told before."""
        if problem := self._rates.problem({REQUESTS: requests, **others}):
            raise CostTooLarge(
                f"A call of {self.name} {problem}. Split the call, or raise [services.{self.name}], if more is allowed."
            )

    def configure(self, user: Allowance) -> None:
        """Take over another word of the user's. It holds from the next grant on. Call it on the loop."""
        self.user = user
        self._tune(asyncio.get_running_loop().time())
        self._news()

    def pause(self, seconds: float, reason: str) -> None:
        """Hold every caller for `seconds` (at most a day). A shorter pause than the present one changes
        nothing.
        """
        if self._pause.extend(seconds, reason, asyncio.get_running_loop().time()):
            self._hook(LimitPaused(self.name, min(seconds, MAX_PAUSE), reason))

    def learn(self, headers: Mapping[str, str]) -> list[Left]:
        """Take over what any response's headers tell: limits, and what is left of budgets, which is returned. For one
        that is used up the calls wait that need it, and no others.
        """
        now_told = told(headers)
        if now_told != self._told and now_told != Told():
            rate_told = now_told.rate is not None
            self._told = Told(
                now_told.rate if rate_told else self._told.rate,
                now_told.per if rate_told else self._told.per,
                now_told.concurrency or self._told.concurrency,
            )
            self._tune(asyncio.get_running_loop().time())
            self._news()
        said = budgets(headers, self._wall_clock())
        for left in said:
            self._rates.tell(left, asyncio.get_running_loop().time())
        return said

    def refused(self, headers: Mapping[str, str], *, too_fast: bool = False) -> float | None:
        """Learn from the headers of a refusal, pause as they ask, and return the seconds; 0 where all they name is a
        used-up budget, which holds the calls that need it; `None` if they say nothing.

        Without a word from the service, a refusal because of our speed (`too_fast`) pauses for one window:
        after it no sliding window counts what we did.
        """
        used_up = [left for left in self.learn(headers) if not left.remaining]
        wait = retry_after(headers, self._wall_clock())
        if wait is None and used_up:
            # Where calls do not say what they cost of it, nothing else would hold them.
            wait = max((left.reset for left in used_up if not self._rates.knows(left)), default=0.0)
        if wait is not None:
            self.pause(wait, f"{self.name} asked to wait {wait:.0f} s")
        elif too_fast:
            self.pause(min(self._window, _SILENT_PAUSE), f"{self.name} said too many requests")
        return wait

    def snapshot(self) -> LimitState:
        """The limit as it is now, for status and tests. Call it on the loop."""
        now = asyncio.get_running_loop().time()
        paused_for = self._pause.left(now)
        said, slots, breaker = self._told, self._slots(), self._health.breaker
        away_for = now - breaker.since if breaker.since is not None else 0.0
        return LimitState(
            name=self.name,
            configured=given(self.published, self.user),
            learnt=Allowance(said.rate, said.per, said.concurrency),
            effective=self._effective,
            in_use=self._in_use,
            waiting=self._waiting,
            granted=self._granted,
            unchanged=self._unchanged,
            paused_for=paused_for,
            paused_reason=self._pause.reason if paused_for else None,
            held=max(0.0, self._held + self._in_use * now),
            windows=self._rates.state(now),
            slots=None if slots == _NEVER else int(slots),
            breaker=breaker.phase.value,
            away_for=away_for,
            failure=self._health.failure if away_for else None,
        )

    # What outlives the process

    @property
    def to_keep(self) -> bool:
        """Whether calls wait for `keep`, or will soon."""
        return self._rates.to_keep

    @property
    def was_used(self) -> bool:
        """Whether calls were granted at all."""
        return self._granted > 0

    def begin_keeping(self, kept: Kept | None) -> None:
        """Count what an earlier process used of the windows. From now on, calls are granted out of what `keep`
        saved.
        """
        self._rates.begin_keeping(kept, asyncio.get_running_loop().time(), self._wall_clock())
        self._news()

    def keep(self, *, ahead: bool) -> tuple[Kept, Callable[[], None]]:
        """What is to be kept, and what to call once it is; `ahead` where more calls are to come."""
        kept, saved = self._rates.keep(asyncio.get_running_loop().time(), self._wall_clock(), ahead=ahead)

        def done() -> None:
            saved()
            self._news()

        return kept, done

    # What holds

    def _tune(self, now: float) -> None:
        """Let hold what was given and what was told."""
        holds = self._effective = effective(self.published, self.user, self._told)
        self._rates.tune(holds.rate, holds.per, holds.burst, holds.windows, now)

    @property
    def _window(self) -> float:
        """Seconds of the shortest window."""
        spaced = self._effective.per if self._effective.rate is not None else None
        return min((per for per in (spaced, self._rates.shortest) if per is not None), default=1.0)

    @property
    def _cap(self) -> float:
        return self._effective.concurrency or _NEVER

    def _slots(self) -> float:
        return self._health.slots(self._cap)

    def _holds_up(self) -> str:
        """What those in the line wait for."""
        if self._health.breaker.since is not None:
            return f"breaker {self.name}"
        return f"{'pause' if self._pause.left(asyncio.get_running_loop().time()) else 'limit'} {self.name}"

    # The line

    def _free_at(self, cost: Cost, now: float) -> float:
        """The first moment at which asking again can help: not after `now` for a call that may go, `inf` where only
        news can tell. The spacing is paid for last, see `_head_of_line`.
        """
        if self._in_use >= self._slots():
            return _NEVER
        return max(self._pause.until, self._health.breaker.free_at(now), self._rates.free_at(cost, now))

    def _ready(self, cost: Cost) -> bool:
        """Whether a grant needs no waiting. Never overtakes: anybody in the line means no."""
        if self._waiting:
            return False
        now = asyncio.get_running_loop().time()
        return self._free_at(cost, now) <= now and self._rates.has_room(cost)

    async def _take_in_turn(self, cost: Cost) -> Begun:
        self._waiting += 1
        try:
            async with self._turn:
                await self._head_of_line(cost)
                return self._grant(cost)  # nothing was awaited since the last look
        finally:
            self._waiting -= 1

    async def _head_of_line(self, cost: Cost) -> None:
        clock = asyncio.get_running_loop().time
        lacking: float | None = None  # since when
        while True:
            now = clock()
            if (until := self._free_at(cost, now)) > now:
                if (lack := self._lack(cost, now if lacking is None else lacking, now)) is not None:
                    lacking, given_up = lack.since, lack.since + self._outage
                    if max(now, lack.until) >= given_up:
                        raise lack.error(self.name, self._wall_clock() - (now - lack.since))
                    until = min(until, given_up)
                else:
                    lacking = None
                await self._news_or(until)
                continue  # whatever else may have changed
            # A pause that began while the spacing was waited for holds this call too. Its place in the rate is then
            # given up, not kept: two places used at the end of the pause would be closer than the spacing.
            if await self._rates.pay(cost) and self._free_at(cost, now := clock()) <= now:
                return
            lacking = None

    def _lack(self, cost: Cost, since: float, now: float) -> Lack | None:
        """What the head has lacked since that moment; `None` where it waits for calls of our own, or by our choice."""
        breaker, paused = self._health.breaker, self._pause.left(now) > 0
        used_up_until = self._rates.free_at(cost, now, paced=False)
        if self._in_use >= self._slots() or _NEVER in (used_up_until, breaker.free_at(now)):
            return None
        # What is under way may turn out to have cost less, so only without it is known when a budget returns.
        until = max(self._pause.until, now if self._in_use else used_up_until)
        if breaker.since is not None and breaker.free_at(now) > now:
            return Lack(breaker.since, until, f"the last call met {self._health.failure}")
        if not paused and used_up_until <= now:
            return None
        ends = local_time(self._wall_clock() + max(self._pause.until, used_up_until) - now)
        return Lack(since, until, f"{self._pause.reason if paused else 'its budget is used up'}, until {ends}")

    def _grant(self, cost: Cost) -> Begun:
        now = asyncio.get_running_loop().time()
        self._in_use += 1
        self._granted += 1
        self._held -= now
        self._rates.take(cost, now)
        return self._health.begin(self._in_use, now)

    def _give_back(self, cost: Cost, now: float) -> None:
        self._in_use -= 1
        self._held += now
        self._rates.ended(cost)
        self._news()

    async def _news_or(self, until: float) -> None:
        """Wait for news, at most until that moment."""
        loop = asyncio.get_running_loop()
        self._told_head = loop.create_future()
        timer = loop.call_at(until, self._news) if until < _NEVER else None
        try:
            await self._told_head
        finally:
            if timer is not None:
                timer.cancel()

    def _news(self) -> None:
        """The head of the line looks again at what holds it up."""
        if self._told_head is not None and not self._told_head.done():
            self._told_head.set_result(None)
