"""Notices to systemd, with a socket of our own in its place; in virtual time where time counts."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamflow.observe.systemd import Notices
from streamflow.testing.clock import run_virtual


class Listener:
    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        notices = []
        while True:
            try:
                notices.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return notices


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@streamflow-test-{os.getpid()}"
    made = Listener(address)
    with closing(made.socket):
        yield made


def test_states_and_statuses_are_told(listener: Listener) -> None:
    with closing(Notices(listener.environment)) as notices:
        assert notices.wanted
        notices.ready("3 active")
        notices.stopping("finishing\n1 of enrich")
    assert listener.heard() == ["READY=1\nSTATUS=3 active", "STOPPING=1\nSTATUS=finishing 1 of enrich"]


def test_a_reload_carries_the_time_by_which_systemd_tells_it_from_earlier_ones(listener: Listener) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with closing(Notices(listener.environment)) as notices:
        notices.reloading()
    (told,) = listener.heard()
    state, _, stamp = told.partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(stamp) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


async def _live(notices: Notices, seconds: float, status: str = "busy") -> None:
    life = asyncio.create_task(notices.signs_of_life(lambda: status))
    await asyncio.sleep(seconds)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)


def test_the_watchdog_hears_twice_in_its_time_and_a_status_once(listener: Listener) -> None:
    watched = {**listener.environment, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    with closing(Notices(watched)) as notices:
        run_virtual(_live(notices, 9))
    assert listener.heard() == ["WATCHDOG=1\nSTATUS=busy", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]


@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}],
)
def test_a_watchdog_that_does_not_mean_this_process_hears_nothing(listener: Listener, watchdog: dict[str, str]) -> None:
    with closing(Notices({**listener.environment, **watchdog})) as notices:
        run_virtual(_live(notices, 60))
    assert listener.heard() == ["STATUS=busy"]


def test_a_socket_that_comes_later_hears_what_was_owed(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with closing(Notices({"NOTIFY_SOCKET": address})) as notices:
        notices.ready("3 active")
        late = Listener(address)
        with closing(late.socket):
            run_virtual(_live(notices, 11))
            assert late.heard() == ["READY=1\nSTATUS=3 active", "STATUS=busy"]


def test_a_socket_that_nobody_empties_holds_nothing_up(listener: Listener) -> None:
    with closing(Notices(listener.environment)) as notices:
        for _ in range(1000):
            notices.stopping("x" * 10_000)
        listener.heard()
        run_virtual(_live(notices, 11))
    assert listener.heard()[0].startswith("STOPPING=1\nSTATUS=xxx")


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path"])
def test_without_a_local_socket_nothing_is_sent(address: str) -> None:
    with closing(Notices({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})) as notices:
        assert not notices.wanted
        notices.ready("3 active")
        run_virtual(_live(notices, 60))
