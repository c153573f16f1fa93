"""What one call costs: in succession, sync and async, and with 8 threads on one client.

python benchmarks/calls.py [--quick] [--json] [--only NAME]…
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial

from callers import HTTPX, HTTPX_RAISED, AsyncCall, Call, async_calls, sync_calls
from harness import RELEASED, Options, Sample, Server, Table, clock, per_unit, settle, take_turns, tell, time_calls
from released import Released
from server import TEXT

THREADS = 8
MEASURES = ("cpu_us", "wall_us", "per_second")


def sync_samples(options: Options, url: str, rounds: int, count: int) -> dict[str, list[Sample]]:
    """Calls in succession on one kept connection."""
    with ExitStack() as stack:
        turns: dict[str, Callable[[], Sample]] = {
            name: partial(time_calls, call, count, TEXT) for name, call in sync_calls(options, url, stack).items()
        }
        if (released := Released.start(options)) is not None:
            stack.callback(released.close)
            turns[RELEASED] = partial(released.calls, url, max(1, count // 25))  # each takes as long as 40 others
        return take_turns(turns, rounds)


def async_samples(options: Options, url: str, rounds: int, count: int) -> dict[str, list[Sample]]:
    """Calls in succession on one event loop."""
    loop = asyncio.new_event_loop()

    async def block(call: AsyncCall) -> Sample:
        began = clock()
        for _ in range(count):
            assert await call() == TEXT
        return per_unit(began, count)

    async def measure() -> dict[str, list[Sample]]:
        async with AsyncExitStack() as stack:
            calls = await async_calls(options, url, stack)
            settle()
            calls.pop(HTTPX_RAISED, None)  # limits play no part where one connection is used
            samples: dict[str, list[Sample]] = {name: [] for name in calls}
            for number in range(rounds + 1):
                for name, call in calls.items():
                    sample = await block(call)
                    if number:  # the first one warms up
                        samples[name].append(sample)
            return samples

    try:
        return loop.run_until_complete(measure())
    finally:
        loop.close()


def thread_samples(options: Options, url: str, rounds: int, count: int) -> dict[str, list[Sample]]:
    """Calls of 8 threads that share one client."""

    def several(call: Call) -> None:
        for _ in range(count // THREADS):
            assert call() == TEXT

    with ExitStack() as stack, ThreadPoolExecutor(THREADS) as threads:

        def block(call: Call) -> Sample:
            began = clock()
            for done in [threads.submit(several, call) for _ in range(THREADS)]:
                done.result()
            return per_unit(began, count // THREADS * THREADS)

        calls = sync_calls(options, url, stack)
        return take_turns({name: partial(block, call) for name, call in calls.items()}, rounds)


def main() -> None:
    options = Options.read(__doc__)
    rounds, count = options.effort.pick(45, 10, 1), options.effort.pick(100, 40, 8)
    with Server() as server:
        url = server.url("now")
        size = "answer of 330 bytes"
        tables = {
            "sync": Table(f"One call, sync, {size}", HTTPX, MEASURES, sync_samples(options, url, rounds, count)),
            "async": Table(f"One call, async, {size}", HTTPX, MEASURES, async_samples(options, url, rounds, count)),
            "threads": Table(
                f"{THREADS} threads on one client",
                HTTPX,
                ("per_second", "cpu_us"),
                thread_samples(options, url, options.effort.pick(10, 3, 1), options.effort.pick(800, 200, 16)),
            ),
        }
    tell(options, tables)


if __name__ == "__main__":
    main()
