"""`streamflow limits`: what each API allows, what of it is used, and what calls wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamflow.cli.output import one_line, table


def told(limits: Sequence[Mapping[str, Any]]) -> str:
    """Limits as a table."""
    rows = [
        [
            one_line(str(limit["name"])),
            _allowed(limit.get("effective") or {}) + _at_present(limit),
            *_use(limit),
            _held_up(limit),
        ]
        for limit in limits
    ]
    return table(["limit", "allowed", "in use", "waiting", "calls", ""], rows, right=range(2, 5))


def _use(limit: Mapping[str, Any]) -> list[str]:
    return [f"{limit.get(name) or 0:,}" for name in ("in_use", "waiting", "granted")]


def _allowed(allowance: Mapping[str, Any]) -> str:
    found = []
    if allowance.get("rate") is not None:
        found.append(f"{allowance['rate']:g} in {allowance.get('per') or 1:g} s")
    if allowance.get("concurrency") is not None:
        found.append(f"{allowance['concurrency']:g} at once")
    return ", ".join(found) or "anything"


def _at_present(limit: Mapping[str, Any]) -> str:
    """What overloads, or latency, have left of the calls at once."""
    slots, allowed = limit.get("slots"), (limit.get("effective") or {}).get("concurrency")
    return f"; now {slots:g}" if slots is not None and slots != allowed else ""


def _held_up(limit: Mapping[str, Any]) -> str:
    from streamflow.observe.words import duration

    if limit.get("away_for"):
        since = duration(limit["away_for"])
        return f"breaker {limit.get('breaker')} for {since}: {one_line(str(limit.get('failure')), 100)}"
    if not limit.get("paused_for"):
        return ""
    return f"paused for {duration(limit['paused_for'])}: {one_line(str(limit.get('paused_reason')), 100)}"
