"""Where the pipeline's records come from: the user's PDFs, and the entries of the user's `.bib` files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import structlog
from anyio import to_thread

from stages.literature.records import Paper, Reference
from streamflow.engine.context import Context
from streamflow.sources.files import Inputs
from streamflow.sources.walk import FoundFile
from streamflow.storage.files import FileChanged, FileRefused
from streamflow.storage.within import is_symlink_in_the_way

log = structlog.get_logger("streamflow.literature")


async def papers(inputs: Inputs, *, context: Context) -> AsyncIterator[Paper | Reference]:
    """PDFs by the hash of their bytes, taken into the workspace; entries of `.bib` files as references.

    A file that cannot be read is told and passed over: the others go on. A workspace that cannot be written to
    raises OSError.
    """
    async with aclosing(inputs.files((".pdf", ".bib"))) as found:
        async for file in found:
            try:
                if file.name.lower().endswith(".bib"):
                    for reference in await _entries(file):
                        yield reference
                else:
                    stored = await context.files.ingest(file.path, within=file.folder)
                    yield Paper(paper=stored.sha256, paper_file=file.name, path=stored.path, size=stored.size)
            except (FileRefused, FileChanged, ValueError) as error:
                log.error("input_passed_over", path=str(file.path), reason=str(error))


async def _entries(file: FoundFile) -> tuple[Reference, ...]:
    # Imported where it is needed: a parser that most runs never use.
    from stages.literature.bibtex import LARGEST_FILE, read_bibliography

    data = await to_thread.run_sync(_read, file, LARGEST_FILE + 1)
    bibliography = await to_thread.run_sync(read_bibliography, data, file.name)
    if bibliography.broken:
        lines = ", ".join(map(str, bibliography.broken[:10]))
        log.warning(
            "entries_passed_over",
            path=str(file.path),
            reason=f"{len(bibliography.broken)} entries cannot be read; they begin at line {lines}",
        )
    return bibliography.references


def _read(found: FoundFile, at_most: int) -> bytes:
    """The beginning of a file of the user's. Raises FileRefused if it went away, or is not for us to read."""
    try:
        with found.open() as file:
            return file.read(at_most)
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise FileRefused(f"{found.path} cannot be read: {error.strerror}.") from error
    except OSError as error:
        if is_symlink_in_the_way(error):
            raise FileRefused(f"There is a symlink in the place of {found.path}.") from error
        raise
