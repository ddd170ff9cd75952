"""Publishers' sites, repositories and arXiv, where the copies of works lie: many hosts, none of them trusted."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from yarl import URL

from stages.services import arxiv
from streamflow.engine.context import Context
from streamflow.http.download import Downloaded, expect_pdf
from streamflow.http.service import Service

# Nobody publishes a limit for all hosts together, and no host speaks for the others, so there is no address. The
# downloads under way are those of the stage's workers.
SERVICE = Service("publisher", "", concurrency=16)


class Publisher:
    """Downloads PDFs; those of arXiv under arXiv's limit, all others under one of their own."""

    def __init__(self, context: Context) -> None:
        self.files = context.files
        self._from_arxiv = context.downloader(arxiv.SERVICE)
        self._from_anywhere = context.downloader(SERVICE)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._from_arxiv)
        await self._open.enter_async_context(self._from_anywhere)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def fetch(self, url: str, into: Path) -> Downloaded:
        """Fetch what begins like a PDF. Raises the errors of `Downloader.fetch` and of `expect_pdf`."""
        downloader = self._from_arxiv if _is_arxiv(url) else self._from_anywhere
        return await downloader.fetch(url, into, accept=expect_pdf)


def _is_arxiv(url: str) -> bool:
    """Whether arXiv's terms bind a download. They do not bind one from a mirror."""
    try:
        host = URL(url).host or ""
    except ValueError:
        return False
    return host == "arxiv.org" or host.endswith(".arxiv.org")
