"""A run on a disk that is too small for it, played in a mount namespace of its own; what happened is printed as JSON.

unshare -rm python -m tests.faults.small_disk FOLDER goes-on|is-stopped
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cli.harness import cli, started, write_words

WORDS = 120
PIPELINE = """
from collections.abc import AsyncIterator

from streamflow import Context, Inputs, Pipeline, Retry, Stage, record


@record(key="word")
class Word:
    word: str


@record(key="word", table="kept")
class Kept:
    word: str
    text: str
    file: str


async def words(inputs: Inputs) -> AsyncIterator[Word]:
    async for file in inputs.files((".txt",)):
        for line in file.path.read_text().splitlines():
            yield Word(line)


async def keep(word: Word, *, context: Context) -> Kept:
    stored = await context.files.write(f"{word.word}.bin", word.word.encode() * 1000)
    return Kept(word.word, "x" * 5000, stored.path)


pipeline = Pipeline("tiny", sources=[words], stages=[Stage(keep, workers=3, retry=Retry(attempts=1))])
"""


def play(folder: Path, ending: str) -> dict[str, Any]:
    disk, filler = folder / "disk", folder / "disk" / "filler"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], check=True)
    (disk / "work").mkdir()
    (disk / "work" / "streamflow.toml").write_text("grace = 0.5\n")
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - 700_000))
    (folder / "tiny.py").write_text(PIPELINE, encoding="utf-8")
    write_words(folder, *(f"word{n:03}" for n in range(WORDS)))
    command = ("run", "tiny.py:pipeline", "words.txt", "-w", "disk/work")
    told: list[str] = []
    with started(folder, *command) as process:
        assert process.stderr is not None
        for line in process.stderr:
            told.append(line)
            if line.startswith("disk full"):
                break
        meanwhile = _state(folder)
        if ending == "goes-on":
            filler.unlink()
        else:
            process.send_signal(signal.SIGTERM)
        told.append(process.stderr.read())
        first = process.wait()
    if ending != "goes-on":
        filler.unlink()
    second = cli(folder, *command)
    files = sorted(path.name for path in (disk / "work" / "files").iterdir())
    return {
        "told": "".join(told),
        "meanwhile": meanwhile,
        "codes": [first, second.returncode],
        "finally": _state(folder),
        "files": len([name for name in files if name.endswith(".bin")]),
        "left over": [name for name in files if not name.endswith(".bin")],
    }


def _state(folder: Path) -> dict[str, int]:
    answer = cli(folder, "status", "-w", "disk/work", "--json")
    if answer.returncode:
        raise SystemExit(answer.stderr)
    counts: dict[str, int] = json.loads(answer.stdout)["stages"]["keep"]
    return counts


if __name__ == "__main__":
    print(json.dumps(play(Path(sys.argv[1]), sys.argv[2])))
