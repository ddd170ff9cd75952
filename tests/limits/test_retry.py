"""The retry policy, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.errors import (
    BadAnswer,
    CostTooLarge,
    CredentialsRefused,
    HeldAcrossYield,
    NotFound,
    Overloaded,
    PermanentError,
    PipelineError,
    Reject,
    RetryLater,
    ServiceError,
    Skip,
    StageTimeout,
    StorageError,
    TooLarge,
    TransientError,
    Unavailable,
    Unreachable,
    WorkerDied,
    WriterStopped,
)
from streamflow.limits.retry import Again, Decision, GiveUp, Retry, Stop


class Unspeakable(Exception):
    """Like classes that format what they were never given."""

    def __str__(self) -> str:
        raise AttributeError("no response")


def marked(error: ServiceError, *, outage: bool = False, wait: float = 0.0) -> ServiceError:
    """An error as it leaves a limit."""
    error.outage, error.wait = outage, wait
    return error


def held(error: Overloaded) -> Overloaded:
    """An error that leaves a limit which is paused for it."""
    error.held = True
    return error


POLICY = Retry(attempts=4, base=1.0, cap=3.0)


@pytest.mark.parametrize(
    ("error", "attempt", "decision"),
    [
        # full jitter: half (the random number) of base, 2 base, then of the cap
        (Unreachable("no route"), 1, Again(0.5)),
        (Unreachable("no route"), 2, Again(1.0)),
        (Unreachable("no route"), 3, Again(1.5)),
        (Unreachable("no route"), 4, GiveUp("Unreachable: no route (after 4 attempts)")),
        (TransientError("?"), 1, Again(0.5)),
        (BadAnswer("half a body"), 1, Again(0.5)),
        (StageTimeout("60 s"), 1, Again(0.5)),
        (TimeoutError(), 1, Again(0.5)),
        (WorkerDied("signal 9"), 1, Again(0.5)),
        (OSError(5, "I/O error"), 1, Again(0.5)),
        (KeyError("title"), 1, Again(0.5)),
        (TypeError("None"), 4, GiveUp("TypeError: None (after 4 attempts)")),
        # the service's word is a lower bound, but another host's no longer than the cap; our own limit's line holds it
        (Overloaded("429", retry_after=2.0), 1, Again(2.0)),
        (Overloaded("429", retry_after=86_400.0), 1, Again(3.0)),
        (held(Overloaded("429", retry_after=86_400.0)), 1, Again(0.5)),
        (Overloaded("429", retry_after=0.1), 1, Again(0.5)),
        (Overloaded("503"), 1, Again(0.5)),
        (Overloaded("429", retry_after=30.0), 4, GiveUp("Overloaded: 429 (after 4 attempts)")),
        # the stage's word
        (RetryLater("not yet", delay=7.0), 1, Again(7.0)),
        (RetryLater("not yet", delay=0.0), 3, Again(0.0)),
        (RetryLater("not yet", delay=-1.0), 3, Again(0.0)),
        (RetryLater("not yet"), 2, Again(1.0)),
        (RetryLater("not yet", delay=7.0), 4, GiveUp("not yet (after 4 attempts)")),
        (Reject("no title"), 1, GiveUp("no title")),
        # the same call would fail the same way
        (NotFound("no such work"), 1, GiveUp("NotFound: no such work")),
        (TooLarge("9 MB"), 1, GiveUp("TooLarge: 9 MB")),
        (PermanentError("400"), 3, GiveUp("PermanentError: 400")),
        (CostTooLarge("5 of 4"), 1, GiveUp("CostTooLarge: 5 of 4")),
        (HeldAcrossYield("crossref"), 1, GiveUp("HeldAcrossYield: crossref")),
        (StorageError("too large a row"), 1, GiveUp("StorageError: too large a row")),
        # not a matter of one completion
        (WriterStopped("disk full"), 1, Again(0.5)),
        # whatever the class
        (Unspeakable(), 1, Again(0.5)),
        (Unspeakable(), 4, GiveUp("Unspeakable (after 4 attempts)")),
        # never the item's fault
        (CredentialsRefused("401"), 1, Stop()),
        (CredentialsRefused("401"), 4, Stop()),
        (Unavailable("away for an hour"), 4, Stop()),
        (marked(Overloaded("503", retry_after=30.0), outage=True), 1, Again(0.5, counted=False)),
        (marked(Unreachable("no route"), outage=True), 9, Again(0.5, counted=False)),
        # more than the API's retry budget has
        (marked(Overloaded("503"), wait=20.0), 1, Again(20.0)),
        (marked(Overloaded("503"), wait=0.1), 1, Again(0.5)),
        (marked(Overloaded("503", retry_after=2.0), wait=1.0), 1, Again(2.0)),
        (marked(Overloaded("503"), wait=20.0), 4, GiveUp("Overloaded: 503 (after 4 attempts)")),
    ],
)
def test_decisions(error: Exception, attempt: int, decision: Decision) -> None:
    assert POLICY.decide(error, attempt, lambda: 0.5) == decision


def test_a_single_attempt_gives_up_without_counting() -> None:
    assert Retry(attempts=1).decide(OSError("gone"), 1, lambda: 0.5) == GiveUp("OSError: gone")


def test_skip_is_not_a_failure() -> None:
    with pytest.raises(TypeError, match="Skip"):
        POLICY.decide(Skip("a preprint"), 1, lambda: 0.5)


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_no_backoff_exceeds_the_cap(attempt: int, drawn: float) -> None:
    decision = Retry(attempts=10**9 + 1, base=2.0, cap=60.0).decide(OSError(), attempt, lambda: drawn)
    assert isinstance(decision, Again)
    assert 0 <= decision.delay < 60.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": "3"},
        {"attempts": 2.5},
        {"base": -1.0},
        {"base": 10.0, "cap": 1.0},
        {"cap": float("inf")},
        {"cap": float("nan")},
        {"cap": None},
    ],
)
def test_senseless_policies_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match=r"must hold|at least 1"):
        Retry(**wrong)
