"""The literature pipeline of the kill test: its input, its services, and the program that is killed.

`python -m tests.faults.literature ARGUMENT…` is `streamflow ARGUMENT…` with its imports done ahead: it prints `ready`
and waits for a line on stdin. What it has to tell goes to stdout as well.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from stages.literature import pipeline as literature

PAPERS, EACH = 2, 10
LIBRARIES, ENTRIES = 14, 50
WORKS = PAPERS * EACH + LIBRARIES * ENTRIES

# Simulated as `tests.faults.literature:pipeline`, in a process of their own, over a catalogue that has these works.
pipeline = replace(literature.pipeline, simulators=partial(literature.simulators, extra=WORKS))


def write_inputs(folder: Path) -> Path:
    """Papers, whose references come by way of the extractor's processes, and bibliographies. No work is cited twice,
    so that every call is made for one item alone."""
    from stages.literature.samples.bibtex import bibtex
    from stages.literature.samples.make_samples import make_papers
    from stages.simulators.inventions import invent

    make_papers(folder, PAPERS, EACH)
    works = islice(invent(WORKS), PAPERS * EACH, None)
    for number in range(LIBRARIES):
        text = bibtex(islice(works, ENTRIES))
        (folder / f"more{number:02d}.bib").write_text(text, encoding="utf-8")
    return folder


def main() -> None:
    import streamflow.cli.app
    import streamflow.cli.session  # noqa: F401 - what `run` would import
    from streamflow.cli import main

    print("ready", flush=True)
    sys.stdin.readline()
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    main()


if __name__ == "__main__":
    main()
