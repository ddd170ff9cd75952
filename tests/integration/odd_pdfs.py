"""PDFs that are trouble, written byte by byte or with fpdf2."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

from fpdf import FPDF

MEBIBYTE = 2**20


def pdf(pages: Sequence[Sequence[str]], *, filler: int = 0) -> bytes:
    """A PDF of these lines of text, after `filler` pages that all show the same sentence."""
    body = _shown(["The drift of slow waves in layered media, told once more on this page."])
    contents = [body, *(_shown(lines) for lines in pages)]
    shown = [0] * filler + list(range(1, len(contents)))
    first_page = 4 + len(contents)
    resources = "/MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        _kids(range(first_page, first_page + len(shown))),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        *(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content) for content in contents),
        *(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {4 + index} 0 R >>".encode() for index in shown),
    ]
    return _written(objects)


def scanned() -> bytes:
    """A page that is one picture."""
    picture = zlib.compress(bytes(64 * 64))
    drawn = b"q 595 0 0 842 0 0 cm /Im Do Q"
    return _written(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            _kids([3]),
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
            b" /Resources << /XObject << /Im 5 0 R >> >> >>",
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
            b"<< /Type /XObject /Subtype /Image /Width 64 /Height 64 /ColorSpace /DeviceGray /BitsPerComponent 8"
            b" /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(picture), picture),
        ]
    )


def bomb(mebibytes: int) -> bytes:
    """A page whose content unpacks to so many MiB of spaces."""
    packer = zlib.compressobj(9)
    block = b" " * MEBIBYTE
    packed = b"".join(packer.compress(block) for _ in range(mebibytes)) + packer.flush()
    return _written(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            _kids([3]),
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>",
            b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(packed), packed),
        ]
    )


def encrypted() -> bytes:
    """A paper that wants a password."""
    document = FPDF()
    document.set_encryption(owner_password="owner", user_password="reader")
    document.add_page()
    document.set_font("Helvetica", size=12)
    document.cell(text="Nobody may read this.")
    written = io.BytesIO()
    document.output(written)
    return written.getvalue()


def _shown(lines: Sequence[str]) -> bytes:
    escaped = (line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in lines)
    text = "".join(f"({line}) Tj T*\n" for line in escaped)
    return f"BT /F1 10 Tf 60 780 Td 13 TL\n{text}ET".encode("cp1252")


def _kids(numbers: Sequence[int]) -> bytes:
    listed = " ".join(f"{number} 0 R" for number in numbers)
    return f"<< /Type /Pages /Kids [{listed}] /Count {len(numbers)} >>".encode()


def _written(objects: Sequence[bytes]) -> bytes:
    written = io.BytesIO()
    written.write(b"%PDF-1.4\n")
    offsets = []
    for number, value in enumerate(objects, start=1):
        offsets.append(written.tell())
        written.write(b"%d 0 obj\n%s\nendobj\n" % (number, value))
    table = written.tell()
    written.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    written.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    written.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))
    return written.getvalue()
