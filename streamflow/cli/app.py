"""The verbs: one module each, which turns arguments into calls.

What a command needs is imported inside it, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streamflow.cli import (
    bench,
    dead,
    demo,
    doctor,
    export,
    graph,
    journal,
    limits,
    prune,
    retry,
    run,
    simulate,
    status,
    steer,
    watch,
)
from streamflow.cli.output import open_missing_streams, silence, tell
from streamflow.errors import ControlError, UsageError

app = typer.Typer(
    name="streamflow",
    help="Runs pipelines that call rate-limited APIs on many documents, and remembers where they stand.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage or settings, 3 finished with dead letters, 4 credentials refused, "
    "5 a service stayed unavailable, 129, 130 or 143 stopped by a signal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(watch.watch)
app.command()(status.status)
app.command()(limits.limits)
app.command()(steer.health)
app.command()(steer.pause)
app.command()(steer.resume)
app.command()(steer.drain)
app.command()(export.export)
app.command()(demo.demo)
app.command()(bench.bench)
app.command()(simulate.simulate)
app.command()(graph.graph)
app.command()(doctor.doctor)
app.command()(retry.retry)
app.command()(prune.prune)
app.add_typer(dead.app, name="dead")
app.add_typer(journal.app, name="journal")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"streamflow {version('streamflow-engine')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def command() -> int:
    """Do what the command line says. The exit code of design §7."""
    open_missing_streams()
    try:
        try:
            app(prog_name="streamflow")
        finally:
            sys.stdout.flush()
    except SystemExit as ended:
        if isinstance(ended.code, int):
            return ended.code
        raise  # a pipeline's module says why it cannot be imported
    except UsageError as error:
        tell(f"Error: {error}")
        return 2
    except ControlError as error:
        tell(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        silence(sys.stdout)  # whoever read our output has gone
        return 1
    except OSError as error:
        tell(f"Error: {error}")
        silence(sys.stdout)
        return 1
    return 0
