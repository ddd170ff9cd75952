"""Signals, and what a run that stops is waited for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from streamflow.cli.output import tell
from streamflow.engine.run import Run

_TELL_EVERY = 5.0


@contextmanager
def signals(stop: Callable[[str], None], reload: Callable[[], None] | None) -> Iterator[None]:
    """Call `stop` with the name of each SIGINT and SIGTERM, and `reload` at each SIGHUP.

    A SIGHUP by which a terminal says that it was closed stops: nobody would see what goes on. What handled the signals
    before handles them again afterwards.
    """
    loop = asyncio.get_running_loop()
    had_terminal = _is_terminal()

    def hung_up() -> None:
        if had_terminal and not _is_terminal():
            stop(signal.SIGHUP.name)
        elif reload is not None:
            reload()

    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGINT: lambda: stop(signal.SIGINT.name),
        signal.SIGTERM: lambda: stop(signal.SIGTERM.name),
    }
    if reload is not None:
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


def _is_terminal() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
