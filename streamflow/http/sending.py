"""When a request leaves: aiohttp tells the grant under which it was made.

Give a session `telling()` among its `trace_configs`, and each request its grant as `trace_request_ctx`. Between a
grant and its request lie the name's resolution, the connection and its handshake, which take longer than many
limits' spacing.
"""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp

from streamflow.limits.grant import Grant


def telling() -> aiohttp.TraceConfig:
    """For a session of its own: a trace that tells each request's grant that it is sent, again if it is repeated."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_sent)
    return trace


async def _sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    grant = context.trace_request_ctx
    if isinstance(grant, Grant):
        grant.sent()
