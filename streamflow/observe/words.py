"""Figures as people write them, and texts as a terminal may show them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORTH_TELLING = 0.05
"""The share of a stage's time below which it does not matter what that went to."""
# C0 and C1 controls move the cursor and rewrite the screen; bidirectional controls reorder what is read.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


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


def parts(shares: Mapping[str, float]) -> str:
    """What time went to: work 70%, limit crossref 25%. What was little is left out."""
    return ", ".join(f"{what} {share:.0%}" for what, share in shares.items() if share >= _WORTH_TELLING)


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would obey, or could not show."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
