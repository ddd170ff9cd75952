"""Finding pipelines: by the name of an entry point, or as `module:attribute` or `file.py:attribute`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.output import tell
from streamflow.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from streamflow.engine.pipeline import Pipeline

GROUP = "streamflow.pipelines"
PipelineArgument = Annotated[
    str,
    typer.Argument(metavar="PIPELINE", help="A pipeline's name, or module:attribute, or file.py:attribute."),
]


def registered() -> dict[str, EntryPoint]:
    """The pipelines that installed packages offer, by name."""
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def find(wanted: str) -> Pipeline:
    """The pipeline that the user means. Raises UsageError that says what there is."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    known = registered()
    if wanted in known:
        return _checked(wanted, _load(wanted, known[wanted].module), known[wanted].attr)
    module, colon, attribute = wanted.rpartition(":")
    if not colon or not module or not attribute:
        raise UsageError(_unknown(wanted, list(known)))
    if module.endswith(".py") or os.sep in module:
        return _checked(wanted, _load_file(wanted, Path(module)), attribute)
    return _checked(wanted, _load(wanted, module), attribute)


def all_registered() -> Iterator[Pipeline]:
    """Every pipeline of installed packages; one that cannot be imported is told and passed over."""
    for name in registered():
        try:
            yield find(name)
        except UsageError as error:
            tell(f"Warning: {error}")


def find_by_own_name(name: str) -> Pipeline | None:
    """The registered pipeline whose own name this is, as a workspace's database keeps it."""
    if name in registered():
        found = find(name)
        return found if found.name == name else None
    return next((pipeline for pipeline in all_registered() if pipeline.name == name), None)


def _unknown(wanted: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wanted, known, 1) or [name for name in known if wanted and name.startswith(wanted)]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if wanted.endswith(".py"):
        hint = f" To use a file, say which of its names is the pipeline: {wanted}:pipeline"
    there_are = f"There are: {', '.join(known)}." if known else "No installed package offers one."
    return (
        f"There is no pipeline {wanted!r}.{hint} {there_are} One that is not installed is named "
        "module:attribute or file.py:attribute."
    )


def _load_file(wanted: str, file: Path) -> ModuleType:
    if not file.is_file():
        raise UsageError(f"There is no file {str(file)!r} (seen from {Path.cwd()}), which {wanted!r} names.")
    # By its folder on the path, not by a loader of our own: worker processes must be able to import it too.
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)
    module = _load(wanted, file.stem)
    if module.__file__ is None or Path(module.__file__).resolve() != file.resolve():
        raise UsageError(
            f"{str(file)!r} cannot be imported: Python already has another module {file.stem!r}. Rename the file."
        )
    return module


def _load(wanted: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"There is no module {error.name!r}, which the pipeline {wanted!r} names (seen from {Path.cwd()})."
            ) from None
        raise UsageError(
            f"The pipeline {wanted!r} needs the module {error.name!r}, which is not installed. Its package may have an "
            f"extra for it: pip install 'streamflow-engine[{wanted}]'."
        ) from None
    except SystemExit as error:
        raise UsageError(
            f"The pipeline {wanted!r} cannot be imported: its module calls sys.exit({error.code!r}). Put what is to "
            'run as a program under `if __name__ == "__main__":`.'
        ) from None
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}, line {last.lineno}"
        if isinstance(error, SyntaxError):
            where = f"{error.filename}, line {error.lineno}"
        raise UsageError(
            f"The pipeline {wanted!r} cannot be imported: {type(error).__name__}: {error} ({where})."
        ) from error


def _checked(wanted: str, module: ModuleType, attribute: str) -> Pipeline:
    from streamflow.engine.pipeline import Pipeline

    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Pipeline):
        return found
    there = [name for name, value in vars(module).items() if isinstance(value, Pipeline)]
    what = "is no pipeline" if found is not None else "does not exist"
    raise UsageError(
        f"The pipeline {wanted!r} cannot be used: {attribute!r} in {module.__name__} {what}. "
        f"The pipelines there are: {', '.join(there) or 'none'}."
    )
