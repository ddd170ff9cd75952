"""The key of a call: the same for the same call of the same item, and for no other."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streamflow import in_hand
from streamflow.errors import PermanentError, TransientError
from streamflow.http.client import Client
from streamflow.http.idempotency import idempotency_key
from streamflow.http.service import Service
from streamflow.http.session import open_session
from streamflow.limits.limit import Limit
from streamflow.storage.store import Item
from tests.http.serving import serving


@dataclass
class Work:
    stage: str
    items: Sequence[Item]


@contextmanager
def working(stage: str = "send", *items: Item) -> Iterator[None]:
    token = in_hand.current.set(Work(stage, items or (Item("send", None, "a", id=5),)))
    try:
        yield
    finally:
        in_hand.current.reset(token)


CALL: dict[str, Any] = {
    "identity": "workspace",
    "service": "mail",
    "method": "POST",
    "path": "/send",
    "params": {"to": "me", "dry": "no"},
    "data": b"hello",
}


def key(stage: str = "send", *items: Item, **other: Any) -> str:
    with working(stage, *items):
        return idempotency_key(**{**CALL, **other})


def test_it_is_a_uuid_and_does_not_change_between_releases() -> None:
    assert str(uuid.UUID(key())) == key() == "7161f956-16cb-54ba-96c2-515a4d16f504"


def test_another_call_another_item_and_another_admission_have_other_keys() -> None:
    others = [
        key(identity="another workspace"),
        key(service="bank"),
        key(method="PATCH"),
        key(path="/charge"),
        key(params={"to": "you", "dry": "no"}),
        key(data=b"goodbye"),
        key(data=None),
        key("charge"),
        key("send", Item("send", None, "b", id=5)),
        key("send", Item("send", None, "a", id=6)),
        key("send", Item("send", None, "a", id=5), Item("send", None, "b", id=6)),
    ]
    assert len({key(), *others}) == len(others) + 1
    assert key(params={"dry": "no", "to": "me"}) == key(data="hello") == key()


def test_outside_of_a_stage_each_call_has_its_own() -> None:
    assert idempotency_key(**CALL) != idempotency_key(**CALL)


def test_a_body_that_tells_no_key_is_refused_with_what_to_do() -> None:
    with working(), pytest.raises(PermanentError, match="give bytes, or the key yourself"):
        idempotency_key(**{**CALL, "data": aiohttp.FormData({"a": "b"})})


@pytest.mark.asyncio
async def test_only_calls_with_effects_carry_it_and_one_that_is_given_stands() -> None:
    seen: list[tuple[str, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.headers.get("X-Once")))
        return web.Response(text="ok")

    async with serving(handler) as base, open_session() as session:
        plain = Client(Service("mail", str(base)), session=session, limit=Limit("mail"))
        service = Service("mail", str(base), idempotency="X-Once")
        secret = {"params": {"api_key": "old"}, "headers": {"Authorization": "old"}}
        renewed = {"params": {"api_key": "new"}, "headers": {"Authorization": "new"}}
        with working():
            for own in (secret, renewed):
                api = Client(service, session=session, limit=Limit("mail"), identity=lambda: "workspace", **own)
                await api.text("/send", method="POST", data=b"hello")
            await api.text("/send", method="PATCH", data=b"hello")
            await api.text("/send", method="POST", data=b"hello", headers={"x-once": "mine"})
            await api.text("/send")
            await api.text("/send", method="PUT", data=b"hello")
            await plain.text("/send", method="POST", data=b"hello")
    first, second, patched, *rest = seen
    assert first == second
    assert patched[1] not in (None, first[1])
    assert rest == [("POST", "mine"), ("GET", None), ("PUT", None), ("POST", None)]


@pytest.mark.asyncio
async def test_a_conflict_with_the_first_of_these_calls_passes_and_is_no_outage() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=409)

    async with serving(handler) as base, open_session() as session:
        limit = Limit("mail")
        for options, error in (({"idempotency": "Idempotency-Key"}, TransientError), ({}, PermanentError)):
            api = Client(Service("mail", str(base), **options), session=session, limit=limit)
            for _ in range(20):
                with pytest.raises(error, match="409"):
                    await api.text("/send", method="POST", data=b"hello")
        assert limit.snapshot().breaker == "closed"
