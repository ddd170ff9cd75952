"""The literature pipeline on simulated services, one item at a time and concurrently.

Time runs at 1:20: latencies are a twentieth of usual ones, published rates count twentyfold, concurrency stays as
published. The ideal is that of `streamflow bench`: the slowest limit's or stage's work plus one item's remaining path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Result
from stages.literature.pipeline import SIMULATED, simulators
from stages.literature.pipeline import pipeline as literature
from stages.literature.samples.make_samples import make_papers
from streamflow.cli import simulators as simulated
from streamflow.observe.compare import compared, measure

SCALE = 20.0
LATENCY = {"crossref": 0.050, "openalex": 0.030, "unpaywall": 0.025, "publisher": 0.150}
"""Seconds, at 1:20."""

REFERENCES = 20
SPEEDUPS = {1: 2.0, 10: 8.0, 50: 8.0}
"""The least speedup, by papers."""

NEAR = 0.95

# The catalogue knows the works that the papers cite. The simulators' own process finds this pipeline by its name.
pipeline = replace(literature, simulators=partial(simulators, extra=max(SPEEDUPS) * REFERENCES))
NAME = f"{__name__}:pipeline"


def run(
    quick: bool, folder: Path, *, papers: Sequence[int] | None = None, references: int = REFERENCES
) -> Iterator[Result]:
    """`folder` is where papers and workspaces are written; what is written there is removed."""
    counts = papers or ((1,) if quick else tuple(SPEEDUPS))
    latency = ",".join(f"{name}={seconds}" for name, seconds in LATENCY.items())
    with simulated.simulators(NAME, SIMULATED, latency=latency, scale=SCALE) as running:
        for count in counts:
            with TemporaryDirectory(dir=folder) as made:
                yield from _compare(running, Path(made), count, references)


def _compare(running: simulated.Simulators, folder: Path, count: int, references: int) -> Iterator[Result]:
    inputs = [str(path) for path in make_papers(folder / "papers", count, references)]
    running.forget()
    one = measure(pipeline, inputs, folder / "sequential", sequential=True)
    many = measure(pipeline, inputs, folder / "concurrent", sequential=False)
    refused = sum(told["refused"] for told in running.stats().values())
    comparison = compared(pipeline, one, many)
    name = f"literature, {count} paper{'s' * (count > 1)}"
    speedup, least = comparison.speedup, SPEEDUPS.get(count)
    yield Result(f"{name}, speedup", many.seconds, "s", one.seconds, speedup, least, floor=True)
    ideal = comparison.ideal.seconds
    yield Result(f"{name}, of the ideal", many.seconds, "s", ideal, comparison.efficiency, NEAR, floor=True)
    yield Result(f"{name}, calls refused (429)", refused, "calls", 0, 0, 0, bounds="value")
    yield Result(f"{name}, tables that differ", len(comparison.differing), "tables", 0, 0, 0, bounds="value")
