"""`streamflow limits`: what each API allows, what of it is used, and what calls wait for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from streamflow.cli.output import give, give_json, one_line, table, tell
from streamflow.cli.workspaces import WorkspaceOption, chosen

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
_IN_THE_TABLE = {"name", "effective", "in_use", "waiting", "granted", "paused_for", "paused_reason", "held", "windows"}


def limits(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show what each API allows and what of it is used, live or as it was kept."""
    from streamflow.engine.control.client import ask
    from streamflow.engine.control.messages import Limits, LimitStates
    from streamflow.storage import inspect
    from streamflow.storage.lock import holder

    folder = chosen(workspace)
    answer = ask(folder, Limits(), LimitStates)
    held = holder(folder)
    live = answer.limits if answer is not None else []
    # A run that has just begun may have no database yet.
    known = answer is None and (held is None or inspect.exists(folder))
    kept = _kept(folder, time.time()) if known else []
    if as_json:
        running = answer is not None or held is not None
        give_json({"workspace": str(folder.resolve()), "running": running, "limits": live, "kept": kept})
    elif answer is not None:
        _show(live)
    else:
        _show_kept(folder, kept, held)


def _show(live: Sequence[Mapping[str, Any]]) -> None:
    if not live:
        tell("The run has no limits.")
        return
    give(told(live))
    windows = [(limit, window) for limit in live for window in limit.get("windows") or ()]
    if windows:
        rows = [[one_line(str(limit["name"])), *_window(window)] for limit, window in windows]
        give("")
        give(table(["limit", "window", "used", "left", ""], rows, right=(2, 3)))
    more = [
        f"{one_line(str(limit['name']))}: {text}"
        for limit in live
        if (text := "; ".join(_in_words(name, value) for name, value in limit.items() if _says(name, value)))
    ]
    if more:
        give("")
        give("\n".join(more))


def _window(window: Mapping[str, Any]) -> list[str]:
    from streamflow.observe.words import duration

    size, per, used = window.get("size"), window.get("per"), window.get("used")
    what = one_line(str(window.get("kind")), 40)
    if size is not None:
        what = f"{size:,g} {what}"
    if per is not None:
        what += f", until {duration(per)} from now" if window.get("learnt") else f" in {per:g} s"
    left = window.get("remaining")
    figures = ["?" if figure is None else f"{figure:,.0f}" for figure in (used, left)]
    return [what, *figures, "told by the service" if window.get("learnt") else ""]


def _says(name: str, value: Any) -> bool:
    """Whether a field that the tables do not show tells anything; it need not be known here."""
    if name in _IN_THE_TABLE:
        return False
    if isinstance(value, Mapping):
        return any(_says("", each) for each in value.values())
    return value not in (None, 0, "", [], ())


def _in_words(name: str, value: Any) -> str:
    what = one_line(name.replace("_", " "))
    if isinstance(value, Mapping):
        if value.keys() >= {"rate", "per", "concurrency"}:
            return f"{what} {_allowed(value)}"
        value = ", ".join(_in_words(inner, each) for inner, each in value.items() if _says("", each))
    elif isinstance(value, float):
        value = f"{value:,.1f}"
    return f"{what} {one_line(str(value), 100)}"


def _kept(folder: Path, now: float) -> list[dict[str, Any]]:
    """What is kept of each limit's long windows, as it counts now. Raises WorkspaceError."""
    from streamflow.limits.keeping import PREFIX, read
    from streamflow.storage import inspect

    found = []
    for name, text in inspect.kept(folder, PREFIX).items():
        kept = read(text)
        windows = [
            {
                "kind": window.kind,
                "per": window.per,
                "used": sum(cost for at, cost in window.sends if at > now - window.per),
                "reserved": window.reserved,
            }
            for window in (kept.windows if kept is not None else ())
        ]
        found.append({"name": name, "ended": kept.ended if kept is not None else None, "windows": windows})
    return found


def _show_kept(folder: Path, kept: Sequence[Mapping[str, Any]], held: Mapping[str, object] | None) -> None:
    if held is None:
        tell(f"No process works in the workspace {folder}. What is kept of its limits counts for the next one:")
    else:
        tell(f"Process {held.get('pid', '?')} works in the workspace {folder}, but tells no live figures. Kept is:")
    rows = [
        [one_line(limit["name"]), f"{one_line(window['kind'], 40)} in {window['per']:g} s", *_kept_use(window)]
        for limit in kept
        for window in limit["windows"]
    ]
    if rows:
        give(table(["limit", "window", "used", "may be used besides"], rows, right=(2, 3)))
    else:
        tell("nothing. Only windows of a minute or more are kept.")


def _kept_use(window: Mapping[str, Any]) -> list[str]:
    return [f"{window['used']:,.0f}", f"{window['reserved']:,.0f}"]


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
