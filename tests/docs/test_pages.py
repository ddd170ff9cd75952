"""What the pages say is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Reader

ROOT = Path(__file__).parents[2]
PLAYED = ["README.md", "docs/tutorial.md", "docs/how-to/processor-stage.md", "docs/explanation/matching.md"]


@pytest.mark.parametrize("page", PLAYED)
def test_a_reader_gets_what_the_page_shows(page: str, tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        reader.play((ROOT / page).read_text(encoding="utf-8"))
