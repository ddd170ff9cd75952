"""Files of a workspace: whole or not there at all.

Layout, below the root (`<workspace>/files`):

    sha256/ab/ab12…            bytes taken in from elsewhere, named by their hash
    any/relative/name.pdf      files that a stage wrote, under names the stage chose
    .streamflow-….part         a file being written; the next run's `sweep` removes those of a killed one

A file appears by rename, after its bytes are on the disk, and its folder is synced after that. So a name that
can be seen holds all of its bytes, after a power cut too.

Links and copies: a hard link shares its bytes with the user's file, and whoever edits that file in place
edits ours. `ingest` therefore copies (file systems that share blocks on copy, such as Btrfs and XFS, spend no
space on it) unless `link=True`, which is for inputs that are about to go away.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from anyio import to_thread

from streamflow.errors import StreamflowError, UsageError
from streamflow.failpoints import failpoint
from streamflow.storage.patience import Patience
from streamflow.storage.trouble import NO_ROOM
from streamflow.storage.within import is_symlink_in_the_way, open_within

T = TypeVar("T")

MAX_BYTES = 2 * 2**30
_CHUNK = 2**20
_TEMPORARY = re.compile(r"\.streamflow-[0-9a-f]{16}\.part")
# What no file system holds, or not every one: NUL, and surrogates, which are no UTF-8.
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}


class FileRefused(UsageError):
    """The file is missing, is no regular file, or is larger than the cap. Trying again does not help."""


class FileChanged(StreamflowError):
    """Somebody wrote to the file while it was read. Trying again later helps."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the workspace: `path` is relative to the workspace, with slashes; `size` is in bytes."""

    sha256: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class Writing:
    """A file being written: fill `path`, which is temporary. It will lie at `stored`, below the workspace."""

    path: Path
    stored: str


class FileStore:
    """The files below `root`, whose parent is the workspace. The root is made when it is first needed.

    A full disk is waited out by `ingest` and `write`; what the block of `writing` writes meets it as an OSError.
    """

    def __init__(self, root: Path, *, max_bytes: int = MAX_BYTES, patience: Patience | None = None) -> None:
        self.root = root.absolute()
        self.max_bytes = max_bytes
        self._patience = patience if patience is not None else Patience(self.root.parent)

    def locate(self, stored: str) -> Path:
        """The absolute path of a `StoredFile.path`. Raises ValueError when it leads out of the root."""
        head, _, name = stored.partition("/")
        if head != self.root.name:
            raise ValueError(f"{stored!r} does not lie in {self.root}")
        return self.root.joinpath(*_parts(name))

    async def ingest(
        self, path: Path, *, within: Path | None = None, link: bool = False, max_bytes: int | None = None
    ) -> StoredFile:
        """Take the bytes of `path` in, under their hash. Bytes that are there already are not written again.

        With `within`, a folder, no symlink on the way from there is followed.
        Raises `FileRefused` (missing, a symlink, no regular file, too large) and `FileChanged`.
        """
        cap = self.max_bytes if max_bytes is None else max_bytes
        return await self._patience.persist(lambda: in_thread(lambda stop: self._ingest(path, within, link, cap, stop)))

    async def write(self, name: str, data: bytes) -> StoredFile:
        """Write a whole file under a name relative to the root."""

        async def write() -> str:
            async with self.writing(name) as writing:
                await in_thread(lambda stop: writing.path.write_bytes(data))
            return writing.stored

        stored = await self._patience.persist(write)
        return StoredFile(hashlib.sha256(data).hexdigest(), len(data), stored)

    @asynccontextmanager
    async def writing(self, name: str) -> AsyncIterator[Writing]:
        """Write a file under a name relative to the root; it appears when the block ends without an error.

        Any text is a name: what cannot stand in a file name is escaped, `Writing.stored` says how. Raises
        ValueError for a name that is empty, absolute, or leads out of the root (also through a symlink).
        """
        parts = _parts(name)
        target = self.root.joinpath(*parts)
        temporary = target.with_name(_temporary_name())
        try:
            await in_thread(lambda stop: self._begin(target, temporary, stop))
            yield Writing(temporary, "/".join((self.root.name, *parts)))
            await in_thread(lambda stop: _publish(temporary, target, stop))
        except OSError as error:
            if error.errno in NO_ROOM and error.filename is None:
                error.filename = str(temporary)  # a write's error does not say whose disk is full
            raise
        finally:
            _discard(temporary)

    async def sweep(self) -> int:
        """Remove what a killed run left half-written. Only for the holder of the workspace's lock."""
        return await in_thread(self._sweep)

    def _begin(self, target: Path, temporary: Path, stop: threading.Event) -> None:
        self._make_folder(target.parent)
        os.close(_create(temporary))
        if stop.is_set():
            _discard(temporary)

    def _make_folder(self, folder: Path) -> None:
        """Make the folders down to `folder`, durably, refusing to pass through a symlink below the root."""
        if not self.root.is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
            _sync_folder(self.root.parent)
        here = self.root
        for part in folder.relative_to(self.root).parts:
            above, here = here, here / part
            if here.is_symlink():
                raise ValueError(f"{here} is a symlink; files are not written through one. Remove it.")
            with suppress(FileExistsError):
                here.mkdir()
                _sync_folder(above)

    def _ingest(self, path: Path, within: Path | None, link: bool, cap: int, stop: threading.Event) -> StoredFile:
        with _opened(path, within) as source:
            digest, size = _digest(source, path, cap, stop)
            target = self.root / "sha256" / digest[:2] / digest
            stored = StoredFile(digest, size, f"{self.root.name}/sha256/{digest[:2]}/{digest}")
            with suppress(OSError):
                known = target.stat(follow_symlinks=False)
                if stat.S_ISREG(known.st_mode) and known.st_size == size:
                    return stored
            self._make_folder(target.parent)
            temporary = target.with_name(_temporary_name())
            try:
                if not (link and _link(path, source, temporary)):
                    _copy(source, temporary, cap, stop)
                with _opened(temporary) as copy:
                    if _digest(copy, path, cap, stop) != (digest, size):
                        raise FileChanged(f"{path} changed while it was read. Wait until it is complete.")
                _publish(temporary, target, stop)
            finally:
                _discard(temporary)
        return stored

    def _sweep(self, stop: threading.Event) -> int:
        removed = 0
        folders = [(self.root, True), (self.root.parent, False)]
        while folders and not stop.is_set():
            folder, deep = folders.pop()
            try:
                entries = os.scandir(folder)
            except FileNotFoundError:
                continue
            with entries:
                for entry in entries:
                    if deep and entry.is_dir(follow_symlinks=False):
                        folders.append((Path(entry.path), True))
                    elif _TEMPORARY.fullmatch(entry.name):
                        _discard(Path(entry.path))
                        removed += 1
        return removed


def write_whole(path: Path, data: bytes) -> None:
    """Write a file anywhere, whole or not at all. Blocks; the folder must exist."""
    temporary = path.with_name(_temporary_name())
    try:
        with open(_create(temporary), "wb") as file:
            file.write(data)
        _publish(temporary, path, threading.Event())
    finally:
        _discard(temporary)


def _parts(name: str) -> tuple[str, ...]:
    clean = _UNWRITABLE.sub(lambda found: f"%u{ord(found[0]):04X}", name)
    parts = PurePosixPath(clean).parts
    if not parts or clean.startswith("/") or ".." in parts:
        raise ValueError(f"{name!r} is no name of a file below the root: it must be relative, without '..'")
    if _TEMPORARY.fullmatch(parts[-1]):
        raise ValueError(f"{name!r} is the name of a file being written")
    return parts


def _temporary_name() -> str:
    return f".streamflow-{secrets.token_hex(8)}.part"


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


@contextmanager
def _opened(path: Path, within: Path | None = None) -> Iterator[int]:
    """A descriptor of a regular file."""
    try:
        descriptor = open_within(path, within)
    except OSError as error:
        if within is not None and is_symlink_in_the_way(error):
            raise FileRefused(f"There is a symlink on the way from {within} to {path}.") from error
        if error.errno == errno.ELOOP:
            raise FileRefused(f"{path} is a symlink; give the file that it points to.") from error
        if error.errno in _TOO_MANY_OPEN:
            raise  # it passes: nobody is at fault for it but the process
        raise FileRefused(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileRefused(f"{path} is not a regular file.")
        yield descriptor
    finally:
        os.close(descriptor)


def _digest(source: int, path: Path, cap: int, stop: threading.Event) -> tuple[str, int]:
    """The hash and size of an open file. Raises `FileChanged` when it was written to meanwhile."""
    before = os.fstat(source)
    digest, size = hashlib.sha256(), 0
    while chunk := os.pread(source, _CHUNK, size):
        digest.update(chunk)
        size += len(chunk)
        _check(size, path, cap, stop)
    _check(size, path, cap, stop)
    after = os.fstat(source)
    if size != after.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FileChanged(f"{path} changed while it was read. Wait until it is complete.")
    return digest.hexdigest(), size


def _check(size: int, path: Path, cap: int, stop: threading.Event) -> None:
    if stop.is_set():
        raise InterruptedError
    if size > cap:
        raise FileRefused(f"{path} is larger than the {cap} bytes that are taken.")


def _link(path: Path, source: int, temporary: Path) -> bool:
    """Link `path`, if it still is the file that was read; False where links cannot be made."""
    try:
        os.link(path, temporary, follow_symlinks=False)
    except FileNotFoundError as error:
        raise FileChanged(f"{path} went away while it was read.") from error
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    if not os.path.samestat(os.fstat(source), os.stat(temporary, follow_symlinks=False)):
        raise FileChanged(f"{path} was replaced while it was read.")
    return True


def _copy(source: int, temporary: Path, cap: int, stop: threading.Event) -> None:
    """Copy in the kernel, which shares blocks where the file system can, else by reading and writing."""
    target = _create(temporary)
    try:
        offset = 0
        in_kernel = hasattr(os, "copy_file_range")
        while True:
            if in_kernel:
                try:
                    done = os.copy_file_range(source, target, 16 * _CHUNK, offset, offset)
                except OSError:
                    in_kernel = False
                    continue
            else:
                done = os.pwrite(target, os.pread(source, _CHUNK, offset), offset)
            if not done and in_kernel:  # the end, or a file system that does not say that it cannot
                in_kernel = False
                continue
            if not done:
                return
            offset += done
            _check(offset, temporary, cap, stop)
    finally:
        os.close(target)


def _publish(temporary: Path, target: Path, stop: threading.Event) -> None:
    failpoint("file-written")
    with _opened(temporary) as file:
        os.fsync(file)
    if stop.is_set():
        raise InterruptedError
    failpoint("before-rename")
    os.replace(temporary, target)
    failpoint("renamed")
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(temporary: Path) -> None:
    # Also after a rename that did something: renaming one hard link of a file onto another leaves both.
    with suppress(OSError):
        temporary.unlink()


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run `work` in a thread. When cancelled, tell it to stop and wait until it has cleaned up after itself.

    Also when cancelled again, as a run does that ends: nothing outlives the run, and the process could not end before
    the thread does.
    """
    stop = threading.Event()
    task = asyncio.ensure_future(to_thread.run_sync(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise
