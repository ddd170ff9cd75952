"""The SQLite store: opening, journal pages. Writing is in `writer`, reading by other processes in
`inspect`.

WAL with `synchronous=FULL`: a commit that returned survives a power cut. With NORMAL it survives the process's end.

At the start the database must be usable at once, or it is refused with what to do. From then on a full disk and another
program's lock are waited out (`patience`).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import aiosqlite
import structlog

from streamflow.errors import (
    DatabaseDamaged,
    JournalMismatch,
    RecordError,
    WorkspaceError,
)
from streamflow.record import Key, RecordType
from streamflow.storage import cache, seal
from streamflow.storage.cache import CachedAnswer, CacheWriter
from streamflow.storage.inflight import InFlight, left_in_flight
from streamflow.storage.journal import MERGING, Epoch, Journal, is_as_admitted, merging
from streamflow.storage.parents import Parents
from streamflow.storage.patience import Patience
from streamflow.storage.presence import Presence
from streamflow.storage.recall import bring_back, chosen
from streamflow.storage.retention import LOOK, forget
from streamflow.storage.schema import COLUMNS, KEPT, make_tables, migrate, refusal, refuse_no_files, version_of
from streamflow.storage.selection import Selection, page, requeue
from streamflow.storage.stamps import Stamps
from streamflow.storage.store import CaughtUp, Completion, Counts, Difference, Item, Opened, Plan, State, counted
from streamflow.storage.suspects import Verdict, judge
from streamflow.storage.tables import Table, to_text
from streamflow.storage.trouble import Trouble, advice
from streamflow.storage.upkeep import REFRESH_OWED, Takers, begin_epoch, fill, filled, redo, retract
from streamflow.storage.writer import META, TRANSACTION, WriteConnection, Writer, transaction

PAGE = 2_000
"""Rows of a table that are read at once: no read transaction lasts long, and the loop goes on between two."""

LOG_LIMIT = 16 * 2**20
"""Bytes to which SQLite's log of writes is cut when it has become longer. At every 1,000 pages (4 MB) it is taken in,
and begun anew, as far as no reader needs it: ours are done within a second; while another program reads, it grows."""

# An attempt that began in the future began before the clock was set back: what it is to wait for cannot be told, and is
# not to be a day. The index of a stage would give its items by key, to be sorted anew for each page: hence the plus.
PENDING = (
    "SELECT id, record, attempts, CASE WHEN due > ? AND started > ? THEN ? ELSE due END FROM streamflow_items "
    "WHERE id > ? AND id <= ? AND +stage = ? AND state = 'pending' ORDER BY id LIMIT ?"
)

_SLICE = 1.0
"""Seconds that SQLite waits for another's lock in one call: between two of them a run can be stopped."""

_SUSPECT = "SELECT stage, id, record, attempts, due FROM streamflow_items WHERE id = ?"
log = structlog.get_logger("streamflow.storage")


class SqliteStore:
    """See the module's text. One per workspace, held by the process that holds the workspace's lock.

    `busy_timeout` is how long another's lock may last at the start, in seconds.
    """

    durable = True

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout: float = 60.0,
        patience: Patience | None = None,
    ) -> None:
        self._path = path
        self._flight_path = path.with_suffix(".inflight")
        self._in_flight: InFlight | None = None
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._patience = patience if patience is not None else Patience(path.parent)
        self._stack = AsyncExitStack()
        self._stages: Mapping[str, tuple[RecordType, int]] = {}
        self.resume_to = 0
        self.identity = ""
        self._cache = CacheWriter()
        self._refresh = False  # of the next epoch
        self._presence: Presence | None = None
        self._is_sound = False  # once it is closed: nothing failed that was to be written

    async def open(
        self, plan: Plan, *, refresh: bool = False, stale: bool = False, requeue: Selection | None = None
    ) -> Opened:
        refuse_no_files(self._path)
        try:
            # aiosqlite does not wait for its thread when it cannot connect.
            await asyncio.to_thread(lambda: sqlite3.connect(self._path).close())
        except sqlite3.Error as error:
            raise refusal(self._path, error) from error
        await asyncio.to_thread(seal.check, self._path)
        connection = await aiosqlite.connect(
            self._path, isolation_level=None, timeout=self._busy_timeout, factory=WriteConnection
        )
        self._stack.push_async_callback(connection.close)
        try:
            return await self._prepare(connection, plan, refresh, stale, requeue)
        except sqlite3.DatabaseError as error:
            await self._stack.aclose()
            raise refusal(self._path, error) from error
        except BaseException:
            await self._stack.aclose()
            raise

    async def _prepare(
        self, connection: aiosqlite.Connection, plan: Plan, refresh: bool, stale: bool, wanted: Selection | None
    ) -> Opened:
        self._connection = connection
        self._stages = plan.stages
        version = await version_of(connection, self._path)  # first: a database that is refused stays as it is
        if not version:
            # So that free pages can be given back to the disk, some at a time. Not possible later on.
            await connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        await connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        # No temporary files: the disk that they would lie on may be another, and full while the workspace's has room.
        await connection.execute("PRAGMA temp_store = MEMORY")
        await migrate(connection, version)
        meta: dict[str, str] = dict(await connection.execute_fetchall("SELECT * FROM streamflow_meta"))  # type: ignore[arg-type]
        owner = meta.setdefault("pipeline", plan.pipeline)
        if owner != plan.pipeline:
            raise WorkspaceError(
                f"{self._path} belongs to the pipeline {owner!r}, not {plan.pipeline!r}; use another workspace"
            )
        letters = (
            [] if wanted is None else await chosen(connection, wanted, plan.stages)
        )  # not what is set aside only now
        verdict = await self._judge()
        pending = await self._pending_counts()
        if pending:
            await asyncio.to_thread(self._check_pending, json.loads(meta.get(MERGING, "[]")))
        # Only now: a pipeline that is refused leaves the tables of another as they were.
        tables = {kind.table: Table(kind) for kind in plan.tables if kind.table}
        await make_tables(connection, list(tables.values()))
        requeued: Counter[str] = Counter()
        if letters:
            back = partial(bring_back, letters=letters, stages=plan.stages, counts=requeued)
            await connection.execute(TRANSACTION, (back,))
            pending = await self._pending_counts()
        changed = meta.get("changed") == "1"
        takers = Takers.read(meta, plan.stages, plan.produced)
        by_name = {kind.name: tables[kind.table] for kind in plan.tables if kind.table}
        (top,) = await _one(connection, "SELECT coalesce(max(id), 0) FROM streamflow_items")
        self.resume_to = top
        journal = Journal(
            plan.stages,
            tables,
            Parents(
                by_name,
                {kind: takers.of(kind) for kind in takers.ever.values()},
                {*by_name, *(kind.name for kind, _ in plan.stages.values())},
            ),
            plan.produced,
            Epoch(int(meta.get("epoch", "0")), meta.get("epoch_started", ""), meta.get("refresh") == "1"),
            Stamps(int(meta.get("stamp", "0"))),
            top + 1,
        )
        self.identity = meta.get("identity") or secrets.token_hex(16)
        named = [
            ("pipeline", plan.pipeline),
            ("identity", self.identity),
            (MERGING, merging(meta, plan.stages)),
            (COLUMNS, json.dumps({table.name: table.columns for table in tables.values()})),
        ]
        await connection.executemany(META, [*named, *takers.meta(list(plan.stages))])
        for stage in pending:
            await connection.execute(
                "UPDATE streamflow_items SET version = :version "
                "WHERE stage = :stage AND state = 'pending' AND version <> :version",
                {"stage": stage, "version": plan.stages[stage][1]},
            )
        # An unfinished run goes on in its epoch, so that what it admitted is not admitted again. A refresh that was
        # stopped goes on as one, asked for again or not: else half of the records would stay old.
        is_unfinished = bool(pending or changed) and journal.epoch.number > 0
        is_refreshing = is_unfinished and journal.epoch.refresh
        refresh = refresh or meta.get(REFRESH_OWED) == "1"
        is_wanted = stale or not is_unfinished or (refresh and not is_refreshing)
        self._refresh = refresh or is_refreshing
        if is_wanted and pending:
            await connection.execute(META, (REFRESH_OWED, str(int(self._refresh))))
        elif is_wanted:
            await connection.execute(TRANSACTION, (self._begin_epoch(journal),))
            changed = changed or self._refresh
        behind = is_wanted and bool(pending)
        self._refresh = self._refresh and behind  # else it has begun: epochs after it are none
        await connection.execute(f"PRAGMA busy_timeout = {int(1000 * min(self._busy_timeout, _SLICE))}")
        self._presence = Presence(self._path)
        self._writer = Writer(connection, journal, owes_change=not changed, patience=self._patience)
        self._takers, self._unfilled, self._stale = takers, list(takers.unfilled), stale
        task = asyncio.create_task(self._writer.run(), name="streamflow writer")
        self._stack.push_async_callback(self._stop_writer, task)
        rows = [await _one(connection, _SUSPECT, number) for number in verdict.suspects]
        suspects = [self._item(stage, tuple(row)) for stage, *row in rows]
        return Opened(
            pending,
            changed,
            verdict.in_flight,
            suspects,
            verdict.set_aside,
            behind=behind,
            lacking=takers.lacking,
            requeued=requeued,
        )

    async def _judge(self) -> Verdict:
        left = await asyncio.to_thread(left_in_flight, self._flight_path)
        verdicts: list[Verdict] = []
        await self._connection.execute(TRANSACTION, (lambda connection: verdicts.append(judge(connection, left)),))
        self._run = verdicts[0].run
        return verdicts[0]

    def _begin_epoch(self, journal: Journal) -> Callable[[sqlite3.Connection], None]:
        def begin(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                epoch = begin_epoch(connection, journal, refresh=self._refresh)
            journal.stamps.committed()
            journal.epoch = epoch

        return begin

    async def renew(self) -> None:
        journal = self._writer.journal
        journal.epoch = await self._writer.transact(
            partial(begin_epoch, journal=journal, refresh=self._refresh), is_seen=False
        )
        self._refresh = False

    async def catch_up(self, stage: str) -> CaughtUp:
        caught = CaughtUp()
        kind, _ = self._stages[stage]
        siblings = [sibling for sibling in self._takers.of(kind.name) if sibling != stage]
        if stage in self._unfilled:
            caught = await fill(self._writer, stage, siblings)
            self._unfilled.remove(stage)
            await filled(self._writer, self._unfilled)
        if self._stale:
            done = await redo(self._writer, stage, siblings)
            caught = replace(caught, items=caught.items + done.items, pruned=caught.pruned + done.pruned)
        self.resume_from_here()
        return caught

    async def prune(self, before: float) -> int:
        total = after = 0
        while rows := await self._read(LOOK, (before, after)):
            # Read before the transaction, as in `requeue`.
            if ids := [number for number, is_old in rows if is_old]:
                change = partial(forget, ids=ids, before=before)
                total += (await self._writer.transact(change, is_seen=False)).count
            after = rows[-1][0]
        return total

    async def retract(self) -> int:
        return await retract(self._writer)

    async def _pending_counts(self) -> dict[str, int]:
        rows = await self._connection.execute_fetchall(
            "SELECT stage, count(*) FROM streamflow_items WHERE state = 'pending' GROUP BY stage"
        )
        pending: dict[str, int] = dict(rows)  # type: ignore[arg-type]
        if unknown := sorted(set(pending) - set(self._stages)):
            raise JournalMismatch(
                f"{pending[unknown[0]]} pending items belong to the stage {unknown[0]!r}, which the pipeline no longer "
                f"has; move them with `streamflow journal move --stage {unknown[0]} --to STAGE` or drop them with "
                f"`streamflow journal drop --stage {unknown[0]}`"
            )
        return pending

    def _check_pending(self, merging: Sequence[Sequence[str]]) -> None:
        """Read every pending record, so that one that is damaged, or no longer fits, stops the start and not the middle
        of a run."""
        with closing(self._reading(self._busy_timeout)) as connection:
            for stage, hashed, *row in connection.execute(
                "SELECT stage, hash, id, record, attempts, due FROM streamflow_items WHERE state = 'pending'"
            ):
                is_known = stage in self._stages  # else it differs from the index, by which they were counted
                if not is_known or (merging and not is_as_admitted(row[1].encode(), hashed, merging)):
                    raise DatabaseDamaged(
                        f"a pending item of the stage {stage!r} in {self._path} is not as it was admitted; "
                        f"{advice(Trouble.DAMAGED, self._path.parent)}"
                    )
                self._item(stage, tuple(row))

    async def _stop_writer(self, task: asyncio.Task[None]) -> None:
        self._writer.stop()
        (error,) = await asyncio.gather(task, return_exceptions=True)
        self._is_sound = error is None

    def finish(self, item: Item, child: Item | None) -> None:
        return None

    async def commit(self, completion: Completion) -> Sequence[Item]:
        return await self._writer.submit(completion)

    def in_flight(self, places: int) -> InFlight:
        try:
            self._in_flight = InFlight(places, self._flight_path, self._run)
        except OSError as error:
            log.warning("in_flight_file_missing", path=str(self._flight_path), reason=str(error))
            return InFlight(places)
        return self._in_flight

    def resume_from_here(self) -> None:
        self.resume_to = self._writer.journal.next_id - 1

    async def pending(self, stage: str, *, after: int, limit: int) -> Sequence[Item]:
        now = time.time()
        rows = await self._read(
            PENDING,
            (now, now, now, after, self.resume_to, stage, limit),
        )
        return [self._item(stage, row) for row in rows]

    async def due(self, stage: str, *, until: float, limit: int) -> Sequence[Item]:
        rows = await self._read(
            "SELECT id, record, attempts, due FROM streamflow_items "
            "WHERE stage = ? AND due <= ? AND state = 'pending' ORDER BY due LIMIT ?",
            (stage, until, limit),
        )
        return [self._item(stage, row) for row in rows]

    async def requeue(self, selection: Selection, *, after: int, limit: int, due: float) -> Sequence[int]:
        while found := await self._read(*page(selection, after=after, limit=limit)):
            ids = [number for number, _ in found]
            # Read before the transaction: it may be long, and nobody else may write meanwhile.
            if done := await self._writer.transact(partial(requeue, ids=ids, due=due), is_seen=False):
                return [number for number, _ in done]
            after = ids[-1]
        return ()

    async def states(self, items: Iterable[tuple[str, Key]]) -> Mapping[tuple[str, Key], tuple[State, str | None]]:
        by_stage: dict[str, dict[str, Key]] = {}
        for stage, key in items:
            by_stage.setdefault(stage, {})[to_text(str(key))] = key
        found: dict[tuple[str, Key], tuple[State, str | None]] = {}
        for stage, keys in by_stage.items():
            rows = await self._read(
                "SELECT key, state, error FROM streamflow_items "
                "WHERE stage = ? AND key IN (SELECT value FROM json_each(?))",
                (stage, json.dumps(list(keys))),
            )
            found |= {(stage, keys[key]): (State(state), error) for key, state, error in rows}
        return found

    async def counts(self) -> Mapping[str, Counts]:
        rows = await self._read("SELECT stage, state, count(*) FROM streamflow_items GROUP BY stage, state", ())
        return counted(rows, self._stages)

    async def rows(self, record_type: RecordType) -> Sequence[Any]:
        table = Table(record_type)
        # The store may not be open, as for an export: the table is then what the last run left, of another release.
        info = await self._read(f'PRAGMA table_info("{table.name}")', ())
        if not info:
            raise WorkspaceError(
                f"{self._path} has no table {table.name!r} yet: run the pipeline, which makes it for {record_type.name}"
            )
        table.check(info)
        present = {row[1] for row in info}
        records: list[Any] = []
        after: tuple[Any, ...] = ()
        while True:
            found = await self._read(table.select_page(present, is_first=not after), (*after, PAGE))
            records += map(table.record, found)
            if len(found) < PAGE:
                return records
            after = table.key(records[-1])

    @property
    def changes(self) -> int:
        return self._writer.commits

    async def finalized(self, changes: int) -> None:
        await self._writer.finalized(changes)

    async def keep(self, texts: Mapping[str, str]) -> None:
        rows = [(f"{KEPT}{name}", text) for name, text in texts.items()]
        await self._writer.attempt(lambda connection: connection.executemany(META, rows))

    async def kept(self, prefix: str) -> Mapping[str, str]:
        rows = await self._read("SELECT name, value FROM streamflow_meta", ())
        start = f"{KEPT}{prefix}"
        return {name.removeprefix(KEPT): text for name, text in rows if name.startswith(start)}

    async def cached(self, key: bytes) -> CachedAnswer | None:
        def fetch() -> CachedAnswer | None:
            with suppress(sqlite3.Error), closing(self._reading(_SLICE)) as connection:
                return cache.find(connection, key)
            return None

        return await asyncio.to_thread(fetch)

    async def cache(self, answers: Mapping[bytes, CachedAnswer], used: Collection[bytes], today: int) -> None:
        rows = await asyncio.to_thread(cache.packed, answers)
        await self._writer.attempt(partial(self._cache.write, rows=rows, used=used, today=today))

    def differences(self) -> Iterable[Difference]:
        found = self._writer.differences[:]
        del self._writer.differences[: len(found)]  # the connection's thread may have added some
        return found

    def lost(self) -> str | None:
        return None if self._presence is None else self._presence.lost()

    async def close(self) -> None:
        is_lost = self.lost() is not None
        presence, self._presence = self._presence, None  # what lies beside the database goes when it is closed
        await self._stack.aclose()
        if is_lost and presence is not None:
            presence.put_logs_aside()
        if self._in_flight is not None:
            self._in_flight.end()
            self._in_flight = None
        if self._is_sound and not is_lost:
            self._is_sound = False
            await asyncio.to_thread(seal.seal, self._path)

    async def _read(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows by a connection of their own: only the writer awaits the writer's connection."""

        def fetch() -> list[tuple[Any, ...]]:
            with closing(self._reading(_SLICE)) as connection:
                return connection.execute(sql, parameters).fetchall()

        return await self._patience.persist(lambda: asyncio.to_thread(fetch))

    def _reading(self, timeout: float) -> sqlite3.Connection:
        refuse_no_files(self._path)
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=min(self._busy_timeout, timeout))

    def _item(self, stage: str, row: tuple[Any, ...]) -> Item:
        number, encoded, attempts, due = row
        kind, _ = self._stages[stage]
        try:
            record = kind.decode(encoded.encode())
        except RecordError as error:
            raise JournalMismatch(
                f"a pending item of the stage {stage!r} cannot be read: {error}; give the new fields defaults, or drop "
                f"the items with `streamflow journal drop --stage {stage}`"
            ) from error
        item = Item(stage, record, kind.key_of(record), number, attempts)
        item.due = due
        return item


async def _one(connection: aiosqlite.Connection, sql: str, *parameters: Any) -> tuple[Any, ...]:
    (row,) = await connection.execute_fetchall(sql, parameters)
    return tuple(row)
