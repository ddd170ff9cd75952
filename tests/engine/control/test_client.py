"""The client against processes that end, keep silent or are somebody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamflow.engine.control.client import ask
from streamflow.engine.control.messages import MAX_ANSWER, Done, Drain, Pause
from streamflow.engine.control.place import listening
from streamflow.errors import ControlError

ENOUGH = 20.0


@contextmanager
def holder(workspace: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """A process that listens in a workspace and does this with its first connection, which it then closes."""

    def work() -> None:
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    with listening(workspace) as listener:
        listener.settimeout(ENOUGH)
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join(ENOUGH)


def hear(connection: socket.socket) -> None:
    connection.settimeout(ENOUGH)
    while not connection.recv(2**16).endswith(b"\n"):
        pass


def test_nobody_answers_where_nobody_is(tmp_path: Path) -> None:
    assert ask(tmp_path, Drain(), Done) is None


def ends_before_it_hears(connection: socket.socket) -> None:
    pass


def ends_before_it_answers(connection: socket.socket) -> None:
    hear(connection)


def ends_in_the_middle_of_its_answer(connection: socket.socket) -> None:
    hear(connection)
    connection.sendall(b'{"version": 1, "ans')


@pytest.mark.parametrize("end", [ends_before_it_hears, ends_before_it_answers, ends_in_the_middle_of_its_answer])
def test_a_process_that_ends_meanwhile_is_nobody(tmp_path: Path, end: Callable[[socket.socket], None]) -> None:
    with holder(tmp_path, end):
        assert ask(tmp_path, Pause(stage="x" * 60_000), Done, timeout=ENOUGH) is None


def test_an_answer_may_come_in_pieces(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        hear(connection)
        for byte in b'{"version": 1, "answer": {"changed": true}}\n':
            connection.sendall(bytes([byte]))

    with holder(tmp_path, answer):
        assert ask(tmp_path, Drain(), Done, timeout=ENOUGH) == Done(True)


def test_one_that_keeps_silent_is_not_waited_for_longer_than_said(tmp_path: Path) -> None:
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        over.wait(ENOUGH)

    with holder(tmp_path, answer):
        try:
            with pytest.raises(ControlError, match="does not answer"):
                ask(tmp_path, Drain(), Done, timeout=0.05)
        finally:
            over.set()


def test_one_that_drips_for_ever_is_not_waited_for_longer_than_said(tmp_path: Path) -> None:
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        while not over.wait(0.01):
            connection.sendall(b" ")

    with holder(tmp_path, answer):
        try:
            with pytest.raises(ControlError, match="does not answer"):
                ask(tmp_path, Drain(), Done, timeout=0.1)
        finally:
            over.set()


def test_an_endless_answer_fills_no_memory(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"x" * 2**16)
        except OSError:
            pass

    with holder(tmp_path, answer), pytest.raises(ControlError, match="without an end"):
        ask(tmp_path, Drain(), Done, timeout=ENOUGH)
    assert MAX_ANSWER < 2**24


def test_somebody_else_is_told_as_such(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        hear(connection)
        connection.sendall(b"220 mail.example.org ESMTP\r\n")

    with holder(tmp_path, answer), pytest.raises(ControlError, match="cannot be read"):
        ask(tmp_path, Drain(), Done, timeout=ENOUGH)
