"""Whether a call, a stream, a callback or an import has become much dearer than it was: exit code 1 if so.

    python benchmarks/guard.py [--json]

What is compared are ratios of CPU time to plain httpx (for callbacks to `hmac` and `json`) in the same process and run,
in blocks that take turns, and with limits a quarter above what they were: a slow or busy machine does not change them.
A figure over its limit is measured once more before it counts. Of imports the modules are counted, not the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial

import callbacks
import httpx
import streams
from callers import HEADERS, HTTPX, async_calls, sync_calls
from harness import OURS, Effort, Options, Sample, Server, clock, per_unit, prepare, take_turns, time_calls
from server import PIECE, TEXT


@dataclass(frozen=True)
class Limit:
    """What a ratio may be at most, and where to look when it is more."""

    ratio: float
    look_at: str


LIMITS = {
    "a call, sync": Limit(0.95, "operations.py, exchange.py, drivers.py, http.py, results.py"),
    "a call, async": Limit(0.95, "what a sync call passes through, and async_connections.py"),
    "a stream's event": Limit(3.40, "sse.py, streams.py, events.py"),
    "a callback": Limit(1.40, "callbacks.py, results.py"),
}
# `import fetch_hive_sdk` has to load names on first use; a client loads neither what few need nor what tools are.
NEVER_BY_IMPORT = ("httpx", "httpcore", "pydantic", "pydantic_core", "anyio", "ssl", "fetch_hive_sdk.client")
NEVER_BY_CLIENT = ("pydantic", "fetch_hive_sdk.results", "fetch_hive_sdk.sandbox", "fetch_hive_sdk.cli", "starlette")
IMPORTS = {
    "import fetch_hive_sdk": NEVER_BY_IMPORT,
    "from fetch_hive_sdk import FetchHive; FetchHive('fhk_x')": NEVER_BY_CLIENT,
}


# --- what is decided, of figures ------------------------------------------------------------------------------


def ratio_of(ours: Iterable[float], base: Iterable[float]) -> float:
    """The ratio of two candidates' rounds: of the median of the rounds' ratios and that of the best, the lower one.

    A regression raises both; what disturbs some rounds raises one of them.
    """
    ours, base = list(ours), list(base)
    ratios = sorted(a / b for a, b in zip(ours, base, strict=True))
    return min(ratios[len(ratios) // 2], min(ours) / min(base))


def too_dear(ratios: Mapping[str, float], limits: Mapping[str, Limit] = LIMITS) -> list[str]:
    """A line for each ratio over its limit."""
    return [
        f"{name} costs {ratios[name]:.2f} of plain code; the limit is {limit.ratio:.2f}. Look at {limit.look_at}."
        for name, limit in limits.items()
        if ratios[name] > limit.ratio
    ]


def too_much_loaded(loaded: Mapping[str, Iterable[str]]) -> list[str]:
    """A line for each program that loads what it should not."""
    lines: list[str] = []
    for program, modules in loaded.items():
        present = set(modules)
        if found := sorted(present.intersection(IMPORTS[program])):
            lines.append(f"`{program}` loads {', '.join(found)}. Look at python -X importtime -c '{program}'.")
    return lines


# --- the figures ----------------------------------------------------------------------------------------------


def of_sync_calls(options: Options, server: Server) -> float:
    with ExitStack() as stack:
        calls = sync_calls(options, server.url("now"), stack)
        turns = {name: partial(time_calls, calls[name], 40, TEXT) for name in (OURS, HTTPX)}
        return _ratio(take_turns(turns, 25), HTTPX)


def of_async_calls(options: Options, server: Server) -> float:
    async def measure() -> dict[str, list[Sample]]:
        samples: dict[str, list[Sample]] = {OURS: [], HTTPX: []}
        async with AsyncExitStack() as stack:
            calls = await async_calls(options, server.url("now"), stack)
            for number in range(26):
                for name, taken in samples.items():
                    began = clock()
                    for _ in range(40):
                        assert await calls[name]() == TEXT
                    if number:  # the first one warms up
                        taken.append(per_unit(began, 40))
        return samples

    return _ratio(asyncio.run(measure()), HTTPX)


def of_events(options: Options, server: Server) -> float:
    count = 2_000
    url = server.url(f"mixed-{count}")
    with ExitStack() as stack:
        plain = stack.enter_context(httpx.Client(headers=HEADERS))
        turns: dict[str, Callable[[], Sample]] = {
            OURS: partial(streams.read, streams.readers(options, url, stack)[OURS], count, count * len(PIECE)),
            HTTPX: partial(streams.read_bytes, plain, f"{url}/prompt/invoke", count),
        }
        return _ratio(take_turns(turns, 25, warm_ups=2), HTTPX)


def of_callbacks(options: Options, _: Server) -> float:
    found = callbacks.candidates(options, 2_000)
    return _ratio(callbacks.samples(found, 0.02, 25), callbacks.BARE)


MEASURES: dict[str, Callable[[Options, Server], float]] = {
    "a call, sync": of_sync_calls,
    "a call, async": of_async_calls,
    "a stream's event": of_events,
    "a callback": of_callbacks,
}


def _ratio(samples: Mapping[str, list[Sample]], base: str) -> float:
    return ratio_of((sample["cpu_us"] for sample in samples[OURS]), (sample["cpu_us"] for sample in samples[base]))


def modules_of(program: str) -> list[str]:
    """What a program has loaded at its end."""
    command = [sys.executable, "-c", f"{program}\nimport sys, json\nprint(json.dumps(list(sys.modules)))"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own
    modules: list[str] = json.loads(ended.stdout)
    return modules


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the ratios as JSON")
    as_json = parser.parse_args().json
    prepare()
    options = Options(Effort.QUICK, as_json, only=frozenset({OURS, HTTPX}))  # no peers
    with Server() as server:
        ratios = {name: measure(options, server) for name, measure in MEASURES.items()}
        for name, measure in MEASURES.items():
            if ratios[name] > LIMITS[name].ratio:
                ratios[name] = min(ratios[name], measure(options, server))
    wrong = [*too_dear(ratios), *too_much_loaded({program: modules_of(program) for program in IMPORTS})]
    if as_json:
        print(json.dumps({"ratios": ratios, "limits": {name: limit.ratio for name, limit in LIMITS.items()}}, indent=1))
    else:
        for name, ratio in ratios.items():
            print(f"{name:18} {ratio:6.2f} of plain code, at most {LIMITS[name].ratio:.2f}")
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
