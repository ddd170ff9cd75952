"""The public names."""

from __future__ import annotations

import subprocess
import sys

import streamflow


def test_every_public_name_is_there() -> None:
    for name in streamflow.__all__:
        assert getattr(streamflow, name) is not None, name
    assert set(streamflow.__all__) <= set(dir(streamflow))


def test_the_decorator_is_not_hidden_by_the_module_of_its_name() -> None:
    script = (
        "import streamflow.record, streamflow.engine.stage; from streamflow import record\n"
        "@record(key='n')\n"
        "class Number:\n"
        "    n: int\n"
        "print(Number(1))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "Number(n=1)\n"


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, streamflow; print(*sorted({'aiohttp', 'asyncio', 'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
