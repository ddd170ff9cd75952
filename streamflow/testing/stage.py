"""Running one stage function in a test, as the engine would.

    outputs = await run_stage(enrich, reference, crossref=FakeCrossref())

What a function raises comes out as it is: `with pytest.raises(Skip): await run_stage(…)`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from streamflow.deadline import Deadline, current
from streamflow.engine.stage import Signature, read_signature
from streamflow.errors import HeldAcrossYield, StageSignatureError
from streamflow.record import record_type


async def run_stage(function: Callable[..., Any], record: Any, **resources: Any) -> list[Any]:
    """The records that a stage function gives for one record, whatever form it gives them in.

    `resources` fill its keyword-only parameters; anything of the right shape will do. Plain functions run in a
    thread. For a batch function give a list; the answer then has one entry for each input, an exception where that
    failed. Every output is looked at as the engine would: its type is in the annotation, and it can be
    stored and read again.

    Raises StageSignatureError when the function, its resources or its outputs do not fit together, RecordError when
    an output cannot be stored, HeldAcrossYield when it streams inside a limit, and what the function raises.
    """
    where = f"stage {function.__name__!r}"
    signature = read_signature(function, where)
    if wrong := signature.resources.keys() ^ resources.keys():
        raise StageSignatureError(f"{where} takes the resources {sorted(signature.resources)}; mend {sorted(wrong)}")
    records = record if isinstance(record, list) else [record]
    for each in records:
        if type(each) is not signature.takes:
            raise StageSignatureError(f"{where} takes {_name(signature.takes)}, not {type(each).__name__}")
        record_type(type(each)).encode(each)
        record_type(type(each)).values(each)
    deadline = Deadline(asyncio.get_running_loop().time)
    token = current.set(deadline)
    try:
        if inspect.isasyncgenfunction(function):
            outcome: Any = []
            async with aclosing(function(record, **resources)) as stream:
                async for output in stream:
                    if deadline.held:
                        raise HeldAcrossYield(f"{where} yielded inside `async with` of a limit: leave the limit first")
                    outcome.append(output)
        elif inspect.iscoroutinefunction(function):
            outcome = await function(record, **resources)
        else:
            outcome = await asyncio.to_thread(function, record, **resources)
    finally:
        current.reset(token)
    if not isinstance(record, list):
        return _outputs(outcome, signature, where)
    if not isinstance(outcome, list) or len(outcome) != len(record):
        raise StageSignatureError(f"{where} must return a list with one entry for each of its {len(record)} inputs")
    for entry in outcome:
        if not isinstance(entry, Exception):
            _outputs(entry, signature, where)
    return outcome


def _outputs(outcome: Any, signature: Signature, where: str) -> list[Any]:
    """The records in what a function gave, checked."""
    if outcome is None and signature.or_nothing:
        return []
    if type(outcome) in signature.produces:
        described = record_type(type(outcome))
        described.encode(outcome)
        described.values(outcome)
        described.key_of(outcome)
        return [outcome]
    if isinstance(outcome, list | tuple):
        return [output for part in outcome for output in _outputs(part, signature, where)]
    raise signature.wrong_output(where, outcome)


def _name(kind: type[Any] | None) -> str:
    return kind.__name__ if kind is not None else "nothing"
