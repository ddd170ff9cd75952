"""The fenced blocks of a Markdown page, and playing a page as its reader would.

The words after a fence's language say what a reader does with it:

    python FILE         append it to FILE
    python FILE NAME    replace the definition of NAME in FILE
    text FILE           write it to FILE, any language
    console             type what follows `$ `, and see what stands below it; `…` stands for anything
    console second      the same in a second terminal, where it goes on until the page ends

Fences without such words are only looked at.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\S*)[ ]*(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Block:
    language: str
    words: tuple[str, ...]
    text: str


def blocks(page: str) -> Iterator[Block]:
    for language, words, text in _FENCE.findall(page):
        yield Block(language, tuple(words.split()), text)


class Reader:
    """Somebody who does what a page says, in a folder. Use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._second: subprocess.Popen[str] | None = None
        self._told: list[str] = []
        self._addresses: dict[str, str] = {}
        self._exported: dict[str, str] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        if self._second is not None:
            self._second.terminate()
            self._second.communicate(timeout=20)

    def play(self, page: str) -> None:
        """Raises AssertionError where something else happens than the page says."""
        for block in blocks(page):
            match block.language, block.words:
                case "console", ("second",):
                    self._open_second(block.text)
                case "console", ():
                    self._type(block.text)
                case "python", (file, name):
                    self._replace(self.folder / file, name, block.text)
                case "python", (file,):
                    before = (self.folder / file).read_text() if (self.folder / file).exists() else ""
                    (self.folder / file).write_text(f"{before}\n\n{block.text}" if before else block.text)
                case _, (file,):
                    (self.folder / file).write_text(block.text)

    def _replace(self, file: Path, name: str, text: str) -> None:
        """As a reader would: the new definition in the old one's place, or below what was added since."""
        source = file.read_text()
        for node in ast.parse(source).body:
            names = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
            if getattr(node, "name", None) == name or name in names:
                lines = source.splitlines(keepends=True)
                del lines[node.lineno - 1 : node.end_lineno]
                rest = "".join(lines).rstrip("\n")
                if names:
                    file.write_text(f"{rest}\n\n\n{text}")
                else:
                    lines[node.lineno - 1 : node.lineno - 1] = [text]
                    file.write_text("".join(lines))
                return
        raise AssertionError(f"{file.name} defines no {name}")

    def _open_second(self, text: str) -> None:
        command, *expected = text.splitlines()
        self._second = subprocess.Popen(
            command.removeprefix("$ ").split(),
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._second.stdout is not None
        for line in expected:
            told = self._second.stdout.readline().rstrip("\n")
            for said, shown in zip(_ADDRESS.findall(told), _ADDRESS.findall(line), strict=True):
                self._addresses[shown] = said
            assert self._here(line) == told

    def _type(self, text: str) -> None:
        command: str | None = None
        expected: list[str] = []
        for line in [*text.splitlines(), "$ "]:
            if not line.startswith("$ "):
                expected.append(line)
                continue
            if command is not None:
                self._check(command, expected)
            command, expected = line.removeprefix("$ "), []

    def _check(self, command: str, expected: list[str]) -> None:
        command = self._here(command)
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self._exported[name] = value
            return
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        pattern = r"[^\n]*\n(?:[^\n]*\n)*?".join(_pattern(self._here(line)) for line in expected if line.strip() != "…")
        assert re.search(pattern, done.stdout), f"$ {command}\n{done.stdout}\nThe page says:\n" + "\n".join(expected)
        assert expected or not done.stdout, f"$ {command}\n{done.stdout}"

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFLOW_")}
        path = os.pathsep.join((str(Path(sys.executable).parent), own.get("PATH", "")))
        plain = {"PATH": path, "COLUMNS": "120", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
        return own | plain | self._exported

    def _here(self, line: str) -> str:
        """A line of the page with the addresses of this reading."""
        return _ADDRESS.sub(lambda found: self._addresses.get(found[0], found[0]), line)


def _pattern(line: str) -> str:
    """A line as a pattern: `…` is anything, and any white space is any other."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("…")]
    return r"[ \t]*" + r"[^\n]*".join(parts)
