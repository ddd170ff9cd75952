"""Keys by which a service knows a call that is made again (draft-ietf-httpapi-idempotency-key-header).

An item is worked on at least once, so its calls are made at least once. Where a service takes a key, the same call of
the same item has the same key, in each attempt and after each restart, and the service makes its effect once.

The key follows from the workspace, the item's stage and key, its admission, and the call: method, address and body. An
item that is admitted again (`--refresh`, other content) is meant to have its effect again, so it has other keys.
Credentials are no part of it: they may change between two attempts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from streamflow import in_hand
from streamflow.errors import PermanentError

METHODS = frozenset({"POST", "PATCH"})
"""Those that RFC 9110 §9.2.2 does not call idempotent."""
_OURS = uuid.UUID("6f0c2a44-6a0e-4f2b-9a57-5d0c51f3b8e1")


def idempotency_key(identity: str, service: str, method: str, path: str, params: Mapping[str, str], data: Any) -> str:
    """The key of a call, as a UUID; a random one outside of a stage, where nothing is done again.

    `identity` tells the workspace. Raises PermanentError for a body of which it cannot be told whether it is the same.
    """
    work = in_hand.current.get()
    if work is None or not work.items:
        return str(uuid.uuid4())
    items = [(item.id, str(item.key)) for item in work.items]
    told = (identity, service, work.stage, items, method, path, sorted(params.items()))
    digest = blake2b(json.dumps(told).encode())
    digest.update(_bytes(service, data))
    return str(uuid.uuid5(_OURS, digest.hexdigest()))


def _bytes(service: str, data: Any) -> bytes:
    if data is None:
        return b""
    if isinstance(data, str):
        return data.encode("utf-8", "surrogatepass")
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    if isinstance(data, Mapping):
        return json.dumps(list(data.items()), default=str).encode()
    raise PermanentError(
        f"A call of {service} needs a key by which it is known when it is made again, and its body, a "
        f"{type(data).__name__}, does not tell one: give bytes, or the key yourself among the call's headers",
        service=service,
    )
