"""Figures as people write them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time span as people write it: 8.2 s, 45 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def pace(rate: float) -> str:
    """Items a second, or a minute where they are few: 12/s, 3.4/s, 2.5/min."""
    if rate <= 0:
        return "-"
    if rate >= 9.95:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 0.1 else f"{rate * 60:.1f}/min"
