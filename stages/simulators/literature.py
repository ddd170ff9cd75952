"""The services of the literature pipeline, simulated together over one catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stages.simulators.catalogue import catalogue
from stages.simulators.crossref import CrossrefSimulator
from stages.simulators.openalex import OpenAlexSimulator
from stages.simulators.publisher import PublisherSimulator
from stages.simulators.unpaywall import UnpaywallSimulator
from streamflow.testing.simulator import Simulator

SERVICES = ("crossref", "openalex", "unpaywall", "publisher")


def literature_simulators(
    names: Iterable[str] = SERVICES,
    *,
    latency: float | Mapping[str, float] = 0.0,
    faults: str | Mapping[str, str] = "",
    scale: float = 1.0,
    seed: int = 0,
    extra: int = 0,
) -> list[Simulator]:
    """Those services, not yet started. `latency` (seconds) and `faults` are one for all or by name; `scale`
    multiplies the rates; `extra` works for load are added to the catalogue. Raises ValueError for an unknown name.

    OpenAlex and Unpaywall tell addresses at the publisher of this list; without one these lead nowhere.
    """
    wanted = list(dict.fromkeys(names))
    unknown = sorted(set(wanted) - set(SERVICES))
    if unknown:
        raise ValueError(f"unknown services {', '.join(unknown)}: there are {', '.join(SERVICES)}")
    works = catalogue(extra)

    def settings(name: str) -> dict[str, Any]:
        return {
            "latency": latency.get(name, 0.0) if isinstance(latency, Mapping) else latency,
            "faults": faults.get(name, "") if isinstance(faults, Mapping) else faults,
            "scale": scale,
            "seed": seed,
        }

    publisher = PublisherSimulator(works, **settings("publisher"))

    def address() -> str:
        return publisher.url if "publisher" in wanted else "http://publisher.invalid"

    services: dict[str, Simulator] = {
        "crossref": CrossrefSimulator(works, **settings("crossref")),
        "openalex": OpenAlexSimulator(works, publisher=address, **settings("openalex")),
        "unpaywall": UnpaywallSimulator(works, publisher=address, **settings("unpaywall")),
        "publisher": publisher,
    }
    return [services[name] for name in wanted]
