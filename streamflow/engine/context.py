"""What resources are made from: the workspace, the settings, and the run's limits, files and connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a worker process imports this module and needs none of these
    import aiohttp

    from streamflow.http.cache import Cache
    from streamflow.http.client import Client
    from streamflow.http.download import Downloader
    from streamflow.http.service import Service
    from streamflow.limits.allowance import Allowance
    from streamflow.limits.limit import Limit
    from streamflow.limits.registry import Registry
    from streamflow.sections import ServiceSettings
    from streamflow.settings import Settings
    from streamflow.storage.files import FileStore


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What a resource in a thread or in a worker process is made from."""

    workspace: Path


@dataclass(frozen=True)
class Context:
    """What a resource on the loop is made from. One per run. `identity` tells its workspace from others, once the run
    has begun."""

    workspace: Path
    settings: Settings
    session: aiohttp.ClientSession
    limits: Registry
    files: FileStore
    cache: Cache | None = None
    identity: Callable[[], str] = lambda: ""

    def client(
        self, service: Service, *, headers: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> Client:
        """A client of one API, with its published limits unless `[services.NAME]` says otherwise. Raises SettingsError
        where what that says would limit nothing, and what `Client` raises.
        """
        from streamflow.http.client import Client

        given = self.settings.services[service.name]
        if given.timeout is not None:
            service = replace(service, timeout=given.timeout)
        return Client(
            service,
            session=self.session,
            limit=self._limit(service),
            base_url=given.base_url,
            headers=headers,
            params=params,
            email=given.email,
            cache=self.cache,
            identity=self.identity,
        )

    def downloader(self, service: Service) -> Downloader:
        """A downloader for the files of others, under the limit of `service`."""
        from streamflow.http.download import Downloader

        given = self.settings.services[service.name]
        timeout = {} if given.timeout is None else {"timeout": given.timeout}
        return Downloader(
            limit=self._limit(service),
            max_bytes=self.settings.download.max_bytes,
            allow_private=self.settings.download.allow_private,
            base_url=(given.base_url or service.base_url) if service.base_url else None,
            email=given.email,
            **timeout,  # type: ignore[arg-type]
        )

    def _limit(self, service: Service) -> Limit:
        from streamflow.limits.window import REQUESTS

        self.settings.check_rate(service.name, service.rate)
        kinds = {REQUESTS, *service.cost, *(window.kind for window in service.windows)}
        self.settings.check_windows(service.name, kinds)
        return self.limits.limit(
            service.name,
            rate=service.rate,
            per=service.per,
            concurrency=service.concurrency,
            burst=service.burst,
            windows=service.windows,
            adaptive=service.adaptive,
            configured=allowance(self.settings.services[service.name]),
        )


def allowance(given: ServiceSettings) -> Allowance:
    """What the user's settings say of an API's limit."""
    from streamflow.limits.allowance import Allowance
    from streamflow.limits.window import Window

    windows = tuple(Window(window.size, window.per, window.kind) for window in given.windows or ())
    return Allowance(given.rate, given.per, given.concurrency, given.burst, windows)
