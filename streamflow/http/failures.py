"""What it means when there is no whole answer: aiohttp's exceptions as errors of ours.

aiohttp's own words are never repeated, and the error is to be raised `from None`: they quote the URL with
all its parameters.
"""

from __future__ import annotations

import aiohttp

from streamflow.errors import BadAnswer, ForbiddenAddress, PermanentError, ServiceError, Unreachable
from streamflow.http.addresses import Refused


def failure(error: Exception, service: str, shown: str) -> ServiceError:
    """Our error for what aiohttp raised while it talked to `service`; `shown` is the URL for people."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, Refused):
        return ForbiddenAddress(f"{service} leads to {error.os_error}: {shown}", service=service)
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):
        return PermanentError(f"{service} cannot be asked, this is no valid URL: {shown}", service=service)
    if isinstance(error, aiohttp.ClientPayloadError):
        return BadAnswer(f"{service} sent a body that ended early or was garbled: {shown}", service=service)
    if isinstance(error, aiohttp.ClientResponseError):
        return BadAnswer(f"{service} sent something other than HTTP: {shown}", service=service)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreachable(f"{service} has a host name that does not resolve: {shown}", service=service)
    if isinstance(error, aiohttp.ClientSSLError):
        kind = type(error).__name__
        return Unreachable(f"{service} could not be reached over TLS ({kind}): {shown}", service=service)
    if isinstance(error, aiohttp.ClientConnectorError):
        why = error.os_error.strerror or "no connection"
        return Unreachable(f"{service} could not be reached ({why}): {shown}", service=service)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return Unreachable(f"{service} broke off the connection: {shown}", service=service)
    kind = type(error).__name__
    return BadAnswer(f"{service} could not be understood ({kind}): {shown}", service=service)
