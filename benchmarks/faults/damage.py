"""Rows in which the database or its log is damaged, as a power cut or a failing disk does it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.faults.campaign import Campaign, Row, must
from benchmarks.faults.engine import Difference, Fire, State
from benchmarks.faults.process import CampaignFailed
from streamflow.engine.launch import DATABASE
from streamflow.storage.doctor import examine

_WAL = f"{DATABASE}-wal"
_WAL_HEADER, _FRAME_HEADER = 32, 24
_RUNS_ON = 5
"""Of so many databases whose log is damaged one is run to its end."""


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


def flipped_after_an_end(campaign: Campaign) -> Row:
    """One bit of the database of a run that has ended: the next one refuses it, whichever it is."""
    workspace = campaign.workspace()
    ended = campaign.run(workspace, campaign.papers)
    must(ended.status == 0, "the run before the damage failed", ended)
    found, difference = _flipped(campaign, workspace)
    must(set(found) == {REFUSED}, f"of flips in a database that a run had closed: {dict(found)}")
    return Row(found.total(), difference, "all refused")


def flipped_after_a_kill(campaign: Campaign) -> Row:
    """The same after a kill, whose log somebody took in. Nothing holds a checksum of every byte then, so nothing is
    promised: what became of each flip is counted."""
    workspace = campaign.workspace()
    ended = campaign.run(workspace, campaign.papers, Fire(f"committed:{campaign.dice.randint(6, 9)}:kill"))
    must(ended.status == -9, "a run was not killed at its commit", ended)
    with closing(sqlite3.connect(workspace / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found, difference = _flipped(campaign, workspace)
    must(found[NOT_FOUND] <= found.total() / 4, f"of flips in a killed run's database: {dict(found)}")
    note = ", ".join(f"{found[how]} {how}" for how in (REFUSED, TOLD, HARMLESS, NOT_FOUND))
    return Row(found.total(), difference, note, is_promised=False)


REFUSED, TOLD, HARMLESS, NOT_FOUND = "refused", "found by the doctor", "with the same result", "NOT FOUND"


def _flipped(campaign: Campaign, whole: Path) -> tuple[Counter[str], Difference]:
    """What becomes of random flips, each in a copy that is run to its end; and what differs where nobody says so."""
    found: Counter[str] = Counter()
    difference = Difference()
    for _ in range(5 * campaign.often):
        workspace = campaign.workspace()
        shutil.copytree(whole, workspace, ignore=shutil.ignore_patterns("*.sock"))
        _flip(campaign, workspace / DATABASE)
        found[_outcome(campaign, workspace, difference)] += 1
        shutil.rmtree(workspace.parent)
    return found, difference


def _flip(campaign: Campaign, path: Path) -> None:
    """One bit, and not the time of writing: nobody wrote."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[campaign.dice.randrange(len(content))] ^= 1 << campaign.dice.randrange(8)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _outcome(campaign: Campaign, workspace: Path, difference: Difference) -> str:
    is_ill = any(finding.verdict == "bad" for finding in examine(workspace))
    ended = campaign.run(workspace, campaign.papers)
    if ended.status:
        raised = ended.wrong.rpartition("Traceback (most recent call last):")[2]
        must("\nstreamflow.errors." in raised, "a flip ended a run with another error than one of ours", ended)
        return REFUSED
    if is_ill:
        return TOLD
    before = difference.lost, difference.doubled, difference.unended
    try:
        difference.add(campaign.calm(campaign.papers)[0], State.of(workspace))
    except sqlite3.DatabaseError:
        difference.lost += 1
    return HARMLESS if before == (difference.lost, difference.doubled, difference.unended) else NOT_FOUND
