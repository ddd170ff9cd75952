"""Unpaywall: where free copies of a work with a DOI lie. https://unpaywall.org/products/api"""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec
import structlog

from streamflow.engine.context import Context
from streamflow.errors import CredentialsRefused, PermanentError
from streamflow.http.service import Service

# "Please limit use to 100,000 calls per day": no limit a second is published. 10 a second is civil, and reaches
# that number only after three hours.
SERVICE = Service("unpaywall", "https://api.unpaywall.org", rate=10, per=1, concurrency=8)

log = structlog.get_logger(__name__)


class Copy(msgspec.Struct, frozen=True):
    """A free copy. `url_for_pdf` is null where only a landing page is known."""

    url_for_pdf: str | None = None
    url_for_landing_page: str | None = None
    url: str | None = None
    host_type: str | None = None
    version: str | None = None


class _Answer(msgspec.Struct):
    best_oa_location: Copy | None = None
    oa_locations: list[Copy | None] | None = None


class Unpaywall:
    """Needs an address: without `[services.unpaywall] email` it is left out, which is said once."""

    def __init__(self, context: Context) -> None:
        email = context.settings.services[SERVICE.name].email
        self.available = bool(email)
        self._client = context.client(SERVICE, params={"email": email} if email else None)

    async def __aenter__(self) -> Self:
        if not self.available:
            log.warning(
                "Unpaywall is not asked for free copies: it wants an email address. "
                "Set [services.unpaywall] email, or STREAMFLOW_SERVICES__UNPAYWALL__EMAIL."
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def locations(self, doi: str) -> list[Copy]:
        """The free copies of a work, best first; none when Unpaywall is left out.

        Raises NotFound, and CredentialsRefused when the address is refused.
        """
        if not self.available:
            return []
        try:
            answer = await self._client.json(f"/v2/{quote(doi, safe='/')}", type=_Answer)
        except PermanentError as error:
            if error.status == 422:
                raise CredentialsRefused(
                    "Unpaywall refused the email address (422). Set [services.unpaywall] email to a real one.",
                    service=SERVICE.name,
                    status=422,
                ) from error
            raise
        best = [answer.best_oa_location] if answer.best_oa_location else []
        rest = [copy for copy in answer.oa_locations or [] if copy and copy != answer.best_oa_location]
        return best + rest
