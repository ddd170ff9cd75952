"""The error tree.

StreamflowError
├── UsageError                 the user's words are off; exit code 2
│   ├── RecordError            a record type is declared wrongly
│   ├── PipelineError          a pipeline is wired wrongly
│   │   ├── StageSignatureError
│   │   ├── DuplicateName
│   │   ├── MissingInput
│   │   ├── CycleError
│   │   ├── MissingResource
│   │   ├── WrongResource
│   │   ├── NotImportable
│   │   └── CostTooLarge
│   ├── SettingsError          an unknown setting, or one of the wrong type
│   └── WorkspaceError         the folder cannot be used
│       ├── WorkspaceLocked
│       ├── DatabaseTooNew
│       ├── DatabaseDamaged
│       └── JournalMismatch    pending rows that no stage of the pipeline can take
├── ControlError               the process that holds the workspace does not answer as it should
├── StorageError               a completion could not be committed
│   └── WriterStopped          nothing can be committed any more; the run stops
│       └── DatabaseGone       the database was removed or replaced while it was open
├── StageTimeout               a stage's function ran past its deadline; retried
├── WorkerDied                 the process of a stage's function ended; retried
├── HeldAcrossYield            a streaming stage yielded inside a limit
└── ServiceError               an external service answered, or did not
    ├── TransientError         trying again may help
    │   ├── Overloaded         429, 503 or 529: the service asks for time
    │   ├── Unreachable        no connection, reset, or silence past the deadline
    │   └── BadAnswer          half a body, wrong type, or HTML where JSON belongs
    ├── Unavailable            it was away for longer than `outage`: the run stops, its items stay pending; exit code 5
    ├── PermanentError         the same call will fail again
    │   ├── NotFound
    │   ├── TooLarge           a body was larger than the cap
    │   └── ForbiddenAddress   a download led to a private or special address
    └── CredentialsRefused     the run stops, its items stay pending; exit code 4

Outcome                        how a stage's function says what becomes of its item
├── Skip                       not wanted; recorded, not an error
├── Reject                     will never work; dead letter now
└── RetryLater                 try again, after `delay` seconds if given
"""

from __future__ import annotations

import math


class StreamflowError(Exception):
    """The root of all errors that streamflow raises by itself."""


def told(error: BaseException) -> str:
    """An error as its type's name and its text. Never raises: the text is left out when `str(error)` fails."""
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the error may be anybody's class
        return kind
    return f"{kind}: {text}" if text else kind


class UsageError(StreamflowError):
    """The command, the settings or the pipeline are wrong; nothing was started."""


class RecordError(UsageError):
    """A record type is declared in a way that cannot be stored or keyed."""


class PipelineError(UsageError):
    """A pipeline is wired wrongly."""


class StageSignatureError(PipelineError):
    """A stage's function has a signature the graph cannot be read from."""


class DuplicateName(PipelineError):
    """Two stages, or two record types, share a name."""


class MissingInput(PipelineError):
    """No source and no stage produces what a stage takes."""


class CycleError(PipelineError):
    """Stages feed each other in a ring."""


class MissingResource(PipelineError):
    """A stage asks for a resource that the pipeline does not provide."""


class WrongResource(PipelineError):
    """A stage asks for a resource that cannot live where the stage runs."""


class NotImportable(PipelineError):
    """A process stage's function cannot be imported by a worker process."""


class CostTooLarge(PipelineError):
    """A call would cost more than a limit's whole window."""


class SettingsError(UsageError):
    """A setting is unknown, or has the wrong type."""


class WorkspaceError(UsageError):
    """The workspace folder cannot be used."""


class WorkspaceLocked(WorkspaceError):
    """Another process holds the workspace."""


class DatabaseTooNew(WorkspaceError):
    """The database was written by a newer streamflow."""


class DatabaseDamaged(WorkspaceError):
    """SQLite cannot read the database."""


class JournalMismatch(WorkspaceError):
    """The journal holds pending items that no stage of this pipeline can take."""


class ControlError(StreamflowError):
    """The process that holds a workspace does not answer, or not as it should."""


class StorageError(StreamflowError):
    """A completion could not be committed."""


class WriterStopped(StorageError):
    """Nothing more can be committed: the run must stop."""


class DatabaseGone(WriterStopped):
    """The database was removed or replaced under the run: what it held is lost."""


class StageTimeout(StreamflowError):
    """A stage's function ran past its deadline."""


class WorkerDied(StreamflowError):
    """The worker process that ran a stage's function ended during the call."""


class HeldAcrossYield(StreamflowError):
    """A streaming stage yielded while it held a limit."""


class ServiceError(StreamflowError):
    """An external service answered with an error, or not at all.

    `service` names the API, `status` is the HTTP status where there was one. `outage` says that the API is away, so
    that the item pays no attempt for it; `wait` is for how many seconds its retry budget keeps a retry away.
    """

    def __init__(self, message: str, *, service: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.service = service
        self.status = status
        self.outage = False
        self.wait = 0.0

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(kind: type[ServiceError], args: tuple[str, ...], state: dict[str, object]) -> ServiceError:
    error = kind(*args)
    error.__dict__.update(state)
    return error


class TransientError(ServiceError):
    """Trying again may help."""


class Overloaded(TransientError):
    """The service asks for time; `retry_after` is in seconds where it said how long. `held` says that its limit is
    paused for as long, so that whoever calls again waits in the line.
    """

    def __init__(
        self,
        message: str,
        *,
        service: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, service=service, status=status)
        self.retry_after = retry_after
        self.held = False


class Unreachable(TransientError):
    """No connection, a reset, or silence past the deadline."""


class BadAnswer(TransientError):
    """The service sent something other than what its interface promises."""


class Unavailable(ServiceError):
    """The service, or its budget, was away for longer than a run may wait."""


class PermanentError(ServiceError):
    """The same call will fail again."""


class NotFound(PermanentError):
    """The service does not know what was asked for (404 or 410)."""


class TooLarge(PermanentError):
    """A body was larger than the cap."""


class ForbiddenAddress(PermanentError):
    """A download led to a private or special address, or to another scheme than http and https."""


class CredentialsRefused(ServiceError):
    """The service refused our credentials; more calls would not help."""


class Outcome(Exception):
    """How a stage's function says what becomes of its item. What is given as the reason is kept as its text."""

    def __init__(self, reason: str) -> None:
        reason = str(reason)  # a table holds it
        super().__init__(reason)
        self.reason = reason


class Skip(Outcome):
    """The record is not wanted. Recorded, not an error."""


class Reject(Outcome):
    """The record will never work. A dead letter at once."""


class RetryLater(Outcome):
    """Try again, after `delay` seconds where given, else by the stage's retry policy.

    Raises ValueError for a delay that never ends, and TypeError for one that is no number.
    """

    def __init__(self, reason: str, delay: float | None = None) -> None:
        super().__init__(reason)
        if delay is not None and not math.isfinite(delay):
            raise ValueError(f"delay is in seconds and must end, so it cannot be {delay!r}")
        self.delay = delay

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason, self.delay))
