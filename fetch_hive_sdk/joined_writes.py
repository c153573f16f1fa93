"""Lets a connection send a request's head and body in one write: one system call and one packet instead of two.

httpx writes the head as soon as it has it, and the body next. Here the head waits for the piece of a body that follows,
or for the first read. For HTTP/1.1 only, where each connection carries one request after the other.

What is read is noted, because nobody else tells whether a connection had more to say than its answer. What is left
over would be taken for the beginning of the next answer, which is another call's.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

__all__ = ["Received", "join_async_writes", "join_writes"]

# A body beyond it is not copied to be sent with its head.
_LARGEST = 64 * 1024

_LAST_CHUNK = b"0\r\n\r\n"


class Received:
    """What has been read since a request, as far as it matters for whether its answer was all."""

    __slots__ = ("_first", "_last", "_size")

    def __init__(self) -> None:
        self._first = self._last = b""
        self._size = 0

    def note(self, data: bytes) -> None:
        """Note what a read has given."""
        if not self._size:
            self._first = data
        self._last = data
        self._size += len(data)

    def ends_with(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether an answer of these headers, read to its end, was surely all. Begins anew.

        Said of few that were all, too, such as one with trailers: it costs no more than a new connection.
        """
        first, last, size = self._first, self._last, self._size
        self._first, self._last, self._size = b"", b"", 0
        length = 0
        for name, value in headers:
            word = name.lower()
            if word == b"content-length":
                length = int(value)
            elif word == b"transfer-encoding":
                return last == _LAST_CHUNK or last.find(b"\r\n" + _LAST_CHUNK) == len(last) - len(_LAST_CHUNK) - 2 >= 0
        end = first.find(b"\r\n\r\n")
        return end >= 0 and size == end + 4 + length


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


def join_writes(stream: Any) -> Received:
    """Join the writes of a connection for threads, given httpx's `network_stream` of it, and note what is read."""
    write, read, head, received = stream.write, stream.read, _Head(), Received()

    def joined_write(buffer: bytes, timeout: float | None = None) -> None:
        if buffer and not head.holds(buffer, timeout):
            for each in head.before(buffer):
                write(each, timeout)

    def joined_read(max_bytes: int, timeout: float | None = None) -> Any:
        if rest := head.rest():
            write(rest, head.timeout)
        data = read(max_bytes, timeout)
        received.note(data)
        return data

    with suppress(AttributeError):  # a stream of another kind is left as it is
        stream.write, stream.read = joined_write, joined_read
    return received


def join_async_writes(stream: Any) -> Received:
    """Join the writes of a connection for tasks, given httpx's `network_stream` of it, and note what is read."""
    write, read, head, received = stream.write, stream.read, _Head(), Received()

    async def joined_write(buffer: bytes, timeout: float | None = None) -> None:
        if buffer and not head.holds(buffer, timeout):
            for each in head.before(buffer):
                await write(each, timeout)

    async def joined_read(max_bytes: int, timeout: float | None = None) -> Any:
        if rest := head.rest():
            await write(rest, head.timeout)
        data = await read(max_bytes, timeout)
        received.note(data)
        return data

    with suppress(AttributeError):  # a stream of another kind is left as it is
        stream.write, stream.read = joined_write, joined_read
    return received
