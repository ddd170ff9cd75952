"""How large the packed parts of a PDF become, found without keeping them: a guard against decompression bombs."""

from __future__ import annotations

import mmap
import re
import zlib
from pathlib import Path

# Deflate packs at most 1032 : 1 (RFC 1951: 258 bytes in 2 bits), so short streams need no look.
_HIGHEST_RATIO = 1032
_CHUNK = 1 << 20
_MOST_STREAMS = 100_000
_STREAM = re.compile(rb"stream\r?\n")
_TWICE = re.compile(rb"/Fl(?:ateDecode)?[\s\x00]*/Fl")


def largest_stream(path: Path, cap: int) -> int:
    """The size in bytes of the largest deflated part once unpacked; counting ends soon after `cap`.

    Images are passed over, because reading text does not unpack them.
    """
    largest = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for count, found in enumerate(_STREAM.finditer(data)):
            start = found.end()
            before = data[max(0, found.start() - 600) : found.start()]
            header = before[before.rfind(b"obj") + 1 :]
            if b"endstream" in before[-9:] or b"/Fl" not in header or _is_image(header):
                continue
            end = data.find(b"endstream", start)
            length = (end if end >= 0 else len(data)) - start
            twice = _TWICE.search(header) is not None
            if not twice and length * _HIGHEST_RATIO <= cap:
                continue
            largest = max(largest, _inflated(data, start, length, cap, twice=twice))
            if largest > cap or count >= _MOST_STREAMS:
                break
    return largest


def _is_image(header: bytes) -> bool:
    return b"/Image" in header and b"/Type/Page" not in header


def _inflated(data: mmap.mmap, start: int, length: int, cap: int, *, twice: bool) -> int:
    outer, inner = zlib.decompressobj(), zlib.decompressobj()
    total = 0
    try:
        for offset in range(start, start + length, _CHUNK):
            pending = data[offset : min(offset + _CHUNK, start + length)]
            while pending and total <= cap:
                part = outer.decompress(pending, _CHUNK)
                pending = outer.unconsumed_tail
                while twice and part and total <= cap:
                    total += len(inner.decompress(part, _CHUNK))
                    part = inner.unconsumed_tail
                total += 0 if twice else len(part)
            if total > cap or outer.eof:
                break
    except zlib.error:
        pass  # damaged: what could be unpacked so far has been counted
    return total
