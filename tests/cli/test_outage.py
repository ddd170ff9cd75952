"""A service that stays away for longer than `outage`, in real processes."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.harness import cli, read_until, started

PIPELINE = """
from collections.abc import AsyncIterator

from streamflow import Context, Inputs, Pipeline, Service, Stage, record


@record(key="word")
class Word:
    word: str


@record(key="word", table="meanings")
class Meaning:
    word: str
    meaning: str


class Dictionary:
    def __init__(self, context: Context) -> None:
        self.client = context.client(Service("dictionary", "http://localhost", concurrency=2))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


async def words(inputs: Inputs) -> AsyncIterator[Word]:
    for number in range(20):
        yield Word(f"word{number}")


async def look_up(word: Word, *, dictionary: Dictionary) -> Meaning:
    return Meaning(word.word, await dictionary.client.text(f"/{word.word}"))


pipeline = Pipeline(
    "tiny", sources=[words], stages=[Stage(look_up, workers=4)], resources=[Dictionary], services=["dictionary"]
)
"""
RUN = ("run", "tiny:pipeline", "-w", "ws")


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"something")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(port: int) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", port), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def port() -> int:
    """One at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    (tmp_path / "tiny.py").write_text(PIPELINE, encoding="utf-8")
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "streamflow.toml").write_text(
        f'outage = 1.5\n[services.dictionary]\nbase_url = "http://127.0.0.1:{port}"\n'
    )
    return tmp_path


def states(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "ws" / "streamflow.db")) as connection:
        return dict(connection.execute("SELECT state, count(*) FROM streamflow_items GROUP BY state"))


def test_it_ends_with_5_and_the_same_command_goes_on(folder: Path, port: int) -> None:
    ended = cli(folder, *RUN, "--json")
    assert ended.returncode == 5
    assert states(folder) == {"pending": 20}
    told = json.loads(ended.stdout)
    assert (told["outcome"], told["exit_code"], told["dead_letters"]) == ("service unavailable", 5, 0)
    said = " ".join(ended.stderr.split())
    assert "dictionary has not been available since 20" in said
    assert "Unreachable: dictionary could not be reached" in said
    assert "run it again when dictionary is back" in said
    assert "left to do: 20, the same command goes on with them" in said
    log = (folder / "ws" / "logs" / "streamflow.jsonl").read_text()
    assert '"breaker_opened"' in log

    with serving(port):
        again = cli(folder, *RUN)
    assert again.returncode == 0, again.stderr
    assert states(folder) == {"done": 20}


def test_a_daemon_waits_for_the_service_and_status_says_since_when_and_why(folder: Path, port: int) -> None:
    (folder / "in").mkdir()
    with started(folder, "watch", "tiny:pipeline", "in", "-w", "ws", STREAMFLOW_OUTAGE="0.1") as process:
        assert process.stderr is not None
        read_until(process.stderr, "breaker open for")
        shown = cli(folder, "status", "-w", "ws").stdout
        (limit,) = json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)["limits"]
        with serving(port):
            read_until(process.stderr, "20 done")
        process.terminate()
        assert process.wait(30) == 143
    assert states(folder) == {"done": 20}
    assert "Unreachable: dictionary could not be reached" in shown
    assert "breaker dictionary" in shown
    assert limit["breaker"] in ("open", "half-open")
    assert limit["away_for"] > 0
