"""Simulators in a process of their own, for `demo` and `bench`: they must not share a loop with what is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamflow.errors import UsageError

STATS = "/_simulator/stats"


@dataclass(frozen=True, slots=True)
class Simulators:
    """Running simulators: their address by service, and the environment that points a pipeline at them."""

    urls: Mapping[str, str]
    environment: Mapping[str, str]

    def stats(self) -> dict[str, dict[str, Any]]:
        """What each was asked since `forget`."""
        return {name: _ask(f"{url}{STATS}", "GET") for name, url in self.urls.items()}

    def forget(self) -> None:
        for url in self.urls.values():
            _ask(f"{url}{STATS}", "DELETE")


@contextmanager
def simulators(
    pipeline: str, names: Sequence[str], *, latency: str = "0", scale: float = 1.0, faults: Sequence[str] = ()
) -> Iterator[Simulators]:
    """Start the simulators of a pipeline and point this process's environment at them, for as long as the block lasts.

    `pipeline` is what the user calls it. Raises UsageError when they do not start.
    """
    command = [sys.executable, "-m", "streamflow.cli", "simulate", *names, "--pipeline", pipeline, "--with-parent"]
    command += ["--latency", latency, "--scale", str(scale)]
    for text in faults:
        command += ["--faults", text]
    # A group of its own: Ctrl-C is for us, and the run that drains still needs the simulators.
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603
    assert child.stdin is not None  # noqa: S101 - they are pipes
    assert child.stdout is not None  # noqa: S101
    environment: dict[str, str] = {}
    before: dict[str, str | None] = {}
    try:
        for line in child.stdout:
            if line == "\n":
                break
            name, _, value = line.rstrip("\n").partition("=")
            environment[name] = value
        if not environment:
            raise UsageError("The simulators did not start.")
        for name in names:
            # Those who give an address are served better by some services; this one is nobody's.
            environment.setdefault(f"STREAMFLOW_SERVICES__{name.upper()}__EMAIL", "reader@example.org")
        urls = {name: environment[f"STREAMFLOW_SERVICES__{name.upper()}__BASE_URL"] for name in names}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        yield Simulators(urls, environment)
    finally:
        for name, old in before.items():
            if old is None:
                del os.environ[name]
            else:
                os.environ[name] = old
        child.stdin.close()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def _ask(url: str, method: str) -> dict[str, Any]:
    request = urllib.request.Request(url, method=method)  # noqa: S310 - the simulators' own address
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
    return told
