"""Rows in which the process ends, or its storage fails, at a random moment or at a chosen one."""

from __future__ import annotations

import signal

from benchmarks.faults.campaign import Campaign, Row, must
from benchmarks.faults.engine import Difference, Fire, fired
from streamflow.failpoints import POINTS

_BEFORE_THE_WRITING = ("before-commit", "file-written", "before-rename")
"""The points at which a disk can be full: what was done before them can be done again."""


def at_random(campaign: Campaign) -> Row:
    """As many kills as are wanted, spread over a run; over another one where it ends before they are used up."""
    papers, difference, kills, workspaces = campaign.many_papers, Difference(), 0, 0
    _, seconds = campaign.calm(papers)
    startup = campaign.calm(2)[1]
    while kills < campaign.kills:
        workspace = campaign.workspace()
        workspaces += 1
        mean = startup + max(0.0, seconds - startup) / campaign.kills
        while kills < campaign.kills:
            ended = campaign.run(workspace, papers, kill_after=campaign.dice.uniform(0, 2 * mean))
            if ended.status == 0:
                break
            must(ended.status == -signal.SIGKILL, "a run failed where it should be killed", ended)
            kills += 1
        campaign.finish(workspace, papers, difference)
    return Row(kills, difference, f"{campaign.items} items, {workspaces} workspaces")


def at_failpoints(campaign: Campaign) -> Row:
    """Kills at each point, at the first time that it is reached and at later ones."""
    return _at_each(campaign, "kill", list(POINTS))


def errors_at_failpoints(campaign: Campaign) -> Row:
    """An error that nobody knows at each point: the run stops, or the item is tried again; then a run without."""
    return _at_each(campaign, "error", list(POINTS))


def _at_each(campaign: Campaign, action: str, points: list[str]) -> Row:
    difference, count = Difference(), 0
    for point in points:
        workspace = campaign.workspace()
        for nth in (1, *(campaign.dice.randint(1, 3) for _ in range(campaign.often // 4))):
            before = len(fired(workspace))
            ended = campaign.run(workspace, campaign.papers, Fire(f"{point}:{nth}:{action}"))
            if ended.status == 0 and len(fired(workspace)) == before and before:
                break  # too little was left to come so far
            must(len(fired(workspace)) == before + 1, f"{point}:{nth}:{action} did not fire", ended)
            must(action != "kill" or ended.status == -signal.SIGKILL, f"{point}:{nth} did not kill", ended)
            count += 1
        campaign.finish(workspace, campaign.papers, difference)
    return Row(count, difference, f"{len(points)} points")


def full_disk(campaign: Campaign) -> Row:
    """A full disk at each point where there is something to write, several times: one run waits and goes on."""
    difference, count = Difference(), 0
    for point in _BEFORE_THE_WRITING:
        workspace = campaign.workspace()
        # Two in a row, then one later.
        ended = campaign.run(workspace, campaign.papers, Fire(f"{point}:1:full,{point}:2:full,{point}:4:full"))
        must(ended.status == 0, f"a run on a full disk failed at {point}", ended)
        must(len(fired(workspace)) == 3, f"the disk was not full at {point}", ended)
        must(ended.told["events"]["StorageBlocked"] >= 1, "a full disk was not told", ended)
        must(not ended.told["errors"], f"items were failed for a full disk: {ended.told['errors']}", ended)
        count += 3
        campaign.compare(workspace, campaign.papers, difference)
    return Row(count, difference, "the same run goes on")
