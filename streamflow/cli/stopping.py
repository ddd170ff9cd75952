"""Signals, and what a run that stops is waited for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from streamflow.cli.output import lead_nowhere, tell
from streamflow.engine.run import Run

_TELL_EVERY = 5.0


@contextmanager
def signals(stop: Callable[[str], None], reload: Callable[[], None] | None) -> Iterator[None]:
    """Call `stop` with the name of each SIGINT and SIGTERM; at each SIGHUP `reload`, or `stop` where there is none.

    A SIGHUP by which a terminal says that it was closed stops too: nobody would see what goes on. What is written to
    it from then on goes nowhere, and fails nobody. One that was ignored from the start (`nohup`) stops nothing. What
    handled the signals before handles them again afterwards.
    """
    loop = asyncio.get_running_loop()
    terminals = [number for number in range(3) if _is_terminal(number)]
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def hung_up() -> None:
        lost = [number for number in terminals if not _is_terminal(number)]
        for number in lost:
            terminals.remove(number)
            lead_nowhere(number)
        if reload is None or (2 in lost and not is_ignored):
            stop(signal.SIGHUP.name)
        else:
            reload()

    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGINT: lambda: stop(signal.SIGINT.name),
        signal.SIGTERM: lambda: stop(signal.SIGTERM.name),
    }
    if reload is not None or not is_ignored:
        handlers[signal.SIGHUP] = hung_up
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler_before)


def by_stage(items: Mapping[str, int]) -> str:
    """`2 of enrich, 1 of download`."""
    return ", ".join(f"{number:,} of {stage}" for stage, number in items.items())


async def tell_what_is_waited_for(run: Run, grace: float, say: Callable[[str], None] = tell) -> None:
    """Every few seconds of the grace period, the items that are still being finished."""
    loop = asyncio.get_running_loop()
    end = loop.time() + grace
    while (left := end - loop.time()) > _TELL_EVERY:
        await asyncio.sleep(_TELL_EVERY)
        if active := run.active():
            say(f"Still finishing {by_stage(active)}; {left - _TELL_EVERY:.0f} s left.")


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
