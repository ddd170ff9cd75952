"""Stages in threads: for blocking code that gives the interpreter free while it waits.

A thread cannot be ended. One whose call ran past its deadline is left behind, and is a daemon, so that it does not
keep the program from ending; what it gives is thrown away.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from streamflow.engine.context import WorkerContext
from streamflow.engine.stage import Stage
from streamflow.errors import StageTimeout

LEFT_BEHIND = 32
"""Threads of one stage that may hang before its calls are refused, lest they take all memory."""


@asynccontextmanager
async def in_threads(stage: Stage, workspace: Path) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
    """Run the stage's function in threads; its resources are opened once for all of them."""
    with ExitStack() as stack:
        context = WorkerContext(workspace)
        wanted = {name: stack.enter_context(kind(context)) for name, kind in stage.signature.resources.items()}
        function = partial(stage.function, **wanted)
        left_behind = 0

        async def call(record: Any) -> Any:
            nonlocal left_behind
            if left_behind >= LEFT_BEHIND:
                raise StageTimeout(
                    f"{left_behind} threads of stage {stage.name!r} hang in earlier calls, and a thread cannot be "
                    'ended: say runs_in="process"'
                )
            ended = asyncio.Event()
            outcome: list[Any] = []
            hangs = False

            def finished() -> None:
                nonlocal left_behind
                ended.set()
                left_behind -= hangs

            _start(stage.name, function, record, outcome, finished)
            try:
                await ended.wait()
            except asyncio.CancelledError:
                hangs = not ended.is_set()
                left_behind += hangs
                raise
            value, error = outcome
            if error is not None:
                raise error
            return value

        yield call


def _start(
    name: str, function: Callable[[Any], Any], record: Any, outcome: list[Any], finished: Callable[[], None]
) -> None:
    """Call the function in a thread of its own: its value and its error go into `outcome`, then comes `finished`."""
    loop = asyncio.get_running_loop()

    def run() -> None:
        value: Any = None
        failure: Exception | None = None
        try:
            value = function(record)
        except StopIteration as error:
            failure = RuntimeError(f"the function raised {error!r}")  # a coroutine cannot raise it
        except Exception as error:  # noqa: BLE001 - it is the call's value: the engine decides
            failure = error
        except BaseException as error:  # noqa: BLE001 - sys.exit() ends the call, not the engine
            failure = RuntimeError(f"the function raised {error!r}")
        outcome.extend((value, failure))
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finished)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), daemon=True, name=f"streamflow {name}").start()
