"""What a service allows its callers, and the count of what they do.

The count is a sliding window: a call is refused when it would bring what was accepted in the `per` seconds before it
above the size. That is the strictest way a service can count, so a client that passes here passes everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_ONE: Mapping[str, float] = {"requests": 1}


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `size` of the cost `kind` in any `per` seconds."""

    kind: str
    size: float
    per: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most `requests` in any `per` seconds, and `concurrency` under way, None where there is no such limit; and what
    further `rules` say. Callers with the same `name` share it."""

    name: str
    requests: int | None = None
    per: float = 1.0
    concurrency: int | None = None
    rules: tuple[Rule, ...] = ()

    def scaled(self, factor: float) -> Allowance:
        """The same with `factor` times the rates; below one request a window, the window grows instead."""
        if factor == 1.0:
            return self
        rules = tuple(replace(rule, size=rule.size * factor) for rule in self.rules)
        if self.requests is None:
            return replace(self, rules=rules)
        requests = self.requests * factor
        if requests >= 1:
            return replace(self, requests=int(requests), rules=rules)
        return replace(self, requests=1, per=self.per / requests, rules=rules)

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        if self.requests is None:
            return self.rules
        return (Rule("requests", self.requests, self.per), *self.rules)


@dataclass(slots=True)
class _Count:
    """What was accepted under one rule, as (time, cost), and the sum of it."""

    accepted: deque[tuple[float, float]] = field(default_factory=deque)
    used: float = 0.0

    def wait(self, rule: Rule, cost: float, now: float) -> float | None:
        """In how many seconds the cost would be accepted; None for now."""
        while self.accepted and self.accepted[0][0] <= now - rule.per:
            self.used -= self.accepted.popleft()[1]
        excess = self.used + cost - rule.size
        if excess <= 1e-6:
            return None
        for time, held in self.accepted:
            excess -= held
            if excess <= 1e-6:
                return time + rule.per - now
        return rule.per


@dataclass(slots=True)
class Gauge:
    """The calls of those who share one allowance. Each `enter` that returns None needs one `leave`."""

    under_way: int = 0
    _counts: dict[tuple[str, float], _Count] = field(default_factory=dict)

    def enter(self, allowance: Allowance, now: float, cost: Mapping[str, float] = _ONE) -> tuple[str, float] | None:
        """Accepts a call (None), or says why not and in how many seconds one would be accepted."""
        if allowance.concurrency is not None and self.under_way >= allowance.concurrency:
            return "concurrency", 1.0
        taking = []
        for rule in allowance.all_rules:
            count = self._counts.setdefault((rule.kind, rule.per), _Count())
            amount = cost.get(rule.kind, 0.0)
            if amount and (wait := count.wait(rule, amount, now)) is not None:
                return "rate" if rule.kind == "requests" else rule.kind, wait
            taking.append((count, amount))
        for count, amount in taking:
            count.accepted.append((now, amount))
            count.used += amount
        self.under_way += 1
        return None

    def leave(self) -> None:
        self.under_way -= 1

    def used(self, rule: Rule, now: float) -> float:
        """What the window of a rule holds."""
        count = self._counts.setdefault((rule.kind, rule.per), _Count())
        count.wait(rule, 0.0, now)
        return count.used
