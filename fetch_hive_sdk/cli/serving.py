"""What the commands that serve have in common: they listen, report from the main thread, and end in order."""

from __future__ import annotations

import errno
import queue
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Generic, TypeVar

import typer

__all__ = ["Host", "Inbox", "cannot_listen", "ending_in_order"]

ItemT = TypeVar("ItemT")

Host = Annotated[
    str, typer.Option("--host", help="The address to listen on. Others than loopback can be reached by others.")
]

# On Windows a wait is not ended by a signal, so that it has to end by itself now and then.
_SECONDS_TO_WAIT = 1.0


class Inbox(Generic[ItemT]):
    """What other threads report. Iterate it in the main thread: it ends once `stop` was called."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[tuple[ItemT] | None] = queue.SimpleQueue()

    def put(self, item: ItemT) -> None:
        """Report something, from any thread."""
        self._items.put((item,))

    def stop(self) -> None:
        """End the iteration after what has been reported until now."""
        self._items.put(None)

    def __iter__(self) -> Iterator[ItemT]:
        while True:
            try:
                item = self._items.get(timeout=_SECONDS_TO_WAIT)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item[0]


@contextmanager
def ending_in_order(inbox: Inbox[ItemT]) -> Generator[None, None, None]:
    """While the block lasts, Ctrl-C and SIGTERM stop the inbox; a second one ends the program at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        give_back()
        inbox.stop()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        give_back()


def cannot_listen(error: OSError, host: str, port: int) -> Exception:
    """The error in words for an address that cannot be listened on."""
    from ..errors import ConfigurationError

    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"Port {port} of {host} is in use.", hint="Pass another --port, or --port 0 for one that is free."
        )
    problem = str(error.strerror).partition(" (while")[0]  # socket.create_server adds the address to it
    return ConfigurationError(f"Cannot listen on {host}, port {port}: {problem}.", hint="Check --host and --port.")
