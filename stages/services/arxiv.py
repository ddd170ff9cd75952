"""arXiv: where the PDF of a paper lies. No request is made here; https://info.arxiv.org/help/api/tou.html"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from streamflow.engine.context import Context
from streamflow.http.service import Service

# The terms of use: at most one request in three seconds, and one connection at a time. They bind whoever downloads.
SERVICE = Service("arxiv", "https://arxiv.org", rate=1, per=3, concurrency=1)


class Arxiv:
    """`base_url` in `[services.arxiv]` may name a mirror."""

    def __init__(self, context: Context) -> None:
        self._base = (context.settings.services[SERVICE.name].base_url or SERVICE.base_url).rstrip("/")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def pdf_url(self, arxiv_id: str) -> str:
        """Where the newest version of a paper lies. `arxiv_id` is normalised and without a version."""
        return f"{self._base}/pdf/{arxiv_id}"
