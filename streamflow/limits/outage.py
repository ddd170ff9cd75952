"""What is not to be had of an API, and when waiting for it is an outage."""

from __future__ import annotations

import time
from typing import NamedTuple

from streamflow.errors import Unavailable


class Lack(NamedTuple):
    """What the head of a line waits for since a moment of the loop's clock, for how many seconds it may, and `why`."""

    since: float
    patience: float
    why: str

    @property
    def until(self) -> float:
        """From here on it is an outage."""
        return self.since + self.patience

    def error(self, name: str, since: float) -> Unavailable:
        """What to raise then; `since` in Unix time."""
        return Unavailable(f"{name} has not been available since {local_time(since)}: {self.why}", service=name)


def local_time(moment: float) -> str:
    """A Unix time as people here read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
