"""Choosing dead letters on the command line, and trying them again in the process that is at work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from streamflow.cli.letters import seconds
from streamflow.storage.lock import WorkspaceLock
from tests.cli.harness import PIPELINE, cli, read_until, started, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("0s", 0)])
def test_time_spans(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7 d", "7w", "1e9s", "\u0667d", "9999999999d"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="say 30m, 12h or 7d"):
        seconds(text)


def test_the_process_at_work_tries_them_again(folder: Path) -> None:
    write_words(folder, "bad one", "bad \x07 two", "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        (folder / "mended").touch()
        retry = ("retry", "-w", "ws")  # the process knows its pipeline
        told = cli(folder, *retry, "--key", "bad \\x07 two", "--dry-run", "--json")
        assert [letter["key"] for letter in json.loads(told.stdout)] == ["bad \x07 two"]
        assert cli(folder, *retry, "--stage", "messure").returncode == 2
        told = cli(folder, *retry, "--older-than", "1d")
        assert (told.returncode, told.stderr) == (0, "There are no dead letters that fit; nothing was done.\n")
        told = cli(folder, *retry, "--key", "bad \\x07 two")
        assert (told.returncode, told.stdout) == (0, "")
        assert "Trying again: 1 of measure." in told.stderr
        told = cli(folder, *retry, "--newer-than", "1d", "--json")
        assert json.loads(told.stdout)["requeued"] == {"measure": 1}
        (folder / "go").touch()
        assert run.wait(60) == 0
    counts = json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)["stages"]["measure"]
    assert (counts["done"], counts["dead"], counts["pending"]) == (3, 0, 0)


def test_a_dry_run_lists_and_changes_nothing(folder: Path) -> None:
    write_words(folder, "bad one", "bad two")
    cli(folder, *RUN)
    told = cli(folder, "retry", "-w", "ws", "--key", "bad two", "--dry-run")
    assert told.returncode == 0
    assert "bad two" in told.stdout
    assert "bad one" not in told.stdout
    assert "1 item would be tried again" in told.stderr
    assert len(json.loads(cli(folder, "dead", "list", "-w", "ws", "--json").stdout)) == 2
    assert json.loads(cli(folder, "dead", "list", "-w", "ws", "--json", "--error", "Timeout").stdout) == []


def test_a_key_of_another_stage_is_told(folder: Path) -> None:
    write_pipeline(
        folder,
        PIPELINE.replace("stages=[", "stages=[Stage(check), ").replace(
            "\nasync def as_text", "\nasync def check(length: Length) -> None:\n    pass\n\n\nasync def as_text"
        ),
    )
    write_words(folder, "bad one")
    cli(folder, *RUN)
    told = cli(folder, "dead", "show", "bad one", "--stage", "check", "-w", "ws")
    assert told.returncode == 2
    assert "no dead letter with the key 'bad one' of the stage 'check'; there is one of measure." in told.stderr
    told = cli(folder, "dead", "show", "bad two", "--stage", "check", "-w", "ws")
    assert "no dead letter with the key 'bad two'. `" in told.stderr


def rename(folder: Path) -> None:
    write_pipeline(folder, PIPELINE.replace('"tiny"', '"other"'))


def misspell_a_setting(folder: Path) -> None:
    (folder / "ws" / "streamflow.toml").write_text("[stages.measure]\nworker = 2\n")


def change_the_record(folder: Path) -> None:
    write_pipeline(folder, PIPELINE.replace("    word: str\n", "    word: str\n    more: int\n", 1))


def change_a_table(folder: Path) -> None:
    write_pipeline(folder, PIPELINE.replace('key="word", table', 'key="length", table'))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename, "belongs to the pipeline 'tiny', not 'other'"),
        (misspell_a_setting, "Did you mean 'workers'?"),
        (change_the_record, "journal drop --dead --stage measure"),
        (change_a_table, "lengths"),
    ],
)
def test_a_retry_that_is_refused_changes_nothing(folder: Path, change: Callable[[Path], None], words: str) -> None:
    write_words(folder, "bad one", "bad two")
    cli(folder, *RUN)
    before = cli(folder, "dead", "list", "-w", "ws", "--json").stdout
    change(folder)
    told = cli(folder, "retry", "tiny:pipeline", "-w", "ws")
    assert told.returncode == 2
    assert words in told.stderr
    assert "Trying again" not in told.stderr
    assert len(json.loads(before)) == 2
    assert cli(folder, "dead", "list", "-w", "ws", "--json").stdout == before


def test_a_retry_in_a_workspace_that_is_held_changes_nothing(folder: Path) -> None:
    write_words(folder, "bad one")
    cli(folder, *RUN)
    with WorkspaceLock(folder / "ws"):
        told = cli(folder, "retry", "tiny:pipeline", "-w", "ws")
    assert told.returncode == 2
    assert "is in use by process" in told.stderr
    assert len(json.loads(cli(folder, "dead", "list", "-w", "ws", "--json").stdout)) == 1
