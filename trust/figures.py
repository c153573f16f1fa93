"""What all scripts in this folder share: their options, their rows, and how these are told.

A script answers one question. It prints a table, writes the same as JSON with `--json`, and exits with 1 where a
promise is broken. The peers are optional: what is not installed is skipped with a line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Union

__all__ = ["OURS", "Options", "Report", "Row", "main", "shown", "versions"]

OURS = "fetch-hive-sdk"

Value = Union[int, float, str]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was counted or measured, with its unit.
        figures: By subject, such as `fetch-hive-sdk` or `openai 3.54.0`.
        promise: What this SDK promises, in words; "" where a row only informs.
        kept: Whether it keeps that; None where a row only informs.
    """

    what: str
    figures: Mapping[str, Value]
    promise: str = ""
    kept: bool | None = None


@dataclass
class Report:
    """What a script found.

    Attributes:
        title: What was asked.
        rows: The table.
        notes: What was skipped, and what has to be known to read the figures.
        failures: Each case in which a promise was broken, in a sentence that names it.
    """

    title: str
    rows: list[Row] = field(default_factory=list[Row])
    notes: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])

    def add(self, what: str, figures: Mapping[str, Value], promise: str = "", kept: bool | None = None) -> None:
        """Add a row."""
        self.rows.append(Row(what, dict(figures), promise, kept))

    @property
    def kept(self) -> bool:
        """Whether every promise is kept."""
        return not self.failures and all(row.kept is not False for row in self.rows)

    def text(self) -> str:
        """The report for a terminal."""
        lines = [self.title, ""]
        for row in self.rows:
            verdict = {True: "kept: ", False: "BROKEN: ", None: ""}[row.kept]
            lines.append(f"  {row.what}" + (f"  [{verdict}{row.promise}]" if row.promise else ""))
            lines += [f"    {subject:<26} {shown(value)}" for subject, value in row.figures.items()]
        lines += [f"  Note: {note}" for note in self.notes]
        lines += [f"  BROKEN: {failure}" for failure in self.failures]
        return "\n".join(lines)


@dataclass(frozen=True)
class Options:
    """How a script was called.

    Attributes:
        quick: Whether to do a small part, for CI: the same kinds of cases, fewer of them.
        seed: What random choices start from, so that a run can be repeated.
        arguments: What else was passed.
    """

    quick: bool = False
    seed: int = 0
    arguments: argparse.Namespace = field(default_factory=argparse.Namespace)


def main(measure: Callable[[Options], Report], extra: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    """Run a script: read the options, measure, tell, and exit with 1 where a promise is broken.

    Args:
        measure: The script itself.
        extra: Adds the script's own options.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--quick", action="store_true", help="a small part, for CI")
    parser.add_argument("--seed", type=int, default=0, help="what random choices start from")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON, too")
    if extra is not None:
        extra(parser)
    arguments = parser.parse_args()
    report = measure(Options(arguments.quick, arguments.seed, arguments))
    print(report.text(), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({**asdict(report), "kept": report.kept}, indent=1), encoding="utf-8")
    sys.exit(not report.kept)


def versions(names: Sequence[str]) -> dict[str, str]:
    """Of these distributions those that are installed, each with its version: `{"openai": "openai 3.54.0"}`."""
    from importlib import metadata

    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return found


def shown(value: Value) -> str:
    """A figure as it is read."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
