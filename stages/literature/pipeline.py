"""The literature pipeline: PDFs in; references, works, free copies and a bibliography out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.literature.download import download
from stages.literature.enrich import enrich
from stages.literature.export import FORMATS, export, write_bibliography
from stages.literature.extract import extract
from stages.literature.grobid import with_grobid
from stages.literature.library import Library
from stages.literature.resolve import resolve
from stages.literature.sources import papers
from stages.services.arxiv import Arxiv
from stages.services.crossref import Crossref
from stages.services.openalex import OpenAlex
from stages.services.publisher import Publisher
from stages.services.unpaywall import Unpaywall
from streamflow.engine.pipeline import Pipeline
from streamflow.engine.stage import Stage

if TYPE_CHECKING:
    from streamflow.testing.simulator import Simulator

SIMULATED = ("crossref", "openalex", "unpaywall", "publisher")


def simulators(names: Iterable[str] = SIMULATED, **settings: Any) -> Sequence[Simulator]:
    """Simulators of these services over one catalogue; see `stages.simulators.literature`."""
    from stages.simulators.literature import literature_simulators  # a run needs none of it

    return literature_simulators(names, **settings)


pipeline = Pipeline(
    "literature",
    sources=[papers],
    stages=[
        Stage(extract, workers=2, runs_in="process", timeout=120, newest_first=True),
        Stage(enrich, workers=8),
        Stage(resolve, workers=8),
        Stage(download, workers=16, timeout=600),
    ],
    resources=[Library, Crossref, OpenAlex, Unpaywall, Arxiv, Publisher],
    finalizers=[write_bibliography],
    simulated=SIMULATED,
    simulators=simulators,
    samples=Path(__file__).parent / "samples",
    exporters={name: partial(export, format=name) for name in FORMATS},
    services=("crossref", "openalex", "unpaywall", "arxiv", "publisher", "grobid"),
    adapt=with_grobid,
)
