"""The reference is complete: every setting with its default, every command and option, every public name."""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from pydantic import BaseModel

import streamflow
from stages.literature.pipeline import pipeline as literature
from streamflow.cli.app import app
from streamflow.record import record_type
from streamflow.settings import Settings
from streamflow.storage.tables import Table
from tests.docs.blocks import blocks

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def sections(page: str) -> dict[str, str]:
    """The parts of a page by their headings of the second level."""
    parts = re.split(r"^## (.*)$", (REFERENCE / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _rows(section: str) -> dict[str, list[str]]:
    """The cells of a table's lines by the names in their first cells."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return {name: [cell.strip() for cell in line] for line in lines for name in re.findall(r"`([^`]+)`", line[0])}


def _settings() -> Iterator[tuple[str, str, Any]]:
    for name, field in Settings.model_fields.items():
        section, model = f"`[{name}]`", field.annotation
        if arguments := get_args(model):
            section, model = f"`[{name}.NAME]`", arguments[1]
        if isinstance(model, type) and issubclass(model, BaseModel):
            for inner, described in model.model_fields.items():
                yield section, inner, described.default
        else:
            yield "Top level", name, field.default


@pytest.mark.parametrize(("section", "name", "default"), list(_settings()))
def test_every_setting_stands_there_with_its_default(section: str, name: str, default: Any) -> None:
    row = _rows(sections("settings.md")[section]).get(name)
    assert row is not None, f"docs/reference/settings.md does not name {name} in {section}"
    assert row[1] == ("not set" if default is None else f"`{default}`")


def test_no_setting_is_named_that_does_not_exist() -> None:
    there = {(section, name) for section, name, _ in _settings()}
    told = {
        (section, name)
        for section, text in sections("settings.md").items()
        for name in (_rows(text.split("Published limits")[0]))
    }
    assert told <= there


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    # By what they have, not by their class: typer may bring a click of its own.
    if hasattr(command, "commands"):
        for inner, child in command.commands.items():
            yield from _commands(child, f"{name} {inner}")
    else:
        yield name, command


COMMANDS = dict(_commands(typer.main.get_command(app), "streamflow"))


def test_every_command_has_its_section_and_no_other() -> None:
    told = {heading.strip("`") for heading in sections("commands.md")} - {"Exit codes"}
    assert told == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_its_commands_section_and_no_other(name: str) -> None:
    own = {
        option
        for parameter in COMMANDS[name].params
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in parameter.opts
    } - {"--help", "-h"}
    section = sections("commands.md")[f"`{name}`"]
    told = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", re.sub(r"\]\([^)]*\)", "", section)))
    assert told == own


def test_every_public_name_stands_in_the_reference() -> None:
    page = (REFERENCE / "python.md").read_text(encoding="utf-8")
    assert [name for name in streamflow.__all__ if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.parametrize("name", ["Stage", "Retry", "Batch", "Pipeline", "Service", "record", "run_pipeline"])
def test_every_parameter_stands_in_the_reference(name: str) -> None:
    page = (REFERENCE / "python.md").read_text(encoding="utf-8")
    parameters = inspect.signature(getattr(streamflow, name)).parameters
    assert [each for each in parameters if not re.search(rf"\b{each}\b", page)] == []


@pytest.mark.parametrize("table", literature.tables, ids=lambda table: table.name)
def test_every_table_and_column_stands_in_the_reference(table: Any) -> None:
    rows = _rows(sections("tables.md")[f"`{table.table}`"])
    assert set(rows) == set(table.fields)
    assert record_type(table.cls) is table


def test_the_questions_to_ask_are_ones_that_the_tables_answer() -> None:
    page = (REFERENCE / "tables.md").read_text(encoding="utf-8")
    (questions,) = (block.text for block in blocks(page) if block.language == "sql")
    with closing(sqlite3.connect(":memory:")) as connection:
        for described in literature.tables:
            connection.execute(Table(described).create)
        for question in questions.split(";")[:-1]:
            assert connection.execute(question).fetchall() == []


def test_the_journals_columns_stand_in_the_reference() -> None:
    from streamflow.storage.schema import _MIGRATIONS

    with closing(sqlite3.connect(":memory:")) as connection:
        for migration in _MIGRATIONS:
            connection.executescript(migration)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(streamflow_items)")]
    assert list(_rows(sections("tables.md")["The journal: `streamflow_items`"])) == columns
