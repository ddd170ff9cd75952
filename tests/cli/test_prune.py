"""`streamflow prune` in a process of its own, and a run with a workspace that was pruned."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.harness import cli, read_until, started, write_pipeline, write_words


def test_a_dry_run_tells_and_the_other_does(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "one", "three", "bad", "dull")
    assert cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work").returncode == 3
    prune = ("prune", "-w", "work", "--older-than", "0s")
    told = cli(tmp_path, *prune, "--dry-run")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[:4] == [
        "To remove:",
        "  the records of 3 items, 45 bytes",
        "  0 files, 0 bytes",
        "  0 logs, 0 bytes",
    ]
    done = cli(tmp_path, *prune)
    assert done.stdout.startswith("Removed:\n  the records of 3 items, 45 bytes\n")
    again = json.loads(cli(tmp_path, *prune, "--json").stdout)
    assert again["records"] == {"count": 0, "bytes": 0}
    assert again["database"]["after"] > 0
    assert (again["older_than"], again["dry_run"]) == (0.0, False)
    # Nothing is done twice, and what is wanted again is.
    run = cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work")
    assert (run.returncode, run.stdout) == (3, "")
    refreshed = cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work", "--refresh")
    assert refreshed.stdout.splitlines() == ["measured one", "measured three"]
    (tmp_path / "mended").touch()
    assert cli(tmp_path, "retry", "tiny.py:pipeline", "-w", "work").stdout == "measured bad\n"


def test_what_was_pruned_and_is_wanted_again_is_told(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "one", "three")
    assert cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work").returncode == 0
    assert cli(tmp_path, "prune", "-w", "work", "--older-than", "0s").returncode == 0
    text = (tmp_path / "tiny.py").read_text(encoding="utf-8")
    (tmp_path / "tiny.py").write_text(text.replace("Stage(measure,", "Stage(measure, version=2,"), encoding="utf-8")
    stale = cli(tmp_path, "run", "tiny.py:pipeline", "--stale", "-w", "work")
    assert (stale.returncode, stale.stdout) == (0, "")
    assert "2 records for measure were pruned and are in no table; --refresh makes them again." in stale.stderr
    given = cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work")
    assert given.stdout.splitlines() == ["measured one", "measured three"]


def test_the_age_is_that_of_the_settings_where_none_is_given(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "one")
    assert cli(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work").returncode == 0
    of_thirty_days = json.loads(cli(tmp_path, "prune", "-w", "work", "--json").stdout)
    assert (of_thirty_days["older_than"], of_thirty_days["records"]["count"]) == (30 * 86_400.0, 0)
    told = cli(tmp_path, "prune", "-w", "work", "--json", "--dry-run", STREAMFLOW_RETENTION__DONE="0s")
    assert json.loads(told.stdout)["records"]["count"] == 1
    wrong = cli(tmp_path, "prune", "-w", "work", STREAMFLOW_RETENTION__DONE="30")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "STREAMFLOW_RETENTION__DONE is wrong: expected a time span, such as 12h or 30d, got '30'" in wrong.stderr


def test_a_workspace_in_which_a_process_works_is_refused(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_words(tmp_path, "wait")
    with started(tmp_path, "run", "tiny.py:pipeline", "words.txt", "-w", "work") as process:
        read_until(process.stdout, "waiting")
        refused = cli(tmp_path, "prune", "-w", "work")
        assert refused.returncode == 2
        assert f"in use by process {process.pid}" in refused.stderr
        assert cli(tmp_path, "prune", "-w", "work", "--dry-run").returncode == 0
        (tmp_path / "go").touch()
        assert process.wait(timeout=60) == 0


def test_a_workspace_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert cli(tmp_path, "prune", "-w", "missing").returncode == 2
    assert not (tmp_path / "missing").exists()
