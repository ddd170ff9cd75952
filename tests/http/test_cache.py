"""What a run keeps of answers: known at once, saved a moment later, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from streamflow.errors import StorageError
from streamflow.http.cache import MOST_UNSAVED, SAVE_EVERY, Cache
from streamflow.storage.cache import CachedAnswer
from streamflow.testing.clock import run_virtual

DAY = 86_400.0


class Disk:
    """Keeps answers; a save takes `latency` seconds, and while `broken` it fails."""

    def __init__(self, latency: float = 0.01) -> None:
        self.answers: dict[bytes, CachedAnswer] = {}
        self.used: set[bytes] = set()
        self.latency = latency
        self.broken = False
        self.saves = 0

    async def cache(self, answers: Mapping[bytes, CachedAnswer], used: Collection[bytes], today: int) -> None:
        self.saves += 1
        await asyncio.sleep(self.latency)
        if self.broken:
            raise StorageError("the disk is full")
        self.answers |= answers
        self.used |= set(used)

    async def cached(self, key: bytes) -> CachedAnswer | None:
        return self.answers.get(key)


def keep(cache: Cache, key: bytes, body: bytes = b"{}") -> None:
    cache.keep(key, "api", {"etag": '"1"'}, body)


async def body_of(cache: Cache, key: bytes) -> bytes | None:
    found = await cache.find(key)
    return found.body if found else None


def test_an_answer_is_known_before_it_is_saved_and_saves_are_gathered() -> None:
    async def main() -> None:
        disk = Disk()
        cache = Cache(disk)
        async with cache.saving():
            for number in range(100):
                keep(cache, bytes([number]))
                await asyncio.sleep(SAVE_EVERY / 100)
            assert disk.saves <= 1
            assert await body_of(cache, b"\x05") == b"{}"
            await asyncio.sleep(2 * SAVE_EVERY)
            assert len(disk.answers) == 100
            assert await body_of(cache, b"\x05") == b"{}"
            await asyncio.sleep(60)
            assert disk.saves <= 2

    run_virtual(main())


def test_at_the_end_all_is_saved_at_once() -> None:
    async def main() -> None:
        disk = Disk()
        cache = Cache(disk)
        async with cache.saving():
            keep(cache, b"a")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < SAVE_EVERY / 2
        assert set(disk.answers) == {b"a"}

    run_virtual(main())


def test_what_is_kept_while_it_is_saved_stays() -> None:
    async def main() -> None:
        disk = Disk(latency=5)
        cache = Cache(disk)
        async with cache.saving():
            keep(cache, b"a", b"old")
            await asyncio.sleep(SAVE_EVERY + 1)
            keep(cache, b"a", b"new")
            await asyncio.sleep(5)
            assert disk.answers[b"a"].body == b"old"
            assert await body_of(cache, b"a") == b"new"
        assert disk.answers[b"a"].body == b"new"

    run_virtual(main())


def test_what_cannot_be_saved_is_let_go() -> None:
    async def main() -> None:
        disk = Disk()
        cache = Cache(disk)
        async with cache.saving():
            disk.broken = True
            keep(cache, b"a")
            await asyncio.sleep(5)
            assert await body_of(cache, b"a") is None
            disk.broken = False
            keep(cache, b"b")
        assert set(disk.answers) == {b"b"}

    run_virtual(main())


def test_what_waits_to_be_saved_is_bounded() -> None:
    async def main() -> None:
        disk = Disk(latency=100)
        cache = Cache(disk)
        async with cache.saving():
            for number in range(40):
                keep(cache, bytes([number]), bytes(MOST_UNSAVED // 16))
            keep(cache, b"\x00", b"smaller")
            known = [await body_of(cache, bytes([number])) for number in range(40)]
            assert sum(body is not None for body in known) == 16
            assert known[0] == b"smaller"
            await asyncio.sleep(200)
            keep(cache, b"later", bytes(MOST_UNSAVED))
        assert b"later" in disk.answers

    run_virtual(main())


def test_use_is_noted_once_a_day() -> None:
    async def main() -> None:
        disk = Disk()
        cache = Cache(disk, wall_clock=lambda: asyncio.get_running_loop().time())
        async with cache.saving():
            keep(cache, b"a")
            await asyncio.sleep(10)
            for _ in range(5):
                cache.used(b"a", disk.answers[b"a"])
                await asyncio.sleep(10)
            assert disk.saves == 1
            await asyncio.sleep(DAY)
            cache.used(b"a", disk.answers[b"a"])
        assert disk.used == {b"a"}

    run_virtual(main())


def test_outside_of_a_run_nothing_is_known_and_nothing_kept() -> None:
    async def main() -> None:
        disk = Disk()
        disk.answers[b"a"] = CachedAnswer("api", {}, b"{}", 1)
        cache = Cache(disk)
        keep(cache, b"b")
        assert await cache.find(b"a") is None
        async with cache.saving():
            assert await cache.find(b"a") is not None
        assert set(disk.answers) == {b"a"}

    run_virtual(main())
