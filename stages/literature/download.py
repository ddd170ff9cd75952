"""Fetching a free copy: the candidates in turn, until one is a whole PDF."""

from __future__ import annotations

from anyio import to_thread

from stages.literature.filenames import paper_name
from stages.literature.pdfcheck import check_pdf
from stages.literature.records import Download, DownloadedPaper
from stages.services.publisher import Publisher
from streamflow.errors import Overloaded, PermanentError, Reject, TransientError

FOLDER = "papers"


async def download(download: Download, *, publisher: Publisher) -> DownloadedPaper:
    """The first candidate that is a PDF, under a name for people in `files/papers/`.

    When none is: raises TransientError if one of them may be had later, else Reject. Both list what each one did.
    """
    name = paper_name(download.work, title=download.title, first_author=download.first_author, year=download.year)
    failures: list[tuple[str, PermanentError | TransientError]] = []
    for url in download.candidates:
        try:
            async with publisher.files.writing(f"{FOLDER}/{name}") as writing:
                fetched = await publisher.fetch(url, writing.path)
                await to_thread.run_sync(check_pdf, writing.path)
        except (PermanentError, TransientError) as error:
            failures.append((url, error))
            continue
        return DownloadedPaper(
            work=download.work,
            doi=download.doi,
            title=download.title,
            first_author=download.first_author,
            year=download.year,
            url=url,
            file=writing.stored,
            sha256=fetched.sha256,
            size=fetched.size,
        )
    raised = _none(failures)
    if isinstance(raised, TransientError):
        raised.outage = any(error.outage for _, error in failures)
    raise raised


def _none(failures: list[tuple[str, PermanentError | TransientError]]) -> Exception:
    told = "; ".join(f"{number}. {url}: {error}" for number, (url, error) in enumerate(failures, start=1))
    message = f"None of {len(failures)} places gave a PDF. {told}"
    if busy := [error for _, error in failures if isinstance(error, Overloaded)]:
        waits = [error.retry_after for error in busy if error.retry_after is not None]
        return Overloaded(message, service="publisher", status=busy[0].status, retry_after=min(waits, default=None))
    if any(isinstance(error, TransientError) for _, error in failures):
        return TransientError(message, service="publisher")
    return Reject(message)
