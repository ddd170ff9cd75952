"""Settings: the command line before `STREAMFLOW_…` variables before `streamflow.toml` before the defaults.

    [services.crossref]            one section for each API
    email = "me@example.org"       STREAMFLOW_SERVICES__CROSSREF__EMAIL=me@example.org
    [stages.enrich]                one for each stage
    workers = 16                   STREAMFLOW_STAGES__ENRICH__WORKERS=16

A setting that nobody knows is an error, wherever it stands: a misspelt limit that is silently ignored is worse.
An empty text sets a setting back to its default, whatever a lower place says.
This is the only module that imports pydantic.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from streamflow.errors import SettingsError
from streamflow.failpoints import VARIABLES as FAILPOINTS
from streamflow.plain_file import open_plain
from streamflow.units import span

T = TypeVar("T")

FILE_NAME = "streamflow.toml"
PREFIX = "STREAMFLOW_"
_SECRETS = ("api_key", "token", "password")


def _without_empty(values: Any, known: Collection[str]) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if value != "" or key not in known}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        return _without_empty(values, cls.model_fields)


class WindowSettings(_Section):
    """One window of an API, `[[services.NAME.windows]]`: at most `size` of a `kind` of cost in any `per` seconds."""

    kind: str = Field(default="requests", pattern=r"^[a-z][a-z0-9_]*$")
    size: float = Field(gt=0)
    per: float = Field(gt=0)


class ServiceSettings(_Section):
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
    per: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, ge=1)
    burst: int | None = Field(default=None, ge=1)
    windows: tuple[WindowSettings, ...] | None = None
    """Beside `rate`; each replaces the published one of the same kind and seconds."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for a whole call."""

    @field_validator("base_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.lower().startswith(("http://", "https://")):
            raise ValueError("an address that begins with http:// or https://")
        return value


class StageSettings(_Section):
    """One stage, `[stages.NAME]`. What is not set stays as the pipeline declares it."""

    workers: int | None = Field(default=None, ge=1, le=10_000)
    capacity: int | None = Field(default=None, ge=1)
    """Places in the channel in front of the stage."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds of work on one item; waiting for limits is not counted."""
    attempts: int | None = Field(default=None, ge=1)


class StorageSettings(_Section):
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """SQLite's pragma. NORMAL may lose the last transactions to a power cut, never to a crash of the program."""


class DownloadSettings(_Section):
    allow_private: bool = False
    """Whether downloads may lead to private and special addresses; simulators on loopback need it. The local link and
    the metadata services of clouds stay refused."""
    max_bytes: int = Field(default=200 * 2**20, ge=1)
    """The largest body that is kept, decoded."""


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_bytes: int = Field(default=10 * 2**20, ge=4096)
    """The size at which the log file is put aside and a new one begun."""
    keep: int = Field(default=4, ge=0)
    """How many files that were put aside are kept."""


class RetentionSettings(_Section):
    done: float | None = None
    """The age, as a time span, at which `watch` forgets the records of items that ended well; not set: never."""

    @field_validator("done", mode="before")
    @classmethod
    def _is_span(cls, value: object) -> object:
        try:
            return value if value is None else span(str(value))
        except ValueError:
            raise ValueError("a time span, such as 12h or 30d") from None


class WatchSettings(_Section):
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


class _Named(dict[str, T]):
    """A mapping that answers with a section's defaults for a name nobody configured."""

    def __init__(self, given: Mapping[str, T], default: T) -> None:
        super().__init__(given)
        self._default = default

    def __missing__(self, name: str) -> T:
        return self._default


@dataclass(frozen=True)
class _Origins:
    """Where each value came from, for messages."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    file: Path | None = None

    def of(self, where: tuple[str, ...]) -> str:
        if _holds(self.overrides, where):
            return "the command line"
        for end in range(len(where), 0, -1):
            if where[:end] in self.variables:
                return f"the environment variable {self.variables[where[:end]]}"
        longer = [name for path, name in self.variables.items() if path[: len(where)] == where]
        return f"the environment variable {longer[0]}" if longer else str(self.file)


class Settings(BaseSettings):
    """All settings. `services[NAME]` and `stages[NAME]` answer for every name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    services: dict[str, ServiceSettings] = Field(default_factory=dict, validate_default=True)
    stages: dict[str, StageSettings] = Field(default_factory=dict, validate_default=True)
    storage: StorageSettings = StorageSettings()
    download: DownloadSettings = DownloadSettings()
    log: LogSettings = LogSettings()
    watch: WatchSettings = WatchSettings()
    retention: RetentionSettings = RetentionSettings()
    grace: float = Field(default=30.0, ge=0)
    """Seconds that active items have to finish after the first signal."""
    outage: float = Field(default=900.0, gt=0)
    """Seconds that a service may stay unavailable before a batch run stops."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        return _without_empty(values, cls.model_fields)

    _origins: _Origins = PrivateAttr(default_factory=_Origins)

    @field_validator("services", mode="after")
    @classmethod
    def _any_service(cls, given: dict[str, ServiceSettings]) -> dict[str, ServiceSettings]:
        return _Named(given, ServiceSettings())

    @field_validator("stages", mode="after")
    @classmethod
    def _any_stage(cls, given: dict[str, StageSettings]) -> dict[str, StageSettings]:
        return _Named(given, StageSettings())

    def check_names(self, *, services: Collection[str], stages: Collection[str]) -> None:
        """Raise SettingsError for a section of a service or stage that is not among the known names."""
        declare = " A pipeline names the services that it uses in Pipeline(services=[…])."
        for kind, given, known, hint in (
            ("services", self.services, services, declare),
            ("stages", self.stages, stages, ""),
        ):
            for name in cast("dict[str, object]", given):
                if name not in known:
                    raise SettingsError(
                        f"There is no {kind[:-1]} {name!r}, but {self._origins.of((kind, name))} sets "
                        f"{kind}.{name}. {_suggest(name, known)}{hint}"
                    )

    def secret_values(self) -> frozenset[str]:
        """Every credential, for the redaction of logs; email addresses too, they are personal."""
        found: set[str] = set()
        for service in self.services.values():
            secrets = (cast("SecretStr | None", getattr(service, name)) for name in _SECRETS)
            found.update(secret.get_secret_value() for secret in secrets if secret is not None)
            found.update((service.email,) if service.email else ())
        return frozenset(found)


def load_settings(workspace: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings of a workspace. `overrides` is nested as the file is; None in it means not given.

    Raises SettingsError, which names the setting, where it came from, and what was expected.
    """
    given = _without_none(overrides or {})
    file = workspace / FILE_NAME
    from_file = _read(file)
    origins = _Origins(given, dict(_variables()), file)

    class Located(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[Any, ...]:
            return init_settings, env_settings, lambda: from_file

    try:
        settings = Located(**given)
    except UnreadableVariable as error:
        raise SettingsError(f"A STREAMFLOW_ variable cannot be read: {error}.") from None
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem, origins) for problem in error.errors())) from None
    settings._origins = origins
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        with open(file, encoding="utf-8", opener=open_plain) as opened:
            return tomllib.loads(opened.read())
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        return {}
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}.") from error


def _variables() -> Iterator[tuple[tuple[str, ...], str]]:
    """The variables of ours with the settings they name. Raises SettingsError for one that names none."""
    known = Settings.model_fields
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name not in FAILPOINTS:
            path = tuple(name[len(PREFIX) :].lower().split("__"))
            if path[0] not in known:
                guess = difflib.get_close_matches(path[0], known, 1)
                other = PREFIX + "__".join([guess[0], *path[1:]]).upper() if guess else ""
                hint = f"Did you mean {other}?" if guess else f"Known: {', '.join(known)}."
                raise SettingsError(f"The environment variable {name} names no setting. {hint}")
            if len(path) > 1 and path[0] in ("grace", "outage"):
                raise SettingsError(f"The environment variable {name} names no setting: {path[0]} has no parts.")
            yield path, name


def _explain(problem: Mapping[str, Any], origins: _Origins) -> str:
    where = tuple(str(part) for part in problem["loc"])
    setting, source = ".".join(where), origins.of(where)
    if problem["type"] == "extra_forbidden":
        return f"Unknown setting {setting} in {source}. {_suggest(where[-1], _siblings(where))}"
    expected = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"The setting {setting} in {source} is wrong: expected a section, [{setting}]."
    got = f", got {str(problem['input'])[:80]!r}" if where[-1] not in _SECRETS else ""
    return f"The setting {setting} in {source} is wrong: expected {expected}{got}."


def _siblings(where: tuple[str, ...]) -> Collection[str]:
    sections: dict[str, type[BaseModel]] = {
        "services": ServiceSettings,
        "stages": StageSettings,
        "storage": StorageSettings,
        "download": DownloadSettings,
        "log": LogSettings,
        "watch": WatchSettings,
        "retention": RetentionSettings,
    }
    if where[2:3] == ("windows",) and len(where) > 3:
        return WindowSettings.model_fields
    return (Settings if len(where) == 1 else sections[where[0]]).model_fields


def _suggest(name: str, known: Collection[str]) -> str:
    guess = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {guess[0]!r}?" if guess else f"Known: {', '.join(sorted(known)) or 'none'}."


def _holds(nested: object, where: tuple[str, ...]) -> bool:
    for part in where:
        if not isinstance(nested, Mapping) or part not in nested:
            return False
        nested = nested[part]
    return True


def _without_none(nested: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in nested.items()
        if value is not None
    }
