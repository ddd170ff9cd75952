from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from streamflow.errors import SettingsError
from streamflow.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("STREAMFLOW_"):
            monkeypatch.delenv(name)


def load(workspace: Path, toml: str = "", overrides: Mapping[str, Any] | None = None) -> Settings:
    (workspace / "streamflow.toml").write_text(toml, encoding="utf-8")
    return load_settings(workspace, overrides)


def refusal(workspace: Path, toml: str = "", overrides: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(workspace, toml, overrides)
    return str(caught.value)


def test_without_any_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "not there")
    assert settings.storage.synchronous == "FULL"
    assert settings.download.allow_private is False
    assert settings.outage == 900
    assert settings.services["crossref"].base_url is None
    assert settings.stages["enrich"].workers is None


def test_the_command_line_wins_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = "[stages.enrich]\nworkers = 1\ncapacity = 1\ntimeout = 1\n"
    monkeypatch.setenv("STREAMFLOW_STAGES__ENRICH__WORKERS", "2")
    monkeypatch.setenv("STREAMFLOW_STAGES__ENRICH__CAPACITY", "2")
    overrides = {"stages": {"enrich": {"workers": 3, "timeout": None}}, "grace": None}
    enrich = load(tmp_path, toml, overrides).stages["enrich"]
    assert (enrich.workers, enrich.capacity, enrich.timeout, enrich.attempts) == (3, 2, 1.0, None)


@pytest.mark.parametrize("token", ["123", "null", "true", "[1]", '"quoted"', "pässword=,;"])
def test_a_credential_in_the_environment_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("STREAMFLOW_SERVICES__GITHUB__TOKEN", token)
    settings = load(tmp_path)
    secret = settings.services["github"].token
    assert secret is not None
    assert secret.get_secret_value() == token
    assert token in settings.secret_values()
    assert token not in repr(settings)


def test_an_empty_text_unsets_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_SERVICES__GROBID__BASE_URL", "")
    monkeypatch.setenv("STREAMFLOW_GRACE", "")
    settings = load(tmp_path, 'grace = 1\n[services.grobid]\nbase_url = "http://127.0.0.1:8070"\ntoken = ""\n')
    assert settings.services["grobid"].base_url is None
    assert settings.services["grobid"].token is None
    assert settings.grace == Settings.model_fields["grace"].default


@pytest.mark.parametrize(
    ("toml", "setting", "hint"),
    [
        ("[services.crossref]\nraet = 5", "services.crossref.raet", "'rate'"),
        ("[service.crossref]\nrate = 5", "service", "'services'"),
        ("[stages.enrich]\nworker = 5", "stages.enrich.worker", "'workers'"),
        ("[storage]\nsync = 'FULL'", "storage.sync", "synchronous"),
        ("[services.crossref]\nrate = 'fast'", "services.crossref.rate", "number"),
        ("[services.crossref]\nrate = nan", "services.crossref.rate", "finite"),
        ("[services.crossref]\nrate = 0", "services.crossref.rate", "greater than 0"),
        ("[services.crossref]\nbase_url = 'crossref.org'", "services.crossref.base_url", "http://"),
        ("[services.crossref]\nper = 1e300", "services.crossref.per", "31622400"),
        ("[services.crossref]\nrate = 1e-300", "services.crossref.rate", "a call a year"),
        ("[services.crossref]\nrate = 0.001\nper = 3e7", "services.crossref.per", "a call a year"),
        ("[services.crossref]\nrate = 1\nper = 1e-320", "services.crossref.per", "a billion a second"),
        ("[[services.github.windows]]\nsize = 5\nper = 1e300", "services.github.windows.0.per", "31622400"),
        (
            "[[services.github.windows]]\nsize = 5\nper = 60\n[[services.github.windows]]\nsize = 9\nper = 60.0",
            "services.github.windows",
            "a single window of requests in 60 s",
        ),
        ("[stages.enrich]\nworkers = 1.5", "stages.enrich.workers", "integer"),
        ("[storage]\nsynchronous = 'OFF'", "storage.synchronous", "'FULL' or 'NORMAL'"),
        ("[[services.github.windows]]\nsise = 5", "services.github.windows.0.sise", "'size'"),
        ("[[services.github.windows]]\nsize = 5\nper = 0", "services.github.windows.0.per", "greater than 0"),
        ("[[services.github.windows]]\nsize = 5\nper = 1\nkind = 'a b'", "services.github.windows.0.kind", "pattern"),
        ("services = 3", "services", "[services]"),
        ("services.crossref = 3", "services.crossref", "[services.crossref]"),
        ("grace = -1", "grace", "0"),
        ("grace = true", "grace", "number"),
        ("[stages.enrich]\nworkers = true", "stages.enrich.workers", "number"),
        ("[services.crossref]\nrate = true", "services.crossref.rate", "number"),
        ("[[services.github.windows]]\nsize = true\nper = 60", "services.github.windows.0.size", "number"),
    ],
)
def test_a_wrong_setting_in_the_file_is_named_with_what_was_expected(
    tmp_path: Path, toml: str, setting: str, hint: str
) -> None:
    message = refusal(tmp_path, toml)
    assert setting in message
    assert str(tmp_path / "streamflow.toml") in message
    assert hint in message


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("STREAMFLOW_SERVICE__CROSSREF__RATE", "1", "STREAMFLOW_SERVICES__CROSSREF__RATE"),
        ("STREAMFLOW_NONSENSE", "1", "services"),
        ("STREAMFLOW_SERVICES__CROSSREF__RAET", "1", "'rate'"),
        ("STREAMFLOW_SERVICES__CROSSREF__RATE", "fast", "number"),
        ("STREAMFLOW_SERVICES__CROSSREF", "3", "section"),
        ("STREAMFLOW_LOG__LEVLE", "info", "'level'"),
        ("STREAMFLOW_GRACE", "soon", "number"),
        ("STREAMFLOW_GRACE__SECONDS", "3", "grace"),
    ],
)
def test_a_wrong_variable_is_named_with_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(variable, value)
    message = refusal(tmp_path, "[services.crossref]\ntimeout = 3")
    assert variable in message
    assert hint in message


def test_a_variable_that_is_no_json_where_a_section_belongs_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_SERVICES", "{")
    assert "services" in refusal(tmp_path)


def test_a_wrong_setting_on_the_command_line_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, overrides={"stages": {"enrich": {"workers": "many"}}})
    assert "stages.enrich.workers" in message
    assert "the command line" in message


def test_every_wrong_setting_is_told_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "grace = 'x'\n[stages.enrich]\nworkers = 'y'")
    assert "grace" in message
    assert "stages.enrich.workers" in message


def test_a_credential_of_the_wrong_type_is_not_printed(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[services.github]\ntoken = 987654321")
    assert "services.github.token" in message
    assert "987654321" not in message


@pytest.mark.parametrize(
    "line", ["base_url = 'htp://me:hunter2@proxy'", "base_url = 'me:hunter2@proxy'", "email = ['hunter2']"]
)
def test_an_address_that_is_wrong_is_not_printed(tmp_path: Path, line: str) -> None:
    message = refusal(tmp_path, f"[services.github]\n{line}")
    assert f"services.github.{line.split()[0]}" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("setting", ["api_key", "token", "email"])
@pytest.mark.parametrize("text", ["a@b\\nX", "hunter2\\n", "a\\u0000b", "a\\u007f", "a\\u0085", "ключ"])
def test_what_no_header_can_hold_is_refused_and_not_printed(tmp_path: Path, setting: str, text: str) -> None:
    message = refusal(tmp_path, f'[services.github]\n{setting} = "{text}"')
    assert f"services.github.{setting}" in message
    assert "what an HTTP header can hold" in message
    assert "got" not in message


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http:///path",
        "http://[::1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://host:port",
        "http://two words/",
        "http://two\\nlines/",
        "http://two..dots/",
        "http://me:hunter2@/",
    ],
)
def test_an_address_that_cannot_be_called_is_refused(tmp_path: Path, address: str) -> None:
    message = refusal(tmp_path, f'[services.github]\nbase_url = "{address}"')
    assert "services.github.base_url" in message
    assert "a whole address" in message


@pytest.mark.parametrize("address", ["HTTP://[::1]:80", "https://me:pw@bücher.example/a b?c=d", "http://ex_ample."])
def test_an_address_that_can_be_called_is_taken(tmp_path: Path, address: str) -> None:
    assert load(tmp_path, f'[services.github]\nbase_url = "{address}"').services["github"].base_url == address


def test_the_password_of_an_address_is_among_the_credentials(tmp_path: Path) -> None:
    settings = load(tmp_path, "[services.a]\nbase_url = 'http://me:hun%2Fter2@proxy'\n")
    assert settings.secret_values() == {"hun/ter2"}


@pytest.mark.parametrize("content", [b"x = [", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "streamflow.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"streamflow\.toml is not valid TOML"):
        load_settings(tmp_path)


def test_a_section_of_a_name_that_the_pipeline_lacks_is_refused_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_STAGES__ENRIHC__WORKERS", "2")
    settings = load(tmp_path, "[services.crosref]\nrate = 1\n")
    with pytest.raises(SettingsError, match=r"'crosref'.*streamflow\.toml.*'crossref'"):
        settings.check_names(services=["crossref", "openalex"], stages=["enrihc"])
    with pytest.raises(SettingsError, match=r"STREAMFLOW_STAGES__ENRIHC__WORKERS.*'enrich'"):
        settings.check_names(services=["crosref"], stages=["extract", "enrich"])
    settings.check_names(services=["crosref"], stages=["enrihc"])


def test_all_credentials_are_listed_for_redaction(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "[services.a]\napi_key = 'k1'\ntoken = 't1'\npassword = 'p1'\nemail = 'me@example.org'\nrate = 3\n",
    )
    assert settings.secret_values() == {"k1", "t1", "p1", "me@example.org"}
