"""The sandbox: what a call costs in the process of a test, and how many a second its server answers on one core.

    python benchmarks/sandbox.py [--quick] [--json]

The server is `python -m fetch_hive_sdk.sandbox` with its run log, in memory and on a file. Those who call it are lean:
bytes that are ready, over several connections, so that the server is the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import BODY, KEY, Options, Sample, Table, clock, per_unit, take_turns, tell, time_calls

CONNECTIONS = 8
IN_PROCESS = "in process"
PINNED = "import sys; sys.path[:0] = [sys.argv.pop(1)]; from harness import pin; pin(-1); "
SERVE = PINNED + "import runpy; runpy.run_module('fetch_hive_sdk.sandbox', run_name='__main__', alter_sys=True)"


def in_process(count: int, rounds: int) -> list[Sample]:
    """Calls of the sandbox's own client, without a socket."""
    from fetch_hive_sdk.sandbox import Sandbox

    with Sandbox() as sandbox:
        sandbox.prompt("support-classifier", reply="A bug report.")
        with sandbox.client() as client:

            def call() -> str:
                return client.invoke_prompt(**BODY).response

            samples = take_turns({"": partial(time_calls, call, count, "A bug report.")}, rounds)[""]
            assert len(sandbox.runs) == count * (rounds + 1)
        return samples


class Caller(asyncio.Protocol):
    """A connection that calls as soon as it is answered, until so many calls are made."""

    def __init__(self, request: bytes, left: list[int], over: asyncio.Event) -> None:
        self._request = request
        self._left = left
        self._over = over
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200"), self._received
        assert b'"request_id"' in body, self._received
        self._received = b""
        self._left[0] -= 1
        if self._left[0] <= 0:
            self._over.set()
        else:
            self._transport.write(self._request)


async def call_server(port: int, count: int) -> Sample:
    """So many calls over several connections."""
    loop = asyncio.get_running_loop()
    body = json.dumps(BODY).encode()
    head = f"POST /v1/prompt/invoke HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    over = asyncio.Event()
    left = [count]
    began = clock()
    made = [
        await loop.create_connection(partial(Caller, head.encode() + body, left, over), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    await over.wait()
    sample = per_unit(began, count)
    for transport, _ in made:
        transport.abort()
    return sample


def served(count: int, rounds: int, *more: str) -> list[Sample]:
    """Calls of a server of its own, kept on another core than its callers where there is one."""
    command = [sys.executable, "-c", SERVE, str(Path(__file__).parent), "--port", "0", "--json", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603 - our own
    try:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["base_url"].split(":")[2].split("/")[0])
        samples = take_turns({"": lambda: asyncio.run(call_server(port, count))}, rounds)[""]
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=20)
        process.kill()
    return samples


def main() -> None:
    options = Options.read(__doc__)
    pick = options.effort.pick
    count, rounds = pick(1000, 300, 5), pick(5, 2, 1)
    absent = [module for module in ("starlette", "uvicorn", "jinja2", "typer") if find_spec(module) is None]
    if absent:
        options.skip("the sandbox", f"{', '.join(absent)} of its extra not installed")
        tell(options, {})
        return
    with tempfile.TemporaryDirectory() as folder:
        tables = {
            "in process": Table(
                "A call in process",
                IN_PROCESS,
                ("cpu_us", "wall_us", "per_second"),
                {IN_PROCESS: in_process(count, rounds)},
            ),
            "server": Table(
                f"A call of the server with its run log, {CONNECTIONS} connections",
                "in memory",
                ("per_second", "wall_us"),
                {
                    "in memory": served(count, rounds),
                    "on a file": served(count, rounds, "--db", str(Path(folder) / "runs.sqlite")),
                },
            ),
        }
    tell(options, tables)


if __name__ == "__main__":
    main()
