"""What the rows of the campaign share: sizes, the undisturbed run, and the way back to a whole workspace."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.faults.engine import CALM, Difference, Fire, State, run
from benchmarks.faults.pipeline import ITEMS_A_PAPER
from benchmarks.faults.process import CampaignFailed, Ended, forked
from streamflow.storage import inspect


@dataclass(frozen=True)
class Row:
    """One line of the table: how often the fault was injected and fired, and what came of it. Unless it `is_promised`
    that nothing differs, a difference is told, and is no failure."""

    fired: int
    difference: Difference
    note: str = ""
    is_promised: bool = True


@dataclass
class Campaign:
    """`kills` over `items` in the row of random kills, `papers` in each run of the others. `often` scales how many
    faults those try. For `away` seconds the service answers 503, for `locked` seconds another holds the database."""

    folder: Path
    dice: random.Random
    kills: int
    items: int
    papers: int
    often: int
    away: float
    locked: float
    _calm: dict[int, tuple[State, float]] = field(default_factory=dict)
    _made: int = 0

    def workspace(self) -> Path:
        self._made += 1
        return self.folder / f"{self._made}" / "work"

    @property
    def many_papers(self) -> int:
        return round(self.items / ITEMS_A_PAPER)

    def calm(self, papers: int) -> tuple[State, float]:
        """The state that an undisturbed run leaves, and the seconds it took."""
        if papers not in self._calm:
            workspace = self.workspace()
            ended = self.run(workspace, papers)
            if ended.status:
                raise CampaignFailed(f"the undisturbed run failed: {ended.wrong}")
            state = State.of(workspace)
            items = sum(row.startswith("item ") for row in state.rows)
            if state.unended or items != papers * ITEMS_A_PAPER or set(state.calls.values()) != {1}:
                raise CampaignFailed(f"the undisturbed run left {state.unended} of {items} items, or repeated calls")
            self._calm[papers] = state, ended.seconds
        return self._calm[papers]

    def run(self, workspace: Path, papers: int, fire: Fire = CALM, *, kill_after: float | None = None) -> Ended:
        return forked(partial(run, workspace, papers, fire), workspace.parent, kill_after=kill_after)

    def finish(self, workspace: Path, papers: int, difference: Difference) -> None:
        """Run to the end, bring back what was set aside as a suspect, compare, and remove the workspace."""
        while True:
            ended = self.run(workspace, papers)
            if ended.status:
                raise CampaignFailed(f"the undisturbed run after the fault failed: {ended.wrong}")
            if not inspect.requeue(workspace):
                break
        self.compare(workspace, papers, difference)

    def compare(self, workspace: Path, papers: int, difference: Difference) -> None:
        difference.add(self.calm(papers)[0], State.of(workspace))
        if difference.is_none:
            shutil.rmtree(workspace.parent)


def must(happened: bool, what: str, ended: Ended | None = None) -> None:
    """A campaign in which a fault did not fire, or did something else, fails."""
    if not happened:
        raise CampaignFailed(what if ended is None else f"{what}: status {ended.status}\n{ended.wrong[-3000:]}")
