"""One limit per external API, found by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from streamflow.errors import PipelineError
from streamflow.events import Hook
from streamflow.limits.allowance import Allowance
from streamflow.limits.limit import Limit
from streamflow.limits.window import Window


class Registry:
    """The limits of one run. Every client of an API shares its one limit, whichever stage it serves.

    `hook` is told of pauses and of the APIs' health. `outage` is for how many seconds one may be away before its calls
    give up. `used` is set when a limit has something to keep.
    """

    def __init__(
        self,
        hook: Hook = lambda event: None,
        *,
        outage: float = float("inf"),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits: dict[str, Limit] = {}
        self._declared: dict[str, tuple[Allowance, Allowance]] = {}
        self._hook = hook
        self._outage = outage
        self._wall_clock = wall_clock
        self.used = asyncio.Event()
        self._made: Callable[[Limit], None] = lambda limit: None

    def limit(
        self,
        name: str,
        *,
        rate: float | None = None,
        per: float = 1.0,
        concurrency: int | None = None,
        burst: int = 1,
        windows: Sequence[Window] = (),
        adaptive: bool = False,
        configured: Allowance | None = None,
    ) -> Limit:
        """The limit of the API `name`, made at the first call; for the numbers see `Limit`.

        Raises `PipelineError` if the same name was asked for with other numbers before.
        """
        published, user = Allowance(rate, per, concurrency, burst, tuple(windows)), configured or Allowance()
        known = self._limits.get(name)
        if known is None:
            known = self._limits[name] = Limit(
                name,
                rate=rate,
                per=per,
                concurrency=concurrency,
                burst=burst,
                windows=windows,
                adaptive=adaptive,
                configured=user,
                outage=self._outage,
                wall_clock=self._wall_clock,
                hook=self._hook,
                on_use=self.used.set,
            )
            self._declared[name] = (published, user)
            self._made(known)
        elif self._declared[name] != (published, user):
            first, by_user = self._declared[name]
            raise PipelineError(
                f"The limit {name!r} is declared twice, with different numbers:"
                f" {first}, {by_user} and {published}, {user}."
                " An API has one limit; let both clients use one Service, or give the other API its own name."
            )
        return known

    def each(self, made: Callable[[Limit], None]) -> None:
        """Call `made` with every limit: at once with those there are, with a new one before it grants anything."""
        self._made = made
        for limit in self:
            made(limit)

    def __iter__(self) -> Iterator[Limit]:
        return iter(self._limits.values())

    def __len__(self) -> int:
        return len(self._limits)
