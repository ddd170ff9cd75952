"""A local HTTP server that speaks a real API's wire format, with its limits and with injected faults.

A simulator subclasses `Simulator` and says three things: what a call asks for (`identify`), what the caller
is allowed (`allowance`), and the answer (`answer`), which is a plain function from a call to a reply. The base
does the rest, in this order: count, refuse what exceeds the allowance, wait for the latency, inject a fault,
answer. A request costs about a tenth of a millisecond, since the simulator shares the machine with the system
that is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from streamflow.testing.allowance import Allowance, Gauge
from streamflow.testing.faults import Fault, Faults

__all__ = ["Allowance", "Call", "Reply", "Simulator", "serve"]

STATS = "/_simulator/stats"
SETTINGS = "/_simulator/settings"


@dataclass(slots=True)
class Call:
    """One request: its decoded path without the query, its headers, and the body of one that has one."""

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    body: bytes = b""
    _query: dict[str, str] | None = field(default=None, repr=False)

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated one the last counts."""
        if self._query is None:
            self._query = dict(parse_qsl(self.query_string, keep_blank_values=True))
        return self._query


@dataclass(slots=True)
class Reply:
    """An answer. `endless` is sent chunk by chunk after `body` until the client hangs up; `claimed` is a
    Content-Length larger than the body, so that the client sees half of one; `delay` is in seconds."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bytes | None = None
    claimed: int | None = None
    delay: float = 0.0

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        return cls(status, msgspec.json.encode(value), "application/json", headers or {})

    @classmethod
    def text(cls, value: str, status: int = 200, content_type: str = "text/plain") -> Reply:
        return cls(status, value.encode(), content_type)


class Simulator(ABC):
    """The base of all simulators. `latency` is in seconds a request; `faults` is written as in `faults.py`;
    `scale` multiplies the published rates (not the concurrency); `clock` is what the windows are measured by.

    `calls` counts by what was asked for, refused and failed calls included; `routes` by kind of call;
    `refused` counts the calls beyond the allowance; `in_flight` and `max_in_flight` the calls under way.
    """

    name: ClassVar[str]

    def __init__(
        self,
        *,
        latency: float = 0.0,
        faults: str = "",
        scale: float = 1.0,
        seed: int = 0,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if scale <= 0 or latency < 0:
            raise ValueError(f"scale must be above 0 and latency not below it, not {scale} and {latency}")
        self.latency = latency
        self.faults = Faults(faults, seed)
        self.scale = scale
        self.clock = clock
        self._port = port
        self.calls: Counter[str] = Counter()
        self.routes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.refused = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self._gauges: dict[str, Gauge] = {}
        self._runner: web.ServerRunner | None = None

    # What a subclass says

    def identify(self, call: Call) -> tuple[str, str]:
        """The route and the key of a call, for the counters: ("works", "10.5555/abc")."""
        return call.path, call.path

    def allowance(self, call: Call) -> Allowance | None:
        """What the caller may do, as published; None when nothing is limited."""
        return None

    def cost(self, call: Call) -> Mapping[str, float]:
        """What a call costs of each kind that the allowance's rules count."""
        return {"requests": 1}

    def allowance_headers(self, allowance: Allowance) -> Mapping[str, str]:
        """What the service tells in every answer about its limits; they are given scaled."""
        return {}

    def refusal(self, allowance: Allowance | None, reason: str, wait: float) -> Reply:
        """The answer to a call beyond the allowance (`reason` is `rate`, another kind of cost,
        `concurrency` or `fault`); `wait` is in
        seconds."""
        return Reply.json({"error": "Too many requests"}, 429, {"Retry-After": str(max(1, round(wait)))})

    @abstractmethod
    def answer(self, call: Call, key: str) -> Reply:
        """What the service answers to a call within its allowance."""

    # Life

    async def __aenter__(self) -> Self:
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @property
    def url(self) -> str:
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError(f"the {self.name} simulator is not running: enter it with `async with` first")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point a pipeline at this simulator."""
        return {f"{self.variable}__BASE_URL": self.url}

    @property
    def variable(self) -> str:
        return f"STREAMFLOW_SERVICES__{self.name.upper()}"

    def stats(self) -> dict[str, object]:
        return {
            "name": self.name,
            "total": self.calls.total(),
            "refused": self.refused,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "faults": dict(self.faults.injected),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "routes": dict(self.routes),
            "calls": dict(self.calls),
        }

    def forget(self) -> None:
        """Sets all counters to nothing; windows and calls under way stay."""
        for counter in (self.calls, self.routes, self.statuses, self.faults.injected):
            counter.clear()
        self.refused = 0
        self.max_in_flight = self.in_flight

    def adjust(self, settings: Mapping[str, object]) -> None:
        """Changes `latency`, `faults` or `scale` while running. Raises ValueError for anything else."""
        unknown = settings.keys() - {"latency", "faults", "scale"}
        if unknown:
            raise ValueError(f"unknown settings {sorted(unknown)}: there are latency, faults and scale")
        if "faults" in settings:
            self.faults = Faults(str(settings["faults"]), self.faults.seed)
        self.latency = float(str(settings.get("latency", self.latency)))
        self.scale = float(str(settings.get("scale", self.scale)))

    # A request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/_simulator/"):
            return await self._control(request, path)
        call = Call(request.method, unquote(path) if "%" in path else path, query, request.headers)
        if request.can_read_body:
            call.body = await request.content.read()
        route, key = self.identify(call)
        self.calls[key] += 1
        self.routes[route] += 1
        allowance = self.allowance(call)
        gauge = None
        headers: Mapping[str, str] = {}
        if allowance is not None:
            allowance = allowance.scaled(self.scale)
            headers = self.allowance_headers(allowance)
            gauge = self._gauges.setdefault(allowance.name, Gauge())
            refused = gauge.enter(allowance, self.clock(), self.cost(call))
            if refused is not None:
                self.refused += 1
                return self._respond(self.refusal(allowance, *refused), headers)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            reply = await self._reply(request, call, key, allowance)
            if reply is None or reply.claimed is not None or reply.endless is not None:
                return await self._misbehave(request, reply, headers)
        finally:
            # Left before the answer is written: a client that has its answer may call again at once.
            self.in_flight -= 1
            if gauge is not None:
                gauge.leave()
        return self._respond(reply, headers)

    async def _reply(self, request: web.BaseRequest, call: Call, key: str, allowance: Allowance | None) -> Reply | None:
        """The answer after latency and faults; None where the connection is to be cut without one."""
        fault = self.faults.draw(f"{call.method} {key}", self.calls[key]) if self.faults else None
        delay = self.latency
        if fault is not None:
            delay += fault.delay
        # Our own work is part of the latency: it is what a service's answer takes, not what ours takes more.
        ready_at = asyncio.get_running_loop().time() + delay
        reply = self._faulty(fault, call, key, allowance)
        delay = ready_at - asyncio.get_running_loop().time()
        if delay > 0:
            await asyncio.sleep(delay)
        if reply is not None and reply.delay > 0:
            await asyncio.sleep(reply.delay)
        return reply

    def _faulty(self, fault: Fault | None, call: Call, key: str, allowance: Allowance | None) -> Reply | None:
        if fault is None or fault.kind == "slow":
            return self.answer(call, key)
        if fault.kind in ("reset", "hang"):
            return None
        if fault.kind == "half":
            reply = self.answer(call, key)
            return Reply(
                reply.status, reply.body[: len(reply.body) // 2], reply.content_type, claimed=len(reply.body) + 1
            )
        if fault.kind == "html":
            return Reply.text(
                "<!DOCTYPE html><html><head><title>Just a moment</title></head>"
                "<body><h1>We are checking your browser</h1></body></html>",
                content_type="text/html; charset=utf-8",
            )
        if fault.kind == "empty":
            return Reply()
        if fault.kind == "types":
            return Reply.json({"status": 0, "message": "ok", "id": [], "best_oa_location": "none", "results": 7})
        status = int(fault.kind)
        if status == 429:
            return self.refusal(allowance, "fault", fault.parameter or 1.0)
        told = {"Retry-After": f"{fault.parameter:g}"} if fault.parameter else {}
        return Reply(status, f"simulated status {status}".encode(), "text/plain", told)

    def _respond(self, reply: Reply, headers: Mapping[str, str]) -> web.Response:
        self.statuses[reply.status] += 1
        sent = {"Content-Type": reply.content_type, **headers, **reply.headers}
        return web.Response(status=reply.status, body=reply.body, headers=sent)

    async def _misbehave(
        self, request: web.BaseRequest, reply: Reply | None, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Cuts the connection, sends half of a body, or sends one without an end."""
        response = web.StreamResponse()
        if reply is not None:
            self.statuses[reply.status] += 1
            sent = {"Content-Type": reply.content_type, **headers, **reply.headers}
            response = web.StreamResponse(status=reply.status, headers=sent)
            if reply.claimed is not None:
                response.content_length = reply.claimed
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                await response.write(reply.body)
                while reply.endless is not None:
                    await response.write(reply.endless)
                    await asyncio.sleep(0)
        if request.transport is not None:
            request.transport.abort() if reply is None else request.transport.close()
        return response

    async def _control(self, request: web.BaseRequest, path: str) -> web.Response:
        if path == STATS and request.method == "GET":
            return web.json_response(self.stats())
        if path == STATS and request.method == "DELETE":
            self.forget()
            return web.json_response(self.stats())
        if path == SETTINGS and request.method == "POST":
            try:
                self.adjust(json.loads(await request.text()))
            except (ValueError, AttributeError) as error:
                return web.json_response({"error": str(error)}, status=400)
            return web.json_response({"latency": self.latency, "faults": str(self.faults), "scale": self.scale})
        return web.json_response({"error": f"no {request.method} {path} here"}, status=404)


async def serve(
    simulators: Sequence[Simulator],
    *,
    announce: Callable[[Mapping[str, str]], None] = lambda environment: None,
    stop: asyncio.Event | None = None,
    signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """Runs several simulators, each on its own free port, until `stop` is set or a signal comes.

    `announce` is called once, when all listen, with the environment that points a pipeline at them.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = tuple(signals)
    async with contextlib.AsyncExitStack() as stack:
        environment: dict[str, str] = {}
        for simulator in simulators:
            await stack.enter_async_context(simulator)
        for simulator in simulators:
            environment |= simulator.environment
        for number in signals:
            stack.callback(signal.signal, number, signal.getsignal(number))  # afterwards, as it was
            loop.add_signal_handler(number, stop.set)
            stack.callback(loop.remove_signal_handler, number)
        announce(environment)
        await stop.wait()
