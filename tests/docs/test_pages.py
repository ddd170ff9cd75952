"""What the pages say is what happens, and where they point, something is."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from streamflow.cli.app import app
from streamflow.settings import Settings
from tests.docs.blocks import Reader, blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PLAYED = [
    "README.md",
    "docs/tutorial.md",
    "docs/how-to/change-a-stage.md",
    "docs/how-to/processor-stage.md",
    "docs/explanation/matching.md",
]
README_RUN = """
```text dois.txt
10.5555/rar.2016.0001
10.5555/s1041-9323(24)45987-1
```

```console second
$ streamflow simulate crossref
STREAMFLOW_SERVICES__CROSSREF__BASE_URL=http://127.0.0.1:40123
STREAMFLOW_SERVICES__CROSSREF__EMAIL=reader@example.org
Simulating crossref until Ctrl-C or SIGTERM.
```

```console
$ export STREAMFLOW_SERVICES__CROSSREF__BASE_URL=http://127.0.0.1:40123
$ streamflow run titles.py:pipeline dois.txt -w work
titles finished in …
  look_up     2        0       0            0
```
"""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PLAYED)
def test_a_reader_gets_what_the_page_shows(page: str, tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        reader.play((ROOT / page).read_text(encoding="utf-8") + (README_RUN if page == "README.md" else ""))


def test_the_pipeline_of_the_readme_has_twenty_lines() -> None:
    (code,) = (block.text for block in blocks((ROOT / "README.md").read_text()) if block.words == ("titles.py",))
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from (link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{named(page)} links to {link}"
        assert not anchor or anchor in _anchors(target), f"{named(page)} links to {link}"


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _links(index)}
    assert {page for page in PAGES if page.is_relative_to(index.parent) and page != index} <= linked


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_code_is_python_and_settings_are_settings(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "toml":
            given = tomllib.loads(block.text)
            if "project" not in given:
                Settings.model_validate(given)


def _typed(page: Path) -> Iterator[list[str]]:
    """The `streamflow` commands in a page's fences for shells, as words."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language not in ("sh", "console"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if "streamflow " in line else []
            while words and ("=" in words[0] and words[0].startswith("STREAMFLOW_")):
                words.pop(0)
            if words[:1] == ["streamflow"]:
                end = next((at for at, word in enumerate(words) if word in (">", "|", "&")), len(words))
                yield words[1:end]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_take_the_options_that_pages_give_them(page: Path) -> None:
    for words in _typed(page):
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            name, *words = words
            assert name in command.commands, f"{named(page)}: streamflow {name}"
            command = command.commands[name]
        command.make_context(command.name, list(words))  # raises for what it does not take


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pages_are_finished_and_name_nobodys_folders(page: Path) -> None:
    """Ada is whom the examples are of."""
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"\b(?:TODO|FIXME)\b|/(?:root|(?:home|Users)/(?!ada/)\w+)/", text) == []
