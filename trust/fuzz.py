"""Whether any input whatever breaks a promise: random inputs for every property of `fuzz_properties`.

    python -m trust.fuzz                       ten million callbacks, and the rest in proportion
    python -m trust.fuzz --minutes 60          as many as come in an hour
    python -m trust.fuzz --atheris 60          afterwards a minute of coverage-guided fuzzing for each property

A failing case is told with its seed and batch: `--seed 5 --only callback --batch 17` repeats it.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from random import Random
from typing import Any

from .figures import OURS, Options, Report, main
from .fuzz_properties import BY_NAME

# How many cases the whole run has: ten million callbacks, and of the others what takes seconds to minutes.
CASES = {
    "sse": 300_000,
    "reader": 20_000,
    "stream": 8_000,
    "callback": 10_000_000,
    "answer": 60_000,
    "argument": 60_000,
    "request": 60_000,
    "error": 10_000,
    "retry-after": 300_000,
    "sandbox": 1_500,
    "command": 500,
}
_BATCHES = 100  # that the whole run of a property is made of
_QUICK = 50  # the quick run is this part of the whole
_SECONDS_PER_BATCH = 600.0  # after which a case hangs
_SHOWN = 2_000  # characters of a failing input


class HangsError(BaseException):
    """A case takes so long that it will not end; no `except Exception` on its way takes it for an answer."""


@dataclass
class Tally:
    """What came of one batch, or of all batches of a property.

    Attributes:
        cases: How many inputs were tried.
        hits: Of how many the check said so: of callbacks those that were accepted.
        failed: How many broke the promise.
        seconds: The time they took on one core, together.
        failures: The first failing case of each kind.
    """

    cases: int = 0
    hits: int = 0
    failed: int = 0
    seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, other: Tally) -> None:
        """Count what came of another batch."""
        self.cases += other.cases
        self.hits += other.hits
        self.failed += other.failed
        self.seconds += other.seconds
        self.failures = {**other.failures, **self.failures}


def run_batch(name: str, seed: int, batch: int, size: int) -> Tally:
    """Try some inputs; which they are is told by the seed and the batch's number alone."""
    tested, random, tally = BY_NAME[name], Random(f"{seed} {name} {batch}"), Tally()
    started = time.process_time()
    with warnings.catch_warnings(), _no_longer_than(_SECONDS_PER_BATCH):
        warnings.simplefilter("error")
        for index in range(size):
            given: Any = None
            try:
                given = tested.make(random)
                tally.hits += tested.check(given) is True
            except (Exception, HangsError) as error:
                tally.failed += 1
                place = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} at {os.path.basename(place.filename)}:{place.lineno}"
                if kind not in tally.failures:
                    again = f"--seed {seed} --only {name} --batch {batch}"
                    tally.failures[kind] = f"{name}, case {index} ({again}): {kind}: {_shown(error, given)}"
                if isinstance(error, HangsError):
                    break
            tally.cases += 1
    tally.seconds = time.process_time() - started
    return tally


def _shown(error: BaseException, given: object) -> str:
    told = str(error)[:_SHOWN]
    fields = vars(given) if hasattr(type(given), "__dataclass_fields__") else {"input": given}
    for name, value in fields.items():
        try:
            told += f"; {name}: {repr(value)[:_SHOWN]}"
        except Exception:
            told += f"; {name}: a {type(value).__name__} that cannot be shown"
    return told


class _no_longer_than:
    """Raise `HangsError` in the block after so many seconds, where the system has alarms."""

    def __init__(self, seconds: float) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()  # no other may set an alarm
        self._seconds = seconds if in_main_thread and hasattr(signal, "setitimer") else 0.0

    def __enter__(self) -> None:
        if self._seconds:
            signal.signal(signal.SIGALRM, self._raise)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_: object) -> None:
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _raise(self, *_: object) -> None:
        raise HangsError(f"the batch has not ended after {self._seconds:g} s")


def measure(options: Options) -> Report:
    """Run all properties on all cores."""
    report = Report("Fuzzing: what any input can do")
    arguments = options.arguments
    names = arguments.only or [*CASES]
    started = time.perf_counter()
    tallies = {name: Tally() for name in names}
    if arguments.batch is not None:
        for name in names:
            tallies[name].add(run_batch(name, options.seed, arguments.batch, _size(name)))
    else:
        _run(_batches(names, options), options.seed, tallies, report)
    for name, tally in tallies.items():
        told = f"{name}: {BY_NAME[name].promise}; failures in {tally.cases:,} cases ({tally.seconds:.0f} s of one core)"
        report.add(told, {OURS: tally.failed}, "0", tally.failed == 0 and tally.cases > 0)
        report.failures += tally.failures.values()
    if "callback" in tallies:
        report.add("callback: of these signed, and accepted", {OURS: tallies["callback"].hits})
    failed = sum(tally.failed for tally in tallies.values())
    report.add("all cases", {OURS: sum(tally.cases for tally in tallies.values())})
    report.add("failures in all cases", {OURS: failed}, "0", failed == 0)
    report.add("seconds", {OURS: round(time.perf_counter() - started)})
    if arguments.atheris:
        _guide_by_coverage(names, arguments.atheris, report)
    return report


def _size(name: str) -> int:
    return max(1, CASES[name] // _BATCHES)


def _batches(names: list[str], options: Options) -> Iterator[tuple[str, int, int]]:
    """The property, number and size of each batch, the properties in turn."""
    arguments = options.arguments
    if arguments.minutes is not None:
        end = time.monotonic() + 60 * arguments.minutes
        for number in itertools.count():
            for name in names:
                if time.monotonic() > end:
                    return
                yield name, number, _size(name)
    part = arguments.cases / CASES["callback"] if arguments.cases else 1 / _QUICK if options.quick else 1.0
    left = {name: max(1, round(CASES[name] * part)) for name in names}
    for number in itertools.count():
        if not any(left.values()):
            return
        for name in names:
            size = min(left[name], _size(name))
            left[name] -= size
            if size:
                yield name, number, size


def _run(batches: Iterator[tuple[str, int, int]], seed: int, tallies: dict[str, Tally], report: Report) -> None:
    workers = os.cpu_count() or 1
    running: dict[Future[Tally], str] = {}
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            try:
                for name, number, size in batches:
                    running[pool.submit(run_batch, name, seed, number, size)] = name
                    while len(running) > 2 * workers:
                        _take(running, tallies)
                while running:
                    _take(running, tallies)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except KeyboardInterrupt:
        report.notes.append("The run was interrupted: what had ended until then is counted.")
    except BrokenProcessPool:
        report.failures.append(f"A process ended in the middle of one of {sorted(set(running.values()))}.")


def _take(running: dict[Future[Tally], str], tallies: dict[str, Tally]) -> None:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        tallies[running.pop(future)].add(future.result())


def _guide_by_coverage(names: list[str], seconds: int, report: Report) -> None:
    if importlib.util.find_spec("atheris") is None:
        report.notes.append("Coverage-guided fuzzing was skipped: atheris is not installed (requirements/fuzz.txt).")
        return
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            limits = [
                f"-max_total_time={seconds}",
                "-print_final_stats=1",
                f"-artifact_prefix={folder}/",
                "-max_len=4096",
            ]
            command = [sys.executable, "-m", "trust.fuzz_coverage", name, *limits]
            ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        told = ended.stdout + ended.stderr
        cases = re.findall(r"stat::number_of_executed_units:\s*(\d+)", told)
        what = f"{name}: failures of {int(cases[-1]) if cases else 0:,} cases guided by coverage ({seconds} s)"
        report.add(what, {OURS: int(ended.returncode != 0)}, "0", ended.returncode == 0 and bool(cases))
        if ended.returncode:
            report.failures.append(f"{name}, guided by coverage: {told[-_SHOWN:]}")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, help="how many callbacks; the others in proportion")
    parser.add_argument("--minutes", type=float, help="as many cases as come in this time")
    parser.add_argument(
        "--only", action="append", choices=[*CASES], help="only this property; may be given several times"
    )
    parser.add_argument("--batch", type=int, help="only the batch of this number, to repeat a failure")
    parser.add_argument(
        "--atheris", type=int, metavar="SECONDS", help="afterwards, guided by coverage, for each property"
    )


if __name__ == "__main__":
    main(measure, _options)
