"""A lean local server in a process of its own that answers each call with the call's own name, and counts.

    python -m trust.load_server       prints its port; ends when its standard input does

What it is to do stands in any string of a request's body, so that it serves every client: `call:NAME:PROCESS:DEED`.
The answer's text is the name. The process is the client's, so that a connection which two processes use is noticed.
The deeds are in `DEEDS`. It has answers in the shapes of benchmarks/server.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from typing_extensions import Self

from benchmarks.server import CONSTANT_HEADERS, SHAPES, STREAM_HEAD, TEXT, FetchHive

__all__ = ["DEEDS", "PIECES", "LoadServer", "allow_descriptors", "order"]

ROOT = Path(__file__).resolve().parent.parent
PIECES = 8  # events of text in a stream
DEEDS = {
    "answer": "the whole answer",
    "hold": "the answer, or a stream's second event and all others, once /release is asked for",
    "reset": "a reset in the place of the answer, or after a stream's first event",
    "error": "status 500",
    "busy": "status 429 with `Retry-After: 0` the first time, then the answer",
    "cut": "half an answer, or half a stream, then a close",
    "noise": "bytes that are no HTTP, or a stream's event that is no JSON",
    "page": "a page of HTML with status 200",
    "silence": "nothing at all",
}

_ORDER = re.compile(rb"call:([\w-]+):(\d+):(\w+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAMING = re.compile(rb'"stream(?:ing)?": ?true')


def order(name: str, deed: str = "answer") -> str:
    """What a call has to carry somewhere in its body."""
    return f"call:{name}:{os.getpid()}:{deed}"


def allow_descriptors() -> int:
    """Allow this process as many descriptors as the system lets it, and return that number."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# --- the client's side ----------------------------------------------------------------------------------------


class LoadServer:
    """The server: with no address a process of its own while the block lasts, else one that runs already.

    Args:
        address: The `address` of another one.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        """Where a client of Fetch Hive finds it."""
        return f"http://{self.address}/v1"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "trust.load_server"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.address = f"127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate()  # closes its standard input, at which it ends

    def told(self) -> dict[str, Any]:
        """What it has counted: see `Counts.told`."""
        return self._ask("/told")

    def release(self) -> None:
        """Let it answer what it holds, and hold nothing any more until `reset`."""
        self._ask("/release")

    def start_anew(self) -> None:
        """Let it count from nothing, and hold again."""
        self._ask("/anew")

    def wait(self, reached: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        """Wait until what it has counted is so.

        Raises:
            TimeoutError: It never was.
        """
        until = time.monotonic() + seconds
        while not reached(told := self.told()):
            if time.monotonic() > until:
                raise TimeoutError(f"The server never came to that: {told}")
            time.sleep(0.01)
        return told

    def _ask(self, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()


# --- the server's side ----------------------------------------------------------------------------------------


class Counts:
    """What has happened since the beginning."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.requests = 0
        self.refused: set[str] = set()
        self.open: set[Connection] = set()
        self.most_open = 0
        self.shared = 0
        self.released = False
        self.held: list[Callable[[], None]] = []

    def told(self) -> dict[str, Any]:
        """The counts as JSON.

        `runs`: started in all. `twice`: names of runs that were started more than once. `requests`: with those that
        were refused. `open`, `most_open`: connections with calls on them. `shared`: connections that two processes
        have sent calls on. `held`: calls that wait for `/release`.
        """
        return {
            "runs": self.runs.total(),
            "twice": [name for name, count in self.runs.items() if count > 1],
            "requests": self.requests,
            "open": len(self.open),
            "most_open": self.most_open,
            "shared": self.shared,
            "held": len(self.held),
        }

    def hold(self, go_on: Callable[[], None]) -> None:
        if self.released:
            go_on()
        else:
            self.held.append(go_on)

    def release(self) -> None:
        self.released = True
        held, self.held = self.held, []
        for go_on in held:
            go_on()


counts = Counts()


class Connection(asyncio.Protocol):
    """One connection of a client; it is kept alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.received = b""
        self.processes: set[bytes] = set()
        self.shared = False

    def connection_lost(self, exc: Exception | None) -> None:
        counts.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end]
            length = _LENGTH.search(head)
            end += 4 + (int(length[1]) if length else 0)
            if len(self.received) < end:
                return
            body, self.received = self.received[len(head) + 4 : end], self.received[end:]
            self._answer(head.split(b" ", 2)[1].decode(), body)

    def _answer(self, target: str, body: bytes) -> None:
        if (ordered := _ORDER.search(body)) is None:
            self._obey(target)
            return
        name, process, deed = ordered[1].decode(), ordered[2], ordered[3].decode()
        counts.requests += 1
        counts.open.add(self)
        counts.most_open = max(counts.most_open, len(counts.open))
        self.processes.add(process)
        if len(self.processes) == 2 and not self.shared:
            self.shared = True
            counts.shared += 1
        if deed == "busy" and name not in counts.refused:
            counts.refused.add(name)
            self.transport.write(_BUSY)
            return
        counts.runs[name] += 1
        say = _stream if _STREAMING.search(body) else _whole
        self._do(deed, *say(target.removeprefix("/v1"), name), streaming=say is _stream)

    def _obey(self, target: str) -> None:
        global counts  # noqa: PLW0603 - of this process
        if target == "/anew":
            counts = Counts()
        elif target == "/release":
            counts.release()
        body = json.dumps(counts.told()).encode()
        self.transport.write(_head("200 OK", len(body)) + body)

    def _do(self, deed: str, first: bytes, rest: bytes, *, streaming: bool) -> None:
        """Carry it out, given the two halves of what is said."""
        write = self.transport.write
        if deed in {"answer", "busy"}:
            write(first + rest)
        elif deed == "hold":
            if streaming:
                write(first)
                first = b""
            counts.hold(lambda: None if self.transport.is_closing() else write(first + rest))
        elif deed == "reset":
            write(first if streaming else b"")
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif deed == "error":
            write(_ERROR)
        elif deed == "page":
            write(_PAGE)
        elif deed == "cut":
            write(first)
            self.transport.close()
        elif deed == "noise":
            write(first + _chunk(b"data: {no JSON\n\n") if streaming else b"what is this?\r\n\r\n")
            self.transport.close()


def _head(status: str, length: int, kind: str = "application/json", more: str = "") -> bytes:
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}"
    return lines.encode() + CONSTANT_HEADERS + b"\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _refusal(status: str, text: str, more: str = "") -> bytes:
    body = json.dumps({"error": text}).encode()
    return _head(status, len(body), more=more) + body


_ERROR = _refusal("500 Internal Server Error", "Something broke.")
_BUSY = _refusal("429 Too Many Requests", "Slow down.", "Retry-After: 0\r\n")
_HTML = b"<html><body>A page of a proxy</body></html>"
_PAGE = _head("200 OK", len(_HTML), "text/html") + _HTML


def _shape(path: str) -> Any:
    return SHAPES.get(path, FetchHive)


@cache
def _around(path: str) -> tuple[bytes, bytes]:
    """What stands before and after the answer's text."""
    before, _, after = json.dumps(_shape(path).answer).partition(TEXT)
    return before.encode(), after.encode()


def _whole(path: str, name: str) -> tuple[bytes, bytes]:
    before, after = _around(path)
    return _head("200 OK", len(before) + len(name) + len(after)) + before, name.encode() + after


def _stream(path: str, name: str) -> tuple[bytes, bytes]:
    shape = _shape(path)
    event = _chunk(shape.event(name))
    begin = _chunk(shape.begin) if shape.begin else b""
    return STREAM_HEAD + begin + event, event * (PIECES - 1) + _chunk(shape.end) + b"0\r\n\r\n"


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    await over.wait()


def _main() -> None:
    allow_descriptors()
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())


if __name__ == "__main__":
    _main()
