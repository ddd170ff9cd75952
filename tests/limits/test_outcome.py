"""What the end of a call says about the API, as a table."""

from __future__ import annotations

import asyncio

import pytest

from streamflow.errors import (
    BadAnswer,
    CredentialsRefused,
    ForbiddenAddress,
    NotFound,
    Overloaded,
    PermanentError,
    TooLarge,
    TransientError,
    Unreachable,
)
from streamflow.limits.outcome import Outcome, outcome_of


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.ANSWERED),
        (NotFound("404", status=404), Outcome.REFUSED),
        (PermanentError("400", status=400), Outcome.REFUSED),
        (CredentialsRefused("401", status=401), Outcome.REFUSED),
        (TooLarge("9 MB"), Outcome.REFUSED),
        (Overloaded("429", status=429, retry_after=5.0), Outcome.ABSENT),
        (Overloaded("503", status=503), Outcome.ABSENT),
        (Overloaded("403: too fast", status=403), Outcome.ABSENT),
        (TransientError("502", status=502), Outcome.ABSENT),
        (TransientError("504", status=504), Outcome.ABSENT),
        (TransientError("408", status=408), Outcome.ABSENT),
        (TransientError("409", status=409), Outcome.REFUSED),
        (TransientError("500", status=500), Outcome.SPOILT),
        (BadAnswer("HTML", status=200), Outcome.SPOILT),
        (Unreachable("no route"), Outcome.ABSENT),
        (TimeoutError(), Outcome.ABSENT),
        (ConnectionResetError(), Outcome.ABSENT),
        # nothing that the service said or failed to say
        (PermanentError("no URL"), Outcome.UNKNOWN),
        (ForbiddenAddress("10.0.0.1"), Outcome.UNKNOWN),
        (asyncio.CancelledError(), Outcome.UNKNOWN),
        (KeyError("title"), Outcome.UNKNOWN),
    ],
)
def test_outcomes(error: BaseException | None, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


def test_only_absence_and_garbage_count_against_a_service() -> None:
    assert {outcome for outcome in Outcome if outcome.failed} == {Outcome.ABSENT, Outcome.SPOILT}
