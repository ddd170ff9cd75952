"""Rows in which the external service or the way to it fails: a real server on loopback, called through the client."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.faults.campaign import Campaign, Row, must
from benchmarks.faults.engine import Difference, Fire, run
from benchmarks.faults.pipeline import ENRICHERS
from benchmarks.faults.process import forked
from streamflow.limits.breaker import MINIMUM, OF_THE_OUTAGE, SHORTEST
from streamflow.limits.retry_budget import FLOOR, RESERVE, SHARE
from streamflow.storage import DATABASE, inspect
from streamflow.testing.faults import Faults

_NAME = "catalogue.test"


def resets(campaign: Campaign) -> Row:
    return _served(campaign, "reset=0.3", "reset")


def short_bodies(campaign: Campaign) -> Row:
    return _served(campaign, "half=0.3", "half")


def slow_answers(campaign: Campaign) -> Row:
    return _served(campaign, "slow=0.3:0.2", "slow", is_repeated=False)


def slow_bodies(campaign: Campaign) -> Row:
    difference, workspace = Difference(), campaign.workspace()
    ended = campaign.run(workspace, campaign.papers, Fire(faults="", is_dripping=True))
    must(ended.status == 0, "a run whose service drips failed", ended)
    must(ended.told["dripped"] > 0 and ended.told["events"].get("ItemRetried", 0) > 0, "no body was too slow", ended)
    campaign.compare(workspace, campaign.papers, difference)
    return Row(ended.told["dripped"], difference, "connections whose bodies are slower than the timeout")


def silence(campaign: Campaign) -> Row:
    return _served(campaign, "hang=0.1", "hang")


def wrong_bodies(campaign: Campaign) -> Row:
    return _served(campaign, "html=0.2,empty=0.1", "html")


def unavailable(campaign: Campaign) -> Row:
    return _served(campaign, "503=0.4", "503")


def away(campaign: Campaign) -> Row:
    """503 for a while, without a break: the breaker opens once, its probes find the service back, and few calls were
    made in between."""
    difference, workspace = Difference(), campaign.workspace()
    ended = campaign.run(workspace, campaign.papers, Fire(faults="", away=campaign.away))
    must(ended.status == 0, "a run whose service was away failed", ended)
    events, statuses, closed_after = (ended.told[name] for name in ("events", "statuses", "closed_after"))
    refused, calls = statuses.get("503", 0), sum(statuses.values())
    must(events.get("BreakerOpened") == events.get("BreakerClosed") == 1, f"the breaker: {events}", ended)
    lasted, longest = closed_after[0], campaign.away * 1.15 + 3
    must(0.9 * campaign.away <= lasted <= longest, f"the outage lasted {lasted:.1f} s for the breaker", ended)
    must(MINIMUM <= refused <= (most := _most_refused(campaign.away)), f"{refused} refused, and not {most}", ended)
    budget = RESERVE + FLOOR * ended.seconds + SHARE * calls
    must(refused <= budget, f"{refused} retries of {calls} calls in {ended.seconds:.0f} s, and not {budget:.0f}", ended)
    paid = _attempts_beyond_the_first(workspace)
    must("ItemDied" not in events and paid <= ENRICHERS + MINIMUM, f"{paid} attempts were paid for the outage", ended)
    campaign.compare(workspace, campaign.papers, difference)
    return Row(refused, difference, f"for {campaign.away:g} s; calls went on {lasted - campaign.away:.1f} s after")


def _most_refused(seconds: float) -> int:
    """What opens the breaker, what was in flight then, and the probes, were all of them as early as can be."""
    probes, passed = 0, 0.0
    while passed < seconds:
        passed += 0.8 * max(SHORTEST, OF_THE_OUTAGE * passed)
        probes += 1
    return MINIMUM + ENRICHERS + probes


def _attempts_beyond_the_first(workspace: Path) -> int:
    with closing(sqlite3.connect(workspace / DATABASE)) as connection:
        (count,) = connection.execute("SELECT sum(attempts - 1) FROM streamflow_items").fetchone()
    return int(count)


def storms(campaign: Campaign) -> Row:
    """Each refusal says to wait for a second, and stops all calls for it."""
    return _served(campaign, "429=0.15", "429")


def _served(campaign: Campaign, faults: str, kind: str, *, is_repeated: bool = True) -> Row:
    difference, workspace = Difference(), campaign.workspace()
    fire = Fire(faults=faults, seed=_seed(campaign, faults, kind))
    ended = campaign.run(workspace, campaign.papers, fire)
    must(ended.status == 0, f"a run under {faults} failed", ended)
    count = sum(ended.told["injected"].values())
    must(ended.told["injected"].get(kind, 0) > 0, f"{kind} did not fire", ended)
    must(not is_repeated or ended.told["events"].get("ItemRetried", 0) > 0, f"{kind} was met by no item", ended)
    campaign.compare(workspace, campaign.papers, difference)
    return Row(count, difference, faults)


def _seed(campaign: Campaign, faults: str, kind: str) -> int:
    """One with which a fault of this kind falls to some work's first call: of few calls none may be hit by chance."""
    while True:
        drawn = Faults(faults, campaign.dice.randrange(2**32))
        for work in range(campaign.papers // 2):
            drawn.draw(f"GET /works/{work}", 1)
        if drawn.injected[kind]:
            return drawn.seed


def no_name(campaign: Campaign) -> Row:
    """The service's name cannot be resolved at first."""
    difference, workspace = Difference(), campaign.workspace()

    def work() -> dict[str, Any]:
        real, failed = socket.getaddrinfo, 0

        def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal failed
            if host != _NAME:
                return real(host, *arguments, **options)
            failed += 1
            if failed <= 5:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return real("127.0.0.1", *arguments, **options)

        socket.getaddrinfo = resolve
        told = run(workspace, campaign.papers, Fire(faults="", url=f"http://{_NAME}:{{}}"))
        return {**told, "failed": min(failed, 5)}

    ended = forked(work, workspace.parent)
    must(ended.status == 0, "a run whose service had no name for a while failed", ended)
    must(ended.told["failed"] == 5 and ended.told["events"].get("ItemRetried", 0) > 0, "every name resolved", ended)
    campaign.compare(workspace, campaign.papers, difference)
    return Row(5, difference, "the first 5 look-ups")


def bad_tls(campaign: Campaign) -> Row:
    """The service answers a TLS greeting with something else: the run gives up on it, with every item pending."""
    difference, workspace = Difference(), campaign.workspace()
    fire = Fire(faults="", url="https://127.0.0.1:{}", outage=1.0)
    ended = campaign.run(workspace, campaign.papers, fire)
    must(ended.status == 0, "a run whose service speaks no TLS failed", ended)
    must(ended.told["gave_up"], "a service that speaks no TLS was not given up", ended)
    dead = sum(inspect.requeue(workspace).values())
    must(dead == 0, f"{dead} dead letters for a service that was away", ended)
    campaign.finish(workspace, campaign.papers, difference)
    return Row(ended.told["events"].get("BreakerOpened", 0), difference, "outages, after which the run gave up")
