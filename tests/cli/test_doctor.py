"""`streamflow doctor` in a process of its own: what it prints, and with which code it ends."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.harness import cli, read_until, started, write_pipeline, write_words


def test_a_sound_workspace(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "one", "two")
    assert cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work").returncode == 0
    answer = cli(tmp_path, "doctor", "-w", "work")
    assert answer.returncode == 0
    assert "SQLite finds every page and every index whole" in answer.stdout
    assert answer.stderr == ""
    as_json = json.loads(cli(tmp_path, "doctor", "-w", "work", "--json").stdout)
    assert as_json["healthy"] is True
    assert [finding["check"] for finding in as_json["findings"]] == [
        *("rights", "room", "holder", "wal", "seal", "schema", "journal", "records", "pages", "files")
    ]


def test_an_ill_one_is_refused_by_a_run_and_explained_by_the_doctor(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "streamflow.db").write_bytes(b"\x1b[31mno database" * 500)
    refused = cli(tmp_path, "run", "tiny.py:pipeline", "-w", "work")
    assert refused.returncode == 2
    assert f"streamflow doctor -w {tmp_path / 'work'}" in refused.stderr
    answer = cli(tmp_path, "doctor", "-w", "work")
    assert answer.returncode == 1
    assert "restore a copy" in answer.stdout
    assert json.loads(cli(tmp_path, "doctor", "-w", "work", "--json").stdout)["healthy"] is False


def test_a_foreign_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:

    write_pipeline(tmp_path)
    (tmp_path / "work").mkdir()
    database = tmp_path / "work" / "streamflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE diary (day, text)")
    before = database.read_bytes()
    refused = cli(tmp_path, "run", "tiny.py:pipeline", "-w", "work")
    assert refused.returncode == 2
    assert "another program" in refused.stderr
    assert cli(tmp_path, "doctor", "-w", "work").returncode == 1
    assert cli(tmp_path, "status", "-w", "work").returncode == 2
    assert database.read_bytes() == before


def test_it_works_beside_a_run(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "wait")
    with started(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work") as process:
        read_until(process.stdout, "waiting")
        answer = cli(tmp_path, "doctor", "-w", "work")
        assert answer.returncode == 0
        assert f"process {process.pid} works in it" in answer.stdout
        (tmp_path / "go").touch()
        assert process.wait(timeout=60) == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    answer = cli(tmp_path, "doctor", "-w", "missing")
    assert (answer.returncode, "is no folder" in answer.stderr) == (2, True)
    assert not (tmp_path / "missing").exists()
