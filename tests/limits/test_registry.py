"""One limit per API."""

from __future__ import annotations

import pytest

from streamflow.errors import PipelineError
from streamflow.limits.limit import Allowance
from streamflow.limits.registry import Registry


def test_clients_of_one_api_share_its_limit() -> None:
    registry = Registry()
    first = registry.limit("crossref", rate=10, concurrency=3)
    assert registry.limit("crossref", rate=10, concurrency=3) is first
    assert registry.limit("openalex", rate=10, concurrency=3) is not first
    assert registry["crossref"] is first
    assert [limit.name for limit in registry] == ["crossref", "openalex"]


@pytest.mark.parametrize("other", [{"rate": 5}, {"rate": 10, "configured": Allowance(rate=1)}])
def test_two_declarations_of_one_api_must_agree(other: dict[str, object]) -> None:
    registry = Registry()
    registry.limit("crossref", rate=10)
    with pytest.raises(PipelineError, match="'crossref' is declared twice"):
        registry.limit("crossref", **other)  # type: ignore[arg-type]
