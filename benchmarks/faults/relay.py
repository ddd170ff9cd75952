"""A relay between client and service that passes answers on in drops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_DROP = 128
_EVERY = 3
"""Of so many connections one is too slow for a call's timeout."""
_SLOW, _TOO_SLOW = 0.002, 0.1


@dataclass
class Relay:
    port: int = 0
    connections: int = 0
    too_slow: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)


@asynccontextmanager
async def dripping(port: int) -> AsyncIterator[Relay]:
    """Relays to a port on loopback; all answers come in drops, and those of some connections too slowly."""
    relay = Relay()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relay._tasks.add(task)
        relay.connections += 1
        is_too_slow = relay.connections % _EVERY == 1
        relay.too_slow += is_too_slow
        from_service, to_service = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, to_service, 0.0))
                group.create_task(_pass(from_service, writer, _TOO_SLOW if is_too_slow else _SLOW))
        except* ConnectionError:
            pass
        finally:
            relay._tasks.discard(task)
            writer.close()
            to_service.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        for task in relay._tasks:
            task.cancel()
        await asyncio.gather(*relay._tasks, return_exceptions=True)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    while some := await source.read(_DROP):
        target.write(some)
        await target.drain()
        await asyncio.sleep(delay)
    target.close()
