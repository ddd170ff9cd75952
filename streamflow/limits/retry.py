"""What becomes of an item whose attempt failed: a pure decision from (error, attempt) to a delay or an end.

| error                                            | decision                                               |
|--------------------------------------------------|--------------------------------------------------------|
| `CredentialsRefused`, `Unavailable`              | `Stop`: the run ends, the item stays pending           |
| `Reject`                                         | `GiveUp` at once                                       |
| `PermanentError`, `UsageError`, `HeldAcrossYield`| `GiveUp` at once: the same call fails the same way     |
| `StorageError` (but `WriterStopped`)             | `GiveUp` at once: what it gave out cannot be stored    |
| `ServiceError` of an `outage`                    | `Again` soon, not counted: its call waits in the line  |
| `RetryLater` with a delay                        | `Again` after that delay                               |
| `Overloaded` with `retry_after`, which is `held`  | `Again` soon: its call waits in the line               |
| `Overloaded` with `retry_after`, of another host | `Again`, not before that time, or the cap              |
| `ServiceError` with a `wait`                     | `Again`, not before that time: the API's retry budget  |
| any other exception, `TypeError` and the like too| `Again` after a random share of an exponential backoff |

`WriterStopped` ends the run before anything is decided. The last attempt always ends in `GiveUp`, whatever
failed (but for `Stop`). Other exceptions are retried without regard to their type, because what looks like
a programming error (a `KeyError` in an answer's parser) is as often a service's bad day, and a few attempts
cost little beside a lost item.

The backoff is "full jitter": uniform between 0 and min(cap, base * 2^(attempt-1)); see Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamflow.errors import (
    CredentialsRefused,
    HeldAcrossYield,
    Overloaded,
    PermanentError,
    PipelineError,
    Reject,
    RetryLater,
    ServiceError,
    Skip,
    StorageError,
    Unavailable,
    UsageError,
    WriterStopped,
    told,
)

_DOUBLINGS = 63  # beyond them the cap rules anyway, and 2.0 ** 1024 would overflow


@dataclass(frozen=True, slots=True)
class Again:
    """Try the item again in `delay` seconds. An attempt that is not `counted` was an outage's, not the item's."""

    delay: float
    counted: bool = True


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The item is dead, for `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """No item would fare better: the run stops with this error, and the item stays pending."""


Decision = Again | GiveUp | Stop


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a stage's items are tried: `attempts` in all, `base` and `cap` in seconds.

    Raises PipelineError for numbers that make no policy.
    """

    attempts: int = 5
    base: float = 1.0
    cap: float = 300.0

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise PipelineError(
                f"{self}: attempts counts the first try too, so it is a whole number of at least 1, not "
                f"{self.attempts!r}"
            )
        numbers = all(isinstance(seconds, int | float) for seconds in (self.base, self.cap))
        if not (numbers and 0 <= self.base <= self.cap < float("inf")):
            raise PipelineError(
                f"{self}: 0 <= base <= cap (seconds) must hold, not base={self.base!r}, cap={self.cap!r}"
            )

    def decide(self, error: Exception, attempt: int, random: Callable[[], float]) -> Decision:
        """Decide after `attempt` (1 for the first) failed with `error`; `random` draws from [0, 1)."""
        if isinstance(error, Skip):
            raise TypeError("Skip is an end of its own, not a failure: nothing to decide")
        if isinstance(error, CredentialsRefused | Unavailable):
            return Stop()
        if isinstance(error, Reject):
            return GiveUp(error.reason)
        if isinstance(error, PermanentError | UsageError | HeldAcrossYield):
            return GiveUp(told(error))
        if isinstance(error, StorageError) and not isinstance(error, WriterStopped):
            return GiveUp(told(error))
        if isinstance(error, ServiceError) and error.outage:
            return Again(random() * self.base, counted=False)
        if attempt >= self.attempts:
            reason = error.reason if isinstance(error, RetryLater) else told(error)
            return GiveUp(reason if attempt == 1 else f"{reason} (after {attempt} attempts)")
        if isinstance(error, RetryLater) and error.delay is not None:
            return Again(max(0.0, error.delay))
        backoff = random() * min(self.cap, self.base * 2.0 ** min(attempt - 1, _DOUBLINGS))
        asked = 0.0
        if isinstance(error, Overloaded) and not error.held:
            asked = min(error.retry_after or 0.0, self.cap)
        wait = error.wait if isinstance(error, ServiceError) else 0.0
        return Again(max(backoff, asked, wait))
