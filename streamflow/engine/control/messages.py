"""What is said through a control socket: a request and its answer, each one line of JSON.

    {"version": 1, "ask": "pause", "stage": "enrich"}
    {"version": 1, "answer": {…}}    or    {"version": 1, "error": "…"}

Both sides take what they read for untrusted: it is bounded, and decoded into the types below or refused.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from streamflow.errors import ControlError, UsageError
from streamflow.observe.bottleneck import Bottleneck
from streamflow.storage.selection import Selection

VERSION = 1
"""Of the requests and answers. It grows when a request or an answer means something else than before."""

MAX_REQUEST = 64 * 2**10
MAX_ANSWER = 2**20
"""Bytes, line end included. What a run says grows with its stages and limits."""

T = TypeVar("T", bound=msgspec.Struct)


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", forbid_unknown_fields=True):
    """What can be asked of the process that holds a workspace."""

    version: int = VERSION


class Status(Request, tag="status", frozen=True):
    """How the run stands now. Answered by `Standing`."""


class Health(Request, tag="health", frozen=True):
    """Whether the run goes on as it should. Answered by `Diagnosis`."""


class Limits(Request, tag="limits", frozen=True):
    """Each API's limit. Answered by `LimitStates`."""


class Pause(Request, tag="pause", frozen=True):
    """Let a stage take no more items. Answered by `Done`."""

    stage: str


class Resume(Request, tag="resume", frozen=True):
    """Let a paused stage go on. Answered by `Done`."""

    stage: str


class Drain(Request, tag="drain", frozen=True):
    """Stop as at the first signal. Answered by `Done`."""


class Retry(Request, tag="retry", frozen=True):
    """Try dead letters again. Answered by `Requeued`."""

    selection: Selection


AnyRequest = Status | Health | Limits | Pause | Resume | Drain | Retry


class StageNow(msgspec.Struct, frozen=True):
    """A stage at this moment. `done` to `retries` count since the run began, `rate` is in items a second and `shares`
    are those of its workers' time, both over the last seconds; `active` items are in workers' hands and have not
    ended."""

    workers: int
    capacity: int
    active: int
    queued: int
    parked: int
    done: int
    skipped: int
    dead: int
    retries: int
    rate: float
    paused: bool
    shares: dict[str, float]


class Standing(msgspec.Struct, frozen=True):
    """A run at this moment. `state` is starting, running or stopping; `since` is in seconds since the epoch, `uptime`
    and `eta` are in seconds; `more` says that its sources may bring more. `limits` are the fields of `LimitState`. The
    `bottleneck` is that of the last seconds, None where it cannot be told."""

    pid: int
    pipeline: str
    state: str
    since: float
    uptime: float
    eta: float | None
    more: bool
    stages: dict[str, StageNow]
    limits: list[dict[str, Any]]
    bottleneck: Bottleneck | None = None


class Diagnosis(msgspec.Struct, frozen=True):
    """Whether the run goes on as it should, and one line that says why."""

    healthy: bool
    why: str


class LimitStates(msgspec.Struct, frozen=True):
    limits: list[dict[str, Any]]


class Done(msgspec.Struct, frozen=True):
    """`changed` is False where it was so already."""

    changed: bool


class Requeued(msgspec.Struct, frozen=True):
    """How many items of each stage are pending again."""

    stages: dict[str, int]


class _Versioned(msgspec.Struct, frozen=True):
    version: int = 0


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    version: int
    answer: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    busy: bool = False


def encode_request(request: Request) -> bytes:
    """Raises UsageError for one that is too long."""
    line = msgspec.json.encode(request) + b"\n"
    if len(line) > MAX_REQUEST:
        raise UsageError(f"What is asked for is too long: {len(line):,} bytes, at most {MAX_REQUEST:,} are taken.")
    return line


def decode_request(line: bytes) -> AnyRequest:
    """Raises ControlError, which says what is wrong with the line."""
    try:
        version = msgspec.json.decode(line, type=_Versioned).version
        if version != VERSION:
            raise ControlError(
                f"the process speaks version {VERSION} of the control socket's language, not {version}: use the same "
                "release of streamflow for both"
            )
        request: AnyRequest = msgspec.json.decode(line, type=AnyRequest)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"the request cannot be read: {error}") from None
    return request


def encode_answer(answer: msgspec.Struct) -> bytes:
    """Raises ControlError for one that is too long."""
    line = msgspec.json.encode(_Answer(VERSION, msgspec.Raw(msgspec.json.encode(answer)))) + b"\n"
    if len(line) > MAX_ANSWER:
        raise ControlError(f"the answer is too long: {len(line):,} bytes")
    return line


def encode_error(message: str, *, busy: bool = False) -> bytes:
    """Why there is no answer: the request is refused, or nobody had time to hear it."""
    told = message.encode("utf-8", "backslashreplace").decode()[:4000]
    return msgspec.json.encode(_Answer(VERSION, error=told, busy=busy)) + b"\n"


def decode_answer(line: bytes, kind: type[T]) -> T:
    """Raises UsageError with what the holder refused the request for, and ControlError for what is no answer."""
    try:
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.busy:
            raise ControlError(f"The process that holds the workspace does not answer: {answer.error}.")
        if answer.error:
            raise UsageError(answer.error)
        if answer.version != VERSION:
            raise ValueError(f"it is of version {answer.version}, not {VERSION}")
        return msgspec.json.decode(answer.answer, type=kind)
    except (ValueError, RecursionError) as error:
        raise ControlError(
            f"The process that holds the workspace gave an answer that cannot be read ({error}). Use the release of "
            "streamflow that it was started with."
        ) from None
