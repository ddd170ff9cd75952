"""Notices to systemd, for a service of `Type=notify-reload` or `notify`; without `NOTIFY_SOCKET` nothing is sent.

The protocol is that of sd_notify(3): datagrams of `NAME=value` lines to a local socket. Nothing here waits, and a
socket that fails stops nothing: what it did not take is sent again with the next sign of life.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping

_BEAT = 10.0
"""Seconds between two notices of the status, where no watchdog wants to hear more often."""
_LONGEST = 400
"""Characters of a status: a notice is one datagram, and `systemctl status` shows one line."""


class Notices:
    """What this process tells the service manager that started it. `environment` is that of the process."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog(environment) if self._address else None
        self._owed = ""
        self._socket: socket.socket | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The service works, for the first time or again after a reload."""
        self._tell("READY=1", status)

    def reloading(self) -> None:
        """The settings are read again; `ready` ends it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", "")

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", status)

    async def signs_of_life(self, status: Callable[[], str]) -> None:
        """Tell the status now and then, and the watchdog twice in its time: from the loop, so that one that is held up
        falls silent.
        """
        told = ""
        while self.wanted:
            await asyncio.sleep(min(_BEAT, self._watchdog / 2) if self._watchdog else _BEAT)
            lines = ["WATCHDOG=1"] if self._watchdog else []
            if (now := _line(status())) != told:
                lines.append(f"STATUS={now}")
            if self._owed and self._send(self._owed):
                self._owed = ""
            if lines and self._send("\n".join(lines)):
                told = now

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, state: str, status: str) -> None:
        notice = f"{state}\nSTATUS={_line(status)}" if status else state
        self._owed = "" if self._send(notice) else notice

    def _send(self, notice: str) -> bool:
        if self._address is None:
            return True
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(notice.encode(errors="replace"), self._address)
        except OSError:
            return False
        return True


def _address(named: str) -> str | None:
    """The socket's address; `@` stands for the NUL that abstract ones begin with. Only local ones are known."""
    if named.startswith("@"):
        return f"\0{named[1:]}"
    return named if named.startswith("/") else None


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """The seconds in which systemd wants a sign of life from this process, if it does."""
    try:
        seconds = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
        meant = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return seconds if seconds > 0 and meant == os.getpid() else None


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
