"""`streamflow simulate`: the services of pipelines, simulated on loopback, until stopped."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.output import give, tell
from streamflow.cli.pipelines import all_registered, find
from streamflow.errors import UsageError

if TYPE_CHECKING:
    import asyncio

    from streamflow.engine.pipeline import Pipeline
    from streamflow.testing.simulator import Simulator

LatencyOption = Annotated[
    str,
    typer.Option(
        metavar="SECONDS", help="How long each answer takes: 0.05, or by service: crossref=0.05,openalex=0.03."
    ),
]
ScaleOption = Annotated[float, typer.Option(min=0.001, help="Multiply the published rates, on both sides.")]


def simulate(
    services: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERVICE]...", help="Which services; all of them where none is named."),
    ] = None,
    latency: LatencyOption = "0",
    faults: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULTS",
            help="Faults and their shares, such as 503=0.05,reset=0.01,slow=0.02:3; of one service: "
            "crossref:503=0.05. May be repeated.",
            show_default=False,
        ),
    ] = None,
    scale: ScaleOption = 1.0,
    pipeline: Annotated[
        list[str] | None,
        typer.Option(
            "--pipeline", metavar="PIPELINE", help="Simulate the services of this pipeline.", show_default=False
        ),
    ] = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Simulate services on loopback. Prints the environment variables that point pipelines at them, one a line.

    With them set, `streamflow run` talks to the simulators: no network, no keys, nobody bothered.
    """
    import asyncio

    from streamflow.testing.simulator import serve

    pipelines = [find(name) for name in pipeline] if pipeline else list(all_registered())
    simulators = built(pipelines, services or [], latency=latency, faults=faults or [], scale=scale)
    names = [simulator.name for simulator in simulators]

    def announce(environment: Mapping[str, str]) -> None:
        for name, value in {**environment, **scaled_limits(pipelines, environment, scale)}.items():
            give(f"{name}={value}")
        if with_parent:
            give("")  # that was all
        else:
            tell(f"Simulating {', '.join(names)} until Ctrl-C or SIGTERM.")

    async def until_stopped() -> None:
        stop = asyncio.Event()
        if with_parent:
            _follow_parent(stop)
        await serve(simulators, announce=announce, stop=stop)

    asyncio.run(until_stopped())


def built(
    pipelines: Iterable[Pipeline], names: Sequence[str], *, latency: str, faults: Sequence[str], scale: float
) -> list[Simulator]:
    """The simulators of these services (of all, where none is named), not started yet.

    Raises UsageError for an unknown service and for settings that cannot be read.
    """
    builders: dict[str, Callable[..., Sequence[Simulator]]] = {}
    for pipeline in pipelines:
        if pipeline.simulators is not None:
            for name in pipeline.simulated:
                builders.setdefault(name, pipeline.simulators)
    for name in names:
        if name not in builders:
            near = difflib.get_close_matches(name, builders, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            there = ", ".join(builders) or "none"
            raise UsageError(f"There is no simulator of {name!r}.{hint} The simulators there are: {there}.")
    wanted = list(dict.fromkeys(names)) or list(builders)
    if not wanted:
        raise UsageError("No pipeline here has simulators.")
    settings = {"latency": latencies(latency, wanted), "faults": _faults(faults, wanted), "scale": scale}
    made: list[Simulator] = []
    for builder in dict.fromkeys(builders[name] for name in wanted):
        try:
            made += builder([name for name in wanted if builders[name] is builder], **settings)
        except ValueError as error:
            raise UsageError(f"The simulators cannot be made: {error}.") from None
    return made


def scaled_limits(pipelines: Iterable[Pipeline], environment: Mapping[str, str], scale: float) -> dict[str, str]:
    """The variables that let the clients of simulated services call `scale` times as often as is published.

    Published limits are those of the `Service`s in the modules of the pipeline's resources; of several for one name
    the fastest counts, since a service that gives less says so in its answers.
    """
    if scale == 1:
        return {}

    from streamflow.http.service import Service

    modules = {sys.modules[kind.__module__] for pipeline in pipelines for kind in pipeline.resources}
    found: dict[str, float] = {}
    for module in modules:
        for service in vars(module).values():
            if isinstance(service, Service) and service.rate is not None:
                variable = f"STREAMFLOW_SERVICES__{service.name.upper()}"
                if f"{variable}__BASE_URL" in environment:
                    found[f"{variable}__RATE"] = max(found.get(f"{variable}__RATE", 0.0), service.rate * scale)
    return {name: f"{rate:g}" for name, rate in sorted(found.items())}


def latencies(text: str, names: Sequence[str]) -> dict[str, float]:
    """Seconds by service, from `0.05` or `crossref=0.05,openalex=0.03`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    found = dict.fromkeys(names, 0.0)
    try:
        for part in parts:
            name, equals, seconds = part.rpartition("=")
            for each in [name] if equals else names:
                _check_known(each, names)
                found[each] = float(seconds)
        if not all(0 <= seconds < 3600 for seconds in found.values()):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--latency {text!r} is neither seconds (0.05) nor seconds by service (crossref=0.05,openalex=0.03)."
        ) from None
    return found


def _faults(texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Faults by service, from `503=0.05,reset=0.01` and `crossref:503=0.05`."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for text in texts:
        name, colon, rest = text.partition(":")
        if not colon or "=" in name:
            for parts in found.values():
                parts.append(text)
        else:
            _check_known(name, names)
            found[name].append(rest)
    return {name: ",".join(parts) for name, parts in found.items()}


def _check_known(name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise UsageError(f"{name!r} is not among the simulated services: {', '.join(names)}.")


def _follow_parent(stop: asyncio.Event) -> None:
    """Stop when stdin ends: it is a pipe of the process that started us, and ends with it however that ends."""
    import asyncio

    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), read)
