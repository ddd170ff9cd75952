from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console

from benchmarks.measure import Result
from benchmarks.report import show, write

RESULTS = [
    Result("overhead <no-op>", 1.5, "µs", 1.25, 1.2, 1.2),
    Result("acks", 10.0, "rows/s", 100.0, 0.1, 0.11, floor=True),
    Result("memory", -1.5, "MB more", 40.0, 0.96, 5.0, bounds="value"),
    Result("peer", 30.0, "µs", 1.25, 24.0),
]


def test_the_json_holds_the_seven_names_of_each_line(tmp_path: Path) -> None:
    write(RESULTS, tmp_path / "results")

    lines = json.loads((tmp_path / "results" / "latest.json").read_text(encoding="utf-8"))

    assert lines[0] == {
        "name": "overhead <no-op>",
        "value": 1.5,
        "unit": "µs",
        "baseline": 1.25,
        "ratio": 1.2,
        "budget": 1.2,
        "met": True,
    }
    assert [line["met"] for line in lines] == [True, False, True, None]


def test_the_picture_is_well_formed_and_names_every_line(tmp_path: Path) -> None:
    write(RESULTS, tmp_path)

    root = ElementTree.parse(tmp_path / "latest.svg").getroot()  # noqa: S314 - our own file

    texts = {element.text for element in root.iter() if element.text}
    assert {result.name for result in RESULTS} <= texts


def test_the_table_is_not_cut_off_where_there_is_no_terminal() -> None:
    out = io.StringIO()

    show(RESULTS, Console(file=out, width=40))

    row = next(line for line in out.getvalue().splitlines() if line.startswith("acks"))
    assert row.split() == ["acks", "10.00", "100", "rows/s", "0.100", "≥", "0.11", "no"]
