"""How well references end at works: the literature pipeline over its samples, against simulators on loopback.

    python -m benchmarks.matching

Each printed reference of `stages/literature/samples/truth.json` ends at the right work, at a wrong one, or unresolved;
or it was not extracted as printed, and is lost. A preprint whose published version is registered counts as that one.
References to what no service knows are right when they end unresolved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from benchmarks.extraction import normalised
from stages.literature.pipeline import pipeline
from stages.literature.records import Citation, Reference
from stages.simulators.catalogue import Catalogue, catalogue
from stages.simulators.entry import Entry
from stages.simulators.literature import literature_simulators
from streamflow.engine.launch import run_pipeline
from streamflow.settings import load_settings
from streamflow.storage import DATABASE
from streamflow.storage.reader import Reader
from streamflow.storage.sqlite import SqliteStore

SAMPLES = Path(pipeline.samples or ".")
SCALE = 10_000.0
"""Of the simulators' rates, so that a run takes seconds. Limits change when a reference is matched, not to what."""

End = Literal["right", "wrong", "unresolved", "lost"]


@dataclass(frozen=True)
class Ended:
    """A printed reference, the catalogue's key of the work that it means (None: no service knows it), what it was
    matched with, and how that is to be judged."""

    paper_file: str
    raw: str
    truth: str | None
    work: str | None
    end: End


def judged(
    truth: Mapping[str, Sequence[Mapping[str, Any]]],
    references: Sequence[Reference],
    citations: Sequence[Citation],
    works: Catalogue,
) -> list[Ended]:
    """How each printed reference ended."""
    known = {(one.paper_file, normalised(one.raw)): (one.paper, one.position) for one in references}
    cited = {(one.paper, one.position): one.work for one in citations}
    ended = []
    for paper_file, entries in truth.items():
        for entry in entries:
            place = known.get((paper_file, normalised(entry["raw"])))
            work = cited.get(place) if place else None
            end: End = "lost" if place is None else _end(entry["work"], work, works)
            ended.append(Ended(paper_file, entry["raw"], entry["work"], work, end))
    return ended


def _end(truth: str | None, work: str | None, works: Catalogue) -> End:
    if work is None:
        return "right" if truth is None else "unresolved"
    if truth is None:
        return "wrong"
    return "right" if found(work, works) is published(works.by_key[truth], works) else "wrong"


def found(work: str, works: Catalogue) -> Entry | None:
    """The catalogue's work for a key of `with_metadata`."""
    kind, _, name = work.partition(":")
    if kind == "openalex":
        return works.by_openalex.get(name)
    return works.by_arxiv.get(name) if kind == "arxiv" else works.doi(work)


def published(entry: Entry, works: Catalogue) -> Entry:
    """The published version of a preprint, and any other work itself."""
    return (works.doi(entry.preprint_of) if entry.preprint_of else None) or entry


async def measure(workspace: Path) -> list[Ended]:
    """Run the pipeline over its samples in `workspace`, and judge what it left."""
    async with AsyncExitStack() as stack:
        simulators = [await stack.enter_async_context(one) for one in literature_simulators(scale=SCALE)]
        services = {one.name: {"base_url": one.url, "rate": SCALE, "email": "reader@example.org"} for one in simulators}
        publisher = next(one for one in simulators if one.name == "publisher")
        services["arxiv"] = {"base_url": f"{publisher.url}/arxiv"}
        overrides = {"services": services, "download": {"allow_private": True}}
        summary = await run_pipeline(
            pipeline, [str(SAMPLES)], workspace=workspace, settings=load_settings(workspace, overrides)
        )
    if summary.error is not None:
        raise summary.error
    reader = Reader(SqliteStore(workspace / DATABASE))
    truth = json.loads((SAMPLES / "truth.json").read_text(encoding="utf-8"))
    return judged(truth, await reader.records(Reference), await reader.records(Citation), catalogue())


def table(ended: Sequence[Ended]) -> str:
    """The figures by paper as a Markdown table, with a line for all together."""
    papers = {one.paper_file: [other for other in ended if other.paper_file == one.paper_file] for one in ended}
    rows = ["| paper | references | right | wrong | unresolved | lost |", "|---|--:|--:|--:|--:|--:|"]
    for name, group in [*papers.items(), ("**together**", list(ended))]:
        counts = Counter(one.end for one in group)
        figures = " | ".join(str(counts[end]) for end in ("right", "wrong", "unresolved", "lost"))
        rows.append(f"| {name} | {len(group)} | {figures} |")
    resolvable = [one for one in ended if one.truth is not None]
    matched = [one for one in ended if one.work is not None]
    right = sum(one.end == "right" for one in resolvable)
    precision = f"precision {right / max(1, len(matched)):.1%} of {len(matched)} matches"
    recall = f"recall {right / max(1, len(resolvable)):.1%} of {len(resolvable)} references to known works"
    return "\n".join([*rows, "", f"{precision}, {recall}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit code 0 when nothing is matched wrongly and `--least` of the references are right, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matching", description="Score reference matching.")
    parser.add_argument("--least", type=float, default=0.95, help="the share that must be right (0.95)")
    parser.add_argument("--verbose", action="store_true", help="print each reference that did not end right")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        ended = asyncio.run(measure(Path(folder)))
    print(table(ended))
    for one in ended:
        if options.verbose and one.end != "right":
            print(f"{one.end} ({one.truth} as {one.work}) {one.paper_file}: {one.raw}", file=sys.stderr)
    right = sum(one.end == "right" for one in ended)
    return 0 if right >= options.least * len(ended) and all(one.end != "wrong" for one in ended) else 1


if __name__ == "__main__":
    sys.exit(main())
