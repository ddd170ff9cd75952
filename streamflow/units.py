"""Spans of time and amounts of bytes, as people write them."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def span(text: str) -> float:
    """`30m`, `12h` or `7d` in seconds. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text, re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is no time span: say 30m, 12h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


def byte_count(count: int) -> str:
    """Bytes: 17 bytes, 1.23 kB, 45.6 MB."""
    if count < 1000:
        return f"{count} bytes"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
    return f"{amount / 1000:,.1f} TB"
