"""The files that a user names: one by one, or by their folder.

A folder is walked (`walk`), or watched for files as they come (`watch`). A file that was named by itself is always
taken, whatever its name.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Protocol

from anyio import to_thread

from streamflow.errors import UsageError
from streamflow.sources.filing import Filing
from streamflow.sources.walk import FoundFile, has_suffix, walk
from streamflow.sources.watch import Pace, watch

_BATCH = 256


class Hand(Protocol):
    """Is told of each file that a source takes, and when the source asks for the next one."""

    def take(self, found: FoundFile) -> None: ...

    def done(self) -> None: ...


class Inputs:
    """What the command line named. Each source of a pipeline asks for the kinds of files that it reads.

    With `watching`, the one argument is a folder, and its files come as they become whole, without an end, at this
    `pace`; they may be moved to the folders `processed` and `failed` when what became of them has ended. `ignored` are
    folders to pass over.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        watching: bool = False,
        *,
        pace: Pace | None = None,
        processed: str | None = None,
        failed: str | None = None,
        ignored: Collection[Path] = (),
    ) -> None:
        self.arguments = tuple(arguments)
        self.watching = watching
        self.pace = pace or Pace()
        self._processed, self._failed = processed, failed
        self._filing: Filing | None = None
        self._hand: Hand | None = None
        self._places: dict[str, Path] = {}  # as they were at first: a stage may change the current folder
        self._ignored = frozenset(str(path.resolve()) for path in ignored)

    def check(self) -> None:
        """Look at the arguments before anything starts. Raises UsageError for one that cannot be read."""
        for argument in self.arguments:
            self._locate(argument)
        if self.watching and len(self.arguments) != 1:
            raise UsageError(f"watch takes one folder, {len(self.arguments)} were given.")
        self.filing()

    def filing(self) -> Filing | None:
        """Where the files of the watched folder are to be moved, if anywhere. Raises UsageError."""
        if self._filing is None and self.watching and (self._processed or self._failed):
            self._filing = Filing(self._locate(self.arguments[0]), self._processed, self._failed)
            self._ignored |= {str(place) for place in self._filing.places}
        return self._filing

    def in_hand_of(self, hand: Hand) -> Inputs:
        """The same for one source, with somebody who is told which file it has in hand."""
        inputs = copy(self)
        inputs._hand = hand
        return inputs

    async def files(self, suffixes: tuple[str, ...]) -> AsyncGenerator[FoundFile]:
        """The files with one of these suffixes (in any case; none given: all files)."""
        await to_thread.run_sync(self.check)
        for argument in self.arguments:
            async with aclosing(self._files(argument, suffixes)) as found:
                async for file in found:
                    yield file

    async def _files(self, argument: str, suffixes: tuple[str, ...]) -> AsyncGenerator[FoundFile]:
        path = await to_thread.run_sync(self._locate, argument)
        if self.watching:
            async with aclosing(watch(path, suffixes, self.pace, ignored=self._ignored)) as watched:
                async for file in watched:
                    if self._hand is not None:
                        self._hand.take(file)
                    yield file
                    if self._hand is not None:
                        self._hand.done()
        elif not await to_thread.run_sync(path.is_dir):
            if has_suffix(path.name, suffixes):
                yield FoundFile(path, os.path.basename(argument))
        else:
            walked = walk(str(path), suffixes, self._ignored)
            while batch := await to_thread.run_sync(lambda: list(islice(walked, _BATCH))):
                for name, _ in batch:
                    found = Path(name)
                    yield FoundFile(found, found.name, path)

    def _locate(self, argument: str) -> Path:
        """The real path of an argument: a symlink that the user named by itself is followed."""
        try:
            if argument not in self._places:
                self._places[argument] = Path(argument).expanduser().absolute()
            path = self._places[argument].resolve(strict=True)
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
