"""`streamflow pause`, `resume`, `drain`, `health`: what a process that works in a workspace is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streamflow.cli.output import give, one_line, tell
from streamflow.cli.workspaces import WorkspaceOption, chosen
from streamflow.errors import ControlError

if TYPE_CHECKING:
    import msgspec

    from streamflow.engine.control.messages import Request

    T = TypeVar("T", bound=msgspec.Struct)

StageArgument = Annotated[str, typer.Argument(metavar="STAGE", help="The stage.")]


def pause(stage: StageArgument, workspace: WorkspaceOption = None) -> None:
    """Let a stage of the running pipeline take no more items. What it has in hand is finished."""
    from streamflow.engine.control.messages import Done, Pause

    folder = chosen(workspace)
    done = _asked(folder, Pause(stage=stage), Done)
    tell(
        f"{stage} is paused{'' if done.changed else ' already'}: it takes no more items until "
        f"`streamflow resume {stage} -w {folder}`, or until the process ends."
    )


def resume(stage: StageArgument, workspace: WorkspaceOption = None) -> None:
    """Let a paused stage go on."""
    from streamflow.engine.control.messages import Done, Resume

    done = _asked(chosen(workspace), Resume(stage=stage), Done)
    tell(f"{stage} goes on." if done.changed else f"{stage} was not paused.")


def drain(workspace: WorkspaceOption = None) -> None:
    """Stop the running pipeline as the first SIGTERM does: what is active is finished, the rest stays pending."""
    from streamflow.engine.control.messages import Done, Drain

    done = _asked(chosen(workspace), Drain(), Done)
    tell("It finishes what is active and ends." if done.changed else "It is stopping already.")


def health(workspace: WorkspaceOption = None) -> None:
    """Say whether the running pipeline goes on as it should: exit code 0, or 1 and why not."""
    from streamflow.engine.control.messages import Diagnosis, Health

    found = _asked(chosen(workspace), Health(), Diagnosis)
    give(f"{'healthy' if found.healthy else 'not healthy'}: {one_line(found.why)}")
    raise typer.Exit(0 if found.healthy else 1)


def _asked(folder: Path, request: Request, kind: type[T]) -> T:
    """The answer of the process that works in the workspace. Raises ControlError where there is none to ask."""
    from streamflow.engine.control.client import ask
    from streamflow.storage.lock import holder

    answer = ask(folder, request, kind)
    if answer is not None:
        return answer
    held = holder(folder)
    if held is None:
        raise ControlError(f"No process works in the workspace {folder}.")
    raise ControlError(
        f"Process {held.get('pid', '?')} works in the workspace {folder}, but cannot be asked: it is starting or "
        "ending, or could make no socket (its log says so). A SIGTERM stops it."
    )
