"""Faults by a small language: `503=0.05,reset=0.01,slow=0.02:3`.

Each part is KIND=SHARE or KIND=SHARE:SECONDS. A share is the part of the calls, 0 to 1. Kinds:

    400…599   that status; SECONDS is its Retry-After (for 429 the service's own refusal)
    reset     the connection is cut without an answer
    hang      no answer ever comes
    slow      the answer comes SECONDS later (2 unless told)
    half      the connection is cut in the middle of the body
    html      200 with an HTML page
    empty     200 without a body
    types     200 with JSON of other types than expected

Whether a call fails depends on the seed, on what was asked for, and on how often it was asked for, not on the
order in which calls arrive. So two runs of one input meet the same faults, whatever their concurrency.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

KINDS = ("reset", "hang", "slow", "half", "html", "empty", "types")
HANG_SECONDS = 3600.0
SLOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    share: float
    parameter: float | None = None

    @property
    def delay(self) -> float:
        if self.kind == "hang":
            return HANG_SECONDS
        if self.kind == "slow":
            return SLOW_SECONDS if self.parameter is None else self.parameter
        return 0.0


class Faults:
    """The parsed language. False when there are none. Raises ValueError for a text that is not of it."""

    def __init__(self, text: str, seed: int = 0) -> None:
        self.text = text
        self.seed = seed
        self.faults = tuple(_parse(part) for part in text.split(",") if part.strip())
        self.injected: Counter[str] = Counter()
        total = sum(fault.share for fault in self.faults)
        if total > 1:
            raise ValueError(f"the shares of the faults {text!r} add up to {total:g}: they must not exceed 1")

    def __bool__(self) -> bool:
        return bool(self.faults)

    def __str__(self) -> str:
        return self.text

    def draw(self, key: str, count: int) -> Fault | None:
        """The fault of the call that asks for `key` for the `count`-th time."""
        digest = hashlib.blake2b(f"{self.seed} {count} {key}".encode(errors="replace"), digest_size=8).digest()
        position = int.from_bytes(digest, "big") / 2**64
        for fault in self.faults:
            if position < fault.share:
                self.injected[fault.kind] += 1
                return fault
            position -= fault.share
        return None


def _parse(part: str) -> Fault:
    kind, _, rest = part.strip().partition("=")
    share, _, parameter = rest.partition(":")
    try:
        fault = Fault(kind, float(share), float(parameter) if parameter else None)
    except ValueError:
        raise ValueError(f"the fault {part!r} is not KIND=SHARE or KIND=SHARE:SECONDS") from None
    known = kind in KINDS or (kind.isdecimal() and 400 <= int(kind) <= 599)
    if not known:
        raise ValueError(f"unknown kind of fault {kind!r}: there are {', '.join(KINDS)} and 400 to 599")
    if not 0 <= fault.share <= 1 or (fault.parameter is not None and fault.parameter < 0):
        raise ValueError(f"the fault {part!r} needs a share from 0 to 1 and no negative seconds")
    return fault
