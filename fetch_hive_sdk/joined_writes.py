"""Lets a connection send a request's head and body in one write: one system call and one packet instead of two.

httpx writes the head as soon as it has it, and the body next. Here the head waits for the piece of a body that follows,
or for the first read. For HTTP/1.1 only, where each connection carries one request after the other.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

__all__ = ["join_async_writes", "join_writes"]

# A body beyond it is not copied to be sent with its head.
_LARGEST = 64 * 1024


class _Head:
    """The head of a request that waits for its body, and its timeout."""

    def __init__(self) -> None:
        self._waiting = b""
        self._expected = True  # what is written next is a head
        self.timeout: float | None = None

    def holds(self, buffer: bytes, timeout: float | None) -> bool:
        """Keep what is written, if it is a head."""
        if not self._expected:
            return False
        self._expected, self._waiting, self.timeout = False, buffer, timeout
        return True

    def before(self, buffer: bytes) -> tuple[bytes, ...]:
        """What is to be written now that this follows."""
        head, self._waiting = self._waiting, b""
        if not head:
            return (buffer,)
        return (head + buffer,) if len(buffer) <= _LARGEST else (head, buffer)

    def rest(self) -> bytes:
        """What is still to be written before a read; after it the next head is expected."""
        head, self._waiting, self._expected = self._waiting, b"", True
        return head


def join_writes(stream: Any) -> None:
    """Join the writes of a connection for threads, given httpx's `network_stream` of it."""
    write, read, head = stream.write, stream.read, _Head()

    def joined_write(buffer: bytes, timeout: float | None = None) -> None:
        if buffer and not head.holds(buffer, timeout):
            for each in head.before(buffer):
                write(each, timeout)

    def joined_read(max_bytes: int, timeout: float | None = None) -> Any:
        if rest := head.rest():
            write(rest, head.timeout)
        return read(max_bytes, timeout)

    with suppress(AttributeError):  # a stream of another kind is left as it is
        stream.write, stream.read = joined_write, joined_read


def join_async_writes(stream: Any) -> None:
    """Join the writes of a connection for tasks, given httpx's `network_stream` of it."""
    write, read, head = stream.write, stream.read, _Head()

    async def joined_write(buffer: bytes, timeout: float | None = None) -> None:
        if buffer and not head.holds(buffer, timeout):
            for each in head.before(buffer):
                await write(each, timeout)

    async def joined_read(max_bytes: int, timeout: float | None = None) -> Any:
        if rest := head.rest():
            await write(rest, head.timeout)
        return await read(max_bytes, timeout)

    with suppress(AttributeError):  # a stream of another kind is left as it is
        stream.write, stream.read = joined_write, joined_read
