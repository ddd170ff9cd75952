"""Moving files out of a watched folder once they are done with: into `processed`, or into `failed` with the reason.

A file is linked to its new place before its old name goes, so there is no moment without it, and a move that was cut
short is found half done and finished. Nothing is overwritten: a name that is taken gets a short hash of the content.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

from streamflow.errors import UsageError
from streamflow.sources.walk import FileStat, FoundFile, file_stat
from streamflow.storage.within import folder_within

log = structlog.get_logger("streamflow.sources")

REASON = ".reason.txt"
"""Ends the name of the text beside a failed file."""
_LONGEST_NAME = 255
"""Bytes, on nearly every file system."""
_CANNOT_LINK = {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
_HASHES = (8, 64)


class Filing:
    """Where the files of a watched folder go. A place that is None is not wanted: such files stay.

    Places are folders, seen from the watched folder. Raises UsageError for one that cannot be used.
    """

    def __init__(self, folder: Path, processed: str | None, failed: str | None) -> None:
        self._folder = folder
        self.processed = self._place(processed, "processed")
        self.failed = self._place(failed, "failed")
        if self.processed is not None and self.processed == self.failed:
            raise UsageError("[watch] processed and failed are the same folder; name two.")

    @property
    def places(self) -> tuple[Path, ...]:
        return tuple(place for place in (self.processed, self.failed) if place is not None)

    def _place(self, given: str | None, setting: str) -> Path | None:
        if given is None:
            return None
        place = self._folder / Path(given).expanduser()
        try:
            place.mkdir(parents=True, exist_ok=True)
            place = place.resolve(strict=True)
            if place == self._folder or self._folder.is_relative_to(place):
                raise UsageError(f"[watch] {setting} = {given!r} holds the watched folder; name another folder.")
            if place.stat().st_dev != self._folder.stat().st_dev:
                raise UsageError(
                    f"[watch] {setting} = {given!r} is on another file system than the watched folder, so files cannot "
                    "be moved there at once; name a folder on the same one."
                )
        except OSError as error:
            raise UsageError(f"[watch] {setting} = {given!r} cannot be used: {error.strerror}.") from error
        return place

    def move(self, found: FoundFile, reason: str | None) -> None:
        """Move a file to its place: into `failed` where there is a reason. Blocks.

        One that is gone or has changed since it was found stays: it comes again. Raises OSError.
        """
        place = self.processed if reason is None else self.failed
        if place is None:
            return
        *folders, name = found.path.relative_to(self._folder).parts
        # Below the watched folder, others may write: no part of the way may be a symlink, not even a new one.
        inside = place.is_relative_to(self._folder)
        root, parts = (self._folder, place.relative_to(self._folder).parts) if inside else (place, ())
        try:
            with (
                folder_within(self._folder, folders) as source,
                folder_within(root, (*parts, *folders), make=True) as target,
            ):
                if _is_as_found(name, source, found.stat):
                    _move(name, source, target, found.stat, reason)
        except FileNotFoundError:
            return


def _is_as_found(name: str, folder: int, found: FileStat | None) -> bool:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return stat.S_ISREG(status.st_mode) and (found is None or file_stat(status) == found)


def _move(name: str, source: int, target: int, found: FileStat | None, reason: str | None) -> None:
    for free in _names(name, source, is_failed=reason is not None):
        if reason is not None and _is_folder(f"{free}{REASON}", target):
            continue
        if _exists(free, target):
            if not _is_same(free, target, name, source):
                continue
        elif not _link(name, source, free, target):
            _give_reason(free, target, reason)
            os.rename(name, free, src_dir_fd=source, dst_dir_fd=target)
            os.fsync(target)
            return
        try:
            _give_reason(free, target, reason)
        except OSError:
            if _is_one(free, target, name, source):
                os.unlink(free, dir_fd=target)  # it stays where it was, and there only
            raise
        os.fsync(target)
        if _is_as_found(name, source, found):
            os.unlink(name, dir_fd=source)
        elif _is_one(free, target, name, source):
            os.unlink(free, dir_fd=target)  # somebody wrote to it meanwhile: the new content has not been worked on
        return
    raise FileExistsError(errno.EEXIST, "every name for it is taken", name)


def _link(name: str, source: int, free: str, target: int) -> bool:
    """Link a file to its new place; False where links cannot be made. Raises OSError."""
    try:
        os.link(name, free, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


def _is_one(free: str, target: int, name: str, source: int) -> bool:
    there = os.stat(free, dir_fd=target, follow_symlinks=False)
    return os.path.samestat(there, os.stat(name, dir_fd=source, follow_symlinks=False))


def _is_same(free: str, target: int, name: str, source: int) -> bool:
    """Whether what lies there is this file already, by a move that was cut short, or holds the same bytes."""
    if _is_one(free, target, name, source):
        return True
    there = os.stat(free, dir_fd=target, follow_symlinks=False)
    here = os.stat(name, dir_fd=source, follow_symlinks=False)
    if not stat.S_ISREG(there.st_mode) or there.st_size != here.st_size:
        return False
    return _digest(free, target) == _digest(name, source)


def _names(name: str, folder: int, *, is_failed: bool) -> Iterator[str]:
    """The names to try, with room for that of the reason. The content is read only when the first is taken."""
    room = _LONGEST_NAME - (len(REASON) if is_failed else 0)
    yield _fitting(name, "", room)
    digest = _digest(name, folder)
    for length in _HASHES:
        yield _fitting(name, f"-{digest[:length]}", room)


def _fitting(name: str, mark: str, room: int) -> str:
    """The name with a mark before its ending, its stem cut to fit into so many bytes."""
    stem, ending = os.path.splitext(name)
    tail = os.fsencode(mark + ending)
    start = os.fsencode(stem)
    if len(start) + len(tail) > room:
        start = start[: max(1, room - len(tail))]
        while len(start) > 1 and _is_cut(start):
            start = start[:-1]
    return os.fsdecode(start + tail)


def _is_cut(text: bytes) -> bool:
    """Whether the bytes end within a character of UTF-8, as far as they are that."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte & 0xC0 != 0x80:
            return byte >= 0xC0 and back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    return False


def _digest(name: str, folder: int) -> str:
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_folder(name: str, folder: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _give_reason(name: str, folder: int, reason: str | None) -> None:
    """Write the reason beside a file, whole or not at all."""
    if reason is None:
        return
    text = "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in reason)
    partial = f".{hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(partial, flags, 0o666, dir_fd=folder)
    try:
        with open(opened, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(opened)
        os.replace(partial, f"{name}{REASON}", src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(partial, dir_fd=folder)
        raise
