"""What the end of a call says about the API, as a table.

| the call ended with                                    | outcome    | breaker | concurrency | the item, while open |
|--------------------------------------------------------|------------|---------|-------------|----------------------|
| an answer; a 304                                       | `ANSWERED` | success | may grow    |                      |
| a 4xx that is the caller's fault; a body above the cap | `REFUSED`  | success |             | pays its attempt     |
| a 409: an earlier call with this key is under way     | `REFUSED`  | success |             | pays its attempt     |
| 429, 503, 529, a 403 that means "too fast"             | `ABSENT`   | failure | shrinks     | pays nothing         |
| 502, 504 and other 5xx; 408, 425                       | `ABSENT`   | failure | shrinks     | pays nothing         |
| no connection, a reset, silence past the deadline      | `ABSENT`   | failure | shrinks     | pays nothing         |
| 500, 501; half a body, HTML where JSON belongs         | `SPOILT`   | failure |             | pays as the probe    |
| a cancellation, a call to another host, another error  | `UNKNOWN`  |         |             | pays its attempt     |

- A refusal that says how long to wait (429 or 503 with `Retry-After`) pauses the limit, and counts as a failure all
  the same: a service that refuses every call is away, and asking it must not use up the items' attempts.
- An error page is fast, so it never counts as an answer.
- A 500 or garbage may be about the request. So it opens the breaker, but an item that meets it as the probe pays with
  an attempt: else a request that is always answered so would keep the breaker open and never become a dead letter.
"""

from __future__ import annotations

from enum import Enum

from streamflow.errors import (
    BadAnswer,
    CredentialsRefused,
    Overloaded,
    PermanentError,
    TooLarge,
    TransientError,
    Unreachable,
)


class Outcome(Enum):
    """See the module's table."""

    ANSWERED = "answered"
    REFUSED = "refused"
    ABSENT = "absent"
    SPOILT = "spoilt"
    UNKNOWN = "unknown"

    @property
    def failed(self) -> bool:
        """Whether it counts against the API."""
        return self is Outcome.ABSENT or self is Outcome.SPOILT


_ABOUT_THE_REQUEST = (500, 501)
_UNDER_WAY = 409


def outcome_of(error: BaseException | None) -> Outcome:
    """What the exception that a call ended with says, `None` for a call that ended well."""
    if error is None:
        return Outcome.ANSWERED
    if isinstance(error, PermanentError | CredentialsRefused):
        return Outcome.REFUSED if error.status is not None or isinstance(error, TooLarge) else Outcome.UNKNOWN
    if isinstance(error, Overloaded | Unreachable):
        return Outcome.ABSENT
    if isinstance(error, BadAnswer):
        return Outcome.SPOILT
    if isinstance(error, TransientError):
        if error.status == _UNDER_WAY:
            return Outcome.REFUSED
        return Outcome.SPOILT if error.status in _ABOUT_THE_REQUEST else Outcome.ABSENT
    if isinstance(error, TimeoutError | ConnectionError):
        return Outcome.ABSENT  # of a library that a stage calls under the limit
    return Outcome.UNKNOWN
