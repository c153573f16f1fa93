"""What is written where: answers to standard output, all about them to standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import typer

__all__ = [
    "OutputError",
    "can_ask",
    "clock_time",
    "note",
    "one_line",
    "say",
    "say_json",
    "seconds",
    "shown",
    "styled",
    "waiting",
    "without_password",
]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_USER_AND_PASSWORD = re.compile(r"^([^:/?#@]*://)?[^/?#]*@")
_LONGEST_LINE = 200


class OutputError(Exception):
    """Standard output takes nothing more: its disk is full, or it is closed."""


def say(text: str, *, end: str = "\n") -> None:
    """Write to standard output, at once.

    Raises:
        OutputError: It cannot be written to.
    """
    try:
        typer.echo(f"{text}{end}", nl=False)
    except BrokenPipeError:  # who reads has read enough: typer ends the program without a word
        raise
    except OSError as error:
        raise OutputError(f"The output cannot be written: {error.strerror or error}") from None


def note(text: str) -> None:
    """Write a line to standard error."""
    typer.echo(text, err=True)


def say_json(value: Any) -> None:
    """Write one line of JSON to standard output, in plain ASCII where that is not UTF-8."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8")
    say(json.dumps(value, ensure_ascii=not unicode, default=str))


def shown(text: str) -> str:
    """A foreign text as it may be written to standard output: a terminal must not obey what is in it."""
    return _visible(text) if sys.stdout.isatty() else text


def one_line(text: str) -> str:
    """A foreign text as a part of one line: controls visible, cut after 200 characters."""
    line = _visible(" ".join(text.split()))
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def without_password(url: str) -> str:
    """A URL as it may be shown: one may have a user and a password in it."""
    return _USER_AND_PASSWORD.sub(r"\1…@", url)


def styled(text: str, color: str) -> str:
    """A text in a color, where standard output is a terminal that wants colors (NO_COLOR is obeyed)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else typer.style(text, fg=color)


def seconds(duration: float) -> str:
    """A duration for reading: `12 ms`, `3.4 s`."""
    return f"{duration * 1000:.0f} ms" if duration < 1 else f"{duration:.1f} s"


def clock_time(moment: datetime) -> str:
    """A moment as the time of day, in local time."""
    return f"{moment.astimezone():%H:%M:%S}"


def can_ask() -> bool:
    """Whether somebody sits there to be asked for a secret."""
    return sys.stdin.isatty()


@contextmanager
def waiting(what: str) -> Generator[Callable[[], None], None, None]:
    """Show what is waited for and for how long, while the block lasts, if standard error is a terminal.

    Args:
        what: What is waited for.

    Yields:
        A function that takes the line away before the block ends. Calling it again does nothing.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with progress:
        progress.add_task(what, total=None)
        yield progress.stop


def _visible(text: str) -> str:
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))
