"""What the SDK has httpx tell of an attempt: whether anything was sent, and each connection it may wait on.

httpx bounds each wait on a socket, not their sum. So the sync client lets a connection's reads and writes end
at a point of time of the thread, however slowly or endlessly bytes come in. The async client needs no such
thing: its deadlines are cancel scopes. Both learn of connections by httpx's documented `trace` extension.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx

__all__ = ["AsyncTrace", "DeadlineExceeded", "Trace", "bound_waits", "waits_end_at"]

# Between two pieces of a long body the time that is left is looked at again.
_WRITE_SIZE = 64 * 1024


class DeadlineExceeded(httpx.ReadTimeout):
    """The time is up. An error of httpx, because a connection may hand it on to its other calls."""

    def __init__(self) -> None:
        super().__init__("The time is up.")


class Trace:
    """The trace of one attempt.

    Attributes:
        seen: Whether the transport tells anything at all; a mock or another library does not.
        sent: Whether the request has begun to be sent to the service.
    """

    def __init__(self) -> None:
        self.seen = False
        self.sent = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> Any:
        self.note(event, info)
        if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")):
            bound_waits(info["return_value"])

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn from one event."""
        self.seen = True
        # A proxy's CONNECT is not the request.
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self.sent = True


class AsyncTrace(Trace):
    """The same for the async client, whose connections need no bounds."""

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.note(event, info)


class _Current(threading.local):
    deadline = math.inf


_current = _Current()


@contextmanager
def waits_end_at(deadline: float) -> Generator[None, None, None]:
    """Inside the block, no wait of this thread goes beyond this `time.monotonic()` point."""
    outer = _current.deadline
    _current.deadline = min(outer, deadline)
    try:
        yield
    finally:
        _current.deadline = outer


def bound_waits(stream: Any) -> None:
    """Let the reads and writes of a connection keep to the deadline of the thread that waits on it."""
    if stream is None or getattr(stream, "keeps_deadlines", False):
        return
    read, write = stream.read, stream.write

    def bounded_read(max_bytes: int, timeout: float | None = None) -> Any:
        return read(max_bytes, _left(timeout))

    def bounded_write(buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_SIZE):
            write(buffer[start : start + _WRITE_SIZE], _left(timeout))

    with suppress(AttributeError):  # a stream of another kind keeps its time itself
        stream.keeps_deadlines = True
        stream.read, stream.write = bounded_read, bounded_write


def _left(timeout: float | None) -> float | None:
    left = _current.deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded
    if left == math.inf:
        return timeout
    return left if timeout is None else min(timeout, left)
