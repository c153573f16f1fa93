"""Many async calls at once on one client: 100 and 500 without delay, and 300 against a server that takes a second.

    python benchmarks/concurrency.py [--quick] [--json] [--only NAME]…

Each round makes a new client, lets it connect, and has so many tasks call one after the other.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack

from callers import ASYNC_MAKERS, HTTPX, AsyncCall, async_calls
from harness import OURS, Options, Sample, Server, Table, clock, per_unit, settle, tell
from server import TEXT


async def at_once(call: AsyncCall, concurrency: int, count: int) -> Sample:
    """So many calls in all, so many at a time."""
    latencies: list[float] = []
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            began = time.perf_counter()
            assert await call() == TEXT
            latencies.append(time.perf_counter() - began)

    began = clock()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    sample = per_unit(began, count)
    p99 = statistics.quantiles(latencies, n=100, method="inclusive")[98]
    return {**sample, "p99_ms": p99 * 1e3}


def measure(
    options: Options, url: str, concurrency: int, count: int, rounds: int, *, without: tuple[str, ...] = ()
) -> dict[str, list[Sample]]:
    """Take turns; each candidate has its client for its turn alone."""
    makers = {name: make for name, make in ASYNC_MAKERS.items() if name not in without}
    samples: dict[str, list[Sample]] = {name: [] for name in makers}

    async def turn(name: str) -> None:
        async with AsyncExitStack() as stack:
            calls = await async_calls(options, url, stack, makers={name: makers[name]})
            if name not in calls:
                del makers[name]
                return
            settle()
            samples[name].append(await at_once(calls[name], concurrency, count))

    for _ in range(rounds):
        for name in list(makers):
            asyncio.run(turn(name))
    return {name: taken for name, taken in samples.items() if taken}


def main() -> None:
    options = Options.read(__doc__)
    pick = options.effort.pick
    measures = ("per_second", "p99_ms", "cpu_us")
    tables: dict[str, Table] = {}
    with Server() as server:
        for concurrency, rounds in ((pick(100, 100, 4), pick(3, 1, 1)), (pick(500, 500, 8), pick(3, 1, 1))):
            count = pick(2000, max(200, concurrency), 2 * concurrency)
            samples = measure(options, server.url("now"), concurrency, count, rounds)
            name = "100" if not tables else "500"
            tables[name] = Table(f"{concurrency} at a time, {count:,} calls", HTTPX, measures, samples)
        count, delay = pick(300, 300, 4), pick(1000, 1000, 10)
        # httpx's default limit of 100 connections makes three waves of it, which is a question of settings.
        samples = measure(options, server.url(f"after-{delay}"), count, count, pick(2, 1, 1), without=(HTTPX,))
        tables["300 in a second"] = Table(
            f"{count} at once, of which each takes {delay:,} ms",
            OURS,
            measures,
            samples,
        )
    tell(options, tables)


if __name__ == "__main__":
    main()
