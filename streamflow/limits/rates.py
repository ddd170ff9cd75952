"""Everything that a limit counts: the even spacing of requests, windows of any kind of cost, and the budgets that the
service tells of.

`free_at` is the one question, `take` the one answer: a call takes of all, or waits. The times are the loop's.

Windows of a minute or more outlive the process. What is kept of one (see `keeping`) says more than was used: it is
saved ahead, with a reserve for calls yet to be granted. Calls are granted out of the reserve only, so whenever the
process dies, what is kept is at least what was sent. That may cost a fiftieth of the window; or two of its dearest
calls, where these are more, but then at most a quarter of it, unless a single call is more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from streamflow.limits.budget import Budget
from streamflow.limits.headers import Left
from streamflow.limits.spacing import Spacing
from streamflow.limits.window import REQUESTS, Sends, Window

Cost = Mapping[str, float]
"""What a call costs, by kind."""

LONG = 60.0
"""Seconds. Shorter windows start spent, which costs no more than that; others are kept."""

_JITTER = 1.0
"""Seconds by which a window is counted longer than it is, at most: calls that were sent may overtake each other."""

_RESERVE = 0.02  # of a window: what is saved ahead
_MOST_RESERVE = 0.25
_KEPT_GRAINS = 100  # so finely is kept what a window held
_MOST_BUDGETS = 32  # a service that makes up ever new names does not fill our memory


@dataclass(frozen=True, slots=True)
class WindowState:
    """A window at one moment. `size` and `per` (seconds) are None where the service did not say; `remaining` is of the
    whole size. Of one that was `learnt` from answers, `per` are the seconds until it resets or is full."""

    kind: str
    size: float | None
    per: float | None
    used: float | None
    remaining: float
    learnt: bool = False


class KeptWindow(msgspec.Struct):
    """Use of one window: `sends` as (Unix time, cost), and what may have been sent since."""

    kind: str
    per: float
    sends: list[tuple[float, float]]
    reserved: float


class Kept(msgspec.Struct):
    """What outlives the process: when the last call may have been sent (Unix time; None: nobody knows), and the long
    windows."""

    ended: float | None
    windows: list[KeptWindow]


class _Count:
    """The use of one declared window."""

    __slots__ = ("allowed", "sends", "taken", "wanted", "window")

    def __init__(self) -> None:
        self.sends = Sends()
        self.taken = 0.0  # ever
        self.allowed = float("inf")  # `taken` may become so much before the next save
        self.wanted = 0.0  # the largest cost so far

    def tune(self, window: Window, margin: float) -> None:
        self.window = window
        self.sends.resize(window.size, window.per + min(window.per * margin, _JITTER))

    @property
    def reserve(self) -> float:
        size = self.window.size
        return max(self.wanted, min(max(size * _RESERVE, 2 * self.wanted), size * _MOST_RESERVE))


class Rates:
    """What one limit counts. `low` is called when a reserve runs low, or something is to be kept at all. Budgets are
    not spread by more than `longest` seconds."""

    def __init__(self, margin: float, low: Callable[[], None], longest: float) -> None:
        self._longest = longest
        self._margin = margin
        self._low = low
        self._spacing = Spacing(margin)
        self._counts: dict[tuple[str, float], _Count] = {}
        self._of: dict[str, list[_Count]] = {}  # the counts of one kind of cost that hold
        self._ever_of: dict[str, list[_Count]] = defaultdict(
            list
        )  # and those of windows that held once, which may again
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._under_way: dict[str, float] = defaultdict(float)
        self._unsent: dict[str, float] = defaultdict(float)  # of that
        self._is_kept = False
        self._is_marked = True  # what is kept says that calls may have been sent
        self._to_keep = False

    def tune(
        self, rate: float | None, per: float | None, burst: int | None, windows: Iterable[Window], now: float
    ) -> None:
        """What holds from now on. The calls before count for it, of a new window those that are under way."""
        self._spacing.tune(rate, per, burst)
        self._of = {}
        for window in windows:
            count = self._counts.get((window.kind, window.per))
            if count is None:
                count = self._counts[window.kind, window.per] = _Count()
                self._ever_of[window.kind].append(count)
                unsent = self._unsent[window.kind]
                count.sends.take(unsent)
                count.sends.add([(now, self._under_way[window.kind] - unsent)])
            count.tune(window, self._margin)
            self._of.setdefault(window.kind, []).append(count)

    def problem(self, cost: Cost) -> str | None:
        """What is wrong with a cost that can never be granted."""
        for kind, amount in cost.items():
            if not amount >= 0:
                return f"cannot cost {amount!r} {kind}: costs are at least 0"
            windows = [(count.window, count.window.size) for count in self._of.get(kind, ())]
            if kind == REQUESTS and (spaced := self._spacing.window) is not None:
                windows.append((spaced, max(spaced.size, 1.0)))  # half a call a second is one in two
            for window, most in windows:
                if amount > most:
                    return f"that costs {amount:,g} {kind} can never be granted: its whole window is {window}"
        return None

    # A call's way

    def free_at(self, cost: Cost, now: float, *, paced: bool = True) -> float:
        """The first moment at which asking again can help; `now` or before if all of the cost may be taken, `inf` if a
        reserve must be saved first. If not `paced`, what is used up only: as if nothing were spaced or spread.
        """
        at = now
        for kind, amount in cost.items():
            if not amount:
                continue
            if kind == REQUESTS and paced:
                at = max(at, self._spacing.free_at(amount, now))
            for count in self._of.get(kind, ()):
                at = max(at, count.sends.free_at(amount, now))
                if count.taken + amount > count.allowed:
                    count.wanted = max(count.wanted, amount)
                    self._keep()
                    return float("inf")
        for (kind, _), budget in self._budgets.items():
            if amount := cost.get(kind, 0.0):
                at = max(at, budget.free_at(amount, self._under_way[kind], now, spread=paced))
        return at

    def has_room(self, cost: Cost) -> bool:
        """Whether `pay` would not wait."""
        return not cost.get(REQUESTS) or self._spacing.has_room(cost[REQUESTS])

    async def pay(self, cost: Cost) -> bool:
        """Wait for the spacing, and take a place in it in the step in which this returns. False if the rate was changed
        meanwhile."""
        return not cost.get(REQUESTS) or await self._spacing.pay(cost[REQUESTS])

    def take(self, cost: Cost, now: float) -> None:
        """A call was granted."""
        for (kind, _), budget in self._budgets.items():
            if amount := cost.get(kind, 0.0):
                budget.take(amount, self._under_way[kind], now)
        for kind, amount in cost.items():
            self._under_way[kind] += amount
            self._unsent[kind] += amount
            self._count(kind, amount, now)
        if not self._is_marked:
            self._keep()

    def _count(self, kind: str, amount: float, now: float) -> None:
        if kind == REQUESTS and amount:
            self._spacing.take(amount, now)
        for count in self._ever_of.get(kind, ()):
            count.sends.take(amount)
            count.taken += amount
            count.wanted = max(count.wanted, amount)
            if count.taken + count.reserve / 2 > count.allowed:
                self._keep()

    def sent(self, cost: Cost, now: float) -> None:
        """A call that was granted was sent."""
        for kind, amount in cost.items():
            self._unsent[kind] -= amount
            for sends in self._sends(kind):
                sends.sent(amount, now)

    def repeated(self, cost: Cost, now: float) -> None:
        """A call was sent once more, and may have been counted already."""
        for kind, amount in cost.items():
            for sends in self._sends(kind):
                sends.take(amount)
                sends.sent(amount, now)
            for count in self._ever_of.get(kind, ()):
                count.taken += amount

    def settle(self, cost: Cost, true: Cost, sent: float | None, now: float) -> None:
        """A call that was sent at that moment, or not yet, truly costs something else."""
        for kind, amount in true.items():
            more = amount - cost.get(kind, 0.0)
            self._under_way[kind] += more
            if sent is None:
                self._unsent[kind] += more
            for count in self._ever_of.get(kind, ()):
                count.taken += max(0.0, more)
            for sends in self._sends(kind):
                if more < 0:
                    sends.give_back(-more, sent, now)
                elif more:
                    sends.take(more)
                    if sent is not None:
                        sends.sent(more, now)

    def ended(self, cost: Cost) -> None:
        """A call has its answer, or will have none."""
        for kind, amount in cost.items():
            self._under_way[kind] -= amount

    def _sends(self, kind: str) -> list[Sends]:
        counted = [count.sends for count in self._ever_of.get(kind, ())]
        return [self._spacing.sends, *counted] if kind == REQUESTS else counted

    # What the service tells

    def tell(self, said: Left, now: float) -> None:
        """The service has said what is left of a budget.

        One for a resource is of the cost of that name, where calls have such a cost; else of all requests.
        """
        kind = said.resource if self._costs(said.resource) else said.kind
        budget = self._budgets.get((kind, said.resource))
        if budget is None and len(self._budgets) < _MOST_BUDGETS:
            budget = self._budgets[kind, said.resource] = Budget(self._longest)
        if budget is not None:
            budget.tell(said, now)

    def knows(self, said: Left) -> bool:
        """Whether calls say what they cost of such a budget, so that it holds those that need it."""
        return self._costs(said.resource) or self._costs(said.kind)

    def _costs(self, kind: str) -> bool:
        return kind == REQUESTS or kind in self._of or kind in self._under_way

    def state(self, now: float) -> tuple[WindowState, ...]:
        """The windows, declared and learnt; the evenly spaced rate is not among them."""
        declared = ((count.window, count.sends.used(now)) for counts in self._of.values() for count in counts)
        told = ((kind, budget, budget.left(now)) for (kind, _), budget in self._budgets.items())
        return (
            *(WindowState(w.kind, w.size, w.per, used, max(0.0, w.size - used)) for w, used in declared),
            *(
                WindowState(
                    kind,
                    budget.limit,
                    budget.until - now,
                    max(0.0, budget.limit - left) if budget.limit else None,
                    left,
                    True,
                )
                for kind, budget, left in told
                if left is not None
            ),
        )

    @property
    def shortest(self) -> float | None:
        """The seconds of the shortest window, if there is one."""
        return min((count.window.per for counts in self._of.values() for count in counts), default=None)

    # What outlives the process

    @property
    def to_keep(self) -> bool:
        return self._to_keep

    def begin_keeping(self, kept: Kept | None, now: float, wall: float) -> None:
        """Count what an earlier process may have used, and use no more than what was saved from now on."""
        self._is_kept, self._is_marked = True, False
        long = {(window.kind, window.per): window for window in kept.windows} if kept else {}
        for key, count in self._counts.items():
            found = long.get(key)
            if count.window.per >= LONG:
                count.allowed = count.taken
                if found is not None:
                    earlier = [(_ago(at, now, wall), cost) for at, cost in found.sends]
                    count.sends.add([*earlier, (now, found.reserved)])
            elif kept is not None:
                count.sends.add([(_ago(kept.ended, now, wall), count.window.size)])
        if kept is not None:
            self._spacing.spend(_ago(kept.ended, now, wall))

    def keep(self, now: float, wall: float, *, ahead: bool) -> tuple[Kept, Callable[[], None]]:
        """What is to be kept, and what to call once it is. `ahead` for more calls to come."""
        kept, reserves = Kept(None if ahead else wall, []), []
        for count in self._counts.values():
            if count.window.per < LONG:
                continue
            grains = count.sends.grains(now, _KEPT_GRAINS)
            unsent = max(0.0, count.sends.used(now) - sum(cost for _, cost in grains))
            reserve = count.reserve if ahead else 0.0
            sends = [(wall - (now - at), cost) for at, cost in grains]
            kept.windows.append(KeptWindow(count.window.kind, count.window.per, sends, unsent + reserve))
            reserves.append((count, count.taken + reserve))

        def saved() -> None:
            for count, allowed in reserves:
                count.allowed = allowed
            self._to_keep, self._is_marked = False, ahead

        return kept, saved

    def _keep(self) -> None:
        if self._is_kept:
            self._to_keep = True
            self._low()


def _ago(moment: float | None, now: float, wall: float) -> float:
    """A Unix time as one of the loop; `now` for one that nobody knows, or that lies ahead."""
    return now if moment is None else now - max(0.0, wall - moment)
