"""What is published of one API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streamflow.errors import ServiceError
from streamflow.http.answers import Response
from streamflow.limits.window import Window


@dataclass(frozen=True)
class Service:
    """What is published of one API, and what we allow it.

    `rate` calls in `per` seconds, evenly spaced, `burst` of them at once after a silence; `concurrency` in flight;
    further `windows`, of requests or of another kind of cost, which may be used up at once. `cost` is what a call costs
    that does not say, by kind, of which one request is always a part; a kind that only some calls cost stands there
    with 0, or users can set no window of it. `adaptive` is for a server whose capacity nobody
    publishes: latency finds out how many calls in flight it bears, up to `concurrency`. `timeout` is
    the time in seconds for a whole call once it is granted, `idle_timeout` the longest silence within a
    body. `max_bytes` caps a decoded body. `judge` may tell what an error response of this API means, where
    the status alone would mislead (a 403 for calls that come too fast); `None` leaves it to the status. `true_cost`
    reads from a successful response what the call cost, where that is known only then; what it does not name stands. A
    304 counts as one.

    `conditional` is for a service that sends validators (`ETag`, `Last-Modified`): answers to GET are kept, and asked
    about. `idempotency` names the header, such as `Idempotency-Key`, by which it knows a POST or PATCH that is made
    again; each then carries a key.
    """

    name: str
    base_url: str
    rate: float | None = None
    per: float = 1.0
    concurrency: int | None = None
    burst: int = 1
    windows: tuple[Window, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    adaptive: bool = False
    timeout: float = 30.0
    idle_timeout: float = 15.0
    max_bytes: int = 16 * 2**20
    judge: Callable[[Response], ServiceError | None] | None = None
    true_cost: Callable[[Response], Mapping[str, float]] | None = None
    conditional: bool = False
    idempotency: str | None = None
