"""A paper of one page, written byte by byte: a PDF library would cost a hundred times as much a request."""

from __future__ import annotations

import textwrap
from functools import lru_cache

from stages.simulators.entry import Entry


@lru_cache(maxsize=4096)
def tiny_pdf(entry: Entry) -> bytes:
    """The same bytes for the same work, other bytes for every other. Letters beyond Windows-1252 are printed as `?`;
    the document's title has them all."""
    names = ", ".join(author.display for author in entry.authors)
    lines = [*textwrap.wrap(entry.title, 60), "", *textwrap.wrap(names, 80), "", f"{entry.venue} ({entry.year})"]
    lines += ["", f"This copy stands for the paper {entry.key} of an invented catalogue."]
    content = b"BT /F1 12 Tf 72 740 Td 16 TL\n"
    content += b"".join(b"(" + _escape(line.encode("cp1252", "replace")) + b") Tj T*\n" for line in lines) + b"ET"
    title = b"<FEFF" + entry.title.encode("utf-16-be").hex().upper().encode() + b">"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Title %s /Producer (streamflow) >>" % title,
    )
    body = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, value in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, value)
    table = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    body += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    body += b"trailer\n<< /Size %d /Root 1 0 R /Info 6 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(body)


def _escape(text: bytes) -> bytes:
    return text.replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")
