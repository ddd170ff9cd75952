"""How much of real APIs' allowances a limit uses, and how often it is refused, in virtual time.

The services are rules: Crossref's, GitHub's, OpenAI's and Deepgram's as published, counted in sliding windows, which is
the strictest way to count. Calls reach them up to `JITTER` of the shortest window late, not in the order of sending.
The rate to reach is the allowed one less the margin that a limit states: 2 %, for windows at most a second.

In a storm the service refuses everything for a while. In a restart what is under way breaks off, and for a while
nobody answers. The calls fail then as the client's do, and come again when `Retry` says. So the pause, the breaker, the
calls in flight and the retry budget all have their say. Use is counted again from `RECOVERY` seconds after the end, or
from the moment for which the service's last refusal asked, where that is later (GitHub asks for a minute).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

from benchmarks.measure import Result
from streamflow.errors import Overloaded, ServiceError, Unreachable
from streamflow.limits.limit import Limit
from streamflow.limits.retry import Again, Retry
from streamflow.limits.window import Window
from streamflow.testing.allowance import Allowance, Gauge, Rule
from streamflow.testing.clock import run_virtual

MARGIN = 0.02
JITTER = 0.01
STEADY = 0.98
BACK = 0.95
RECOVERY = 10.0
TROUBLE = 5.0
_EPOCH = 1_800_000_000

Cost = Mapping[str, float]
Trouble = Literal["storm", "restart"]
Headers = Callable[["Service", float], dict[str, str]]


@dataclass(frozen=True)
class Case:
    """A service's rules, the limit that its client would declare, and what the calls cost.

    Use is measured of `rule`, or where it is None of the calls in flight; over `windows` of its windows, after
    `settled` seconds. After a trouble it is over `after` of them, and at least `RECOVERY` seconds.
    """

    name: str
    limit: Callable[[], Limit]
    allowance: Allowance
    cost: Callable[[random.Random], Cost]
    rule: Rule | None
    windows: int
    callers: int = 200
    latency: float = 0.2
    settled: float = 0.0
    after: int = 1
    retry_after: float = 1.0
    headers: Headers = lambda service, now: {}

    @property
    def span(self) -> float:
        """Seconds that one window takes, with its margin."""
        if self.rule is None:
            return 1.0
        spaced = self.rule.per * MARGIN / (1 - MARGIN)
        return self.rule.per + (spaced if self.is_spaced else min(self.rule.per * MARGIN, 1.0))

    @property
    def is_spaced(self) -> bool:
        return self.rule is not None and self.rule in self.allowance.all_rules[: self.allowance.requests is not None]


@dataclass
class Service:
    """A service that counts and refuses. `accepted` are the calls, as (time, cost); `refused` those above a rule."""

    case: Case
    gauge: Gauge = field(default_factory=Gauge)
    accepted: list[tuple[float, Cost]] = field(default_factory=list)
    refused: int = 0
    in_vain: int = 0  # calls that met the trouble
    asked: float = 0.0  # until when the trouble's refusals ask to wait
    busy: float = 0.0  # seconds of all calls while they are counted
    hour: tuple[float, int] | None = None  # when it began, and the calls in it
    levels: dict[str, tuple[float, float]] = field(default_factory=dict)

    def enter(self, cost: Cost, now: float) -> float | None:
        """None for an accepted call, else for how many seconds to stay away."""
        refused = self.gauge.enter(self.case.allowance, now, cost)
        if refused is not None:
            self.refused += 1
            return refused[1]
        if self.hour is None or now >= self.hour[0] + 3600:
            self.hour = now, 0
        self.hour = self.hour[0], self.hour[1] + 1
        self.accepted.append((now, cost))
        return None

    def used(self, kind: str, since: float, until: float) -> float:
        return sum(cost.get(kind, 0.0) for at, cost in self.accepted if since <= at < until)


def github_headers(service: Service, now: float) -> dict[str, str]:
    """The hour's budget, which returns as a whole an hour after its first call."""
    began, used = service.hour or (now, 0)
    return {
        "date": format_datetime(datetime.fromtimestamp(int(_EPOCH + now), UTC), usegmt=True),
        "x-ratelimit-limit": "5000",
        "x-ratelimit-remaining": f"{max(0, 5000 - used)}",
        "x-ratelimit-reset": f"{_EPOCH + began + 3600:.0f}",
        "x-ratelimit-resource": "core",
    }


def openai_headers(service: Service, now: float) -> dict[str, str]:
    """Two buckets that refill, and when they will be full."""
    headers = {}
    for rule in service.case.allowance.all_rules:
        at, level = service.levels.get(rule.kind, (now, rule.size))
        level = min(rule.size, level + (now - at) * rule.size / rule.per)
        if service.accepted:
            level = max(0.0, level - service.accepted[-1][1].get(rule.kind, 0.0))
        service.levels[rule.kind] = now, level
        full = (rule.size - level) / rule.size * rule.per
        headers |= {
            f"x-ratelimit-limit-{rule.kind}": f"{rule.size:.0f}",
            f"x-ratelimit-remaining-{rule.kind}": f"{level:.0f}",
            f"x-ratelimit-reset-{rule.kind}": f"{full // 60:.0f}m{full % 60:.3f}s",
        }
    return headers


def crossref_headers(service: Service, now: float) -> dict[str, str]:
    return {"x-rate-limit-limit": "10", "x-rate-limit-interval": "1s", "x-concurrency-limit": "3"}


def _one(draw: random.Random) -> Cost:
    return {"requests": 1}


def _github(draw: random.Random) -> Cost:
    return {"requests": 1, "points": 5 if draw.random() < 0.1 else 1}


def _small(draw: random.Random) -> Cost:
    return {"requests": 1, "tokens": draw.randint(10, 80)}


def _mixed(draw: random.Random) -> Cost:
    return {"requests": 1, "tokens": draw.randint(1500, 3000) if draw.random() < 0.02 else draw.randint(50, 500)}


_HOUR, _POINTS = Rule("requests", 5000, 3600), Rule("points", 900, 60)
_MINUTE, _TOKENS = Rule("requests", 500, 60), Rule("tokens", 30_000, 60)
_SECOND = Rule("requests", 10, 1)
_GITHUB = Allowance("github", concurrency=100, rules=(_HOUR, _POINTS))
_OPENAI = Allowance("openai", requests=500, per=60, rules=(_TOKENS,))


def _limit_github() -> Limit:
    windows = (Window(5000, 3600), Window(900, 60, "points"))
    return Limit("github", concurrency=100, windows=windows, margin=MARGIN, wall_clock=lambda: 0.0)


def _limit_openai() -> Limit:
    return Limit("openai", rate=500, per=60, windows=(Window(30_000, 60, "tokens"),), margin=MARGIN)


CROSSREF = Case(
    "crossref, 10/s with 3 in flight",
    lambda: Limit("crossref", rate=5, concurrency=1, margin=MARGIN),  # the public pool's, until an answer tells
    Allowance("polite", requests=10, per=1.0, concurrency=3),
    _one,
    _SECOND,
    windows=60,
    headers=crossref_headers,
    settled=5.0,
)
POINTS = Case(
    "github, 900 points/min",
    _limit_github,
    _GITHUB,
    _github,
    _POINTS,
    windows=4,
    headers=github_headers,
    retry_after=60.0,
)
HOUR = Case("github, 5,000/h", _limit_github, _GITHUB, _github, _HOUR, windows=2, headers=github_headers)
TOKENS = Case(
    "openai, 30,000 tokens/min",
    _limit_openai,
    _OPENAI,
    _mixed,
    _TOKENS,
    windows=20,
    headers=openai_headers,
    after=10,  # over fewer it varies: a single call may cost a tenth of a window
)
REQUESTS = Case("openai, 500/min", _limit_openai, _OPENAI, _small, _MINUTE, windows=5, headers=openai_headers)
DEEPGRAM = Case(
    "deepgram, 100 in flight",
    lambda: Limit("deepgram", concurrency=100, margin=MARGIN),
    Allowance("deepgram", concurrency=100),
    _one,
    None,
    windows=60,
    latency=3.0,
)
CASES = (CROSSREF, POINTS, HOUR, TOKENS, REQUESTS, DEEPGRAM)
TROUBLED = (CROSSREF, POINTS, TOKENS, REQUESTS, DEEPGRAM)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The share of the allowed rate, less its margin, that was used. Of the calls, how many broke a rule and were
    `refused`, and how many met the trouble (`in_vain`); and of the items, how many used up their attempts (`lost`)."""

    share: float
    used: float
    allowed: float
    calls: int
    refused: int
    in_vain: int
    lost: int


@dataclass
class _Item:
    cost: Cost
    attempts: int = 1


def simulate(case: Case, trouble: Trouble | None = None, *, seed: int = 1) -> Outcome:
    """Let the case's callers call until its windows have passed."""
    return run_virtual(_simulated(case, trouble, random.Random(seed)))


async def _simulated(case: Case, trouble: Trouble | None, draw: random.Random) -> Outcome:
    loop = asyncio.get_running_loop()
    clock = loop.time
    limit, service = case.limit(), Service(case)
    shortest = min((rule.per for rule in case.allowance.all_rules), default=1.0)
    began = max(case.settled, case.span)
    ended = began + TROUBLE if trouble else began
    since = until = float("inf")
    again, lost = deque[_Item](), 0

    def meet_trouble() -> None:
        service.in_vain += 1
        if trouble == "restart":
            raise Unreachable("no connection", service=limit.name)
        asked = limit.refused({"retry-after": f"{case.retry_after:g}"}, too_fast=True)
        service.asked = clock() + case.retry_after
        raise Overloaded("429", service=limit.name, status=429, retry_after=asked)

    async def call(cost: Cost) -> None:
        async with limit(**cost) as grant:
            grant.sent()
            await asyncio.sleep(draw.random() * JITTER * shortest)
            if trouble and began <= clock() < ended:
                meet_trouble()
            wait = service.enter(cost, clock())
            if wait is not None:
                asked = limit.refused({"retry-after": f"{wait:.3f}"}, too_fast=True)
                raise Overloaded("429", service=limit.name, status=429, retry_after=asked)
            headers = case.headers(service, clock())
            entered, takes = clock(), case.latency * (0.5 + draw.random())
            breaks_off = trouble == "restart" and entered < began < entered + takes
            try:
                await asyncio.sleep(began - entered if breaks_off else takes)
            finally:
                service.gauge.leave()
                service.busy += max(0.0, min(clock(), until) - max(entered, since))
            if breaks_off:
                meet_trouble()
            limit.learn(headers)

    async def caller() -> None:
        """As a worker of the engine: what failed is parked, and another item taken."""
        nonlocal lost
        while True:
            item = again.popleft() if again else _Item(case.cost(draw))
            try:
                await call(item.cost)
            except ServiceError as error:
                decision = Retry().decide(error, item.attempts, draw.random)
                if isinstance(decision, Again):
                    item.attempts += decision.counted
                    loop.call_later(decision.delay, again.append, item)
                else:
                    lost += 1

    callers = [asyncio.create_task(caller()) for _ in range(case.callers)]
    await asyncio.sleep(ended)
    since = max(ended + RECOVERY, service.asked) if trouble else began
    until = since + case.span * (max(case.after, round(RECOVERY / case.span)) if trouble else case.windows)
    await asyncio.sleep(until - ended)
    for task in callers:
        task.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    if case.rule is None:
        allowed = float(case.allowance.concurrency or 0)
        used = service.busy / (until - since)
    else:
        allowed = case.rule.size / case.span
        used = service.used(case.rule.kind, since, until) / (until - since)
    calls = len(service.accepted) + service.refused
    return Outcome(used / allowed, used, allowed, calls, service.refused, service.in_vain, lost)


def run(quick: bool) -> Iterator[Result]:
    """Yields for each service the share that is used, the share after a trouble, how many of the calls no rule refused;
    how many calls met a trouble, and how many items that cost their last attempt."""
    calls: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    met: list[Result] = []
    troubles: tuple[Trouble, ...] = ("storm", "restart")
    for case, trouble in [(case, None) for case in CASES] + [(case, each) for case in TROUBLED for each in troubles]:
        outcome = simulate(case, trouble)
        name = f"{case.name}, after a {trouble}" if trouble else case.name
        unit = "in flight" if case.rule is None else f"{case.rule.kind}/s"
        least = BACK if trouble else STEADY
        yield Result(name, outcome.used, unit, outcome.allowed, outcome.share, least, floor=True)
        calls[case.name] += outcome.calls
        refused[case.name] += outcome.refused
        if trouble:
            vain, tried = outcome.in_vain, outcome.calls + outcome.lost
            met.append(Result(f"{case.name}, calls that met the {trouble}", vain, "calls", tried, vain / tried))
            kept = tried - outcome.lost
            name = f"{case.name}, items kept through the {trouble}"
            met.append(Result(name, kept, "items", tried, kept / tried, 1.0, floor=True))
    for name, count in calls.items():
        good = count - refused[name]
        yield Result(f"{name}, not refused", good, "calls", count, good / count, 1.0, floor=True)
    yield from met
