"""Serving a control socket: one request and one answer for each connection.

Nobody can hold up the run or fill its memory: requests are bounded in size and in time, connections in number, and
another user's are refused. Who says nothing gives way to who comes. Who has gone takes up no connection, and what they
asked for is not begun; who would wait for long is told so. What was begun for them goes on: a change that stops
half-way would be worse than one that nobody waits for.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from streamflow.engine.control.messages import MAX_REQUEST, AnyRequest, decode_request, encode_answer, encode_error
from streamflow.engine.control.place import is_stranger
from streamflow.errors import ControlError, UsageError, told

PATIENCE = 5.0
"""Seconds that a request may take to come, and that its answer may take to be taken."""
LONGEST = 50.0
"""Seconds that an answer may take to be found."""
LOOK = 0.5
"""Seconds between two looks whether who asked is still there."""
MOST = 16
"""Connections at once."""
_OUT_OF_DESCRIPTORS = 1.0
"""Seconds before another connection is tried for when none can be had."""

Answer = Callable[[AnyRequest], Awaitable[msgspec.Struct]]


async def serve(listener: socket.socket, answer: Answer) -> None:
    """Answer whoever connects, until cancelled. What `answer` raises is told to who asked."""
    loop = asyncio.get_running_loop()
    talks: set[asyncio.Task[None]] = set()
    unheard: dict[socket.socket, asyncio.Task[None]] = {}  # have not said yet what they want; the oldest come first
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(_OUT_OF_DESCRIPTORS)
                continue
            if is_stranger(connection):
                _dismiss(connection, encode_error("only the user who started the process may ask it"))
                continue
            if len(talks) >= MOST:
                await asyncio.sleep(0)  # hear those who came at the same moment
            if len(talks) >= MOST and unheard:
                idle = next(iter(unheard))
                unheard[idle].cancel()
                await asyncio.wait((unheard.pop(idle),))
                idle.close()
            if len(talks) >= MOST:
                _dismiss(connection, encode_error("too many ask at once: try again", busy=True))
                continue
            talk = group.create_task(_talk(connection, answer, group, unheard), name="streamflow control talk")
            unheard[connection] = talk
            talks.add(talk)
            talk.add_done_callback(talks.discard)


def _dismiss(connection: socket.socket, last_words: bytes) -> None:
    with connection, suppress(OSError):
        connection.setblocking(False)
        connection.send(last_words)


async def _talk(
    connection: socket.socket,
    answer: Answer,
    group: asyncio.TaskGroup,
    unheard: dict[socket.socket, asyncio.Task[None]],
) -> None:
    with connection, suppress(OSError):  # TimeoutError is one too: the other side is slow, or gone
        connection.setblocking(False)
        try:
            async with asyncio.timeout(PATIENCE):
                line = await _read_line(connection)
        finally:
            unheard.pop(connection, None)
        answering = group.create_task(_answered(line, answer, connection), name="streamflow control answer")
        answered = await _while_there(connection, answering)
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(connection, answered)


async def _while_there(connection: socket.socket, answering: asyncio.Task[bytes]) -> bytes:
    """The answer, or that it takes too long. Raises BrokenPipeError once the other side has gone."""
    until = asyncio.get_running_loop().time() + LONGEST
    while not (await asyncio.wait((answering,), timeout=LOOK))[0]:
        if _has_gone(connection):
            raise BrokenPipeError
        if asyncio.get_running_loop().time() >= until:
            return encode_error(
                f"it takes longer than {LONGEST:g} s, and goes on: `streamflow status` shows what comes"
            )
    return answering.result()


def _has_gone(connection: socket.socket) -> bool:
    """Whether the other side is closed: one that only says no more still listens."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


async def _read_line(connection: socket.socket) -> bytes:
    """A line and what came with it, or what there is of one that does not end."""
    received = bytearray()
    while b"\n" not in received and len(received) <= MAX_REQUEST:
        part = await asyncio.get_running_loop().sock_recv(connection, 2**14)
        if not part:
            break
        received += part
    return bytes(received)


async def _answered(line: bytes, answer: Answer, connection: socket.socket) -> bytes:
    if len(line) > MAX_REQUEST:
        return encode_error(f"the request is too long: at most {MAX_REQUEST:,} bytes are taken")
    try:
        request = decode_request(line.partition(b"\n")[0])
        if _has_gone(connection):
            return b""  # they were told by now that it failed
        return encode_answer(await answer(request))
    except (UsageError, ControlError) as error:
        return encode_error(str(error))
    except Exception as error:  # noqa: BLE001 - a request must not end the run
        return encode_error(f"the request failed: {told(error)}")
