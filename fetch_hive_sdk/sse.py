"""Bytes in, server-sent events out: the WHATWG text to the letter, without I/O.

Only the bytes LF, CR and CRLF end a line; a BOM at the start is dropped; comments, `event`, `id`, `retry`
and unknown fields carry nothing for this API. An event is complete at its blank line and not before, so
what a cut stream leaves behind is never taken for an event. Work and memory are linear in the bytes fed.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["EventTooLargeError", "SSEDecoder"]

MAX_EVENT_SIZE = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event grew beyond the limit."""


class SSEDecoder:
    """An incremental decoder for one stream.

    Args:
        max_event_size: The most bytes one event, or one line of it, may have. Default 16 MiB.
    """

    def __init__(self, max_event_size: int = MAX_EVENT_SIZE) -> None:
        self._max_event_size = max_event_size
        self._line: list[bytes] = []  # the pieces of a line that has not ended yet
        self._line_size = 0
        self._data: list[bytes] = []  # the data lines of an event that has not ended yet
        self._data_size = 0
        self._after_cr = False  # the last byte was CR: an LF that follows belongs to it
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the data of each event that this chunk completes, lines joined with LF.

        Raises:
            EventTooLargeError: An event is larger than `max_event_size`.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk[1:] if chunk[:1] == b"\n" else chunk
        if not chunk:
            return
        *ended, rest = _split_lines(chunk)
        self._after_cr = chunk.endswith(b"\r")
        if self._line and ended:
            ended[0] = b"".join((*self._line, ended[0]))
            self._line, self._line_size = [], 0
        for line in ended:
            if (event := self._line_ended(line)) is not None:
                yield event
        if rest:
            self._line.append(rest)
            self._line_size += len(rest)
            self._check_size(self._line_size)

    def _line_ended(self, line: bytes) -> bytes | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        self._check_size(len(line))
        if not line:
            if not self._data:
                return None
            event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            self._data, self._data_size = [], 0
            return event
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value[1:] if value[:1] == b" " else value
            self._data.append(value)
            self._data_size += len(value) + 1
            self._check_size(self._data_size)
        return None

    def _check_size(self, size: int) -> None:
        if size > self._max_event_size:
            raise EventTooLargeError(f"an event is larger than {self._max_event_size} bytes")


def _split_lines(chunk: bytes) -> list[bytes]:
    """Split at LF, CR and CRLF alone: `bytes.splitlines` knows just these, yet drops the last empty piece."""
    if b"\r" in chunk:
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return chunk.split(b"\n")
