"""How well references are extracted: recall and precision over a folder of papers with a known truth.

    python -m benchmarks.extraction FOLDER

FOLDER holds PDFs and `truth.json`, an object from file name to a list of how each reference begins, as printed. A
reference is right when it begins as the truth says, spaces, hyphens, ligatures and kinds of quotes aside, and no
truth is met twice. "run on" counts references that hold the beginning of another one: they end too late.
"""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from stages.literature.extract import extract_file
from streamflow.errors import Outcome


@dataclass(frozen=True)
class Score:
    """One paper's figures."""

    name: str
    expected: int
    extracted: int
    right: int
    run_on: int
    seconds: float
    missed: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    error: str = ""

    @property
    def recall(self) -> float:
        """Of the true references, the share that was found."""
        return self.right / self.expected if self.expected else 1.0

    @property
    def precision(self) -> float:
        """Of the extracted references, the share that is right."""
        return self.right / self.extracted if self.extracted else 1.0


def normalised(text: str) -> str:
    """Text without what print may vary: spaces, hyphens, ligatures, quotes, accents' encoding."""
    text = unicodedata.normalize("NFKC", text)
    return "".join(sign for sign in text if not sign.isspace() and sign not in "-­‐‑–—'’‘`´\"“”").casefold()


def score(name: str, truth: Sequence[str], extracted: Sequence[str], seconds: float = 0.0) -> Score:
    """Compare what was extracted from one paper with the truth."""
    open_truths = dict.fromkeys(normalised(begin) for begin in truth)
    begins = list(open_truths)
    right, run_on, wrong = 0, 0, []
    for text in extracted:
        plain = normalised(text)
        met = next((begin for begin in open_truths if plain.startswith(begin)), None)
        if met is None:
            wrong.append(text)
        else:
            right += 1
            del open_truths[met]
        run_on += any(begin in plain[10:] for begin in begins if len(begin) > 20)
    return Score(name, len(truth), len(extracted), right, run_on, seconds, tuple(open_truths), tuple(wrong))


def measure(folder: Path) -> list[Score]:
    """The figures of each paper named in the folder's truth.json."""
    truths = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    scores = []
    for name, entries in truths.items():
        truth = [entry if isinstance(entry, str) else entry["raw"] for entry in entries]
        started = perf_counter()
        error = ""
        try:
            texts = [reference.text for reference in extract_file(folder / name)]
        except Outcome as outcome:
            texts, error = [], outcome.reason
        one = score(name, truth, texts, perf_counter() - started)
        scores.append(Score(**{**one.__dict__, "error": error}))
    return scores


def table(scores: Sequence[Score]) -> str:
    """The figures as a Markdown table with a line for all papers together."""
    total = Score(
        "**together**",
        sum(one.expected for one in scores),
        sum(one.extracted for one in scores),
        sum(one.right for one in scores),
        sum(one.run_on for one in scores),
        sum(one.seconds for one in scores),
    )
    rows = [
        "| paper | references | extracted | right | recall | precision | run on | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {one.name} | {one.expected} | {one.extracted} | {one.right} | {one.recall:.1%} | {one.precision:.1%} "
        f"| {one.run_on} | {one.seconds:.2f} |"
        for one in (*scores, total)
    ]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit code 0 when both figures reach `--least`, else 1; 2 for a folder without truth.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extraction", description="Score reference extraction.")
    parser.add_argument("folder", type=Path, help="PDFs and truth.json")
    parser.add_argument("--least", type=float, default=0.97, help="the recall and precision to reach (0.97)")
    parser.add_argument("--verbose", action="store_true", help="print what was missed and what was wrong")
    options = parser.parse_args(arguments)
    if not (options.folder / "truth.json").is_file():
        print(f"{options.folder} has no truth.json: name a folder with PDFs and their truth", file=sys.stderr)
        return 2
    scores = measure(options.folder)
    print(table(scores))
    for one in scores:
        if one.error:
            print(f"{one.name}: {one.error}", file=sys.stderr)
        if options.verbose:
            print("".join(f"{one.name} missed: {begin}\n" for begin in one.missed), end="", file=sys.stderr)
            print("".join(f"{one.name} wrong: {text}\n" for text in one.wrong), end="", file=sys.stderr)
    expected = sum(one.expected for one in scores)
    extracted = sum(one.extracted for one in scores)
    right = sum(one.right for one in scores)
    reached = right >= options.least * expected and right >= options.least * extracted
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
