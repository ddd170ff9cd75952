"""Rows in which the database is locked, the process may open few files, or the clock is set."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults.campaign import Campaign, Row, must
from benchmarks.faults.engine import Difference, Fire, run
from benchmarks.faults.process import forked

DAY = 86_400.0


def locked(campaign: Campaign) -> Row:
    """Another process holds the lock for longer than SQLite itself waits, and asks what the run waits for."""
    difference = Difference()
    workspace = campaign.workspace()
    answer = workspace.with_name("locked")

    def on_call(calls: int) -> None:
        # The loop is held until the lock is had: nothing new comes to the writer, which would else be first again and
        # again.
        if calls == 3:
            locker = [sys.executable, "-m", "benchmarks.faults.locker", workspace, str(campaign.locked), answer]
            other = subprocess.Popen(locker, stdout=subprocess.PIPE)
            assert other.stdout is not None
            other.stdout.readline()

    ended = campaign.run(workspace, campaign.papers, Fire(on_call=on_call))
    must(ended.status == 0, "a run beside a locked database failed", ended)
    must(ended.seconds > campaign.locked, "the lock was not waited for", ended)
    must(ended.told["events"].get("StorageBlocked", 0) == 1, "nothing waited for the lock", ended)
    must(not ended.told["errors"], f"items were failed for a lock: {ended.told['errors']}", ended)
    waits = answer.read_text()
    must("writer (database locked)" in waits, f"the control socket did not say what it waits for, but {waits}", ended)
    campaign.compare(workspace, campaign.papers, difference)
    return Row(1, difference, f"for {campaign.locked:g} s; the same run goes on")


def few_descriptors(campaign: Campaign) -> Row:
    """64 open files at most, of which a user's code has taken all but a few for a while."""
    difference, workspace = Difference(), campaign.workspace()
    taken: list[int] = []
    is_met = False

    def on_call(calls: int) -> None:
        nonlocal is_met
        if calls == 5:
            try:
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                os.close(taken.pop())
                is_met = True
        elif calls == 25:
            while taken:
                os.close(taken.pop())

    def work() -> dict[str, Any]:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        return {**run(workspace, campaign.papers, Fire(on_call=on_call)), "met": is_met}

    ended = forked(work, workspace.parent)
    must(ended.status == 0 or "Too many open files" in ended.wrong or "ulimit -n" in ended.wrong, "failed", ended)
    met = sum(count for error, count in ended.told.get("errors", {}).items() if "Too many open files" in error)
    must(ended.status != 0 or ended.told["met"], "the limit was never met", ended)
    if ended.status:
        campaign.finish(workspace, campaign.papers, difference)
    else:
        campaign.compare(workspace, campaign.papers, difference)
    return Row(1 + met, difference, "the same run goes on" if ended.status == 0 else "refused, then run again")


def clock_set(campaign: Campaign) -> Row:
    """The wall clock is set a day on or back, and put right later: within a run, or after its kill."""
    difference, count = Difference(), 0
    for day in (DAY, -DAY):
        for is_killed in (False, True):
            workspace = campaign.workspace()
            ended = forked(partial(_under_another_clock, workspace, campaign.papers, day, is_killed), workspace.parent)
            must(ended.status == (-9 if is_killed else 0), "a run whose clock was set failed", ended)
            count += 1 if is_killed else ended.told["set"]
            campaign.finish(workspace, campaign.papers, difference)
    return Row(count, difference, "a day on, a day back; in a run, and between two")


def _under_another_clock(workspace: Path, papers: int, day: float, is_killed: bool) -> dict[str, Any]:
    """Answers that fail make items wait for their retry, whose time is in the journal. They are fewer than what opens
    the breaker and more than uses up the budget of retries, which would take its time."""
    real, shift, times = time.time, 0.0, 0

    def on_call(calls: int) -> None:
        nonlocal shift, times
        if calls == 5:
            shift, times = day, times + 1
        elif calls == 30 and is_killed:
            os.kill(os.getpid(), 9)
        elif calls == 30:
            shift, times = 0.0, times + 1

    time.time = lambda: real() + shift
    told = run(workspace, papers, Fire(faults="503=0.2", seed=7, on_call=on_call))
    return {**told, "set": times}
