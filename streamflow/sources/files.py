"""The files that a user names: one by one, or by their folder.

Folders are walked to their depths in the order of names, so that two runs see the same order. Passed over are
hidden and temporary names, symlinks, and what a workspace that lies among the inputs made by itself (its
`files/` and `logs/`): else a run would read its own downloads. A file that was named by itself is always taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog
from anyio import to_thread

from streamflow.errors import UsageError
from streamflow.storage import DATABASE, lock

log = structlog.get_logger("streamflow.sources")

# Names under which browsers, editors, and copying and syncing tools keep what they have not finished.
PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".tmp", ".temp")
_TEMPORARY = re.compile(r"^[.#]|^~\$|~$|(?i:\.(?:part|partial|filepart|crdownload|download|opdownload|te?mp|swp)$)")
_WORKSPACE_MARKS = {DATABASE, lock.FILE_NAME}
_WORKSPACE_FOLDERS = {"files", "logs"}
_BATCH = 256


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the user's: `path` is absolute, `name` is its last part."""

    path: Path
    name: str


class Signature(NamedTuple):
    """What tells one state of a file from another without reading it. `mtime` is in nanoseconds."""

    size: int
    mtime: int
    inode: int


class Inputs:
    """What the command line named. Each source of a pipeline asks for the kinds of files that it reads.

    With `watching`, the one argument is a folder, and its files come as they become whole, without an end;
    `quiet`, `rescan` and `poll` are seconds (see `watch`). `ignored` are folders to pass over.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        watching: bool = False,
        *,
        quiet: float = 2.0,
        rescan: float = 60.0,
        poll: float | None = None,
        ignored: Collection[Path] = (),
    ) -> None:
        self.arguments = tuple(arguments)
        self.watching = watching
        self._quiet, self._rescan, self._poll = quiet, rescan, poll
        self._ignored = frozenset(str(path.resolve()) for path in ignored)
        self._used: set[str] = set()

    def check(self) -> None:
        """Look at the arguments before anything starts. Raises UsageError for one that cannot be read."""
        for argument in self.arguments:
            self._locate(argument)
        if self.watching and len(self.arguments) != 1:
            raise UsageError(f"watch takes one folder, {len(self.arguments)} were given.")

    def unused(self) -> list[str]:
        """The arguments in which no source has found anything to read; known once the sources have ended."""
        return [argument for argument in self.arguments if argument not in self._used]

    async def files(self, suffixes: tuple[str, ...]) -> AsyncGenerator[FoundFile]:
        """The files with one of these suffixes (in any case; none given: all files)."""
        await to_thread.run_sync(self.check)
        for argument in self.arguments:
            async with aclosing(self._files(argument, suffixes)) as found:
                async for file in found:
                    self._used.add(argument)
                    yield file

    async def _files(self, argument: str, suffixes: tuple[str, ...]) -> AsyncGenerator[FoundFile]:
        path = await to_thread.run_sync(self._locate, argument)
        if self.watching:
            from streamflow.sources.watch import watch

            watched = watch(
                path,
                suffixes,
                quiet=self._quiet,
                rescan=self._rescan,
                poll=self._poll,
                ignored=self._ignored,
            )
            async with aclosing(watched):
                async for file in watched:
                    yield file
        elif not await to_thread.run_sync(path.is_dir):
            if has_suffix(path.name, suffixes):
                yield FoundFile(path, os.path.basename(argument))
        else:
            walked = walk(str(path), suffixes, self._ignored)
            while batch := await to_thread.run_sync(lambda: list(islice(walked, _BATCH))):
                for name, _ in batch:
                    found = Path(name)
                    yield FoundFile(found, found.name)

    def _locate(self, argument: str) -> Path:
        """The real path of an argument: a symlink that the user named by itself is followed."""
        try:
            path = Path(argument).expanduser().resolve(strict=True)
            if path.is_dir():
                os.scandir(path).close()
        except FileNotFoundError as error:
            message = f"There is no file or folder {argument!r} (seen from {Path.cwd()}). Check the spelling."
            raise UsageError(message) from error
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"The input {argument!r} cannot be read: {reason}.") from error
        if self.watching and not path.is_dir():
            raise UsageError(f"{argument!r} is a file; watch takes a folder. For single files use run.")
        return path


def _warn(event: str, path: str, reason: str) -> None:
    log.warning(event, path=path, reason=reason)


def walk(
    folder: str,
    suffixes: tuple[str, ...],
    ignored: Collection[str] = (),
    warn: Callable[[str, str, str], None] = _warn,
) -> Iterator[tuple[str, Signature]]:
    """The files below a folder with their signatures, in the order of names. Blocks.

    What goes away midway or cannot be read is passed over with a warning; only the first folder raises OSError.
    """
    levels = [iter(_listing(folder))]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            continue
        try:
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                # One that stays within the folder is no loss: the walk comes to its target by itself.
                if not f"{target}{os.sep}".startswith(os.path.join(folder, "")):
                    warn("symlink_refused", entry.path, f"it leads out of the folder, to {target}")
            elif entry.is_dir(follow_symlinks=False):
                if entry.path not in ignored:
                    levels.append(iter(_listing(entry.path)))
            elif has_suffix(entry.name, suffixes) and entry.is_file(follow_symlinks=False):
                yield entry.path, signature(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue
        except OSError as error:
            warn("input_unreadable", entry.path, str(error.strerror))


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    return not suffixes or name.lower().endswith(suffixes)


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or not finished by the program that writes it."""
    return _TEMPORARY.search(name) is not None


def is_of_workspace(folder: str, inside: Sequence[str]) -> bool:
    """Whether the path of these parts below a folder is one that a workspace made by itself."""
    above = folder
    for part in inside:
        if part in _WORKSPACE_FOLDERS and any(os.path.lexists(os.path.join(above, m)) for m in _WORKSPACE_MARKS):
            return True
        above = os.path.join(above, part)
    return False


def signature(status: os.stat_result) -> Signature:
    return Signature(status.st_size, status.st_mtime_ns, status.st_ino)


def _listing(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if not is_passed_over(entry.name)), key=lambda e: e.name)
    if any(entry.name in _WORKSPACE_MARKS for entry in entries):
        entries = [entry for entry in entries if entry.name not in _WORKSPACE_FOLDERS]
    return entries
