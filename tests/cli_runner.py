"""Runs `fetch-hive` inside the tests' process: a command that ends, or one that serves until it is told to stop."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass

from typer.testing import CliRunner

from fetch_hive_sdk.cli import main
from fetch_hive_sdk.cli.app import app

SECONDS_TO_WAIT = 10
Visit = Callable[[str, Iterator[str]], None]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    exit_code: int
    out: str
    err: str


def run(*arguments: str, stdin: str | bytes | None = None, env: dict[str, str] | None = None) -> Ended:
    """Run a command to its end. What it raises that is no exit is raised here."""
    result = CliRunner().invoke(app, list(arguments), input=stdin, env=env, prog_name="fetch-hive")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def serve(*arguments: str, visit: Visit, ended_by: int = signal.SIGINT) -> int:
    """Run a command that serves, in this thread, while a visitor uses it from another.

    Args:
        arguments: The command.
        visit: Is given the first line the command writes, and those that follow. Once it returns, the command
            is told to stop.
        ended_by: The signal that tells it.

    Returns:
        The exit code.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), ThreadPoolExecutor(1) as pool:
        with os.fdopen(writing, "w", encoding="utf-8") as out, redirect_stdout(out):
            visitor = pool.submit(_visit, visit, _lines(reading), ended_by)
            code = exit_code_of(lambda: main(arguments))
        visitor.result()
    return code


def _lines(reading: int) -> Iterator[str]:
    """The lines of a pipe. One that does not come is an error, and no test that waits for ever."""
    buffer = b""
    while True:
        line, end, rest = buffer.partition(b"\n")
        if end:
            buffer = rest
            yield f"{line.decode()}\n"
            continue
        assert select.select([reading], [], [], SECONDS_TO_WAIT)[0], f"no further line came after {line!r}"
        received = os.read(reading, 65536)
        if not received:
            return
        buffer += received


def _visit(visit: Visit, lines: Iterator[str], ended_by: int) -> None:
    first = next(lines, "")
    if not first:
        return  # it ended before it served, and nothing waits for a signal
    try:
        visit(first, lines)
    finally:
        os.kill(os.getpid(), ended_by)


def exit_code_of(program: Callable[[], None]) -> int:
    """The exit code a program leaves with."""
    try:
        program()
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("it did not exit")
