"""The benchmarks work, at tiny sizes. What they measure is no matter of tests."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as harness
from benchmarks import acks, durable, efficiency, limits, memory_child, overhead
from benchmarks.group_commit import durable_by_hand
from benchmarks.measure import Result
from benchmarks.rate import max_in_window
from benchmarks.work import SAVING, by_engine, numbers
from streamflow.storage.sqlite import SqliteStore

ITEMS = 20


def test_overhead_measures_six_cases() -> None:
    results = list(overhead.run(True, items=ITEMS, rounds=1))

    assert len(results) == 6
    assert all(result.ratio > 0 and result.budget == overhead.BUDGET for result in results)


def test_efficiency_measures_the_engine_and_the_loop_by_hand() -> None:
    results = list(efficiency.run(True, items=2, rounds=1))

    assert [result.budget for result in results[:2]] == [0.95, None]
    assert all(0 < result.ratio < 1 for result in results)


def test_durable_and_acks_leave_nothing_in_their_folder(tmp_path: Path) -> None:
    results = [*durable.run(True, tmp_path, items=ITEMS, rounds=1), *acks.run(True, tmp_path, rows=ITEMS, rounds=1)]

    assert [result.unit for result in results] == [durable.UNIT, "rows/s"]
    assert list(tmp_path.iterdir()) == []


def test_the_loop_by_hand_leaves_the_rows_that_the_engine_leaves(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "engine.db")
    asyncio.run(by_engine(SAVING, numbers(ITEMS), [4] * 3, store, folder=tmp_path))
    asyncio.run(durable_by_hand(SAVING, numbers(ITEMS), 4, tmp_path / "hand.db"))

    columns = "stage, key, state, attempts, record, hash, version, epoch, started > 0, ended > 0, due, error"
    assert _rows(tmp_path / "engine.db", f"{columns} FROM streamflow_items") == _rows(
        tmp_path / "hand.db", f"{columns} FROM items"
    )
    saved = "n, title, year FROM saved"
    assert len(_rows(tmp_path / "hand.db", saved)) == ITEMS
    assert _rows(tmp_path / "engine.db", saved) == _rows(tmp_path / "hand.db", saved)


def _rows(path: Path, what: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT {what} ORDER BY 1, 2").fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["memory", "journal"])
def test_the_memory_run_tells_its_peak(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory_child.main(kind, ITEMS, tmp_path)

    assert float(capsys.readouterr().out) > 5


def test_limits_tell_the_use_of_each_service_and_what_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CASES", (limits.CROSSREF,))
    monkeypatch.setattr(limits, "TROUBLED", (limits.CROSSREF,))

    assert harness.main(["limits", "--quick", "--output", str(tmp_path)]) == 0

    results = json.loads((tmp_path / "latest.json").read_text())
    held = [result for result in results if result["budget"] is not None]
    assert [result["budget"] for result in held] == [limits.STEADY, limits.BACK, limits.BACK, 1, 1, 1]
    assert all(result["met"] for result in held)
    met = [result["value"] for result in results if result["budget"] is None]
    assert len(met) == 2  # storm and restart, and that calls did fail in them
    assert all(met)


def test_the_fullest_window_is_half_open() -> None:
    assert max_in_window([0.0, 0.5, 1.0, 1.2, 1.4], 1.0) == 4
    assert max_in_window([0.0, 1.0, 2.0], 1.0) == 1


def test_an_unknown_benchmark_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        harness.main(["durabel"])

    assert stopped.value.code == 2
    assert "no benchmark 'durabel'" in capsys.readouterr().err


def test_one_that_fails_does_not_cost_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(harness.BENCHMARKS, "rate", _failing)
    monkeypatch.setitem(harness.BENCHMARKS, "acks", lambda quick, folder: iter([Result("fine", 1, "s", 1, 1)]))

    code = harness.main(["rate", "acks", "--output", str(tmp_path)])

    assert code == 1
    assert [line["name"] for line in json.loads((tmp_path / "latest.json").read_text())] == ["fine"]
    assert "rate failed" in capsys.readouterr().err


def _failing(quick: bool, folder: Path) -> Iterator[Result]:
    raise RuntimeError("out of luck")
