"""What all benchmarks share: how much to do, who is measured, how it is timed, and how it is told.

Candidates take turns: each round measures every one of them once, and what is quoted is the median over the rounds, for
a ratio the median of the rounds' own ratios. So a machine that speeds up or slows down does so for all.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import Self

FOLDER = Path(__file__).resolve().parent
OURS = "fetch-hive-sdk"
RELEASED = "fetch-hive-sdk 0.4.1"
KEY = "fhk_bench"
BODY: dict[str, Any] = {
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {"ticket_text": "The export button is disabled."},
    "metadata": {"customer_id": "cus_123", "plan": "enterprise"},
}
ValueT = TypeVar("ValueT")

Sample = dict[str, float]
"""What one candidate took in one round, by measure: `cpu_us`, `wall_us`, `per_second` …"""


# --- how much, and of whom --------------------------------------------------------------------------------


class Effort(IntEnum):
    """How much is done for a figure."""

    FULL = 0
    QUICK = 1
    TINY = 2

    def pick(self, full: ValueT, quick: ValueT, tiny: ValueT) -> ValueT:
        """The one of three values that belongs to this effort."""
        return (full, quick, tiny)[self]


@dataclass
class Options:
    """What was asked for on the command line, and what of it could not be done."""

    effort: Effort
    as_json: bool
    only: frozenset[str] = frozenset()
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, about: str | None) -> Self:
        """Read the command line that all benchmarks have, and make the process ready to measure."""
        parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
        add_effort(parser)
        parser.add_argument("--json", action="store_true", help="print the figures as JSON")
        parser.add_argument("--only", action="append", metavar="NAME", help="measure this candidate; may be repeated")
        given = parser.parse_args()
        options = cls(given.effort, given.json, frozenset(given.only or ()))
        if options.effort is not Effort.TINY:
            pin(0)
        prepare()
        return options

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only

    def peer(self, name: str, *, package: str | None = None) -> Any:
        """An optional module; None, and a line in `skipped`, where it is not installed or not asked for."""
        if not self.wants(name):
            return None
        try:
            return importlib.import_module(package or name.replace("-", "_"))
        except ImportError:
            self.skip(name, "not installed")
            return None

    def skip(self, name: str, why: str) -> None:
        if (line := f"{name}: {why}") not in self.skipped:
            self.skipped.append(line)


def add_effort(parser: argparse.ArgumentParser) -> None:
    """The options that say how much is done."""
    parser.set_defaults(effort=Effort.FULL)
    how = {"dest": "effort", "action": "store_const"}
    parser.add_argument("--quick", **how, const=Effort.QUICK, help="a tenth of the work, for a first impression")
    parser.add_argument("--tiny", **how, const=Effort.TINY, help="only to see that it runs; its figures say nothing")


def prepare() -> None:
    """Take out of the environment what would send a candidate elsewhere, and allow many connections."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("FETCH_HIVE_", "OPENAI_", "ANTHROPIC_")):
            del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a package that was installed has its bytecode beside it
    raise_descriptor_limit()


def pin(number: int) -> None:
    """Keep this process on one core, so that client and server do not share theirs."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0)) if number == 0 else sorted(range(os.cpu_count() or 1))
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {cores[number]})


def raise_descriptor_limit() -> None:
    """Allow this process as many connections as the system lets it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# --- processes ----------------------------------------------------------------------------------------------


class Server:
    """benchmarks/server.py, while the block lasts."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, str(FOLDER / "server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._address = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its standard input, at which it ends

    def url(self, how: str) -> str:
        """The base URL at which it answers so; see server.py."""
        return f"{self._address}/{how}/v1"


def run_program(source: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Sample:
    """Run a program to its end, in an empty folder: the whole process's `wall_ms` and `cpu_ms`."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-c", source, *arguments], cwd=folder, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"A program ended with {process.returncode}:\n{source}")
    return {"wall_ms": wall * 1e3, "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3}


# --- timing -------------------------------------------------------------------------------------------------


def clock() -> tuple[float, float]:
    """Seconds of the wall and of this process's CPU."""
    return time.perf_counter(), time.process_time()


def per_unit(began: tuple[float, float], units: int) -> Sample:
    """What each of so many units took since `began = clock()`."""
    wall, cpu = (now - then for now, then in zip(clock(), began, strict=True))
    return {"wall_us": wall / units * 1e6, "cpu_us": cpu / units * 1e6, "per_second": units / wall}


def time_calls(call: Callable[[], object], count: int, expected: object) -> Sample:
    """Time so many calls, each of which has to give what is expected."""
    began = clock()
    for _ in range(count):
        if call() != expected:
            raise AssertionError(f"{call} gave a wrong answer")
    return per_unit(began, count)


def take_turns(
    candidates: Mapping[str, Callable[[], Sample]], rounds: int, *, warm_ups: int = 1
) -> dict[str, list[Sample]]:
    """Measure every candidate once a round; the first rounds warm up and are thrown away."""
    samples: dict[str, list[Sample]] = {name: [] for name in candidates}
    for number in range(warm_ups + rounds):
        for name, measure in candidates.items():
            gc.collect()
            sample = measure()
            if number >= warm_ups:
                samples[name].append(sample)
        if number + 1 == warm_ups:
            settle()
    return samples


def settle() -> None:
    """Take what was imported and made until now out of garbage collection: one candidate's modules cost another."""
    gc.collect()
    gc.freeze()


def growth_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of the size with which the time grows: 1 is linear, 2 quadratic."""
    from math import log

    x, y = [log(size) for size in sizes], [log(second) for second in seconds]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


# --- telling ------------------------------------------------------------------------------------------------

HEADINGS = {
    "cpu_us": "CPU µs",
    "wall_us": "wall µs",
    "cpu_ms": "CPU ms",
    "wall_ms": "wall ms",
    "net_cpu_ms": "net CPU ms",
    "net_wall_ms": "net wall ms",
    "rss_mb": "MB",
    "grown_kb": "KB grown in 10,000 calls",
    "per_second": "per second",
    "p99_ms": "p99 ms",
    "calls": "calls in all",
    "exponent": "exponent",
}


@dataclass
class Table:
    """The samples of one question's part.

    Args:
        title: What is measured, with its unit of work.
        base: The candidate that the printed ratios are of.
        measures: Which measures are printed, the most telling one first; that one's ratio is printed too.
        samples: By candidate, one for each round.
    """

    title: str
    base: str
    measures: Sequence[str]
    samples: dict[str, list[Sample]]

    def figures(self) -> dict[str, Any]:
        """Medians, and for every measure and pair of candidates the median of the rounds' ratios."""
        measured = {name: samples for name, samples in self.samples.items() if samples}
        return {
            "title": self.title,
            "base": self.base,
            "measures": list(self.measures),
            "medians": {
                name: {measure: statistics.median(sample[measure] for sample in samples) for measure in samples[0]}
                for name, samples in measured.items()
            },
            "ratios": {
                measure: {
                    name: {other: _ratio(measured[name], measured[other], measure) for other in measured}
                    for name in measured
                }
                for measure in self.measures
            },
        }


def _ratio(samples: list[Sample], others: list[Sample], measure: str) -> float | None:
    pairs = [(a[measure], b[measure]) for a, b in zip(samples, others, strict=False)]
    ratios = [a / b for a, b in pairs if b]
    return statistics.median(ratios) if ratios else None


def tell(options: Options, tables: Mapping[str, Table]) -> None:
    """Print the figures, as asked for."""
    figures = {name: table.figures() for name, table in tables.items()}
    if options.as_json:
        print(json.dumps({"tables": figures, "skipped": options.skipped}, indent=1))
        return
    for table in figures.values():
        print("\n".join(lines_of(table)), end="\n\n")
    for line in options.skipped:
        print(f"skipped: {line}")


def lines_of(table: Mapping[str, Any]) -> Iterator[str]:
    """A table as text in columns."""
    heads, rows = cells_of(table)
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    yield table["title"]
    for row in [heads, *rows]:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([row[0].ljust(len(first)), *others])


def cells_of(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A table's headings and its rows, fastest first, as text."""
    first, *_ = measures = table["measures"]
    base, medians, ratios = table["base"], table["medians"], table["ratios"].get(first, {})
    heads = ["", *(HEADINGS.get(measure, measure) for measure in measures)]
    if base in medians:
        heads.append(f"× {base}")
    rows: list[list[str]] = []
    more_is_better = first == "per_second"
    for name in sorted(medians, key=lambda name: medians[name][first], reverse=more_is_better):
        row = [name, *(number_text(medians[name].get(measure)) for measure in measures)]
        if base in medians:
            row.append(ratio_text(ratios[name][base]))
        rows.append(row)
    return heads, rows


def number_text(value: float | None) -> str:
    """A figure with three digits that count."""
    if value is None:
        return "–"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def ratio_text(value: float | None) -> str:
    """A ratio with as many digits as mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
