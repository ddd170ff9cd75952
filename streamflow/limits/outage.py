"""What is not to be had of an API, and when waiting for it is an outage."""

from __future__ import annotations

import time
from typing import NamedTuple

from streamflow.errors import Unavailable


class Lack(NamedTuple):
    """What the head of a line waits for, and `why`: `since` when, and `until` when at least, by the loop's clock."""

    since: float
    until: float
    why: str

    def error(self, name: str, since: float) -> Unavailable:
        """What to raise when that is too long; `since` in Unix time."""
        return Unavailable(f"{name} has not been available since {local_time(since)}: {self.why}", service=name)


def local_time(moment: float) -> str:
    """A Unix time as people here read it. Never raises: what no calendar holds is shown as seconds."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OverflowError, OSError, ValueError):
        return f"{moment:g} s after 1970"
