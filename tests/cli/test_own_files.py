"""Other things than files in the places of the workspace's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.harness import cli, read_until, started, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    (tmp_path / "ws").mkdir()
    return tmp_path


def test_a_run_that_cannot_note_what_is_in_flight_goes_on_without(folder: Path) -> None:
    (folder / "ws" / "streamflow.inflight").mkdir()
    write_words(folder, "a", "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        uptime = 0.0
        while uptime < 1.5:  # so that the disk was to be told of it once
            uptime = json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)["uptime"]
        (folder / "go").touch()
        assert run.wait(60) == 0
    assert "in_flight_file_missing" in (folder / "ws" / "logs" / "streamflow.jsonl").read_text()
