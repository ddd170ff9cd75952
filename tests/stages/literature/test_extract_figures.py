"""The command that scores extraction against a known truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import extraction
from tests.stages.literature.papers import Style, numbered, write


def test_a_folder_with_its_truth_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = numbered(20)
    write(tmp_path / "one.pdf", texts, Style())
    (tmp_path / "truth.json").write_text(json.dumps({"one.pdf": [text[:60] for text in texts]}))
    assert extraction.main([str(tmp_path)]) == 0
    assert "| one.pdf | 20 | 20 | 20 | 100.0% | 100.0% | 0 |" in capsys.readouterr().out


def test_what_is_missed_wrong_or_runs_on_lowers_the_figures() -> None:
    truth = ["Anna Able. On the first of things", "Boris Baker. On the second of things", "Carl C. Third"]
    extracted = ["Anna Able. On the first of things, 2001. Boris Baker. On the second of things, 2002.", "Nobody."]
    one = extraction.score("x.pdf", truth, extracted)
    assert (one.right, one.run_on, one.recall, one.precision) == (1, 1, 1 / 3, 1 / 2)


def test_a_truth_is_met_once() -> None:
    assert extraction.score("x.pdf", ["A. Able. Things"], ["A. Able. Things 1.", "A. Able. Things 1."]).right == 1


def test_spaces_hyphens_quotes_and_ligatures_do_not_count() -> None:
    printed, typed = "The ﬁrst “self-\nsupervised” one", 'The first "self supervised" one'
    assert extraction.normalised(printed) == extraction.normalised(typed)


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    assert extraction.main([str(tmp_path)]) == 2
