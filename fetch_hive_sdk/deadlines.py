"""A point of time that every wait of a thread keeps to, however slowly or endlessly bytes come in.

httpx bounds each wait on a socket, not their sum. So the sync client has httpx tell it of each new connection
(the documented `trace` extension), and lets that connection's reads and writes end at the thread's deadline.
The async client needs none of this: its deadlines are cancel scopes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["DeadlineExceeded", "keep_deadlines", "waits_end_at"]


class DeadlineExceeded(Exception):
    """The time is up."""


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


def keep_deadlines(event: str, info: Mapping[str, Any]) -> None:
    """The trace: bounds a connection's stream once it is made, and again once it is encrypted."""
    if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", ".start_tls.complete")):
        stream = info["return_value"]
        stream.read = _bounded(stream.read)
        stream.write = _bounded(stream.write)


def _bounded(wait: Callable[..., Any]) -> Callable[..., Any]:
    def bounded(what: Any, timeout: float | None = None) -> Any:
        left = _current.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded
        if left < math.inf:
            timeout = left if timeout is None else min(timeout, left)
        return wait(what, timeout)

    return bounded
