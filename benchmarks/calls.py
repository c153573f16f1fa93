"""What one call costs beside plain httpx: CPU and wall time per call, as ratios of interleaved blocks.

    python benchmarks/calls.py [--blocks 40] [--calls 50] [--json]

A bare asyncio server with a constant answer runs in its own process. Blocks of calls alternate between the
candidates, so that a machine that speeds up or slows down does so for all; quoted is the median of the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
import pydantic

from fetch_hive_sdk import FetchHive
from fetch_hive_sdk.version import VERSION

ANSWER = json.dumps(
    {
        "request_id": "req_019d52846ea37682b03522fd0695cc43",
        "model": "gpt-x",
        "response": "The export button is disabled while a previous export is still running.",
        "usage": {
            "duration": 1.9,
            "prompt_tokens": {"total_tokens": 24, "cached_tokens": 0},
            "completion_tokens": {"total_tokens": 9, "reasoning_tokens": 0},
            "total_tokens": 33,
        },
        "stop_reason": "completed",
    }
).encode()
BODY: dict[str, Any] = {
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {"ticket_text": "The export button is disabled."},
    "metadata": {"customer_id": "cus_123", "plan": "enterprise"},
}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


class ConstantAnswer(asyncio.Protocol):
    """Answers each request with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) >= length:
            self.received = body[length:]
            self.transport.write(HEAD + ANSWER)


def serve(port: Any) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(ConstantAnswer, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def measure(candidates: dict[str, Callable[[], object]], blocks: int, calls: int) -> dict[str, dict[str, float]]:
    """Median microseconds per call of each candidate, and the median of its ratios to the first."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for block in range(blocks + 1):
        for name, call in candidates.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                call()
            if block:  # the first one warms up
                times[name].append(
                    ((time.perf_counter() - wall) / calls * 1e6, (time.process_time() - cpu) / calls * 1e6)
                )
    first = times[next(iter(candidates))]
    return {
        name: {
            "wall_us": statistics.median(wall for wall, _ in taken),
            "cpu_us": statistics.median(cpu for _, cpu in taken),
            "wall_ratio": statistics.median(own[0] / base[0] for own, base in zip(taken, first, strict=True)),
            "cpu_ratio": statistics.median(own[1] / base[1] for own, base in zip(taken, first, strict=True)),
        }
        for name, taken in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    ports = context.Queue()
    server = context.Process(target=serve, args=(ports,), daemon=True)
    server.start()
    base_url = f"http://127.0.0.1:{ports.get()}/v1"
    plain = httpx.Client(headers={"Authorization": "Bearer fhk_bench"})
    client = FetchHive("fhk_bench", base_url)
    figures = measure(
        {
            "httpx client.post(json=).json()": lambda: plain.post(f"{base_url}/prompt/invoke", json=BODY).json(),
            "FetchHive.invoke_prompt": lambda: client.invoke_prompt(**BODY),
        },
        options.blocks,
        options.calls,
    )
    client.close()
    plain.close()
    server.terminate()
    server.join()
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(
        f"fetch-hive-sdk {VERSION}, httpx {httpx.__version__}, pydantic {pydantic.VERSION}, "
        f"Python {platform.python_version()}, {platform.machine()}"
    )
    print(f"{'':34} {'wall us':>9} {'x httpx':>8} {'CPU us':>9} {'x httpx':>8}")
    for name, row in figures.items():
        print(f"{name:34} {row['wall_us']:9.0f} {row['wall_ratio']:8.2f} {row['cpu_us']:9.0f} {row['cpu_ratio']:8.2f}")


if __name__ == "__main__":
    main()
