"""Whether the sandbox loses anything: many clients at once over real sockets, with and without SIGKILL.

    python benchmarks/sandbox_soak.py [--clients 200] [--seconds 60 | --calls N] [--kill] [--json]

The sandbox is `python -m fetch_hive_sdk.sandbox` with a file, a process of its own; so is the receiver of its
callbacks, which accepts every one on `/good` and every other on `/flaky`. With `--kill` the sandbox is killed in the
middle, and started again on the same file and port. Exit code 1 if anything was violated:

- a call failed otherwise than its scripted fault says, or (with `--kill`) than by the connection to a dead server;
- two runs have one id, or an accepted run is not in the file, or has not ended;
- `/good` got a callback not at all, or twice (with `--kill`: not at all); `/flaky` has not accepted one at least once;
- a callback's signature is wrong, a reply is somebody else's, or the sandbox wrote to its standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from typing_extensions import Self

from fetch_hive_sdk import (
    AsyncFetchHive,
    CallbackVerificationError,
    CallbackVerifier,
    StreamInterruptedError,
    UnprocessableEntityError,
    WorkflowRunning,
)
from fetch_hive_sdk.sandbox import Callback, Run
from fetch_hive_sdk.sandbox.faults import FAULT_HEADER
from fetch_hive_sdk.sandbox.lifecycle import STOPPED
from fetch_hive_sdk.sandbox.store import Store
from fetch_hive_sdk.version import VERSION

SECRET = "whsec_of_the_soak"  # noqa: S105 - of nobody else
CONFIG = f"""
[choices]
callback_retry_delays = [0.05, 0.2, 0.5, 1.0]

[[workflow]]
name = "soak-workflow"
function = "soak_replies:mark"
secret = "{SECRET}"

[[workflow]]
name = "soak-slow"
function = "soak_replies:slow"
secret = "{SECRET}"

[[hive_agent]]
name = "soak-hive"
reply = "Done."
secret = "{SECRET}"
"""
REPLIES = """
from fetch_hive_sdk.sandbox import Answer


def mark(inputs):
    return inputs["mark"]


def slow(inputs):
    return Answer(inputs["mark"], duration=0.1)
"""
SECONDS_TO_START = 30.0
SECONDS_TO_SETTLE = 60.0
POLL_SECONDS = 0.05


# --- the receiver ---------------------------------------------------------------------------------------


class Receiver:
    """Counts what is posted to it, and tells the counts to `GET /report`."""

    def __init__(self) -> None:
        self.posts: dict[str, Counter[str]] = {"/good": Counter(), "/flaky": Counter()}
        self.accepted: dict[str, Counter[str]] = {"/good": Counter(), "/flaky": Counter()}
        self.unsigned = 0
        self._verifier = CallbackVerifier(SECRET)

    async def serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            status, told = self._receive(first.split()[1], headers, body)
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(told)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + told)
            await writer.drain()
        writer.close()

    def _receive(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/report":
            told = {"posts": self.posts, "accepted": self.accepted, "unsigned": self.unsigned}
            return 200, json.dumps(told).encode()
        try:
            request_id = self._verifier.unwrap(body, headers).request_id
        except CallbackVerificationError:
            self.unsigned += 1
            return 400, b""
        self.posts[path][request_id] += 1
        # Half of the callbacks fail at their first attempt, and no one twice in succession.
        if path == "/flaky" and (zlib.crc32(request_id.encode()) + self.posts[path][request_id]) % 2:
            return 503, b"not now"
        self.accepted[path][request_id] += 1
        return 200, b""


# --- the processes --------------------------------------------------------------------------------------


class Process:
    """A Python program whose first line of output tells that it is ready."""

    def __init__(self, arguments: list[str], errors: Path) -> None:
        self._arguments = [sys.executable, *arguments]
        self._errors = errors

    async def start(self) -> str:
        """Start it, and return the line."""
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - it is quick, and of ours
                self._arguments, stdout=subprocess.PIPE, stderr=errors
            )
        line = await asyncio.wait_for(asyncio.to_thread(self._output.readline), SECONDS_TO_START)
        if not line:
            raise RuntimeError(f"{self._arguments} did not start: {self._errors.read_text()}")
        # Nobody reads the rest, but a full pipe would stop the program.
        self._reader = threading.Thread(target=lambda: [None for _ in self._output], daemon=True)
        self._reader.start()
        return line.decode()

    @property
    def _output(self) -> Any:
        return self._process.stdout

    async def end(self, how: signal.Signals) -> int:
        """End it; returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(how)
        code = await asyncio.to_thread(self._process.wait, SECONDS_TO_START)
        self._reader.join()
        self._output.close()
        return code


# --- the load -------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What was done, and what went wrong."""

    clients: int
    killed: bool
    calls: Counter[str] = field(default_factory=Counter[str])
    interrupted: int = 0
    seconds: float = 0.0
    sandbox_cpu: float = 0.0
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    accepted: list[tuple[str, str, str | None]] = field(default_factory=list)  # kind, request id, callback path
    runs: int = 0
    callbacks: dict[str, dict[str, int]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.calls.values())


class Soak:
    """The load of all clients, and where they call."""

    def __init__(self, report: Report, receiver_url: str, *, calls: int | None) -> None:
        self.report = report
        self.receiver_url = receiver_url
        self.base_url = ""
        self.half = asyncio.Event()
        self.over = False
        self._calls = calls
        self._up = asyncio.Event()
        self._times_down = 0

    def comes_up(self, base_url: str) -> None:
        self.base_url = base_url
        self._up.set()

    def goes_down(self) -> None:
        self._times_down += 1
        self._up.clear()

    async def client(self, number: int) -> None:
        """Call until all is done."""
        async with Client(self, number) as client:
            for call in count():
                if self.over or call == self._calls:
                    return
                await self._up.wait()
                kind = KINDS[(number + call) % len(KINDS)]
                await self._call(client, kind, f"mark-{number}-{call}-")

    async def _call(self, client: Client, kind: str, mark: str) -> None:
        times_down, began = self._times_down, time.perf_counter()
        try:
            request_id, path = await getattr(client, kind)(mark)
        except Exception as error:
            if times_down == self._times_down:
                self.report.violations.append(f"{kind} failed: {type(error).__name__}: {error}")
            else:
                self.report.interrupted += 1
            return
        self.report.latencies[kind].append(time.perf_counter() - began)
        self.report.calls[kind] += 1
        if request_id is not None:
            self.report.accepted.append((kind, request_id, path))
        if self._calls is not None and self.report.total >= self._calls * self.report.clients // 2:
            self.half.set()


Accepted = tuple["str | None", "str | None"]


class Client:
    """One client of the sandbox. Each kind of call gives the run's id, and the path of its callback."""

    def __init__(self, soak: Soak, number: int) -> None:
        self._soak = soak
        self._number = number

    async def __aenter__(self) -> Self:
        self._fetch_hive = AsyncFetchHive("fhk_soak", self._soak.base_url, max_retries=0)
        self._http = httpx.AsyncClient(
            base_url=self._soak.base_url, headers={"Authorization": "Bearer fhk_soak"}, timeout=60, trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._fetch_hive.aclose()
        await self._http.aclose()

    def _inputs(self, mark: str) -> dict[str, Any]:
        return {"inputs": {"mark": mark}, "variant": "default", "metadata": {"client": self._number}}

    async def prompt(self, mark: str) -> Accepted:
        result = await self._fetch_hive.invoke_prompt(deployment="soak-prompt", **self._inputs(mark))
        return _own(result.request_id, mark, result.response), None

    async def prompt_stream(self, mark: str) -> Accepted:
        async with self._fetch_hive.invoke_prompt_stream(deployment="soak-prompt", **self._inputs(mark)) as stream:
            result = await stream.final()
        return _own(result.request_id, mark, result.response), None

    async def agent(self, mark: str) -> Accepted:
        reply = await self._fetch_hive.invoke_agent(agent="soak-agent", message=mark)
        return _own(reply.request_id, mark, reply.response), None

    async def agent_stream(self, mark: str) -> Accepted:
        async with self._fetch_hive.invoke_agent_stream(agent="soak-agent", message=mark) as stream:
            reply = await stream.final()
        return _own(reply.request_id, mark, reply.response), None

    async def workflow(self, mark: str, deployment: str = "soak-workflow") -> Accepted:
        run = await self._fetch_hive.invoke_workflow(deployment=deployment, **self._inputs(mark))
        return _own(run.request_id, mark, run["output"]), None

    async def workflow_slow(self, mark: str) -> Accepted:
        return await self.workflow(mark, "soak-slow")

    async def callback_good(self, mark: str, deployment: str = "soak-workflow", path: str = "/good") -> Accepted:
        url = self._soak.receiver_url + path
        run = await self._fetch_hive.invoke_workflow(deployment=deployment, callback_url=url, **self._inputs(mark))
        if not isinstance(run, WorkflowRunning):
            raise RuntimeError(f"run_status is {run['run_status']}")
        return run.request_id, path

    async def callback_slow(self, mark: str) -> Accepted:
        return await self.callback_good(mark, "soak-slow")

    async def callback_flaky(self, mark: str) -> Accepted:
        return await self.callback_good(mark, path="/flaky")

    async def hive_agent(self, mark: str) -> Accepted:
        to = {"enabled": True, "callback_url": f"{self._soak.receiver_url}/good"}
        return await self._post("/hive-agent/invoke", {"hive_agent": "soak-hive", "objective": mark, "async": to}, {})

    async def webhook(self, mark: str) -> Accepted:
        body = {"inputs": {"mark": mark}, "async": {"callback_url": f"{self._soak.receiver_url}/flaky"}}
        path = "/workflow/webhooks/soak-workflow/variants/default"
        request_id, _ = await self._post(path, body, {"X-Fetch-Hive-Webhook-Secret": SECRET})
        return request_id, "/flaky"

    async def scripted_refusal(self, mark: str) -> Accepted:
        faulty = self._fetch_hive.with_options(default_headers={FAULT_HEADER: "model_deprecated"})
        try:
            await faulty.invoke_prompt(deployment="soak-prompt", **self._inputs(mark))
        except UnprocessableEntityError as error:
            if error.error_code == "model_deprecated":
                return None, None
        raise RuntimeError("The scripted refusal did not come")

    async def scripted_reset(self, mark: str) -> Accepted:
        faulty = self._fetch_hive.with_options(default_headers={FAULT_HEADER: "cut=reset, after=2"})
        async with faulty.invoke_prompt_stream(deployment="soak-prompt", **self._inputs(mark)) as stream:
            try:
                await stream.final()
            except StreamInterruptedError:
                return stream.request_id, None
        raise RuntimeError("The scripted reset did not come")

    async def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Accepted:
        reply = await self._http.post(path, json=body, headers=headers)
        if reply.status_code != 202:
            raise RuntimeError(f"HTTP status {reply.status_code}: {reply.text}")
        return reply.json()["request_id"], "/good"


KINDS = (
    "prompt",
    "callback_good",
    "prompt_stream",
    "callback_flaky",
    "workflow",
    "agent",
    "callback_slow",
    "scripted_refusal",
    "hive_agent",
    "workflow_slow",
    "agent_stream",
    "webhook",
    "scripted_reset",
)


def _own(request_id: str | None, mark: str, text: str) -> str:
    if request_id is None or mark not in text:
        raise RuntimeError(f"{text!r} of {request_id} is somebody else's")
    return request_id


# --- all of it ------------------------------------------------------------------------------------------


async def soak(folder: Path, *, clients: int, seconds: float = 0.0, calls: int | None = None, kill: bool) -> Report:
    """Run the load, and check what became of it.

    Args:
        folder: An empty one, for the sandbox's file and what it writes.
        clients: How many call at once.
        seconds: How long they begin further calls.
        calls: How many calls each makes; None: until the seconds are over.
        kill: Kill the sandbox in the middle, and start it again.
    """
    report = Report(clients=clients, killed=kill)
    db, errors = folder / "soak.sqlite", folder / "stderr.txt"
    (folder / "soak.toml").write_text(CONFIG)
    (folder / "soak_replies.py").write_text(REPLIES)
    options = ["--db", str(db), "--config", str(folder / "soak.toml"), "--json"]
    receiver = Process([__file__, "--receiver"], errors)
    sandbox = Process(["-m", "fetch_hive_sdk.sandbox", "--port", "0", *options], errors)
    try:
        port = (await receiver.start()).strip()
        load = Soak(report, f"http://127.0.0.1:{port}", calls=calls)
        load.comes_up(json.loads(await sandbox.start())["base_url"])
        began = time.perf_counter()
        callers = asyncio.gather(*(load.client(number) for number in range(clients)))
        if calls is None:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds / 2, load.half.set)
            loop.call_later(seconds, setattr, load, "over", True)
        if kill:
            await load.half.wait()
            load.goes_down()
            await sandbox.end(signal.SIGKILL)
            same = str(httpx.URL(load.base_url).port)
            sandbox = Process(["-m", "fetch_hive_sdk.sandbox", "--port", same, *options], errors)
            load.comes_up(json.loads(await sandbox.start())["base_url"])
        await callers
        report.seconds = time.perf_counter() - began
        store = Store(db)
        with contextlib.closing(store):
            if not await _until(lambda: _settled(store)):
                report.violations.append(f"Work is still under way after {SECONDS_TO_SETTLE:g} s")
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = await sandbox.end(signal.SIGTERM)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        report.sandbox_cpu = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
        if code != 0:
            report.violations.append(f"The sandbox ended with {code}")
        async with httpx.AsyncClient(trust_env=False) as http:
            received = (await http.get(f"{load.receiver_url}/report")).json()
        store = Store(db)
        with contextlib.closing(store):
            _check(report, store, received)
    finally:
        for process in (sandbox, receiver):
            with contextlib.suppress(AttributeError):  # it was not started
                await process.end(signal.SIGKILL)
    if said := errors.read_text():
        report.violations.append(f"The sandbox wrote to its standard error: {said}")
    return report


async def _until(done: Callable[[], bool]) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + SECONDS_TO_SETTLE
    while not await asyncio.to_thread(done):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _settled(store: Store) -> bool:
    return not store.active((), ("queued", "running")) and not store.pending_callbacks()


def _check(report: Report, store: Store, received: dict[str, Any]) -> None:
    """Compare what the clients were told, what the file holds, and what the receiver got."""
    runs = {run.request_id: run for run in store.runs()}
    callbacks = store.callbacks()
    report.runs = len(runs)
    report.violations += [*_lost(report, runs), *_undelivered(report, callbacks, received)]


def _lost(report: Report, runs: dict[str, Run]) -> Iterator[str]:
    told = Counter(request_id for _, request_id, _ in report.accepted)
    yield from (f"{request_id} was given to {number} runs" for request_id, number in told.items() if number > 1)
    for kind, request_id, _ in report.accepted:
        if request_id not in runs:
            yield f"{kind} {request_id} is lost"
    for run in runs.values():
        error = run.answer.error if run.answer else None
        # A call whose reply never came has failed with that reason; nothing that was told to a client has.
        cut = report.killed and error == STOPPED and run.request_id not in told
        if not run.ended or (run.status != "completed" and not cut):
            yield f"{run.kind} {run.request_id} is {run.status}: {error}"


def _undelivered(report: Report, callbacks: list[Callback], received: dict[str, Any]) -> Iterator[str]:
    expected: dict[str, Counter[str]] = {"/good": Counter(), "/flaky": Counter()}
    for callback in callbacks:
        expected[httpx.URL(callback.url).path][callback.request_id] += 1
    for kind, request_id, path in report.accepted:
        if path is not None and expected[path][request_id] != 1:
            yield f"{kind} {request_id} has {expected[path][request_id]} callbacks"
    for path, ids in expected.items():
        posts, accepted = Counter(received["posts"][path]), Counter(received["accepted"][path])
        report.callbacks[path] = {
            "callbacks": len(ids),
            "posts": sum(posts.values()),
            "accepted": len(accepted),
            "twice": sum(number > 1 for number in accepted.values()),
        }
        for request_id in {*ids, *posts}:
            if accepted[request_id] != 1 and not (report.killed and accepted[request_id]):
                yield f"{path} accepted the callback of {request_id} {accepted[request_id]} times"
            if request_id not in ids:
                yield f"{path} got a callback of {request_id}, which is not in the file"
    if received["unsigned"]:
        yield f"{received['unsigned']} callbacks had a wrong signature"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--calls", type=int, help="calls of each client, instead of the seconds")
    parser.add_argument("--kill", action="store_true", help="SIGKILL the sandbox in the middle, and restart it")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--receiver", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receiver:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(Receiver().serve())
        return
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(
            soak(Path(folder), clients=options.clients, seconds=options.seconds, calls=options.calls, kill=options.kill)
        )
    show = print_json if options.json else print_table
    show(report)
    sys.exit(1 if report.violations else 0)


def _percentile(latencies: list[float], percent: int) -> float:
    return statistics.quantiles(latencies, n=100, method="inclusive")[percent - 1] * 1000 if latencies[1:] else 0.0


def print_json(report: Report) -> None:
    figures: dict[str, Any] = {
        "clients": report.clients,
        "killed": report.killed,
        "calls": report.total,
        "interrupted": report.interrupted,
        "seconds": report.seconds,
        "runs": report.runs,
        "callbacks": report.callbacks,
        "violations": report.violations,
    }
    print(json.dumps(figures, indent=2))


def print_table(report: Report) -> None:
    print(
        f"fetch-hive-sdk {VERSION}, Python {platform.python_version()}, {platform.machine()}: {report.clients} clients"
        f"{', killed in the middle' if report.killed else ''}"
    )
    print(f"\n{'call':18} {'count':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for kind in KINDS:
        taken = report.latencies[kind]
        print(f"{kind:18} {report.calls[kind]:8} {_percentile(taken, 50):8.0f} {_percentile(taken, 99):8.0f}")
    print(f"{'all':18} {report.total:8}   {report.total / report.seconds:.0f} per second in {report.seconds:.0f} s")
    print(f"\n{report.runs} runs in the file, {len(report.accepted)} told to clients, {report.interrupted} interrupted")
    print(f"CPU of the sandbox's process: {report.sandbox_cpu:.1f} s")
    print(f"\n{'receiver':10} {'callbacks':>10} {'posts':>8} {'accepted':>9} {'twice':>6}")
    for path, numbers in report.callbacks.items():
        values = (numbers[name] for name in ("callbacks", "posts", "accepted", "twice"))
        print("{:10} {:>10} {:>8} {:>9} {:>6}".format(path, *values))
    print(f"\n{len(report.violations)} violations")
    for violation in report.violations[:20]:
        print(f"  {violation}")


if __name__ == "__main__":
    main()
