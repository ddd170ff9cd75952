"""`streamflow graph`: the pipeline as Mermaid text."""

from __future__ import annotations

from streamflow.cli.output import give
from streamflow.cli.pipelines import PipelineArgument, find


def graph(pipeline: PipelineArgument) -> None:
    """Print the pipeline's graph as Mermaid text."""
    give(find(pipeline).mermaid().rstrip("\n"))
