"""The command line `fetch-hive`, of the extra `fetch-hive-sdk[cli]`. Each command has a file of its own.

Nothing heavy is imported before a command needs it, so that `fetch-hive --help` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]

MISSING = "The command line needs: pip install 'fetch-hive-sdk[{}]'"
_SERVE = ("sandbox", "listen")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and leave the program with its exit code.

    Args:
        arguments: What stands after `fetch-hive`. Default: what the program was started with.

    Raises:
        SystemExit: Always; with the exit code.
    """
    if find_spec("typer") is None:
        command = next(iter(sys.argv[1:] if arguments is None else arguments), "")
        sys.stderr.write(f"{MISSING.format('sandbox' if command in _SERVE else 'cli')}\n")
        raise SystemExit(3)
    from .app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal does not have is no reason to lose an answer.
            stream.reconfigure(errors="backslashreplace")
    app(None if arguments is None else list(arguments), prog_name="fetch-hive")
