"""What the SDK has httpx tell of an attempt: whether anything was sent, and each connection it may wait on.

httpx bounds each wait on a socket, not their sum. So the sync client lets a connection's reads and writes end
at a point of time of the thread, however slowly or endlessly bytes come in. The async client has cancel scopes; but
one for each piece of a stream would cost more than to read it, so there a connection has a deadline of its own. Both
learn of connections by httpx's documented `trace` extension.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx

__all__ = ["AsyncTrace", "DeadlineExceeded", "Trace", "bound_waits", "this_thread"]

# Between two pieces of a long body the time that is left is looked at again.
_WRITE_SIZE = 64 * 1024

# Events of a trace, whose `return_value` is a connection's network stream.
_CONNECTED = (".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")


class DeadlineExceeded(httpx.ReadTimeout):
    """The time is up. An error of httpx, because a connection may hand it on to its other calls."""

    def __init__(self) -> None:
        super().__init__("The time is up.")


class Trace:
    """The trace of one attempt.

    Args:
        when_sent: Called once all is sent on a new connection, when nothing is left but to wait for the answer.

    Attributes:
        seen: Whether the transport tells anything at all; a mock or another library does not.
        sent: Whether the request has begun to be sent to the service.
    """

    def __init__(self, when_sent: Callable[[], None] | None = None) -> None:
        self._when_sent = when_sent
        self.seen = False
        self.sent = False

    def __call__(self, event: str, info: Mapping[str, Any]) -> Any:
        self.note(event, info)
        if event.endswith(_CONNECTED):
            bound_waits(info["return_value"])

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn from one event."""
        self.seen = True
        # A proxy's CONNECT is not the request.
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self.sent = True
        elif self.sent and self._when_sent is not None and event.endswith(".send_request_body.complete"):
            self._when_sent()


class AsyncTrace(Trace):
    """The same for the async client, whose connections get a deadline of their own."""

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.note(event, info)
        if event.endswith(_CONNECTED):
            give_deadline(info["return_value"])


class _Thread(threading.local):
    deadline = math.inf


this_thread = _Thread()
"""Its `deadline`, a `time.monotonic()` point: no wait of this thread goes beyond it.

Who sets it does so first in a `try`, and puts back what it was first in its `finally`: one that Ctrl-C left
behind would end all later calls at once.
"""


def bound_waits(stream: Any) -> None:
    """Let the reads and writes of a connection keep to the deadline of the thread that waits on it."""
    if stream is None or getattr(stream, "keeps_deadlines", False):
        return
    read, write = stream.read, stream.write

    def bounded_read(max_bytes: int, timeout: float | None = None) -> Any:
        data = read(max_bytes, _left(timeout))
        if stream.last_read is not None:
            stream.last_read = data
        return data

    def bounded_write(buffer: bytes, timeout: float | None = None) -> None:
        if len(buffer) <= _WRITE_SIZE:
            write(buffer, _left(timeout))
            return
        for start in range(0, len(buffer), _WRITE_SIZE):
            write(buffer[start : start + _WRITE_SIZE], _left(timeout))

    with suppress(AttributeError):  # a stream of another kind keeps its time itself
        stream.keeps_deadlines, stream.last_read = True, None
        stream.read, stream.write = bounded_read, bounded_write


def give_deadline(stream: Any) -> None:
    """Let an async connection have the attribute `deadline`, a `time.monotonic()` point at which its reads end."""
    read = stream.read

    async def bounded_read(max_bytes: int, timeout: float | None = None) -> Any:
        data = await read(max_bytes, _left(timeout, stream.deadline))
        if stream.last_read is not None:
            stream.last_read = data
        return data

    with suppress(AttributeError):  # a stream of another kind cannot have one
        stream.deadline, stream.last_read = math.inf, None
        stream.read = bounded_read


def _left(timeout: float | None, deadline: float | None = None) -> float | None:
    left = (this_thread.deadline if deadline is None else deadline) - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded
    if left == math.inf:
        return timeout
    return left if timeout is None else min(timeout, left)
