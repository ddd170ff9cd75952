"""Rows in which the database is damaged or locked, the process may open few files, or the clock is set."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import struct
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults.campaign import Campaign, Row, must
from benchmarks.faults.engine import Difference, Fire, run
from benchmarks.faults.process import CampaignFailed, forked
from streamflow.engine.launch import DATABASE

_WAL = f"{DATABASE}-wal"
_WAL_HEADER, _FRAME_HEADER = 32, 24
_RUNS_ON = 5
"""Of so many damaged databases one is run to its end."""
DAY = 86_400.0
_LOCKED = 2.5
"""Seconds: SQLite itself waits for one."""


def wal_cut(campaign: Campaign) -> Row:
    """The write-ahead log cut at any byte, as a power cut may leave it."""

    def cut(log: bytes, at: int) -> bytes:
        return log[:at]

    return _damaged(campaign, cut)


def wal_flipped(campaign: Campaign) -> Row:
    """One bit of the write-ahead log flipped."""

    def flip(log: bytes, at: int) -> bytes:
        at = min(at, len(log) - 1)
        return log[:at] + bytes([log[at] ^ 1 << campaign.dice.randrange(8)]) + log[at + 1 :]

    return _damaged(campaign, flip)


def _damaged(campaign: Campaign, damage: Callable[[bytes, int], bytes]) -> Row:
    """What SQLite reads must be the commits before the damage and no others, and a run goes on from there.

    The states that commits can leave are told without SQLite's recovery: the log's pages are laid over the database.
    """
    papers, difference, refused = campaign.papers, Difference(), 0
    killed = campaign.workspace()
    ended = campaign.run(killed, papers, Fire(f"committed:{campaign.dice.randint(6, 9)}:kill"))
    must(ended.status == -9, "a run was not killed at its commit", ended)
    database, log = (killed / DATABASE).read_bytes(), (killed / _WAL).read_bytes()
    states = [(end, _contents_of(image)) for end, image in _commits(database, log)]
    must(len(states) > 6, f"the log holds {len(states)} commits only")
    ends = [end for end, _ in states]
    places = [0, 1, _WAL_HEADER, *ends[:-1], *(end - 1 for end in ends[1:])]
    places += [campaign.dice.randrange(len(log)) for _ in range(4 * campaign.often)]
    for number, at in enumerate(places):
        workspace = campaign.workspace()
        shutil.copytree(killed, workspace, ignore=shutil.ignore_patterns("*.sock"))
        (workspace / _WAL).write_bytes(damage(log, at))
        (workspace / f"{DATABASE}-shm").unlink(missing_ok=True)
        expected = [state for end, state in states if end <= at][-1]
        try:
            found = _contents(workspace / DATABASE)
        except sqlite3.Error:
            ended = campaign.run(workspace, papers)
            must("WorkspaceError" in ended.wrong or "DatabaseDamaged" in ended.wrong, "not refused", ended)
            refused += 1
            continue
        if found != expected:
            raise CampaignFailed(f"damage at byte {at} left a state that the commits before it do not make")
        if number % _RUNS_ON == 0:
            campaign.finish(workspace, papers, difference)
        else:
            shutil.rmtree(workspace.parent)
    note = f"{len(ends) - 1} commits; {refused} refused" if refused else f"{len(ends) - 1} commits"
    return Row(len(places), difference, note)


def _commits(database: bytes, log: bytes) -> list[tuple[int, bytes]]:
    """The database as each commit of the log leaves it, with the byte at which the commit ends; first as it is.

    https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    """
    size = struct.unpack(">I", log[8:12])[0]
    pages = {number: database[number * size : (number + 1) * size] for number in range(len(database) // size)}
    found = [(0, database)]
    for start in range(_WAL_HEADER, len(log), size + _FRAME_HEADER):
        number, pages_after = struct.unpack(">II", log[start : start + 8])
        if log[start + 8 : start + 16] != log[16:24]:  # of an earlier round of the log
            break
        end = start + _FRAME_HEADER + size
        pages[number - 1] = log[start + _FRAME_HEADER : end]
        if pages_after:
            found.append((end, b"".join(pages[number] for number in range(pages_after))))
    return found


def _contents_of(image: bytes) -> list[Any]:
    with closing(sqlite3.connect(":memory:")) as connection:
        if image:
            connection.deserialize(image[:18] + b"\1\1" + image[20:])  # read without a log
        return _dump(connection)


def _contents(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return _dump(connection)


def _dump(connection: sqlite3.Connection) -> list[Any]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
    rows = [connection.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2').fetchall() for table in tables]  # noqa: S608
    return [connection.execute("PRAGMA integrity_check").fetchall(), tables, rows]


def locked(campaign: Campaign) -> Row:
    """Another connection holds the database's lock for longer than SQLite itself waits."""
    difference = Difference()
    workspace = campaign.workspace()
    timers: list[asyncio.TimerHandle] = []

    def on_call(calls: int) -> None:
        # The loop is held until the lock is had: nothing new comes to the writer, which would else be first again and
        # again.
        if calls == 3:
            other = sqlite3.connect(workspace / DATABASE, isolation_level=None, timeout=30)
            other.execute("BEGIN IMMEDIATE")
            timers.append(asyncio.get_running_loop().call_later(_LOCKED, other.close))

    ended = campaign.run(workspace, campaign.papers, Fire(on_call=on_call))
    must(ended.status == 0, "a run beside a locked database failed", ended)
    must(ended.told["events"].get("StorageBlocked", 0) >= 1, "nothing waited for the lock", ended)
    campaign.compare(workspace, campaign.papers, difference)
    return Row(1, difference, "the same run goes on")


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
