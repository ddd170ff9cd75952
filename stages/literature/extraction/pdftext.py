"""The words of a PDF page with their places, by pdfium.

Lengths are points (1/72 inch); x grows to the right, y downwards. Text that runs across the page's main direction,
such as a stamp in the margin, is left out.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.literature.extraction import glyphs
from stages.literature.extraction.inflation import largest_stream
from streamflow.errors import Reject, UsageError

MOST_BYTES = 512 * 2**20
MOST_GLYPHS = 60_000
"""On one page; a dense page of a journal has 8,000."""
MOST_LINKS = 2_000
LARGEST_STREAM = 256 * 2**20

_ACCENT_SLIP = 0.45
"""How far an accent's middle may lie from its letter's, in widths of the letter."""
_FAR = 250
"""How many glyphs before or after an accent its letter is looked for."""

_PASSWORD, _SECURITY = 4, 5  # FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY in fpdfview.h
_URI_ACTION = 3  # PDFACTION_URI in fpdf_doc.h


@dataclass(slots=True)
class Word:
    """Glyphs without a space between. `y` is the baseline; `glued`: no space before it in the page's own order."""

    text: str
    x0: float
    x1: float
    y: float
    size: float
    bold: bool
    glued: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A place on the page that leads to an address."""

    uri: str
    x0: float
    x1: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Page:
    """The words of one page in the page's own order, and its links. `index` counts from 0."""

    index: int
    words: list[Word]
    links: list[Link]


@dataclass(slots=True)
class _Glyph:
    text: str
    x0: float
    x1: float
    y: float
    style: tuple[float, int, bool]  # size, quarter turns, bold
    spaced: int  # a space stands before it: 2 drawn, 1 supposed by pdfium, 0 none


class Pdf:
    """An open document. Not safe for use by several threads: pdfium is not."""

    def __init__(self, document: Any, raw: Any) -> None:
        self._document = document
        self._raw = raw
        self.pages: int = len(document)

    def text(self, index: int) -> str:
        """A page's text in the page's own order: quick, without places. Empty for a page that cannot be read."""
        with self._textpage(index) as opened:
            if opened is None or not 0 < opened[1].count_chars() <= MOST_GLYPHS:
                return ""
            text: str = opened[1].get_text_range()
            cork = glyphs.is_cork(ord(sign) for sign in text if sign < " ")
            return "".join(
                sign if sign == "\n"
                else (cork and sign < " " and glyphs.nameless(ord(sign), cork=True))
                or glyphs.mended(ord(sign), drawn=sign not in "\r\n")
                for sign in text
            )  # fmt: skip

    def page(self, index: int) -> Page:
        """A page's words with their places. Without words for a page that cannot be read."""
        with self._textpage(index) as opened:
            if opened is None:
                return Page(index, [], [])
            page, textpage = opened
            found = _glyphs(self._raw, textpage.raw, min(textpage.count_chars(), MOST_GLYPHS))
            turn = Counter(glyph.style[1] for glyph in found).most_common(1)[0][0] if found else 0
            upright = [glyph for glyph in found if glyph.style[1] == turn]
            return Page(index, _words(_with_accents(upright)), _links(self._raw, self._document, page, turn))

    @contextmanager
    def _textpage(self, index: int) -> Iterator[tuple[Any, Any] | None]:
        from pypdfium2 import PdfiumError

        try:
            page = self._document[index]
            textpage = page.get_textpage()
        except PdfiumError:
            yield None
            return
        try:
            yield page, textpage
        finally:
            textpage.close()
            page.close()


@contextmanager
def opened(path: Path, name: str | None = None) -> Iterator[Pdf]:
    """Open a PDF for reading its text. `name` is what errors call it.

    Raises Reject for a file that is no PDF, is damaged, needs a password, is too large, or would unpack to more than
    `LARGEST_STREAM` bytes; UsageError where pypdfium2 is not installed.
    """
    try:
        import pypdfium2
        import pypdfium2.raw as raw
    except ImportError as error:
        raise UsageError(
            "reading PDFs needs pypdfium2, which is not installed: pip install 'streamflow-engine[literature]'"
        ) from error
    name = name or path.name
    look_over(path, name)
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (_PASSWORD, _SECURITY):
            raise Reject(
                f"{name} is encrypted and needs a password: save a copy without a password and add that"
            ) from error
        raise Reject(f"{name} is damaged or cut short, so that it cannot be opened as a PDF: fetch it again") from error
    try:
        yield Pdf(document, raw)
    finally:
        document.close()


def look_over(path: Path, name: str) -> None:
    """Raise Reject for a file that no reader should be given: no PDF, too large, or a decompression bomb. Blocks."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1024)  # readers accept "%PDF-" anywhere in there (ISO 32000-1, annex H)
    except OSError as error:
        raise Reject(f"{name} cannot be read ({error.strerror}): put the file back and retry") from error
    if not size:
        raise Reject(f"{name} is empty (0 bytes): fetch it again")
    if b"%PDF-" not in start:
        raise Reject(f"{name} is not a PDF: it does not begin with %PDF-; convert it, or fetch it again")
    if size > MOST_BYTES:
        raise Reject(f"{name} is larger than {MOST_BYTES >> 20} MiB: split it and add the part with the references")
    if largest_stream(path, LARGEST_STREAM) > LARGEST_STREAM:
        raise Reject(
            f"{name} unpacks to more than {LARGEST_STREAM >> 20} MiB in one piece, as a decompression bomb does: "
            "it was not opened; print it to a new PDF if you trust it"
        )


def _glyphs(raw: Any, textpage: Any, count: int) -> list[_Glyph]:
    """The glyphs of a page, turned so that the reader's lines run along x."""
    x, y, box, matrix = ctypes.c_double(), ctypes.c_double(), raw.FS_RECTF(), raw.FS_MATRIX()
    at_x, at_y, at_box, at_matrix = map(ctypes.byref, (x, y, box, matrix))
    name = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    styles: dict[int, tuple[float, int, bool]] = {}
    found: list[_Glyph] = []
    nameless: set[int] = set()  # text objects in fonts without a name, as TeX's bitmaps are
    odd: list[tuple[int, int]] = []  # their glyphs beyond ASCII: place in `found`, code
    spaced = 2
    for index in range(count):
        owner = raw.FPDFText_GetTextObject(textpage, index)
        code = raw.FPDFText_GetUnicode(textpage, index)
        text = glyphs.mended(code, drawn=bool(owner))
        if text == " " or not text:
            spaced = max(spaced, 0 if not text else 2 if owner else 1)
            continue
        if not raw.FPDFText_GetLooseCharBox(textpage, index, at_box):
            continue
        raw.FPDFText_GetCharOrigin(textpage, index, at_x, at_y)
        # Size, direction and font are those of the text object: asked once for each.
        key = ctypes.addressof(owner.contents) if owner else 0
        style = styles.get(key)
        if style is None or not owner:
            raw.FPDFText_GetMatrix(textpage, index, at_matrix)
            scale = math.sqrt(abs(matrix.a * matrix.d - matrix.b * matrix.c))
            turn = round(math.atan2(matrix.b, matrix.a) / (math.pi / 2)) % 4
            length = raw.FPDFText_GetFontInfo(textpage, index, name, len(name), ctypes.byref(flags))
            font = name.value.lower() if 0 < length <= len(name) else b""
            if not font and owner:
                nameless.add(key)
            bold = any(mark in font for mark in (b"bold", b"black", b"heavy", b"cmbx", b"-medi", b"medi-"))
            size = raw.FPDFText_GetFontSize(textpage, index) * scale
            style = styles[key] = (size if 0.5 < size < 500 else box.top - box.bottom, turn, bold)
        if style[1] == 0:
            place = (box.left, box.right, -y.value)
        elif style[1] == 1:
            place = (box.bottom, box.top, x.value)
        elif style[1] == 2:
            place = (-box.right, -box.left, y.value)
        else:
            place = (-box.top, -box.bottom, -x.value)
        if key in nameless and not 0x20 <= code < 0x7B:
            odd.append((len(found), code))
        found.append(_Glyph(text, *place, style, spaced))
        spaced = 0
    cork = glyphs.is_cork(code for _, code in odd)
    for at, code in odd:
        found[at].text = glyphs.nameless(code, cork=cork) or found[at].text
    return found


def _with_accents(found: list[_Glyph]) -> list[_Glyph]:
    """Accents drawn over a letter become one character with it.

    TeX draws the accent just before or after its letter; other programs draw all accents of a line after its letters.
    """
    gone: set[int] = set()
    for at, accent in enumerate(found):
        if not glyphs.is_accent(accent.text):
            continue
        middle, best = (accent.x0 + accent.x1) / 2, (_ACCENT_SLIP, -1, "")
        near = [*range(at + 1, min(at + 3, len(found))), *range(at - 1, max(-1, at - 3), -1)]
        far = [*range(at + 3, min(at + _FAR, len(found))), *range(at - 3, max(-1, at - _FAR), -1)]
        for places in (near, far):
            for place in places:
                letter = found[place]
                if abs(letter.y - accent.y) > 0.8 * letter.style[0] or not letter.text.isalpha() or place in gone:
                    continue
                away = abs((letter.x0 + letter.x1) / 2 - middle) / (letter.x1 - letter.x0 + 0.1)
                whole = glyphs.accented(letter.text, accent.text) if away < best[0] else None
                if whole:
                    best = (away, place, whole)
            if best[1] >= 0:
                break
        if best[1] >= 0:
            gone.add(at)
            found[best[1]].text = best[2]
            if best[1] == at + 1:
                found[at + 1].spaced = accent.spaced
    return [glyph for at, glyph in enumerate(found) if at not in gone]


def _words(found: list[_Glyph]) -> list[Word]:
    words: list[Word] = []
    for glyph in found:
        size, _, bold = glyph.style
        word = words[-1] if words else None
        supposed = glyph.spaced == 1 and word is not None and abs(glyph.x0 - word.x1) < 0.08 * size
        if word is not None and (not glyph.spaced or supposed):
            near = -0.6 * size <= glyph.x0 - word.x1 <= 0.5 * size and abs(glyph.y - word.y) < 1.2 * size
            alike = abs(glyph.y - word.y) < 0.12 * size and abs(size - word.size) < 0.15 * size
            if near and alike:
                word.text += glyph.text
                word.x1 = max(word.x1, glyph.x1)
                word.bold = word.bold and bold
                continue
        else:
            near = False
        words.append(Word(glyph.text, glyph.x0, glyph.x1, glyph.y, size, bold, glued=near))
    return words


def _links(raw: Any, document: Any, page: Any, turn: int) -> list[Link]:
    found: list[Link] = []
    position, link, box = ctypes.c_int(0), raw.FPDF_LINK(), raw.FS_RECTF()
    buffer = ctypes.create_string_buffer(2048)
    for _ in range(MOST_LINKS):
        if turn or not raw.FPDFLink_Enumerate(page, ctypes.byref(position), ctypes.byref(link)):
            break
        action = raw.FPDFLink_GetAction(link)
        if not action or raw.FPDFAction_GetType(action) != _URI_ACTION:
            continue
        length = raw.FPDFAction_GetURIPath(document, action, buffer, len(buffer))
        if 0 < length <= len(buffer) and raw.FPDFLink_GetAnnotRect(link, ctypes.byref(box)):
            uri = buffer.value.decode("utf-8", "replace")
            found.append(Link(uri, box.left, box.right, -box.top, -box.bottom))
    return found
