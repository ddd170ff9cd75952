"""Cancellation at every moment: a run is cancelled in the nth turn of its event loop, for each n until it has ended."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults.campaign import Campaign, Row, must
from benchmarks.faults.engine import Difference
from benchmarks.faults.pipeline import pipeline
from benchmarks.faults.process import CampaignFailed, forked
from streamflow.engine.launch import run_pipeline

PAPERS = 6
"""Six papers make 6 + 6 + 3 items, which is five a stage."""
_DEADLINE = 30.0


class _Stepping(asyncio.SelectorEventLoop):
    """Counts its turns, and calls `at_turn` after each."""

    turns = 0
    at_turn: Callable[[int], None] = staticmethod(lambda turn: None)

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self.turns += 1
        self.at_turn(self.turns)


def at_each_await(campaign: Campaign) -> Row:
    """All awaits in the long campaign, every so-manieth in the short one, from a random first."""
    step = max(1, 40 // campaign.often)
    difference, folder = Difference(), campaign.workspace().parent
    ended = forked(partial(_cancel_all, folder, campaign.dice.randint(1, step), step), folder)
    must(ended.status == 0, "a cancelled run failed", ended)
    cancelled = ended.told["cancelled"]
    must(cancelled > 0, "no run was cancelled", ended)
    for number in ended.told["workspaces"]:
        campaign.finish(folder / f"{number}" / "work", PAPERS, difference)
    return Row(cancelled, difference, "every await" if step == 1 else f"every {step}th await")


def _cancel_all(folder: Path, first: int, step: int) -> dict[str, Any]:
    number, workspaces = first, []
    while _cancel(folder / f"{number}" / "work", number):
        workspaces.append(number)
        number += step
    shutil.rmtree(folder / f"{number}")
    return {"cancelled": len(workspaces), "workspaces": workspaces}


def _cancel(workspace: Path, turn: int) -> bool:
    """Whether the run was cancelled before it ended. Raises CampaignFailed where it goes on, or leaves a task."""
    with asyncio.Runner(loop_factory=_Stepping) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, _Stepping)
        hit = False

        async def main() -> None:
            nonlocal hit
            run = asyncio.ensure_future(run_pipeline(pipeline(PAPERS), workspace=workspace))
            begun = loop.turns

            def cancel(turns: int) -> None:
                nonlocal hit
                if turns - begun == turn and not run.done():
                    hit = True
                    run.cancel()

            loop.at_turn = cancel
            done, _ = await asyncio.wait([run], timeout=_DEADLINE)
            loop.at_turn = lambda turns: None
            if not done:
                raise CampaignFailed(f"cancelled in turn {turn}, the run did not end")
            if not run.cancelled():
                run.result()
            await asyncio.sleep(0)
            if left := [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
                raise CampaignFailed(f"cancelled in turn {turn}, the run left {left}")

        runner.run(main())
    gc.collect(0)
    return hit
