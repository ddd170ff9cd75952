"""The command line in real processes, on a tiny pipeline that a test writes into its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PIPELINE = """
import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from streamflow import CredentialsRefused, Inputs, Pipeline, Reader, Reject, Skip, Stage, TransientError, record


@record(key="word")
class Word:
    word: str


@record(key="word", table="lengths")
class Length:
    word: str
    length: int


async def words(inputs: Inputs) -> AsyncIterator[Word]:
    async for file in inputs.files((".txt",)):
        for line in file.path.read_text().splitlines():
            if line == "broken source":
                raise RuntimeError("the source broke")
            yield Word(line)


async def measure(word: Word) -> Length:
    if word.word.startswith("wait"):
        print("waiting", flush=True)
        while not Path("go").exists():
            await asyncio.sleep(0.01)
    if word.word.startswith("bad") and not Path("mended").exists():
        raise Reject("no \\x1b[31mgood")
    if word.word == "forbidden" and not Path("mended").exists():
        raise CredentialsRefused("dictionary refused the key", service="dictionary")
    if word.word == "dull":
        raise Skip("too dull")
    print("measured", word.word, flush=True)
    return Length(word.word, len(word.word))


async def as_text(reader, out):
    for length in await reader.records(Length):
        out.write(f"{length.word}\\t{length.length}\\n")


pipeline = Pipeline(
    "tiny", sources=[words], stages=[Stage(measure, workers=1, capacity=4)], exporters={"text": as_text}
)
"""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFLOW_")}
    return {**kept, "COLUMNS": "200", "NO_COLOR": "1", **(more or {})}


def write_pipeline(folder: Path, source: str = PIPELINE) -> None:
    (folder / "tiny.py").write_text(source, encoding="utf-8")


def write_words(folder: Path, *words: str, name: str = "words.txt") -> None:
    (folder / name).write_text("\n".join(words), encoding="utf-8")


def cli(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder to its end."""
    return subprocess.run(
        [sys.executable, "-m", "streamflow.cli", *arguments],
        cwd=folder,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def started(folder: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on beside the test; killed at the end, should it still be there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamflow.cli", *arguments],
        cwd=folder,
        env=environment(variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                stream.close()


def read_until(stream: object, words: str) -> str:
    """The first line with these words. Fails where the stream ends before."""
    seen = []
    for line in stream:  # type: ignore[attr-defined]
        if words in line:
            return str(line)
        seen.append(line)
    raise AssertionError(f"no line with {words!r} in {''.join(seen)!r}")
