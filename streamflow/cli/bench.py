"""`streamflow bench`: sequential against concurrent, on simulators."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.output import give, give_json, table, tell
from streamflow.cli.pipelines import PipelineArgument, find
from streamflow.cli.run import JsonOption
from streamflow.cli.simulate import LatencyOption, ScaleOption
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from streamflow.engine.pipeline import Pipeline
    from streamflow.observe.compare import Comparison


def bench(
    pipeline: PipelineArgument,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="Files and folders instead of the samples.", show_default=False),
    ] = None,
    latency: LatencyOption = "0.05",
    scale: ScaleOption = 20.0,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Take N records of each source.", show_default=False),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            help="Keep both workspaces and the picture in a new folder below this one.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline one item at a time, then concurrently, against the same simulated services.

    Both must leave the same tables. Tells the speedup, the efficiency against the ideal, and draws the workers.
    """
    found = find(pipeline)
    if found.simulators is None or (found.samples is None and not inputs):
        raise UsageError(f"The pipeline {pipeline!r} has no simulators or no samples, so it cannot be measured here.")

    from streamflow.cli.session import loop_factory
    from streamflow.cli.simulate import latencies
    from streamflow.cli.simulators import simulators
    from streamflow.observe.compare import compared, measure

    arguments = inputs or [str(found.samples)]
    latencies(latency, found.simulated)  # a wrong one is refused before anything starts
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    kept = Path(tempfile.mkdtemp(prefix="streamflow-bench-", dir=folder))
    measured = {}
    stats: dict[str, Mapping[str, Any]] = {}
    with simulators(pipeline, found.simulated, latency=latency, scale=scale) as running:
        for way in ("sequential", "concurrent"):
            running.forget()
            tell(f"{way} run …")
            measured[way] = measure(
                found,
                arguments,
                kept / way,
                sequential=way == "sequential",
                limit=limit,
                loop_factory=loop_factory(),
            )
            stats[way] = running.stats()
    comparison = compared(found, measured["sequential"], measured["concurrent"])
    picture = kept / "timeline.svg"
    _paint(comparison, found, picture)
    if as_json:
        give_json(_as_json(found, comparison, stats, picture))
    else:
        give(_told(found, comparison, stats))
        tell(f"The picture of the workers is {picture}; both workspaces are beside it.")
    raise typer.Exit(1 if comparison.differing else 0)


def _paint(comparison: Comparison, pipeline: Pipeline, picture: Path) -> None:
    from streamflow.observe.timeline import svg

    title = f"{pipeline.name}: concurrent run, {comparison.concurrent.seconds:.2f} s"
    picture.write_text(svg(comparison.concurrent.summary.spans, list(_workers(comparison)), title), encoding="utf-8")


def _told(pipeline: Pipeline, comparison: Comparison, stats: Mapping[str, Mapping[str, Any]]) -> str:
    from streamflow.observe.timeline import drawing

    one, many, ideal = comparison.sequential, comparison.concurrent, comparison.ideal
    rows = [
        [way, f"{run.seconds:.2f} s", _calls(stats[way], "total"), _calls(stats[way], "refused"), str(run.summary.dead)]
        for way, run in (("sequential", one), ("concurrent", many))
    ]
    same = "the same" if not comparison.differing else f"DIFFERENT in {', '.join(comparison.differing)}"
    lines = [
        table(["", "time", "calls", "refused (429)", "dead"], rows, right=range(1, 5)),
        "",
        f"speedup     {comparison.speedup:.1f} times",
        f"ideal       {ideal.seconds:.2f} s: the {ideal.bottleneck}, and {ideal.path:.2f} s for an item's other stages",
        f"efficiency  {comparison.efficiency:.0%} of the ideal",
        f"tables      {same}, times aside",
        "",
        "Workers with an item in hand, concurrent:",
        drawing(many.summary.spans, _workers(comparison)),
    ]
    return "\n".join(lines)


def _as_json(
    pipeline: Pipeline, comparison: Comparison, stats: Mapping[str, Mapping[str, Any]], picture: Path
) -> dict[str, Any]:
    return {
        "pipeline": pipeline.name,
        "sequential_seconds": comparison.sequential.seconds,
        "concurrent_seconds": comparison.concurrent.seconds,
        "speedup": comparison.speedup,
        "ideal_seconds": comparison.ideal.seconds,
        "ideal_bottleneck": comparison.ideal.bottleneck,
        "efficiency": comparison.efficiency,
        "tables_equal": not comparison.differing,
        "tables_differing": list(comparison.differing),
        "calls": {way: {name: told["total"] for name, told in stats[way].items()} for way in stats},
        "refused": {way: {name: told["refused"] for name, told in stats[way].items()} for way in stats},
        "picture": str(picture),
    }


def _workers(comparison: Comparison) -> dict[str, int]:
    return {name: stage.workers for name, stage in comparison.concurrent.summary.stages.items()}


def _calls(stats: Mapping[str, Any], what: str) -> str:
    return str(sum(told[what] for told in stats.values()))
