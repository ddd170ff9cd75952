"""`streamflow demo`: simulated services, sample input and a run; no network needed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.output import one_line, table, tell
from streamflow.cli.pipelines import find, registered
from streamflow.cli.run import JsonOption, QuietOption
from streamflow.cli.workspaces import WorkspaceOption
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from streamflow.engine.pipeline import Pipeline

LATENCY = "0.05"
SCALE = 10.0
"""How long the simulated services take to answer, in seconds, and how many times their published rates they allow."""


def demo(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PIPELINE] [INPUT]...",
            help="A pipeline (the first one installed, where none is named), and files instead of its samples.",
            show_default=False,
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a pipeline on sample input against simulated services: no network, no keys, done in moments."""
    name, inputs = _told_apart(arguments or [])
    found = find(name)
    if found.simulators is None or found.samples is None:
        raise UsageError(f"The pipeline {name!r} has no simulators or no samples, so there is no demo of it.")
    inputs = inputs or [str(found.samples)]
    folder = workspace if workspace is not None else Path("demo") / found.name

    from streamflow.cli.session import Options, run_in_workspace
    from streamflow.cli.simulators import simulators

    if not quiet:
        tell(f"Demo of {found.name}: {', '.join(map(one_line, inputs))} → {folder}, with simulated services.")
    with simulators(name, found.simulated, latency=LATENCY, scale=SCALE) as running:
        code = run_in_workspace(found, inputs, folder, Options(called=name, as_json=as_json, quiet=quiet))
        calls = running.stats()
    if not quiet:
        tell("\n".join(["", *_calls(calls), "", *_places(folder), "", *_next_steps(found, name, folder)]))
    raise typer.Exit(code)


def _told_apart(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The pipeline and the inputs: the first argument is the pipeline unless it is a file or a folder."""
    known = list(registered())
    if arguments and (arguments[0] in known or not Path(arguments[0]).exists()):
        return arguments[0], list(arguments[1:])
    if not known:
        raise UsageError("No installed package offers a pipeline; name one as module:attribute.")
    return known[0], list(arguments)


def _calls(stats: Mapping[str, Mapping[str, Any]]) -> list[str]:
    total = sum(told["total"] for told in stats.values())
    if not total:
        return ["Calls to the services: none, all that they could tell was known already."]
    told = ", ".join(f"{name} {one['total']}" for name, one in stats.items())
    refused = sum(one["refused"] for one in stats.values())
    note = f"; {refused} of them refused as too fast" if refused else "; none was refused"
    return [f"Calls to the services: {told}{note}."]


def _places(folder: Path) -> list[str]:
    from streamflow.storage import DATABASE, inspect

    rows = [[f"{folder / DATABASE}", ""]] if inspect.exists(folder) else []
    if inspect.exists(folder):
        rows += [[f"  {name}", f"{count} rows"] for name, count in inspect.tables(folder).items()]
    for path in sorted(folder.iterdir() if folder.is_dir() else []):
        if path.is_dir():
            held = sum(1 for file in path.rglob("*") if file.is_file())
            rows.append([f"{path}/", f"{held} file{'s' if held != 1 else ''}"])
        elif path.suffix not in (".db", ".lock") and not path.name.startswith((".", f"{DATABASE}-")):
            rows.append([str(path), ""])
    return ["Where everything lies:", *(f"  {line}" for line in _aligned(rows))]


def _next_steps(pipeline: Pipeline, name: str, folder: Path) -> list[str]:
    at = shlex.quote(str(folder))
    steps = [
        [f"streamflow status -w {at}", "where it stands"],
        [f"streamflow demo {name} -w {at}", "again: nothing is asked twice"],
        [f"streamflow run {name} INPUT… -w DIR", "your own files, with the real services"],
        [f"streamflow bench {name}", "one at a time against concurrent"],
    ]
    if pipeline.exporters:
        steps.insert(
            1, [f"streamflow export {name} --format {next(iter(pipeline.exporters))} -w {at}", "for other programs"]
        )
    return ["What to try next:", *(f"  {line}" for line in _aligned(steps))]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    return table(["", ""], rows).splitlines()[1:]
