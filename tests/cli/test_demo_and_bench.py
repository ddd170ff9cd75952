"""`demo` and `bench`, end to end, on a pipeline with a service, its simulator and samples of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.harness import cli

PIPELINE = """
from collections.abc import AsyncIterator
from pathlib import Path

from streamflow import Client, Context, Inputs, Pipeline, Service, Stage, record
from streamflow.testing.simulator import Allowance, Call, Reply, Simulator

SERVICE = Service("dictionary", "https://dictionary.invalid", rate=50, per=1, concurrency=4)


class DictionarySimulator(Simulator):
    name = "dictionary"

    def allowance(self, call: Call) -> Allowance:
        return Allowance("all", requests=50, per=1.0, concurrency=4)

    def answer(self, call: Call, key: str) -> Reply:
        return Reply.json({"length": len(key)})


class Dictionary:
    def __init__(self, context: Context) -> None:
        self.client: Client = context.client(SERVICE)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return None


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
            yield Word(line)


async def look_up(word: Word, *, dictionary: Dictionary) -> Length:
    return Length(word.word, (await dictionary.client.json(f"/{word.word}", type=dict))["length"])


def simulators(names, **settings):
    return [DictionarySimulator(latency=settings["latency"]["dictionary"], scale=settings["scale"])]


pipeline = Pipeline(
    "words",
    sources=[words],
    stages=[Stage(look_up, workers=8)],
    resources=[Dictionary],
    services=["dictionary"],
    samples=Path(__file__).parent / "samples",
    simulated=["dictionary"],
    simulators=simulators,
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lookup.py").write_text(PIPELINE)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "words.txt").write_text("\n".join(f"word{number}" for number in range(20)))
    return tmp_path


def test_a_demo_tells_where_everything_lies_and_asks_nothing_twice(folder: Path) -> None:
    first = cli(folder, "demo", "lookup:pipeline")
    assert first.returncode == 0, first.stderr
    assert "dictionary 20; none was refused" in first.stderr
    assert str(Path("demo") / "words" / "streamflow.db") in first.stderr
    assert "lengths" in first.stderr
    assert "streamflow status -w demo/words" in first.stderr
    again = cli(folder, "demo", "lookup:pipeline")
    assert again.returncode == 0
    assert "Calls to the services: none" in again.stderr


def test_a_demo_takes_files_of_the_user(folder: Path) -> None:
    (folder / "mine.txt").write_text("mine")
    done = cli(folder, "demo", "lookup:pipeline", "mine.txt", "-w", "ws", "--json")
    assert json.loads(done.stdout)["stages"]["look_up"]["done"] == 1


def test_a_bench_compares_both_ways_and_draws_the_workers(folder: Path) -> None:
    done = cli(folder, "bench", "lookup:pipeline", "--json", "-w", "kept")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tables_equal"] is True
    assert told["calls"] == {"sequential": {"dictionary": 20}, "concurrent": {"dictionary": 20}}
    assert told["refused"]["concurrent"] == {"dictionary": 0}
    assert told["speedup"] > 0
    assert told["efficiency"] > 0
    assert told["ideal_bottleneck"] in ("limit dictionary", "stage look_up")
    picture = (folder / told["picture"]).read_text()
    assert picture.count("<rect") == 21  # the background, and one for each call
