"""The literature pipeline under trouble: services that fail, a program that is killed, one item at a time or many."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from stages.simulators.catalogue import catalogue
from streamflow.testing.simulator import Call, Reply
from tests.integration.conftest import Calm
from tests.integration.literature import SAMPLES, TABLES, World, bibliography, impatient, world

pytestmark = pytest.mark.asyncio

EVERYTHING = "503=0.05,500=0.03,reset=0.05,slow=0.03:0.02,half=0.05,html=0.04,empty=0.03,types=0.04"
PATIENCE = 60.0
KILL_AT = 80
"""Of about 200 calls to Crossref."""
AT_WORK = 8 * 8 + 8 * 3 + 16 * 8
"""Calls that the items at work may have made, at most: workers by the calls of one item."""


async def test_one_at_a_time_leaves_the_same_tables(calm: Calm, tmp_path: Path) -> None:
    async with world() as made:
        alone = await made.run(tmp_path / "workspace", SAMPLES, sequential=True)
        assert made.refused == 0
        assert made.calls == calm.calls
        assert {one.max_in_flight for one in made.simulators.values()} == {1}
    assert alone.tables == calm.ran.tables
    assert alone.states == calm.ran.states
    assert alone.files() == calm.ran.files()
    assert (alone.workspace / "library.bib").read_bytes() == (calm.ran.workspace / "library.bib").read_bytes()


async def test_faults_cost_no_row_and_change_none(calm: Calm, tmp_path: Path) -> None:
    """The publisher has none here: which copy of several is taken may depend on which of them fails."""
    faults = dict.fromkeys(("crossref", "openalex", "unpaywall"), EVERYTHING)
    async with world(faults=faults) as made:
        ran = await made.run(tmp_path / "workspace", SAMPLES, using=impatient(attempts=20))
        injected = {kind for one in made.simulators.values() for kind in one.faults.injected}
    assert injected == {part.partition("=")[0] for part in EVERYTHING.split(",")}
    assert ran.tables == calm.ran.tables
    assert ran.states == calm.ran.states


async def test_with_faults_everywhere_one_at_a_time_and_concurrent_leave_the_same(tmp_path: Path) -> None:
    papers = [SAMPLES / name for name in ("zhang2023_calibration.pdf", "tanabe2022_forgetting.pdf", "library.bib")]
    left = []
    for sequential in (True, False):
        async with world(faults=EVERYTHING, seed=3) as made:
            folder = tmp_path / f"{sequential}"
            left.append(await made.run(folder, *papers, using=impatient(attempts=20), sequential=sequential))
            assert made.simulators["publisher"].faults.injected
    alone, together = left
    assert together.tables == alone.tables
    assert together.states == alone.states
    assert together.files() == alone.files()


async def test_killed_in_the_middle_and_started_again_it_leaves_the_same_tables(calm: Calm, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    async with world() as made:
        status = await killed(made, workspace)
        assert status == -9
        interrupted = made.calls
        ran = await made.run(workspace, SAMPLES)
        calls = made.calls
    assert sum(interrupted.values()) < sum(calm.calls.values())
    assert ran.tables == calm.ran.tables
    assert ran.states == calm.ran.states
    assert ran.files() == calm.ran.files()
    assert calls.keys() == calm.calls.keys()
    repeated = sum(calls.values()) - sum(calm.calls.values())
    assert 0 <= repeated <= AT_WORK


async def killed(made: World, workspace: Path) -> int:
    """Run the program on the samples, and kill it at its `KILL_AT`-th call to Crossref, before the answer."""
    crossref = made.simulators["crossref"]
    answer = crossref.answer
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamflow.cli", "run", "literature", str(SAMPLES), "-w", str(workspace), "--quiet"),
        env={**os.environ, **made.environment},
        stdout=asyncio.subprocess.DEVNULL,
    )

    def kill(call: Call, key: str) -> Reply:
        if crossref.calls.total() >= KILL_AT:
            program.kill()
        return answer(call, key)

    crossref.answer = kill  # type: ignore[method-assign]
    try:
        async with asyncio.timeout(PATIENCE):
            return await program.wait()
    finally:
        crossref.answer = answer  # type: ignore[method-assign]
        if program.returncode is None:
            program.kill()
            await program.wait()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("html=1", "not the JSON that was expected"),
        ("half=1", "ended early"),
        ("types=1", "not the JSON that was expected"),
        ("empty=1", "not the JSON that was expected"),
        ("reset=1", "broke off"),
        ("hang=1", "did not answer within"),
        ("503=1", "503"),
        ("400=1", "400"),
    ],
)
async def test_a_service_that_never_answers_well_costs_dead_letters_that_say_why(
    tmp_path: Path, fault: str, said: str
) -> None:
    known, other = catalogue().by_key["w0001"], catalogue().by_key["w0003"]
    bib = bibliography(tmp_path / "mine.bib", {"title": known.title, "year": str(known.year)}, {"title": other.title})
    async with world(faults={"crossref": fault}) as made:
        made.services["crossref"]["timeout"] = 0.2
        ran = await made.run(tmp_path / "workspace", bib, using=impatient(attempts=2))
    assert len(ran.dead) == 2
    assert all(key.startswith("enrich ") and said in error for key, error in ran.dead.items())
    assert ran.summary.error is None
    assert [table for table in TABLES if ran.rows(table)] == ["no_metadata"]


async def test_dead_letters_are_made_good_when_the_service_is_well_again(tmp_path: Path) -> None:
    from streamflow.storage import inspect

    work = catalogue().by_key["w0001"]
    bib = bibliography(tmp_path / "mine.bib", {"title": work.title, "doi": work.doi or ""})
    async with world(faults={"openalex": "html=1"}) as made:
        ran = await made.run(tmp_path / "workspace", bib, using=impatient(attempts=2))
        assert [key.split()[0] for key in ran.dead] == ["resolve"]
        assert inspect.requeue(ran.workspace) == {"resolve": 1}
        made.simulators["openalex"].adjust({"faults": ""})
        made.forget()
        ran = await made.run(tmp_path / "workspace", bib)
        assert not made.simulators["crossref"].calls, "only what failed is done again"
    assert ran.dead == {}
    assert len(ran.rows("downloaded_references")) == 1


async def test_refused_credentials_stop_the_run_and_cost_no_item(tmp_path: Path) -> None:
    work = catalogue().by_key["w0001"]
    bib = bibliography(tmp_path / "mine.bib", {"title": work.title, "doi": work.doi or ""})
    async with world(faults={"openalex": "401=1"}) as made:
        ran = await made.run(tmp_path / "workspace", bib)
        assert "openalex" in str(ran.summary.error)
        assert ran.dead == {}
        assert {stage for stage, _, state in ran.states if state == "pending"} == {"resolve"}
        made.simulators["openalex"].adjust({"faults": ""})
        ran = await made.run(tmp_path / "workspace", bib)
    assert len(ran.rows("downloaded_references")) == 1
