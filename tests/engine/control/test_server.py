"""The server over real sockets: what it answers, and that nobody can hold it up, fill it or end it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from streamflow.engine.control import server
from streamflow.engine.control.client import ask
from streamflow.engine.control.messages import (
    MAX_REQUEST,
    AnyRequest,
    Done,
    Drain,
    Pause,
    Status,
    encode_request,
)
from streamflow.engine.control.place import NAME, listening
from streamflow.engine.control.server import MOST, serve
from streamflow.errors import ControlError, UsageError
from tests.engine.flows import until

pytestmark = pytest.mark.asyncio

ENOUGH = 20.0
"""Seconds that a test waits for what must come."""


async def yes(request: AnyRequest) -> msgspec.Struct:
    return Done(True)


@asynccontextmanager
async def served(workspace: Path, answer: server.Answer = yes) -> AsyncIterator[None]:
    with listening(workspace) as listener:
        task = asyncio.create_task(serve(listener, answer))
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def asked(workspace: Path) -> Done | None:
    return await asyncio.to_thread(ask, workspace, Drain(), Done, timeout=ENOUGH)


async def told(workspace: Path, *parts: bytes, closes: bool = False) -> bytes:
    """What the server says to these bytes, until it hangs up."""
    async with asyncio.timeout(ENOUGH):
        reader, writer = await asyncio.open_unix_connection(str(workspace / NAME))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            if closes:
                writer.write_eof()
            return await reader.read()
        except ConnectionError:  # hung up in the middle of what we said
            return b""
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_it_answers_one_after_the_other_and_many_at_once(tmp_path: Path) -> None:
    async with served(tmp_path):
        assert await asked(tmp_path) == Done(True)
        assert await asyncio.gather(*(asked(tmp_path) for _ in range(8))) == [Done(True)] * 8


async def test_a_request_may_come_in_pieces(tmp_path: Path) -> None:
    heard: list[AnyRequest] = []

    async def hear(request: AnyRequest) -> msgspec.Struct:
        heard.append(request)
        return Done(False)

    long = Pause(stage="x" * 50_000)
    line = encode_request(long)
    async with served(tmp_path, hear):
        answer = await told(tmp_path, *(line[at : at + 7000] for at in range(0, len(line), 7000)))
    assert heard == [long]
    assert msgspec.json.decode(answer) == {"version": 1, "answer": {"changed": False}}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([b"x" * MAX_REQUEST + b"\n"], b"too long"),
        ([b"\x00\xff\xfe\x01\n"], b"cannot be read"),
        ([b"\n"], b"cannot be read"),
        ([b"[" * 60_000 + b"\n"], b"cannot be read"),
        ([b'{"version": 2, "ask": "status"}\n'], b"same release"),
        ([b'{"version": 1, "ask": "status"}\nGET / HTTP/1.1\r\n'], b"changed"),
    ],
    ids=["long", "binary", "empty", "deep", "version", "more than one line"],
)
async def test_what_is_no_request_is_answered_with_what_is_wrong(
    tmp_path: Path, parts: list[bytes], words: bytes
) -> None:
    async with served(tmp_path):
        assert words in await told(tmp_path, *parts)
        assert await asked(tmp_path) == Done(True)


async def test_a_request_that_ends_in_the_middle_is_answered(tmp_path: Path) -> None:
    async with served(tmp_path):
        assert b"cannot be read" in await told(tmp_path, b'{"version": 1, "a', closes=True)


async def test_an_endless_line_is_cut(tmp_path: Path) -> None:
    async def flood(writer: asyncio.StreamWriter) -> int:
        sent = 0
        while True:
            writer.write(b"x" * 2**16)
            try:
                await writer.drain()
            except ConnectionError:
                return sent
            sent += 2**16

    async with served(tmp_path), asyncio.timeout(ENOUGH):
        _, writer = await asyncio.open_unix_connection(str(tmp_path / NAME))
        assert await flood(writer) < 2**22
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        assert await asked(tmp_path) == Done(True)


async def test_one_that_says_nothing_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    async with served(tmp_path):
        assert await told(tmp_path) == b""
        assert await told(tmp_path, b'{"version": 1') == b""


async def test_one_that_does_not_take_its_answer_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(msgspec.Struct):
        text: str

    async def at_length(request: AnyRequest) -> msgspec.Struct:
        return Long("x" * 1_000_000)

    monkeypatch.setattr(server, "PATIENCE", 0.05)
    async with served(tmp_path, at_length), asyncio.timeout(ENOUGH):
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, str(tmp_path / NAME))
            await loop.sock_sendall(deaf, encode_request(Status()))
            await until(lambda: _talks() == 1)
            await until(lambda: _talks() == 0)
            received = 0
            while part := await loop.sock_recv(deaf, 2**20):
                received += len(part)
            assert received < 1_000_000


def _talks() -> int:
    return sum(task.get_name() == "streamflow control talk" for task in asyncio.all_tasks())


def _answers() -> int:
    return sum(task.get_name() == "streamflow control answer" for task in asyncio.all_tasks())


async def test_who_says_nothing_gives_way_to_who_comes(tmp_path: Path) -> None:
    async with served(tmp_path), asyncio.timeout(ENOUGH):
        idle = [await asyncio.open_unix_connection(str(tmp_path / NAME)) for _ in range(MOST)]
        await until(lambda: _talks() == MOST)
        assert await asked(tmp_path) == Done(True)
        assert await idle[0][0].read() == b""
        for reader, writer in idle[1:]:
            writer.write(encode_request(Drain()))
            assert b"changed" in await reader.read()
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()


async def test_many_who_come_at_the_same_moment_are_served(tmp_path: Path) -> None:
    """All have said what they want before the first is heard."""
    with listening(tmp_path) as listener:
        callers = [socket.socket(socket.AF_UNIX) for _ in range(MOST + 1)]
        for caller in callers:
            caller.connect(str(tmp_path / NAME))
            caller.sendall(encode_request(Drain()))
            caller.setblocking(False)
        serving = asyncio.create_task(serve(listener, yes))
        async with asyncio.timeout(ENOUGH):
            loop = asyncio.get_running_loop()
            answers = [await loop.sock_recv(caller, 2**14) for caller in callers]
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        for caller in callers:
            caller.close()
    assert all(b"changed" in answer for answer in answers[:MOST])
    assert b"too many" in answers[MOST] or b"changed" in answers[MOST]


async def test_more_than_so_many_at_once_are_sent_away(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def slowly(request: AnyRequest) -> msgspec.Struct:
        await go.wait()
        return Done(True)

    async with served(tmp_path, slowly), asyncio.timeout(ENOUGH), asyncio.TaskGroup() as group:
        waiting = [group.create_task(told(tmp_path, encode_request(Drain()))) for _ in range(MOST)]
        await until(lambda: _answers() == MOST)
        with pytest.raises(ControlError, match="too many ask at once: try again"):
            await asked(tmp_path)
        go.set()
        for each in waiting:
            assert b"changed" in await each
        assert await asked(tmp_path) == Done(True)


async def test_what_is_asked_by_one_who_has_gone_is_not_done(tmp_path: Path) -> None:
    """They were told that nobody answers. One that only says no more is still there."""
    heard: list[AnyRequest] = []

    async def hear(request: AnyRequest) -> msgspec.Struct:
        heard.append(request)
        return Done(True)

    with listening(tmp_path) as listener:
        with pytest.raises(ControlError, match="has not done by now it will not do"):
            ask(tmp_path, Drain(), Done, timeout=0.05)
        serving = asyncio.create_task(serve(listener, hear))
        async with asyncio.timeout(ENOUGH):
            assert b"changed" in await told(tmp_path, encode_request(Status()), closes=True)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert heard == [Status()]


async def test_who_has_gone_takes_no_place_and_who_stays_is_told_that_it_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun for those who have gone goes on to its end."""
    go, begun, ended = asyncio.Event(), list[AnyRequest](), list[AnyRequest]()

    async def slowly(request: AnyRequest) -> msgspec.Struct:
        if isinstance(request, Status):
            return Done(False)
        begun.append(request)
        await go.wait()
        ended.append(request)
        return Done(True)

    monkeypatch.setattr(server, "LOOK", 0.01)
    async with served(tmp_path, slowly), asyncio.timeout(ENOUGH):
        writers = []
        for _ in range(MOST):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / NAME))
            writer.write(encode_request(Drain()))
            writers.append(writer)
        await until(lambda: len(begun) == MOST)
        for writer in writers:
            writer.close()
        await until(lambda: _talks() == 0)
        assert await asyncio.to_thread(ask, tmp_path, Status(), Done, timeout=ENOUGH) == Done(False)
        monkeypatch.setattr(server, "LONGEST", 0.05)
        assert b"takes longer than 0.05 s" in await told(tmp_path, encode_request(Drain()), closes=True)
        go.set()
        await until(lambda: len(ended) == MOST + 1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (lambda: UsageError("no such stage"), b'"error":"no such stage"'),
        (lambda: ZeroDivisionError("by \udcff"), b"ZeroDivisionError"),
    ],
)
async def test_what_goes_wrong_is_told_and_ends_nothing(
    tmp_path: Path, error: Callable[[], Exception], words: bytes
) -> None:
    async def fail(request: AnyRequest) -> msgspec.Struct:
        raise error()

    async with served(tmp_path, fail):
        for _ in range(2):
            assert words in await told(tmp_path, encode_request(Status()))


async def test_a_stranger_is_refused_before_it_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "is_stranger", lambda connection: True)
    async with served(tmp_path):
        assert b"only the user" in await told(tmp_path)


async def test_nobody_is_left_when_it_ends(tmp_path: Path) -> None:
    async with served(tmp_path):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / NAME))
        await until(lambda: _talks() == 1)
    assert await reader.read() == b""
    assert not _talks()
    writer.close()
    await writer.wait_closed()
