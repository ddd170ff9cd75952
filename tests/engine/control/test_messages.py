"""The language of the control socket: what is written is read, and what is anything else is refused in words."""

from __future__ import annotations

import msgspec
import pytest

from streamflow.engine.control.messages import (
    MAX_REQUEST,
    AnyRequest,
    Done,
    Drain,
    Health,
    Limits,
    Pause,
    Resume,
    Status,
    decode_answer,
    decode_request,
    encode_answer,
    encode_error,
    encode_request,
)
from streamflow.errors import ControlError, UsageError


@pytest.mark.parametrize("request_", [Status(), Health(), Limits(), Pause(stage="a\nb"), Resume(stage="ü"), Drain()])
def test_requests_are_one_line_and_come_out_as_they_went_in(request_: AnyRequest) -> None:
    line = encode_request(request_)
    assert line.count(b"\n") == 1
    assert decode_request(line) == request_


def test_a_request_is_what_the_reference_says() -> None:
    assert msgspec.json.decode(encode_request(Pause(stage="enrich"))) == {
        "version": 1,
        "ask": "pause",
        "stage": "enrich",
    }


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00\xff\xfe",
        b'"status"',
        b'{"version": 1}',
        b'{"version": 1, "ask": "explode"}',
        b'{"version": 1, "ask": "pause"}',
        b'{"version": 1, "ask": "pause", "stage": 3}',
        b'{"version": 1, "ask": "pause", "stage": "\xff"}',
        b'{"version": 1, "ask": "status", "more": 1}',
        b'{"version": 1, "ask": "status", "more": ' + b"[" * 10_000,
        b"[" * MAX_REQUEST,
    ],
    ids=lambda line: repr(line[:30]),
)
def test_what_is_no_request_is_refused_in_words(line: bytes) -> None:
    with pytest.raises(ControlError, match="cannot be read"):
        decode_request(line)


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_is_told_whatever_else_it_says(version: int) -> None:
    with pytest.raises(ControlError, match="same release"):
        decode_request(b'{"version": %d, "ask": {"new": "language"}}' % version)


def test_a_request_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(UsageError, match="too long"):
        encode_request(Pause(stage="x" * MAX_REQUEST))


def test_an_answer_comes_out_as_it_went_in() -> None:
    assert decode_answer(encode_answer(Done(True)), Done) == Done(True)


def test_a_refusal_is_told_with_its_reason_whatever_stands_in_it() -> None:
    with pytest.raises(UsageError, match=r"no stage 'a\\udcff'"):
        decode_answer(encode_error("no stage 'a\udcff'"), Done)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b'{"version": 1, "answer": 7}',
        b'{"version": 1}',
        b'{"version": 2, "answer": {"changed": true}}',
        b'{"version": 1, "answer": {"changed": "yes"}}',
    ],
)
def test_an_answer_of_somebody_else_is_no_answer(line: bytes) -> None:
    with pytest.raises(ControlError, match="cannot be read"):
        decode_answer(line, Done)
