"""Soak: does a client grow in memory, descriptors or threads over 200,000 calls of which many go wrong?

    python -m trust.soak [--quick] [--seed N] [--no-peers]

A twentieth of the calls go wrong, in every way of `KINDS`; the plan is the same for everybody. Each client has a
process of its own, which tells its memory at rest after each so many calls. The peers make fewer calls.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import ctypes
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Union

import anyio
from typing_extensions import Self

from trust.figures import OURS, Options, Report, main
from trust.load_peers import (
    CLIENTS,
    KEY,
    RELEASED_NAME,
    TINY,
    AsyncCalls,
    AsyncStreams,
    Calls,
    Streams,
    clean_environment,
    ours,
    ours_async,
    peers,
)
from trust.load_server import PIECES, ROOT, LoadServer, allow_descriptors, order

__all__ = ["KINDS", "Clock", "Outcomes", "Window", "fill_string_cache", "grown", "plan", "soak", "soak_async"]

FAULTS = 0.05  # the share of calls that go wrong
THREADS = 4  # that share the sync client
TASKS = 50  # that share the async client
IDLE = 60.0  # seconds after which no pool keeps a connection
RESTING = 16  # calls in which a pool closes all that have expired: a few for each


@dataclass(frozen=True)
class Kind:
    """A kind of call.

    Attributes:
        deed: What the server does; see load_server.py.
        streaming: Whether it is a stream.
        leaves: What the caller does, if it does not take the whole answer: "early" after the first event of a
            stream, "late" by a tiny timeout, "cancelled" at a random moment (of the async client alone).
        expects: The error of this SDK that has to come of it; "" for an answer.
    """

    deed: str = "answer"
    streaming: bool = False
    leaves: str = ""
    expects: str = ""


GOOD = {"call": Kind(), "stream": Kind(streaming=True)}
FAULTY = {
    "reset": Kind("reset", expects="APIConnectionError"),
    "status 500": Kind("error", expects="InternalServerError"),
    "status 429, then an answer": Kind("busy"),
    "cut answer": Kind("cut", expects="APIConnectionError"),
    "no HTTP": Kind("noise", expects="APIConnectionError"),
    "no JSON": Kind("page", expects="UnexpectedResponseError"),
    "silence": Kind("silence", leaves="late", expects="APITimeoutError"),
    "stream, left early": Kind("hold", streaming=True, leaves="early"),
    "stream, reset": Kind("reset", streaming=True, expects="StreamInterruptedError"),
    "stream, status 500": Kind("error", streaming=True, expects="InternalServerError"),
    "stream, cut": Kind("cut", streaming=True, expects="StreamInterruptedError"),
    "stream, no JSON": Kind("noise", streaming=True, expects="StreamInterruptedError"),
    "cancelled": Kind(leaves="cancelled"),
    "cancelled stream": Kind(streaming=True, leaves="cancelled"),
}
KINDS = {**GOOD, **FAULTY}


def plan(seed: int, *, cancelling: bool) -> Iterator[str]:
    """The kinds of the calls, without end: faults at random, each kind of them as often as the others.

    Args:
        seed: What the choices start from.
        cancelling: Whether the client can be cancelled.
    """
    choose = random.Random(seed)
    faults = [name for name, kind in FAULTY.items() if cancelling or kind.leaves != "cancelled"]
    while True:
        choose.shuffle(faults)
        # One of each kind in a stretch of a length at which they are the share of all calls.
        stretch = [*faults, *choose.choices(list(GOOD), (9, 1), k=round(len(faults) * (1 / FAULTS - 1)))]
        choose.shuffle(stretch)
        yield from stretch


# --- what is measured -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """A client at rest.

    Attributes:
        calls: How many it has made until then.
        resident: Bytes of memory of its process.
        blocks: Blocks of memory that Python has allocated.
        descriptors: Open ones.
        threads: That are alive.
    """

    calls: int
    resident: int
    blocks: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls, calls: int) -> Self:
        """Measure."""
        gc.collect()
        _trim()
        names = os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd")
        return cls(calls, _resident(), sys.getallocatedblocks(), len(names), threading.active_count())


def _trim() -> None:
    """Have glibc give back what is free, so that what is counted is in use, and not how it was cut up."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:  # exact, which statm is not
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))
    except OSError:
        from benchmarks.memory import resident_mb

        return int(resident_mb() * 2**20)


@dataclass
class Outcomes:
    """How the calls went.

    Attributes:
        answered: Calls that got their own answer.
        failed: Calls that had to go wrong and did, by kind and error.
        otherwise: Calls of which something else came than `KINDS` says.
        wrong: These in sentences; the first of them.
        windows: The client at rest, again and again.
    """

    answered: int = 0
    failed: collections.Counter[str] = field(default_factory=collections.Counter[str])
    otherwise: int = 0
    wrong: list[str] = field(default_factory=list[str])
    windows: list[Window] = field(default_factory=list[Window])

    def note(self, what: str, name: str, got: Union[str, BaseException, None]) -> None:
        """Compare what came of a call with what has to; None: it was cancelled."""
        kind = KINDS[what]
        if isinstance(got, str):
            whole = name if not kind.streaming or kind.leaves == "early" else name * PIECES
            fits = not kind.expects and got == whole
            self.answered += fits
        else:
            bases = [] if got is None else [base.__name__ for base in type(got).__mro__]
            fits = kind.expects in bases if kind.expects else got is None and kind.leaves == "cancelled"
            if fits:
                self.failed[what if got is None else f"{what}: {type(got).__name__}"] += 1
        if not fits:
            self.otherwise += 1
            self.wrong += [f"{what}, {name}: {got!r}"] if len(self.wrong) < 20 else []


def grown(windows: Sequence[Window], what: str = "resident") -> float:
    """By how much it has grown from the first quarter of the windows to the last, as medians: one reading is noise."""
    values = [getattr(window, what) for window in windows]
    quarter = max(1, len(values) // 4)
    return statistics.median(values[-quarter:]) - statistics.median(values[:quarter])


def fill_string_cache() -> None:
    """Fill pydantic's cache of short strings, which else grows with the first 16,384 answers, as each is another."""
    import pydantic_core

    pydantic_core.from_json(json.dumps([f"cached-{number}" for number in range(100_000)]))


class Clock:
    """The clock of a pool, which goes on by a minute at each rest, so that no idle connection is counted."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Seconds, as `time.monotonic` counts them, and more."""
        return time.monotonic() + self.ahead

    def rest(self) -> None:
        """Let all that is idle expire. The pool closes it at its next calls."""
        self.ahead += IDLE


# --- the soak -------------------------------------------------------------------------------------------------


def soak(call: Calls, stream: Streams, calls: int, every: int, seed: int, clock: Union[Clock, None] = None) -> Outcomes:
    """Make so many calls from a few threads, and measure after each so many.

    Args:
        call: Makes one that carries this order, with a timeout in seconds or the client's own; returns its text.
        stream: The pieces of the text of a streamed one.
        calls: How many.
        every: How many lie between two measurements.
        seed: Of the plan.
        clock: Of the client's pool, if its idle connections are to be closed before each measurement.
    """
    outcomes, kinds = Outcomes(), plan(seed, cancelling=False)

    def make(numbered: tuple[int, str]) -> tuple[str, str, Union[str, BaseException]]:
        number, what = numbered
        kind, name = KINDS[what], f"soak-{number}"
        try:
            if not kind.streaming:
                return what, name, call(order(name, kind.deed), TINY if kind.leaves == "late" else None)
            with closing(stream(order(name, kind.deed))) as pieces:  # type: ignore[type-var]
                return what, name, next(pieces) if kind.leaves == "early" else "".join(pieces)
        except Exception as error:
            return what, name, error

    with ThreadPoolExecutor(THREADS) as threads:
        for made in range(0, calls, every):
            for noted in threads.map(make, enumerate(islice(kinds, every), made)):
                outcomes.note(*noted)
            if clock:
                clock.rest()
                for number in range(RESTING):
                    call(order(f"rest-{made}-{number}"), None)
            outcomes.windows.append(Window.now(made + every))
    return outcomes


async def soak_async(
    call: AsyncCalls, stream: AsyncStreams, calls: int, every: int, seed: int, clock: Union[Clock, None] = None
) -> Outcomes:
    """The same with tasks of one event loop, of which some are cancelled at a random moment."""
    outcomes, kinds, choose = Outcomes(), plan(seed, cancelling=True), random.Random(seed)
    moments = iter(lambda: choose.uniform(0, TINY), None)

    async def get(kind: Kind, name: str) -> str:
        if not kind.streaming:
            return await call(order(name, kind.deed), TINY if kind.leaves == "late" else None)
        async with aclosing(stream(order(name, kind.deed))) as pieces:  # type: ignore[type-var]
            return await anext(pieces) if kind.leaves == "early" else "".join([piece async for piece in pieces])

    async def work(numbered: Iterator[tuple[int, str]]) -> None:
        for number, what in numbered:
            kind, name = KINDS[what], f"soak-{number}"
            got: Union[str, BaseException, None] = None
            try:
                if kind.leaves != "cancelled":
                    got = await get(kind, name)
                elif number % 2 and _on_asyncio():
                    got = await _cancel_task(get(kind, name), next(moments))
                else:
                    with anyio.move_on_after(next(moments)):
                        got = await get(kind, name)
            except Exception as error:
                got = error
            outcomes.note(what, name, got)

    for made in range(0, calls, every):
        numbered = enumerate(islice(kinds, every), made)
        async with anyio.create_task_group() as tasks:
            for _ in range(TASKS):
                tasks.start_soon(work, numbered)
        if clock:
            clock.rest()
            for number in range(RESTING):
                await call(order(f"rest-{made}-{number}"), None)
        outcomes.windows.append(Window.now(made + every))
    return outcomes


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _cancel_task(work: Coroutine[Any, Any, str], after: float) -> Union[str, None]:
    """Cancel it as asyncio alone does, without a scope."""
    task = asyncio.create_task(work)
    await asyncio.wait([task], timeout=after)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


# --- each in a process of its own -----------------------------------------------------------------------------


PROMISED = ("sync", "async")  # this SDK's clients, whose idle connections are closed before each measurement


def run_alone(name: str, url: str, calls: int, every: int, seed: int, python: str = sys.executable) -> Outcomes:
    """Soak one of `PROMISED` or `CLIENTS` in a process of its own."""
    command = [python, "-m", "trust.soak", "--client", name, url, str(calls), str(every), str(seed)]
    ended = subprocess.run(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, check=True)
    told = json.loads(ended.stdout)
    windows = [Window(**window) for window in told["windows"]]
    failed = collections.Counter[str](told["failed"])
    return Outcomes(told["answered"], failed, told["otherwise"], told["wrong"], windows)


def _be_client(name: str, url: str, *numbers: str) -> None:
    allow_descriptors()
    calls, every, seed = map(int, numbers)
    if name in PROMISED:
        outcomes = _soak_promised(name, url, calls, every, seed)
    else:
        outcomes = soak(*CLIENTS[name](url, max_retries=0), calls, every, seed)
    print(json.dumps({**vars(outcomes), "windows": [asdict(window) for window in outcomes.windows]}))


def _soak_promised(name: str, url: str, calls: int, every: int, seed: int) -> Outcomes:
    from fetch_hive_sdk import AsyncConnectionPool, AsyncFetchHive, ConnectionPool, FetchHive  # 0.4.1 has no pools

    fill_string_cache()
    clock = Clock()
    if name == "async":
        client = AsyncFetchHive(KEY, url, http_client=AsyncConnectionPool(clock=clock))
        return anyio.run(soak_async, *ours_async(client), calls, every, seed, clock)
    return soak(*ours(FetchHive(KEY, url, http_client=ConnectionPool(clock=clock))), calls, every, seed, clock)


# --- the report -----------------------------------------------------------------------------------------------

MEGABYTE = 2**20
BLOCKS = 20  # calls for which a block of memory may be left: what was measured takes a few itself


def measure(options: Options) -> Report:
    """Soak this SDK's clients, and the peers."""
    report = Report("Soak: does a client grow over 200,000 calls of which many go wrong?")
    allow_descriptors()
    calls, every = (4_000, 250) if options.quick else (100_000, 2_500)
    report.notes.append(
        "At rest is after a full garbage collection, with free memory given back to the system and the idle "
        "connections expired. Before the first call pydantic's cache of short strings is filled, which would grow "
        "with the first 16,384 answers."
    )
    with LoadServer() as server:
        for name in PROMISED:
            _soak_ours(report, server, name, calls, every, options)
        if not getattr(options.arguments, "no_peers", False) and not options.quick:
            _soak_peers(report, server, options.seed)
    return report


def _soak_ours(report: Report, server: LoadServer, name: str, calls: int, every: int, options: Options) -> None:
    server.start_anew()
    began = time.perf_counter()
    outcomes = run_alone(name, server.base_url, calls, every, options.seed)
    seconds = time.perf_counter() - began
    told = server.told()
    what = f"{name}, {calls:,} calls"
    report.add(f"{what}: answered", {OURS: outcomes.answered})
    report.add(f"{what}: gone wrong as they had to", {OURS: outcomes.failed.total()})
    report.add(f"{what}: came out otherwise", {OURS: outcomes.otherwise}, "0", not outcomes.otherwise)
    report.add(f"{what}: runs started twice", {OURS: len(told["twice"])}, "0", not told["twice"])
    windows = outcomes.windows[len(outcomes.windows) // 5 :]  # the first fifth warms up
    size, between = round(grown(windows)), round(grown(windows, "calls"))
    limit = MEGABYTE // 2 if options.quick else MEGABYTE
    report.add(
        f"{what}: bytes grown from call {windows[0].calls:,} on",
        {OURS: size},
        f"less than {limit / MEGABYTE:g} MB",
        size < limit,
    )
    if not options.quick:
        report.add(f"{what}: bytes grown for each 100,000 calls", {OURS: round(size / between * 100_000)})
    blocks = round(grown(windows, "blocks"))
    report.add(
        f"{what}: blocks of Python's memory grown, in {between:,} calls",
        {OURS: blocks},
        f"fewer than {between // BLOCKS}: one for {BLOCKS} calls",
        blocks < between // BLOCKS,
    )
    for kind in ("descriptors", "threads"):
        values = [getattr(window, kind) for window in windows]
        report.add(
            f"{what}: most {kind} at rest",
            {OURS: max(values)},
            f"at most {values[0]}, as at the first rest",
            max(values) <= values[0],
        )
    report.add(f"{what}: seconds", {OURS: seconds})
    report.failures += outcomes.wrong + [f"{name} was started twice" for name in told["twice"][:20]]


def _soak_peers(report: Report, server: LoadServer, seed: int) -> None:
    """What each grows by over the same number of calls."""
    figures: dict[str, int] = {}
    blocks: dict[str, int] = {}
    descriptors: dict[str, int] = {}
    for name, shown, python in peers(report):
        calls = 1_000 if name == RELEASED_NAME else 20_000
        server.start_anew()
        windows = run_alone(name, server.base_url, calls, calls // 40, seed, python).windows[10:]
        figures[shown] = round(grown(windows))
        blocks[shown] = round(grown(windows, "blocks"))
        descriptors[shown] = max(window.descriptors for window in windows)
    what = "sync, from call 5,500 to 20,000"
    report.add(f"{what}: bytes grown", figures)
    report.add(f"{what}: blocks of Python's memory grown", blocks)
    report.add(f"{what}: most descriptors at rest", descriptors)
    report.notes.append(
        "Beside the peers fewer calls are made, of which the first part still warms up; fetch-hive-sdk 0.4.1, which "
        "makes a TLS context for each call, makes 1,000 and is measured from call 275. Here idle connections are "
        "counted, too. The peers' own retries are off: what they wait before these would take hours."
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-peers", action="store_true", help="this SDK alone")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        _be_client(*sys.argv[2:])
    else:
        main(measure, _options)
