"""A worker's group of processes: it ends with its leader, and with the engine."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes that are not ours are followed by descriptors"
)

_LEADER = """
import os, subprocess, sys
if {polls}:
    del os.pidfd_open
from streamflow.engine.executors.group import lead
lead({engine})
try:
    os.waitpid(-1, os.WNOHANG)
    print("has children")
except ChildProcessError:
    print("has none")
program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(program.pid, flush=True)
sys.stdin.read()
"""


_WITHOUT_ROOM = """
import os
from streamflow.engine.executors import group
fork, forks = os.fork, []
def full():
    forks.append(None)
    if len(forks) == {fails}:
        raise BlockingIOError(11, "no more processes")
    return fork()
os.fork = full
try:
    group.lead({engine})
except OSError as error:
    print("refused", flush=True)
forks += [None, None]
group.lead({engine})
print("leads", flush=True)
"""


@pytest.mark.parametrize("fails", [1, 2])
def test_what_failed_for_lack_of_processes_can_be_tried_again(fails: int) -> None:
    script = _WITHOUT_ROOM.format(engine=os.getpid(), fails=fails)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert told.stdout == "refused\nleads\n", told.stderr


@pytest.mark.parametrize("polls", [False, True], ids=["told by the system", "by looking"])
@pytest.mark.parametrize("who", ["leader", "engine"])
def test_all_of_it_ends_with_the_leader_and_with_the_engine(who: str, polls: bool) -> None:
    engine = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    script = _LEADER.format(polls=polls, engine=engine.pid)
    leader = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    descriptors = []
    with engine, leader:
        try:
            assert leader.stdout is not None
            assert leader.stdout.readline() == "has none\n", "code that waits for its children does not wait for ours"
            descriptors = [os.pidfd_open(int(leader.stdout.readline())), os.pidfd_open(leader.pid)]
            assert not select.select(descriptors, [], [], 0)[0], "they are at work"
            ended = {"leader": leader, "engine": engine}[who]
            ended.kill()
            ended.wait()
            for descriptor in descriptors:
                assert select.select([descriptor], [], [], 20)[0], "it lives on"
        finally:
            leader.kill()
            engine.kill()
            for descriptor in descriptors:
                os.close(descriptor)
