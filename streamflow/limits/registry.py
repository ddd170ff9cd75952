"""One limit per external API, found by name."""

from __future__ import annotations

from collections.abc import Iterator

from streamflow.errors import PipelineError
from streamflow.events import Hook, LimitPaused
from streamflow.limits.limit import Allowance, Limit


class Registry:
    """The limits of one run. Every client of an API shares its one limit, whichever stage it serves.

    `hook` is told of pauses.
    """

    def __init__(self, hook: Hook = lambda event: None) -> None:
        self._limits: dict[str, Limit] = {}
        self._hook = hook

    def limit(
        self,
        name: str,
        *,
        rate: float | None = None,
        per: float = 1.0,
        concurrency: int | None = None,
        burst: int = 1,
        configured: Allowance | None = None,
    ) -> Limit:
        """The limit of the API `name`, made at the first call; for the numbers see `Limit`.

        Raises `PipelineError` if the same name was asked for with other numbers before.
        """
        published, user = Allowance(rate, per, concurrency, burst), configured or Allowance()
        known = self._limits.get(name)
        if known is None:
            known = self._limits[name] = Limit(
                name,
                rate=rate,
                per=per,
                concurrency=concurrency,
                burst=burst,
                configured=user,
                on_pause=self._paused,
            )
        elif (known.published, known.user) != (published, user):
            raise PipelineError(
                f"The limit {name!r} is declared twice, with different numbers:"
                f" {known.published}, {known.user} and {published}, {user}."
                " An API has one limit; let both clients use one Service, or give the other API its own name."
            )
        return known

    def _paused(self, name: str, seconds: float, reason: str) -> None:
        self._hook(LimitPaused(name, seconds, reason))

    def __getitem__(self, name: str) -> Limit:
        return self._limits[name]

    def __iter__(self) -> Iterator[Limit]:
        return iter(self._limits.values())

    def __len__(self) -> int:
        return len(self._limits)
