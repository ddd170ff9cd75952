"""The week of a daemon, in small, and that it would see something grow."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.week import Day, grown, week


@pytest.mark.asyncio
async def test_nothing_grows_in_a_small_week(tmp_path: Path) -> None:
    async with aclosing(week(tmp_path, files=500, days=4)) as passing:
        days = [day async for day in passing]
    assert [day.files for day in days] == [125, 250, 375, 500]
    assert grown(days) == []
    assert not list((tmp_path / "inbox").glob("*.txt"))
    assert len(list((tmp_path / "inbox" / "failed").glob("*.reason.txt"))) == 5


DAY = Day(files=100, memory=60.0, descriptors=20, tasks=30, threads=3, database=500, kept=400, fresh=40)


def test_a_database_with_room_for_more_than_it_keeps_is_told() -> None:
    large = replace(DAY, database=700)
    assert len(grown([large, large])) == 1


@pytest.mark.parametrize(
    ("name", "much"), [("memory", 70.0), ("descriptors", 27), ("tasks", 31), ("threads", 4), ("database", 600)]
)
def test_growth_after_the_second_day_is_told(name: str, much: float) -> None:
    late = replace(DAY, **{name: much})
    assert len(grown([DAY, DAY, late])) == 1
    assert grown([DAY, late, late]) == []
