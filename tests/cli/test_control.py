"""Asking the process that works in a workspace: real processes over a real socket."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.control.client import ask
from streamflow.engine.control.messages import Done, Drain, Pause, Resume
from streamflow.errors import ControlError
from tests.cli.harness import cli, read_until, started, write_pipeline, write_words

RUN = ("run", "tiny:pipeline", "words.txt", "-w", "ws")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pipeline(tmp_path)
    return tmp_path


def status(folder: Path) -> Any:
    return json.loads(cli(folder, "status", "-w", "ws", "--json").stdout)


def test_status_shows_what_is_in_hand_and_what_it_waits_for(folder: Path) -> None:
    write_words(folder, "a", "wait", "b", "c")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        told = status(folder)
        assert (told["running"], told["state"], told["holder"]["pid"]) == (True, "running", run.pid)
        assert told["uptime"] > 0
        assert told["limits"] == []
        measure = told["stages"]["measure"]
        assert [measure[name] for name in ("pending", "active", "queued", "done", "workers")] == [3, 1, 2, 1, 1]
        shown = cli(folder, "status", "-w", "ws").stdout
        assert f"Process {run.pid} has worked in it for" in shown
        assert "1 of 1" in shown
        (folder / "go").touch()
        assert run.wait(60) == 0
    told = status(folder)
    assert (told["running"], told["state"], told["stages"]["measure"]["active"]) == (False, None, 0)


def test_status_names_the_bottleneck(folder: Path) -> None:
    write_words(folder, "wait", "b", "c")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        while status(folder)["bottleneck"] is None:
            pass  # of its first second nothing is said
        told = status(folder)["bottleneck"]
        assert (told["stage"], told["at"]) == ("measure", "work")
        assert "\nBottleneck: measure: " in cli(folder, "status", "-w", "ws").stdout
        (folder / "go").touch()
        _, summary = run.communicate(timeout=60)
    assert "time went to" in summary
    assert "\nBottleneck: measure: " in summary
    assert status(folder)["bottleneck"] is None


def test_health_is_an_exit_code_and_a_line(folder: Path) -> None:
    write_words(folder, "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        told = cli(folder, "health", "-w", "ws")
        assert (told.returncode, told.stdout) == (0, "healthy: tiny is running, 1 active\n")
        (folder / "go").touch()
        run.wait(60)
    told = cli(folder, "health", "-w", "ws")
    assert (told.returncode, told.stdout) == (1, "")
    assert "No process works in the workspace ws" in told.stderr


def test_a_paused_stage_goes_on_when_it_is_told_to(folder: Path) -> None:
    write_words(folder, "wait", "b")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        assert "is paused" in cli(folder, "pause", "measure", "-w", "ws").stderr
        (folder / "go").touch()
        read_until(run.stdout, "measured wait")
        told = status(folder)["stages"]["measure"]
        assert (told["paused"], told["active"], told["pending"]) == (True, 0, 1)
        assert "paused" in cli(folder, "status", "-w", "ws").stdout
        assert "goes on" in cli(folder, "resume", "measure", "-w", "ws").stderr
        assert run.wait(60) == 0


def test_a_stage_that_there_is_not_is_a_usage_error(folder: Path) -> None:
    write_words(folder, "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        told = cli(folder, "pause", "messure", "-w", "ws")
        assert told.returncode == 2
        assert "no stage 'messure'; it has measure" in told.stderr


def test_a_pause_ends_with_its_process(folder: Path) -> None:
    write_words(folder, "wait", "b")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        cli(folder, "pause", "measure", "-w", "ws")
        (folder / "go").touch()
        read_until(run.stdout, "measured wait")
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 143
    assert status(folder)["stages"]["measure"]["pending"] == 1
    assert cli(folder, *RUN).returncode == 0
    assert status(folder)["stages"]["measure"]["done"] == 2


def test_drain_ends_the_process_as_the_first_sigterm_does(folder: Path) -> None:
    write_words(folder, "wait", "b")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        assert "finishes what is active" in cli(folder, "drain", "-w", "ws").stderr
        read_until(run.stderr, "streamflow drain: finishing 1 active item")
        assert "stopping already" in cli(folder, "drain", "-w", "ws").stderr
        assert "It is stopping" in cli(folder, "status", "-w", "ws").stdout
        (folder / "go").touch()
        assert run.wait(60) == 143
    told = status(folder)["stages"]["measure"]
    assert (told["done"], told["pending"]) == (1, 1)


def test_a_signal_after_a_drain_is_the_second(folder: Path) -> None:
    write_words(folder, "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        cli(folder, "drain", "-w", "ws")
        read_until(run.stderr, "streamflow drain: finishing")
        run.send_signal(signal.SIGTERM)
        assert "SIGTERM again: stopping at once" in read_until(run.stderr, "again")
        assert run.wait(60) == 143
    assert status(folder)["stages"]["measure"]["pending"] == 1


def test_what_a_process_that_stood_still_did_not_hear_in_time_it_does_not_do_later(folder: Path) -> None:
    write_words(folder, "wait", "b")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.send_signal(signal.SIGSTOP)
        for request in (Drain(), Pause(stage="measure")):
            with pytest.raises(ControlError, match="does not answer"):
                ask(folder / "ws", request, Done, timeout=0.2)
        run.send_signal(signal.SIGCONT)
        assert ask(folder / "ws", Resume(stage="measure"), Done, timeout=60) == Done(False)
        (folder / "go").touch()
        assert run.wait(60) == 0


def test_what_a_killed_process_left_misleads_nobody(folder: Path) -> None:
    write_words(folder, "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        run.kill()
        run.wait(60)
    assert (folder / "ws" / "control.sock").is_socket()
    told = status(folder)
    assert (told["running"], told["stages"]["measure"]["active"]) == (False, 0)
    assert cli(folder, "health", "-w", "ws").returncode == 1
    (folder / "go").touch()
    assert cli(folder, *RUN).returncode == 0
    assert not (folder / "ws" / "control.sock").exists()


def test_without_live_figures_status_tells_those_of_the_database_and_why(folder: Path) -> None:
    write_words(folder, "wait")
    with started(folder, *RUN) as run:
        read_until(run.stdout, "waiting")
        (folder / "ws" / "control.sock").unlink()
        (folder / "ws" / "control.sock").touch()
        shown = cli(folder, "status", "-w", "ws")
        assert f"Process {run.pid} works in it since" in shown.stdout
        assert "control.sock is no socket" in shown.stderr
        (folder / "ws" / "control.sock").unlink()
        told = cli(folder, "drain", "-w", "ws")
        assert told.returncode == 1
        assert f"Process {run.pid} works in the workspace ws, but cannot be asked" in told.stderr


def test_a_run_without_room_for_its_socket_says_so_in_its_log_and_goes_on(folder: Path) -> None:
    write_words(folder, "a")
    (folder / "ws" / "control.sock").mkdir(parents=True)
    assert cli(folder, *RUN).returncode == 0
    lines = (folder / "ws" / "logs" / "streamflow.jsonl").read_text().splitlines()
    (line,) = (line for line in map(json.loads, lines) if line["event"] == "control_unavailable")
    assert line["level"] == "warning"
