"""The commands that look at a workspace or a pipeline, and the journal's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import PIPELINE, cli, environment, read_until, started, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    return tmp_path


def test_the_package_is_the_command_too(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamflow", "--version"], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("streamflow ")


def test_status_counts_items_by_stage_and_state(folder: Path) -> None:
    write_words(folder, "a", "bb", "bad one", "dull")
    cli(folder, *RUN)
    told = json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)
    assert told["pipeline"] == "tiny"
    assert told["running"] is False
    counts = {name: told["stages"]["measure"][name] for name in ("pending", "active", "done", "skipped", "dead")}
    assert counts == {"pending": 0, "active": 0, "done": 2, "skipped": 1, "dead": 1}
    shown = cli(folder, "status", "-w", "ws").stdout
    assert "measure" in shown
    assert "No run is on." in shown


def test_status_works_beside_a_run_and_names_it(folder: Path) -> None:
    write_words(folder, "a", "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        told = json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)
        assert told["running"] is True
        assert told["holder"]["pid"] == run.pid
        measure = told["stages"]["measure"]
        assert (measure["pending"], measure["active"], measure["done"]) == (1, 1, 1)
        refused = cli(folder, "retry", "tiny:pipeline", "-w", "ws")
        assert "no dead letters" in refused.stderr


def test_the_current_folder_is_the_workspace_where_it_is_one(folder: Path) -> None:
    write_words(folder, "a")
    cli(folder, *RUN)
    assert json.loads(cli(folder / "ws", "status", "--json").stdout)["pipeline"] == "tiny"


def test_dead_letters_are_listed_and_shown_without_obeying_them(folder: Path) -> None:
    write_words(folder, "bad \x1b]0;title\x07 one", "bad two")
    cli(folder, *RUN)
    listed = cli(folder, "dead", "list", "-w", "ws").stdout
    assert "\x1b" not in listed
    assert "bad two" in listed
    assert "no \\x1b[31mgood" in listed
    key = "bad \\x1b]0;title\\x07 one"
    assert key in listed
    shown = cli(folder, "dead", "show", key, "-w", "ws")
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout
    assert "attempts  1" in shown.stdout
    (letter,) = json.loads(cli(folder, "dead", "show", "bad two", "-w", "ws", "--json").stdout)
    assert letter["record"] == {"word": "bad two"}
    assert cli(folder, "dead", "show", "bad three", "-w", "ws").returncode == 2


def test_graph_is_mermaid_text(folder: Path) -> None:
    told = cli(folder, "graph", "tiny.py:pipeline").stdout
    assert told.startswith("flowchart LR\n")
    assert "words -->|Word| measure" in told


def test_export_writes_to_stdout_or_to_a_file(folder: Path) -> None:
    write_words(folder, "a", "bb")
    cli(folder, *RUN)
    export = ("export", "tiny:pipeline", "--format", "text", "-w", "ws")
    assert cli(folder, *export).stdout == "a\t1\nbb\t2\n"
    assert cli(folder, *export, "-o", "out.tsv").stdout == ""
    assert (folder / "out.tsv").read_text() == "a\t1\nbb\t2\n"
    assert cli(folder, *export, "-o", "nowhere/out.tsv").returncode == 2
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert cli(folder, *export, "-o", "pipe").returncode == 0
    assert os.read(reading, 100) == b"a\t1\nbb\t2\n"
    os.close(reading)
    assert pipe.is_fifo(), "what is no file is written to, not replaced"


def test_export_reads_what_an_older_pipeline_left(folder: Path) -> None:
    """Nothing is migrated before the next run, so columns and tables may be missing."""
    write_words(folder, "a")
    cli(folder, *RUN)
    export = ("export", "tiny:pipeline", "--format", "text", "-w", "ws")
    write_pipeline(
        folder,
        PIPELINE.replace("    length: int\n", "    length: int\n    language: str = 'en'\n", 1).replace(
            "{length.length}", "{length.language}"
        ),
    )
    assert cli(folder, *export).stdout == "a\ten\n"
    write_pipeline(folder, PIPELINE.replace('table="lengths"', 'table="others"'))
    refused = cli(folder, *export)
    assert refused.returncode == 2
    assert "no table 'others' yet" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_pending_items_of_a_renamed_stage_are_moved_by_the_command_that_is_told(folder: Path) -> None:
    renamed = _stop_with_pending_items(folder)
    refused = cli(folder, *RUN)
    assert refused.returncode == 2
    assert "streamflow journal move --stage measure --to" in refused.stderr
    moved = cli(folder, "journal", "move", "--stage", "measure", "--to", renamed, "-w", "ws")
    assert moved.returncode == 0
    assert "belong to gauge now" in moved.stderr
    assert cli(folder, *RUN).returncode == 0


def test_pending_items_of_a_stage_that_is_gone_are_dropped_by_the_command_that_is_told(folder: Path) -> None:
    _stop_with_pending_items(folder)
    assert "streamflow journal drop --stage measure" in cli(folder, *RUN).stderr
    assert cli(folder, "journal", "drop", "--stage", "measure", "-w", "ws").returncode == 0
    assert cli(folder, *RUN).returncode == 0
    again = cli(folder, "journal", "drop", "--stage", "measure", "-w", "ws")
    assert again.returncode == 2
    assert "Nothing is pending" in again.stderr


def test_dead_letters_of_a_stage_that_is_gone_are_left_alone_and_can_be_moved_or_dropped(folder: Path) -> None:
    """Made pending they would keep every later run from starting."""
    write_words(folder, "bad one", "bad two")
    assert cli(folder, *RUN).returncode == 3
    (folder / "mended").touch()
    write_pipeline(folder, PIPELINE.replace("Stage(measure,", 'Stage(measure, name="gauge",'))
    for more in ((), ("--key", "bad one"), ("--stage", "measure")):
        tried = cli(folder, "retry", "tiny:pipeline", "-w", "ws", *more)
        assert "streamflow journal move --dead --stage measure --to" in tried.stderr
    (folder / "words.txt").write_text("a")
    assert cli(folder, *RUN).returncode == 3, "the workspace can still be used"
    moving = ("journal", "move", "--dead", "--stage", "measure", "-w", "ws", "--to")
    wrong = cli(folder, *moving, "zzz", "tiny:pipeline")
    assert wrong.returncode == 2
    assert "no stage 'zzz'; it has gauge" in wrong.stderr
    assert "nobody checks" in cli(folder, *moving, "gauge").stderr
    assert cli(folder, "retry", "tiny:pipeline", "-w", "ws").returncode == 0
    assert "no dead letters in ws" in cli(folder, "journal", "drop", "--dead", "--stage", "measure", "-w", "ws").stderr


@pytest.mark.parametrize("command", [("list",), ("show", "bad")])
def test_a_stage_that_the_workspace_does_not_know_is_refused(folder: Path, command: tuple[str, ...]) -> None:
    write_words(folder, "bad")
    cli(folder, *RUN)
    done = cli(folder, "dead", *command, "--stage", "mesure", "-w", "ws")
    assert done.returncode == 2
    assert "knows no stage 'mesure'; it knows measure" in done.stderr
    assert cli(folder, "dead", *command, "--stage", "measure", "-w", "ws").returncode == 0


def _stop_with_pending_items(folder: Path) -> str:
    write_words(folder, "forbidden", "b")
    assert cli(folder, *RUN).returncode == 4
    (folder / "mended").touch()
    write_pipeline(folder, PIPELINE.replace("Stage(measure,", 'Stage(measure, name="gauge",'))
    return "gauge"


def test_simulate_prints_the_environment_and_answers_until_a_signal(folder: Path) -> None:
    with started(folder, "simulate", "crossref", "unpaywall", "--latency", "crossref=0", "--scale", "4") as run:
        read_until(run.stderr, "Simulating crossref, unpaywall")
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 0
    told = dict(line.split("=", 1) for line in out.splitlines())
    assert told["STREAMFLOW_SERVICES__CROSSREF__BASE_URL"].startswith("http://127.0.0.1:")
    assert told["STREAMFLOW_SERVICES__UNPAYWALL__BASE_URL"].startswith("http://127.0.0.1:")
    assert float(told["STREAMFLOW_SERVICES__UNPAYWALL__RATE"]) == 40
    assert not any("OPENALEX" in name for name in told)


def test_simulators_end_with_the_process_that_started_them(folder: Path) -> None:
    with started(folder, "simulate", "crossref", "--with-parent") as run:
        read_until(run.stdout, "CROSSREF__BASE_URL")
        assert run.stdin is not None
        run.stdin.close()
        assert run.wait(60) == 0


def test_help_imports_nothing_heavy(folder: Path) -> None:
    script = (
        "import sys, streamflow.cli.app; "
        "print(*sorted({'aiohttp', 'aiosqlite', 'anyio', 'asyncio', 'msgspec', 'pydantic', 'structlog', 'rich.console'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_help_names_every_command_of_the_design(folder: Path) -> None:
    told = cli(folder, "--help")
    assert told.returncode == 0
    for verb in ("run", "watch", "bench", "status", "dead", "retry", "graph", "simulate", "demo", "export", "journal"):
        assert f" {verb} " in told.stdout
