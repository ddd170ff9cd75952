"""Is a downloaded file a whole PDF?

A structural check, in a few reads: header, end mark, and the catalogue of pages, named at the end or in the
cross-reference section that the end points to. That finds truncated files, pages in disguise and garbage. Not a full
parse: a native parser must not see strangers' bytes in the engine's own process, where a crash would end the run;
whoever reads the paper later does that in a process with limits. ISO 32000-1, 7.5.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from streamflow.errors import PermanentError

_HEAD, _TAIL, _SECTION = 1024, 4096, 65536
_START = re.compile(rb"startxref\s{1,8}(\d{1,15})\s")
_OBJECT = re.compile(rb"\s{0,8}\d{1,10}\s{1,4}\d{1,5}\s{1,4}obj\b")
_ROOT = re.compile(rb"/Root\s{0,8}(\d{1,10})\s{1,8}\d{1,5}\s{1,8}R\b")


class BrokenPdf(PermanentError):
    """The file begins like a PDF and is none, or is not whole."""


def check_pdf(path: Path) -> None:
    """Raise `BrokenPdf` unless the file is a whole PDF. Blocks; reads at most 70 KB."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        head = _read(file, 0, _HEAD)
        header = head.find(b"%PDF-")
        if header < 0:
            raise BrokenPdf("it does not begin with %PDF-")
        tail = _read(file, max(0, size - _TAIL), _TAIL)
        found = list(_START.finditer(tail))
        if not found or b"%%EOF" not in tail[found[-1].start() :]:
            raise BrokenPdf("its end is missing, the file was cut off")
        # Offsets count from the header, though many programs count from the start of the file. A wrong one is no
        # reason to refuse a file that has its catalogue at the end: readers mend that.
        start = min(int(found[-1].group(1)), size)
        if not _ROOT.search(tail) and not any(_is_section(file, base + start) for base in (header, 0)):
            raise BrokenPdf("it names no catalogue of pages")


def _is_section(file: BinaryIO, offset: int) -> bool:
    """Whether a cross-reference section with a catalogue lies there."""
    section = _read(file, offset, _SECTION)
    return (section.lstrip()[:4] == b"xref" or _OBJECT.match(section) is not None) and _ROOT.search(section) is not None


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
