"""Candidates are tried in turn until one is a whole PDF."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stages.literature.download import download
from stages.literature.pdfcheck import BrokenPdf, check_pdf
from stages.literature.records import Download, DownloadedPaper
from stages.services.publisher import Publisher
from streamflow.errors import Overloaded, Reject, TransientError
from tests.stages.services.serving import Server, context, serving


def pdf(text: bytes = b"ice", *, start: int | None = None, root: bytes = b"/Root 1 0 R", before: bytes = b"") -> bytes:
    """The smallest file with the parts that are checked."""
    body = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Note (" + text + b") >>\nendobj\n"
    table = b"xref\n0 2\n0000000000 65535 f \n0000000009 00000 n \ntrailer\n<< /Size 2 " + root + b" >>\n"
    end = b"startxref\n%d\n%%%%EOF\n" % (len(body) if start is None else start)
    return before + body + table + end


def sent(body: bytes, **more: Any) -> Any:
    return lambda: web.Response(body=body, content_type="application/pdf", **more)


HTML = sent(b"<!DOCTYPE html><html><body>Please sign in</body></html>")
GOOD = pdf()


def wanted(server: Server, *paths: str, work: str = "10.5555/abc") -> Download:
    urls = tuple(path if "://" in path else server.url + path for path in paths)
    return Download(work=work, doi=work, title="Slow cooling", first_author="Doe", year=2014, candidates=urls)


async def fetched(answers: dict[str, Any], workspace: Path, *paths: str) -> tuple[DownloadedPaper, Server]:
    async with serving(answers) as server, context(server, workspace) as made, Publisher(made) as publisher:
        return await download(wanted(server, *paths), publisher=publisher), server


def files(workspace: Path) -> list[str]:
    return sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file())


@pytest.mark.asyncio
async def test_a_good_copy_is_kept_under_a_name_for_people(tmp_path: Path) -> None:
    paper, server = await fetched({"/1.pdf": sent(GOOD)}, tmp_path, "/1.pdf", "/2.pdf")
    assert paper.file.startswith("files/papers/Doe 2014 - Slow cooling (")
    assert (paper.sha256, paper.size) == (hashlib.sha256(GOOD).hexdigest(), len(GOOD))
    assert (paper.url, paper.work, paper.title) == (f"{server.url}/1.pdf", "10.5555/abc", "Slow cooling")
    assert (tmp_path / paper.file).read_bytes() == GOOD
    assert len(server.requests) == 1
    assert files(tmp_path) == [paper.file]


@pytest.mark.asyncio
async def test_what_is_no_pdf_is_refused_and_the_next_is_tried(tmp_path: Path) -> None:
    answers = {"/html.pdf": HTML, "/cut.pdf": sent(GOOD[:60]), "/empty.pdf": sent(b""), "/good.pdf": sent(GOOD)}
    paper, server = await fetched(answers, tmp_path, "/html.pdf", "/cut.pdf", "/none.pdf", "/empty.pdf", "/good.pdf")
    assert paper.url.endswith("/good.pdf")
    assert [path for path, _ in server.requests] == ["/html.pdf", "/cut.pdf", "/none.pdf", "/empty.pdf", "/good.pdf"]
    assert files(tmp_path) == [paper.file]


@pytest.mark.asyncio
async def test_when_all_are_hopeless_each_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(Reject) as caught:
        await fetched({"/html.pdf": HTML, "/cut.pdf": sent(GOOD[:60])}, tmp_path, "/html.pdf", "/cut.pdf", "/none.pdf")
    for part in ("None of 3", "/html.pdf: an HTML page", "/cut.pdf: its end is missing", "/none.pdf", "404"):
        assert part in caught.value.reason
    assert files(tmp_path) == []


@pytest.mark.asyncio
async def test_what_may_be_had_later_is_left_to_the_engine(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="None of 2"):
        await fetched({"/down.pdf": lambda: web.Response(status=500)}, tmp_path, "/none.pdf", "/down.pdf")
    busy = {"/busy.pdf": lambda: web.Response(status=503, headers={"Retry-After": "7"})}
    with pytest.raises(Overloaded, match="None of 1"):
        await fetched(busy, tmp_path, "/busy.pdf")
    assert files(tmp_path) == []


@pytest.mark.asyncio
async def test_a_second_download_of_a_work_replaces_the_first(tmp_path: Path) -> None:
    first, _ = await fetched({"/1.pdf": sent(GOOD)}, tmp_path, "/1.pdf")
    second, _ = await fetched({"/1.pdf": sent(pdf(b"snow"))}, tmp_path, "/1.pdf")
    assert first.file == second.file
    assert files(tmp_path) == [second.file]
    assert b"snow" in (tmp_path / second.file).read_bytes()


def checked(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(data)
    check_pdf(path)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD, id="plain"),
        pytest.param(GOOD + b"\r\n\0\0<!-- added by a server -->" + b" " * 1500, id="something after the end"),
        pytest.param(pdf(start=3), id="a wrong offset, which readers mend"),
        pytest.param(pdf(before=b"\xef\xbb\xbf\r\n"), id="something before the header"),
        pytest.param(b"%PDF-1.7\n" + b"9 0 obj\n<< /Type /XRef /Root 1 0 R >>\nstream\n\nendstream\nendobj\n"
                     b"startxref\n9\n%%EOF", id="cross-reference stream"),
        pytest.param(GOOD + b"2 0 obj\n<< >>\nendobj\n" + GOOD[GOOD.index(b"xref"):], id="appended to"),
    ],
)  # fmt: skip
def test_whole_pdfs_pass(tmp_path: Path, data: bytes) -> None:
    checked(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "begin"),
        (b"<html>%PDF</html>", "begin"),
        (b"%PDF-1.4\n" + b"garbage " * 500, "cut off"),
        (GOOD[:-8], "cut off"),
        (GOOD[: len(GOOD) // 3], "cut off"),
        (pdf(root=b"", start=10**14), "catalogue"),
        (pdf(root=b""), "catalogue"),
        (b"%PDF-1.4\nstartxref\n9\n%%EOF\n", "catalogue"),
    ],
)
def test_other_files_do_not(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(BrokenPdf, match=reason):
        checked(tmp_path, data)
