"""The sections of the settings, what may stand in each, and what of that is secret.

A wrong value raises ValueError, whose text says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from yarl import URL

from streamflow.units import span

SECRETS = ("api_key", "token", "password")
HIDDEN = (*SECRETS, "email", "base_url")
"""Not shown where they are wrong: an address may hold a user's name and password."""
_HEADER_TEXT = re.compile(r"[\x20-\x7e\xa0-\xff]*")
"""Latin-1 without its control characters (RFC 9110 §5.5, without tabs)."""
_YEAR = 366 * 86_400.0
"""Seconds. No service counts in more; without a bound, the end of a wait is in no calendar."""
_DENSEST = 1e-9
"""Seconds between two calls."""


def without_empty(values: Any, known: Collection[str]) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if value != "" or key not in known}


def no_truth(value: object, fields: Mapping[str, FieldInfo], info: ValidationInfo) -> object:
    """Refuse true and false where they would be taken for 1 and 0."""
    if isinstance(value, bool) and fields[str(info.field_name)].annotation in (int, float, int | None, float | None):
        raise ValueError("a number")
    return value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        return without_empty(values, cls.model_fields)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object, info: ValidationInfo) -> object:
        return no_truth(value, cls.model_fields, info)


class WindowSettings(Section):
    """One window of an API, `[[services.NAME.windows]]`: at most `size` of a `kind` of cost in any `per` seconds."""

    kind: str = Field(default="requests", pattern=r"^[a-z][a-z0-9_]*$")
    size: float = Field(gt=0)
    per: float = Field(gt=0, le=_YEAR)


class ServiceSettings(Section):
    """One API, `[services.NAME]`. What is not set stays as the service publishes it."""

    base_url: str | None = None
    """Where the service is: a simulator, a proxy, a mirror."""
    api_key: SecretStr | None = None
    token: SecretStr | None = None
    password: SecretStr | None = None
    email: str | None = None
    """The address by which the service may reach whoever calls it."""
    rate: float | None = Field(default=None, gt=0)
    """Requests in `per` seconds."""
    per: float | None = Field(default=None, gt=0, le=_YEAR)
    concurrency: int | None = Field(default=None, ge=1)
    burst: int | None = Field(default=None, ge=1)
    windows: tuple[WindowSettings, ...] | None = None
    """Beside `rate`; each replaces the published one of the same kind and seconds."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for a whole call."""

    @field_validator("rate", "per")
    @classmethod
    def _is_a_pace(cls, value: float | None, info: ValidationInfo) -> float | None:
        rate, per = (value, 1.0) if info.field_name == "rate" else (info.data.get("rate") or 1.0, value)
        if rate is not None and per is not None and not _DENSEST <= per / rate <= _YEAR:
            raise ValueError("at least a call a year and at most a billion a second")
        return value

    @field_validator("api_key", "token", "email")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | str | None) -> SecretStr | str | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is not None and not _HEADER_TEXT.fullmatch(text):
            raise ValueError("what an HTTP header can hold: Latin letters, no line break or other control sign")
        return value

    @field_validator("windows")
    @classmethod
    def _differ(cls, value: tuple[WindowSettings, ...] | None) -> tuple[WindowSettings, ...] | None:
        seen: set[tuple[str, float]] = set()
        for window in value or ():
            if (window.kind, window.per) in seen:
                raise ValueError(f"a single window of {window.kind} in {window.per:g} s: leave the larger out")
            seen.add((window.kind, window.per))
        return value

    @field_validator("base_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.lower().startswith(("http://", "https://")):
            raise ValueError("an address that begins with http:// or https://")
        if value is not None and not _can_be_called(value):
            raise ValueError("a whole address, such as http://localhost:8080/path")
        return value

    @property
    def secrets(self) -> set[str]:
        """The credentials; the email address too, it is personal."""
        given = (self.api_key, self.token, self.password)
        found = {secret.get_secret_value() for secret in given if secret is not None}
        password = URL(self.base_url).password if self.base_url is not None else None
        return found | {text for text in (self.email, password) if text}


def _can_be_called(address: str) -> bool:
    """Whether a host can be looked up by a web address, and a port of it called, as the client reads it."""
    try:
        url = URL(address)
        host = url.raw_host or ""
        host.encode("idna")  # no empty part, and none that is too long
    except ValueError:
        return False
    return bool(host and url.port) and address.isprintable() and " " not in host


class StageSettings(Section):
    """One stage, `[stages.NAME]`. What is not set stays as the pipeline declares it."""

    workers: int | None = Field(default=None, ge=1, le=10_000)
    capacity: int | None = Field(default=None, ge=1)
    """Places in the channel in front of the stage."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds of work on one item; waiting for limits is not counted."""
    attempts: int | None = Field(default=None, ge=1)


class StorageSettings(Section):
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """SQLite's pragma. NORMAL may lose the last transactions to a power cut, never to a crash of the program."""


class DownloadSettings(Section):
    allow_private: bool = False
    """Whether downloads may lead to private and special addresses; simulators on loopback need it. The local link and
    the metadata services of clouds stay refused."""
    max_bytes: int = Field(default=200 * 2**20, ge=1)
    """The largest body that is kept, decoded."""


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_bytes: int = Field(default=10 * 2**20, ge=4096)
    """The size at which the log file is put aside and a new one begun."""
    keep: int = Field(default=4, ge=0)
    """How many files that were put aside are kept."""


class RetentionSettings(Section):
    done: float | None = None
    """The age, as a time span, at which `watch` forgets the records of items that ended well; not set: never."""

    @field_validator("done", mode="before")
    @classmethod
    def _is_span(cls, value: object) -> object:
        try:
            return value if value is None else span(str(value))
        except ValueError:
            raise ValueError("a time span, such as 12h or 30d") from None


class WatchSettings(Section):
    quiet: float = Field(default=2.0, ge=0)
    """Seconds without a change after which a file counts as whole."""
    rescan: float = Field(default=60.0, gt=0)
    """Seconds between scans of the whole folder, in case a notification was lost."""
    poll: float | None = Field(default=None, gt=0)
    """Seconds between scans instead of notifications, for network file systems; not set: notifications."""
    processed: str | None = None
    """The folder, seen from the watched one, to which a file is moved when its items have ended; not set: it stays."""
    failed: str | None = None
    """The same for a file of which an item became a dead letter; the reason is written beside it."""
