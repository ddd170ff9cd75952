"""Settings: the command line before `STREAMFLOW_…` variables before `streamflow.toml` before the defaults.

    [services.crossref]            one section for each API
    email = "me@example.org"       STREAMFLOW_SERVICES__CROSSREF__EMAIL=me@example.org
    [stages.enrich]                one for each stage
    workers = 16                   STREAMFLOW_STAGES__ENRICH__WORKERS=16

A setting that nobody knows is an error, wherever it stands: a misspelt limit that is silently ignored is worse.
An empty text sets a setting back to its default, whatever a lower place says. What may stand in a section says
`sections`; no other module imports pydantic.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from streamflow.errors import SettingsError
from streamflow.failpoints import VARIABLES as FAILPOINTS
from streamflow.plain_file import open_plain
from streamflow.sections import (
    HIDDEN,
    DownloadSettings,
    LogSettings,
    RetentionSettings,
    ServiceSettings,
    StageSettings,
    StorageSettings,
    WatchSettings,
    WindowSettings,
    no_truth,
    without_empty,
)

T = TypeVar("T")

FILE_NAME = "streamflow.toml"
PREFIX = "STREAMFLOW_"


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
        return without_empty(values, cls.model_fields)

    @field_validator("grace", "outage", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object, info: ValidationInfo) -> object:
        return no_truth(value, cls.model_fields, info)

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

    def check_windows(self, service: str, kinds: Collection[str]) -> None:
        """Raise SettingsError for a window of a kind that is none of `kinds`, which the calls of a service cost."""
        for window in self.services[service].windows or ():
            if window.kind not in kinds:
                raise SettingsError(
                    f"{self._origins.of(('services', service, 'windows'))} limits the {window.kind} of {service}, but "
                    f"its calls cost none, so services.{service}.windows would limit nothing. "
                    f"{_suggest(window.kind, kinds)} A client names what its calls cost in Service(cost=…)."
                )

    def check_rate(self, service: str, published: float | None) -> None:
        """Raise SettingsError for seconds without calls that are counted in them; the service publishes its rate."""
        given = self.services[service]
        if given.per is not None and given.rate is None and published is None:
            raise SettingsError(
                f"services.{service}.per in {self._origins.of(('services', service, 'per'))} is the seconds of a rate, "
                f"but there is none: {service} publishes none. Set services.{service}.rate too."
            )

    def secret_values(self) -> frozenset[str]:
        """Every credential, for the redaction of logs; email addresses too, they are personal."""
        return frozenset().union(*(service.secrets for service in self.services.values()))


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
    shown = where[-1] not in HIDDEN and isinstance(problem["input"], str | int | float)
    got = f", got {str(problem['input'])[:80]!r}" if shown else ""
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
