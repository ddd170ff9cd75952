"""A source's records are acknowledged after their commit, all of them, and never before."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamflow.engine.pipeline import Pipeline
from streamflow.engine.source import Source
from streamflow.engine.stage import Stage
from streamflow.errors import MissingResource, StageSignatureError
from streamflow.events import RecordRefused
from streamflow.sources.files import Inputs
from streamflow.storage.memory import MemoryStore
from streamflow.storage.sqlite import SqliteStore
from streamflow.storage.store import Completion, Item
from tests.engine.flows import Number, Result, flow, numbers, play


async def double(number: Number) -> Result:
    return Result(number.n, 2 * number.n)


class Watched(SqliteStore):
    """Notes what has been committed, and how large the groups were."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.admitted: list[Any] = []
        self.groups: list[int] = []

    async def commit(self, completion: Completion) -> Sequence[Item]:
        fresh = await super().commit(completion)
        if completion.item is None:
            self.admitted += [item.record for item in completion.children]
            self.groups.append(len(completion.children))
        return fresh


@pytest.mark.asyncio
@pytest.mark.parametrize("sequential", [False, True])
async def test_records_are_acknowledged_after_their_commit_in_their_order(tmp_path: Path, sequential: bool) -> None:
    store = Watched(tmp_path / "streamflow.db")
    acknowledged: list[Number] = []

    async def acknowledge(records: list[Number]) -> None:
        assert store.admitted[len(acknowledged) :] == records
        acknowledged.extend(records)

    source = Source(numbers(1000), acknowledge=acknowledge)
    await play(flow(Stage(double), sources=[source]), store, sequential=sequential)
    assert acknowledged == [Number(n) for n in range(1000)]
    assert sequential or max(store.groups) > 100, "a fast source is admitted in large groups"
    again = Watched(tmp_path / "streamflow.db")
    acknowledged.clear()
    store = again
    await play(flow(Stage(double), sources=[source]), again, sequential=sequential)
    assert acknowledged == [Number(n) for n in range(1000)], "what was known is acknowledged too"


@pytest.mark.asyncio
async def test_a_record_that_cannot_be_stored_is_not_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[Any] = []

    async def acknowledge(records: list[Number]) -> None:
        acknowledged.extend(records)

    async def given(inputs: Inputs) -> AsyncIterator[Number]:
        for n in (1, "no number", 3):
            yield Number(n)  # type: ignore[arg-type]

    source = Source(given, acknowledge=acknowledge)
    played = await play(flow(Stage(double), sources=[source]), SqliteStore(tmp_path / "streamflow.db"))
    assert acknowledged == [Number(1), Number(3)]
    assert len(played.told(RecordRefused)) == 1


@pytest.mark.asyncio
async def test_what_acknowledges_gets_resources_and_ends_the_run_when_it_fails() -> None:
    class Mailbox:
        async def __aenter__(self) -> Mailbox:
            return self

        async def __aexit__(self, *error: object) -> None:
            return None

    async def mark(records: list[Number], *, mailbox: Mailbox) -> None:
        assert mailbox is mine
        raise ConnectionError("the mailbox is gone")

    mark.__annotations__["mailbox"] = Mailbox
    mine = Mailbox()
    pipeline = flow(Stage(double), sources=[Source(numbers(3), acknowledge=mark)], resources=[Mailbox])
    with pytest.raises(ConnectionError):
        await play(pipeline, MemoryStore(), resources={Mailbox: mine})


def test_a_wrong_acknowledgement_is_refused_when_it_is_declared() -> None:
    async def nothing() -> None: ...

    async def two(records: list[Number], other: int) -> None: ...

    async def unknown(records: list[Number], *, reader: asyncio.Lock) -> None: ...

    def blocking(records: list[Number]) -> None: ...

    for wrong, words in ((nothing, "takes nothing"), (two, "'other'"), (blocking, "async def")):
        with pytest.raises(StageSignatureError, match=words):
            Source(numbers(1), acknowledge=wrong)  # type: ignore[arg-type]
    with pytest.raises(MissingResource, match="acknowledges for 'given'"):
        flow(Stage(double), sources=[Source(numbers(1), acknowledge=unknown)])


def test_a_source_has_its_functions_name_or_another(tmp_path: Path) -> None:
    pipeline = flow(Stage(double), sources=[Source(numbers(1), name="mailbox"), numbers(1)])
    assert [source.name for source in pipeline.all_sources] == ["mailbox", "given"]
    assert "mailbox([mailbox])" in pipeline.mermaid()
    assert isinstance(pipeline, Pipeline)


def test_a_process_that_is_killed_before_it_acknowledges_loses_no_mail(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    mailbox, workspace = tmp_path / "mailbox", tmp_path / "workspace"
    mailbox.mkdir()
    workspace.mkdir()
    for number in range(20):
        (mailbox / f"{number:02}").write_text(f"mail {number}")

    def mails() -> list[str]:
        with closing(sqlite3.connect(workspace / "streamflow.db")) as connection:
            return [row[0] for row in connection.execute("SELECT text FROM mails ORDER BY name")]

    command = [sys.executable, "-m", "tests.engine.mail", str(mailbox), str(workspace)]
    kills = 0
    for goes in (0, 1, 10**9):  # killed at its first group, at its second, never
        with subprocess.Popen(
            command, cwd=pytestconfig.rootpath, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for group, line in enumerate(process.stdout):
                named = line.split()[2:]
                committed = mails()
                assert all(f"mail {int(name)}" in committed for name in named), "acknowledged before its commit"
                if group == goes:
                    process.kill()
                    kills += 1
                    break
                process.stdin.write("\n")
                process.stdin.flush()
        left = {path.name for path in mailbox.iterdir()}
        assert left <= {f"{number:02}" for number in range(20)}
    assert kills >= 1
    assert mails() == [f"mail {number}" for number in range(20)]
    assert list(mailbox.iterdir()) == []
