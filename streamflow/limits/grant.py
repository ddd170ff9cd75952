"""One call's way through a limit: in, on its way, out."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

from streamflow import deadline
from streamflow.errors import Overloaded
from streamflow.limits.health import Begun
from streamflow.limits.rates import Cost

if TYPE_CHECKING:
    from streamflow.limits.limit import Limit

_MOMENT = 1.0
"""Seconds that may pass between a refusal and its call's end."""


class Grant:
    """One call's leave to go ahead: `async with limit() as grant: …`. Usable once."""

    __slots__ = ("_begun", "_cost", "_elsewhere", "_host", "_item", "_limit", "_sent")
    _begun: Begun

    def __init__(self, limit: Limit, cost: Cost) -> None:
        self._limit = limit
        self._cost = cost
        self._item: deadline.Deadline | None = None
        self._sent: float | None = None
        self._elsewhere = False
        self._host: str | None = None

    def elsewhere(self) -> None:
        """Tell that the call goes to another host than the API's, which does not speak for it."""
        self._elsewhere = True

    def one_of_many(self, host: str) -> None:
        """Tell that the API has no host of its own: the calls of the limit go to many, of which this is one."""
        self._host = host

    def sent(self) -> None:
        """Tell that the call leaves now. A call that holds its grant for longer than an instant should, or it keeps
        its place in the windows for as long again. Told once more, it counts as another call: a request that is
        repeated on a fresh connection may have been counted already.
        """
        rates, now = self._limit._rates, asyncio.get_running_loop().time()
        if self._sent is None:
            self._sent = now
            rates.sent(self._cost, now)
        else:
            rates.repeated(self._cost, now)

    def cost(self, **true: float) -> None:
        """Tell what the call truly cost of these kinds, where its answer says so: `grant.cost(tokens=812)`. The
        difference is taken or given back. Even spacing is not changed in hindsight.
        """
        now = asyncio.get_running_loop().time()
        self._limit._rates.settle(self._cost, true, self._sent, now)
        self._cost = {**self._cost, **true}
        self._limit._news()

    def unchanged(self) -> None:
        """Tell that the answer was that nothing has changed, for the count."""
        self._limit._unchanged += 1

    async def __aenter__(self) -> Grant:
        limit = self._limit
        if limit._ready(self._cost):
            await limit._rates.pay(self._cost)  # with room for it, this does not suspend
            self._begun = limit._grant(self._cost)
        else:
            with deadline.suspended(limit._holds_up):
                self._begun = await limit._take_in_turn(self._cost)
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
        if self._sent is None:
            limit._rates.sent(self._cost, now)  # or it never will be; nobody knows, so it counts
        sent = self._begun.granted if self._sent is None else self._sent
        if isinstance(error, Overloaded) and error.retry_after is not None:
            error.held = error.retry_after <= limit._pause.left(now) + _MOMENT
        limit._health.end(
            self._begun, error, now, sent=sent, cap=limit._cap, elsewhere=self._elsewhere, host=self._host
        )
        limit._give_back(self._cost, now)
        if limit._waiting and kind is None:
            await asyncio.sleep(0)  # the next call leaves before this task computes with its answer
