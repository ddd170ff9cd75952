"""The session that all calls of a run go through, and how they introduce themselves."""

from __future__ import annotations

import functools
from importlib import metadata

import aiohttp

from streamflow.http.sending import telling


@functools.cache
def user_agent(email: str | None = None) -> str:
    """How we introduce ourselves, with the address at which the user can be reached, if one is set."""
    try:
        version = metadata.version("streamflow-engine")
    except metadata.PackageNotFoundError:
        version = "0"
    return f"streamflow/{version} (mailto:{email})" if email else f"streamflow/{version}"


def open_session(*, trust_env: bool = False) -> aiohttp.ClientSession:
    """The session that the clients of a run share: no cookies, and no cap on connections, as limits do that. It
    tells grants when their requests are sent.

    Proxies and `.netrc` of the environment are used with `trust_env` only.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=trust_env,
        trace_configs=[telling()],
    )
