"""The commands in one application, and the one place where an error becomes lines and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..version import VERSION
from . import doctor, invoke, listen, runs, sandbox, send_callback, verify
from .failures import EXIT_CODES, ExitCode, exit_code_of, explain
from .terminal import OutputError, note, say

__all__ = ["app"]

# "\b" keeps the lines of the paragraph below it as they are.
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())


class Commands(TyperGroup):
    """The group of all commands: no command ends with a traceback for an error that has words of its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):  # the second at a question
            note("Interrupted.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except OutputError as error:
            note(f"Error: {error}.")
            raise typer.Exit(ExitCode.CONFIGURATION) from None
        except Exception as error:
            if not _has_words(error):
                raise
            for line in explain(error):
                note(line)
            raise typer.Exit(exit_code_of(error)) from None


def _has_words(error: Exception) -> bool:
    if isinstance(error, ImportError):
        return "fetch-hive-sdk[" in str(error)
    # Where the module is not loaded, none of its errors can have been raised: a wrong option loads nothing.
    errors = sys.modules.get("fetch_hive_sdk.errors")
    return errors is not None and isinstance(error, errors.FetchHiveError)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(VERSION)
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    help="Fetch Hive on the command line: a sandbox on your machine, runs, and signed callbacks.",
    epilog=EPILOG,
    no_args_is_help=True,
    # Plain help comes at once and can be searched with grep; and a traceback must not show keys among its variables.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Fetch Hive on the command line: a sandbox on your machine, runs, and signed callbacks."""


app.command("sandbox")(sandbox.sandbox)
app.add_typer(invoke.app, name="invoke")
app.add_typer(runs.app, name="runs")
app.command("listen")(listen.listen)
app.command("send-callback")(send_callback.send_callback)
app.command("verify")(verify.verify)
app.command("doctor")(doctor.doctor)
