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
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Union

import anyio
from typing_extensions import Self

from trust.figures import OURS, Options, Report, main
from trust.load_server import PIECES, ROOT, LoadServer, allow_descriptors, order

__all__ = [
    "KINDS",
    "Outcomes",
    "Window",
    "fork_alone",
    "grown",
    "ours",
    "ours_async",
    "peers",
    "plan",
    "soak",
    "soak_async",
]

KEY = "fhk_soak"
FAULTS = 0.05  # the share of calls that go wrong
THREADS = 4  # that share the sync client
TASKS = 50  # that share the async client
TINY = 0.02  # seconds that a call waits which is never answered


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
        failed: Others, by kind and error.
        wrong: What did not come as `KINDS` says, in sentences; the first of them.
        windows: The client at rest, again and again.
    """

    answered: int = 0
    failed: collections.Counter[str] = field(default_factory=collections.Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    windows: list[Window] = field(default_factory=list[Window])

    def note(self, what: str, name: str, got: Union[str, BaseException, None]) -> None:
        """Compare what came of a call with what has to; None: it was cancelled."""
        kind = KINDS[what]
        if got is None:
            self.failed[what] += 1
            fits = kind.leaves == "cancelled"
        elif isinstance(got, str):
            self.answered += 1
            fits = not kind.expects and got == (name if not kind.streaming or kind.leaves == "early" else name * PIECES)
        else:
            self.failed[f"{what}: {type(got).__name__}"] += 1
            fits = kind.expects in [base.__name__ for base in type(got).__mro__] if kind.expects else False
        if not fits and len(self.wrong) < 20:
            self.wrong.append(f"{what}, {name}: {got!r}")


def grown(windows: Sequence[Window], what: str = "resident") -> float:
    """By how much it has grown from the first quarter of the windows to the last, as medians: one reading is noise."""
    values = [getattr(window, what) for window in windows]
    quarter = max(1, len(values) // 4)
    return statistics.median(values[-quarter:]) - statistics.median(values[:quarter])


# --- the soak -------------------------------------------------------------------------------------------------

Calls = Callable[[str, Union[float, None]], str]
Streams = Callable[[str], Iterator[str]]


def soak(call: Calls, stream: Streams, calls: int, every: int, seed: int, prefix: str = "soak") -> Outcomes:
    """Make so many calls from a few threads, and measure after each so many.

    Args:
        call: Makes one that carries this order, with a timeout in seconds or the client's own; returns its text.
        stream: The pieces of the text of a streamed one.
        calls: How many.
        every: How many lie between two measurements.
        seed: Of the plan.
        prefix: Begins the names of the calls.
    """
    outcomes, kinds = Outcomes(), plan(seed, cancelling=False)

    def make(numbered: tuple[int, str]) -> tuple[str, str, Union[str, BaseException]]:
        number, what = numbered
        kind, name = KINDS[what], f"{prefix}-{number}"
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
            outcomes.windows.append(Window.now(made + every))
    return outcomes


AsyncCalls = Callable[[str, Union[float, None]], Awaitable[str]]
AsyncStreams = Callable[[str], AsyncIterator[str]]


async def soak_async(
    call: AsyncCalls, stream: AsyncStreams, calls: int, every: int, seed: int, prefix: str = "soak"
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
            kind, name = KINDS[what], f"{prefix}-{number}"
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


# --- whose calls they are -------------------------------------------------------------------------------------

BODY: dict[str, Any] = {"deployment": "soak", "variant": "default"}


def ours(client: Any) -> tuple[Calls, Streams]:
    """The calls of a `FetchHive`."""

    def call(ordered: str, timeout: Union[float, None]) -> str:
        used = client if timeout is None else client.with_options(timeout=timeout)
        return used.invoke_prompt(**BODY, inputs={"call": ordered}).response

    def stream(ordered: str) -> Iterator[str]:
        with client.invoke_prompt_stream(**BODY, inputs={"call": ordered}) as opened:
            yield from opened.text

    return call, stream


def ours_async(client: Any) -> tuple[AsyncCalls, AsyncStreams]:
    """The calls of an `AsyncFetchHive`."""

    async def call(ordered: str, seconds: Union[float, None]) -> str:
        used = client if seconds is None else client.with_options(timeout=seconds)
        return (await used.invoke_prompt(**BODY, inputs={"call": ordered})).response

    async def stream(ordered: str) -> AsyncIterator[str]:
        async with client.invoke_prompt_stream(**BODY, inputs={"call": ordered}) as opened:
            async for piece in opened.text:
                yield piece

    return call, stream


def _sync(url: str) -> tuple[Calls, Streams]:
    from fetch_hive_sdk import FetchHive  # not above: 0.4.1 has this name, too

    return ours(FetchHive(KEY, url))


def _async(url: str) -> tuple[AsyncCalls, AsyncStreams]:
    from fetch_hive_sdk import AsyncFetchHive

    return ours_async(AsyncFetchHive(KEY, url))


def _released(url: str) -> tuple[Calls, Streams]:
    sys.path.insert(0, str(RELEASED))
    from fetch_hive_sdk import FetchHive

    client: Any = FetchHive(KEY, url)
    impatient: Any = FetchHive(KEY, url, timeout=TINY)

    def call(ordered: str, timeout: Union[float, None]) -> str:
        return (impatient if timeout else client).invoke_prompt(**BODY, inputs={"call": ordered})["response"]

    def stream(ordered: str) -> Iterator[str]:
        with closing(client.invoke_prompt_stream(**BODY, inputs={"call": ordered})) as events:
            yield from (event["response"] for event in events if event["type"] == "response")

    return call, stream


def _openai(url: str) -> tuple[Calls, Streams]:
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=url, max_retries=0)
    create: Any = client.chat.completions.create

    def call(ordered: str, timeout: Union[float, None]) -> str:
        more = {"timeout": timeout} if timeout else {}
        return create(model="m", messages=[{"role": "user", "content": ordered}], **more).choices[0].message.content

    def stream(ordered: str) -> Iterator[str]:
        with create(model="m", messages=[{"role": "user", "content": ordered}], stream=True) as chunks:
            yield from (chunk.choices[0].delta.content for chunk in chunks)

    return call, stream


def _anthropic(url: str) -> tuple[Calls, Streams]:
    import anthropic

    client = anthropic.Anthropic(api_key=KEY, base_url=url.removesuffix("/v1"), max_retries=0)

    def create(ordered: str, **more: Any) -> Any:
        return client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": ordered}], **more)

    def call(ordered: str, timeout: Union[float, None]) -> str:
        return create(ordered, **({"timeout": timeout} if timeout else {})).content[0].text

    def stream(ordered: str) -> Iterator[str]:
        with create(ordered, stream=True) as events:
            yield from (event.delta.text for event in events if event.type == "content_block_delta")

    return call, stream


PEERS_FOLDER = ROOT / ".venv-bench"
RELEASED = PEERS_FOLDER / "fetch-hive-sdk-0.4.1"
RELEASED_NAME = "fetch-hive-sdk 0.4.1"
CLIENTS: dict[str, Callable[[str], Any]] = {
    OURS: _sync,
    f"{OURS}, async": _async,
    "openai": _openai,
    "anthropic": _anthropic,
    RELEASED_NAME: _released,
}


# --- each in a process of its own -----------------------------------------------------------------------------


def run_alone(name: str, url: str, calls: int, every: int, seed: int, python: str = sys.executable) -> Outcomes:
    """Soak one of `CLIENTS` in a process of its own."""
    command = [python, "-m", "trust.soak", "--client", name, url, str(calls), str(every), str(seed)]
    ended = subprocess.run(command, cwd=ROOT, env=_clean_environment(), stdout=subprocess.PIPE, check=True)
    told = json.loads(ended.stdout)
    windows = [Window(**window) for window in told["windows"]]
    return Outcomes(told["answered"], collections.Counter(told["failed"]), told["wrong"], windows)


def _clean_environment() -> dict[str, str]:
    unwanted = ("FETCH_HIVE_", "OPENAI_", "ANTHROPIC_")
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith(unwanted) or name.lower().endswith("_proxy"))
    }


def _be_client(name: str, url: str, *numbers: str) -> None:
    allow_descriptors()
    calls, every, seed = map(int, numbers)
    call, stream = CLIENTS[name](url)
    if name.endswith("async"):
        outcomes = anyio.run(soak_async, call, stream, calls, every, seed)
    else:
        outcomes = soak(call, stream, calls, every, seed)
    windows = [asdict(window) for window in outcomes.windows]
    told = {"answered": outcomes.answered, "failed": outcomes.failed, "wrong": outcomes.wrong, "windows": windows}
    print(json.dumps(told))


def fork_alone(name: str, url: str, calls: int, python: str = sys.executable) -> int:
    """Of how many calls the answer was their own, when one of `CLIENTS` calls, forks, and both processes call on."""
    command = [python, "-W", "ignore", "-m", "trust.soak", "--fork", name, url, str(calls)]
    ended = subprocess.run(command, cwd=ROOT, env=_clean_environment(), stdout=subprocess.PIPE, check=True)
    return sum(map(int, ended.stdout.split()))


def _be_forking_client(name: str, url: str, calls: str) -> None:
    call, _ = CLIENTS[name](url)
    call(order("before"), None)
    child = os.fork()
    right = 0
    for number in range(int(calls) // 2):
        own = f"{'parent' if child else 'child'}{number}"
        with contextlib.suppress(Exception):
            right += own == call(order(own), 1.0)
    os.write(1, b"%d\n" % right)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def peers(report: Report) -> Iterator[tuple[str, str, str]]:
    """Who is measured, this SDK first: the name in `CLIENTS`, the one that is shown, and a Python that has it."""
    yield OURS, OURS, sys.executable
    for name in ("openai", "anthropic"):
        python, shown = _peer(name)
        if python:
            yield name, shown, python
        else:
            report.notes.append(f"{name}: skipped, it is not installed")
    if RELEASED.is_dir():
        yield RELEASED_NAME, RELEASED_NAME, sys.executable
    else:
        report.notes.append(f"{RELEASED_NAME}: skipped, it is not installed")


def _peer(module: str) -> tuple[str, str]:
    """A Python that has a peer, and the peer's version; "" where there is none."""
    code = f"import {module}; print({module}.__version__)"
    for python in (sys.executable, str(PEERS_FOLDER / "bin" / "python")):
        if Path(python).exists():
            found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
            if not found.returncode:
                return python, f"{module} {found.stdout.strip()}"
    return "", ""


# --- the report -----------------------------------------------------------------------------------------------

MEGABYTE = 2**20


def measure(options: Options) -> Report:
    """Soak this SDK's clients, and the peers."""
    report = Report("Soak: does a client grow over 200,000 calls of which many go wrong?")
    allow_descriptors()
    calls, every = (2_500, 250) if options.quick else (100_000, 2_500)
    report.notes.append(
        "At rest is after a full garbage collection, with free memory given back to the system. What grows until about "
        "call 20,000 is pydantic's cache of short strings, which is full at 16,384, because each answer is another."
    )
    with LoadServer() as server:
        for name in (OURS, f"{OURS}, async"):
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
    what = f"{'async' if name.endswith('async') else 'sync'}, {calls:,} calls"
    answered, failed = outcomes.answered, outcomes.failed.total()
    report.add(f"{what}: answered", {OURS: answered})
    report.add(f"{what}: gone wrong as they had to", {OURS: failed - len(outcomes.wrong)})
    report.add(f"{what}: came out otherwise", {OURS: len(outcomes.wrong)}, "0", not outcomes.wrong)
    report.add(f"{what}: runs started twice", {OURS: len(told["twice"])}, "0", not told["twice"])
    windows = outcomes.windows[len(outcomes.windows) // 5 :]  # the first fifth warms up
    limit = (3 if options.quick else 1) * MEGABYTE
    size = round(grown(windows))
    report.add(
        f"{what}: bytes grown from call {windows[0].calls:,} on",
        {OURS: size},
        f"less than {limit // MEGABYTE} MB",
        size < limit,
    )
    if not options.quick:
        report.add(
            f"{what}: bytes grown for each 100,000 calls", {OURS: round(size / grown(windows, "calls") * 100_000)}
        )
    report.add(f"{what}: blocks of Python's memory grown", {OURS: round(grown(windows, "blocks"))})
    concurrent = TASKS if name.endswith("async") else THREADS
    for kind in ("descriptors", "threads"):
        values = [getattr(window, kind) for window in windows]
        allowed = values[0] + (concurrent if kind == "descriptors" else 0)
        report.add(
            f"{what}: most {kind} at rest",
            {OURS: max(values)},
            f"at most {allowed}: {values[0]} at the first rest"
            + (f", and idle connections of {concurrent}" if kind == "descriptors" else ""),
            max(values) <= allowed,
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
        "makes a TLS context for each call, makes 1,000 and is measured from call 275. Their own retries are off."
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-peers", action="store_true", help="this SDK alone")


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"--client": _be_client, "--fork": _be_forking_client}
    if sys.argv[1:2] and sys.argv[1] in roles:
        roles[sys.argv[1]](*sys.argv[2:])
    else:
        main(measure, _options)
