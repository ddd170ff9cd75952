"""A KeyboardInterrupt that a signal brought is told from one that a function raised."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamflow.engine.interrupt import is_of_a_signal


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def raised() -> None:
    raise KeyboardInterrupt


def signalled() -> None:
    signal.raise_signal(signal.SIGINT)


def caught(function: Callable[[], None]) -> bool:
    try:
        function()
    except KeyboardInterrupt as error:
        return is_of_a_signal(error)
    raise AssertionError("nothing was raised")


def test_a_handler_of_the_program() -> None:
    def handle(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    assert caught(signalled)
    assert not caught(raised)


def test_python_s_own_handler_leaves_no_trace_and_is_believed() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert caught(signalled)
    assert caught(raised)


def test_asyncio_s_handler_raises_at_the_second_signal() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)

    seen = []

    async def main() -> None:
        signalled()
        seen.extend((caught(signalled), caught(raised)))

    with pytest.raises(KeyboardInterrupt):  # the first signal cancelled it
        asyncio.run(main())
    assert seen == [True, False]


def test_a_loop_that_handles_it_itself_raises_nothing() -> None:
    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, print)
        assert not caught(raised)

    asyncio.run(main())


def test_one_that_is_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert not caught(raised)


def test_an_interrupt_by_a_signal_ends_the_program() -> None:
    script = """
import signal

from streamflow.engine.stage import Stage
from tests.engine.flows import Number, Result, flow, play_virtual

async def works(number: Number) -> Result:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)
    return Result(number.n)

play_virtual(flow(Stage(works), count=3))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
