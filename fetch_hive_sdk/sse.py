"""Bytes in, server-sent events out: the WHATWG text to the letter, without I/O.

Only the bytes LF, CR and CRLF end a line; a BOM at the start is dropped; comments, `event`, `id`, `retry`
and unknown fields carry nothing for this API. An event is complete at its blank line and not before, so
what a cut stream leaves behind is never taken for an event. Work and memory are linear in the bytes fed.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["EventTooLargeError", "SSEDecoder"]

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event grew beyond the limit."""


class SSEDecoder:
    """An incremental decoder for one stream.

    Args:
        max_event_size: The most bytes one event, or one line of it, may have.
    """

    def __init__(self, max_event_size: int) -> None:
        self._max_event_size = max_event_size
        self._line: list[bytes] = []  # the pieces of a line that has not ended yet
        self._line_size = 0
        self._data: list[bytes] = []  # the data lines of an event that has not ended yet
        self._data_size = 0  # with their names, as they came
        self._after_cr = False  # the last byte was CR: an LF that follows belongs to it
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the data of each event that this chunk completes, lines joined with LF.

        Raises:
            EventTooLargeError: An event is larger than `max_event_size`.
        """
        if self._at_start or self._after_cr or b"\r" in chunk or len(chunk) > self._max_event_size:
            yield from self._feed_lines(chunk)
            return
        if self._line or self._data:
            end = chunk.find(b"\n\n") + 2
            if end < 2:
                yield from self._feed_lines(chunk)
                return
            yield from self._feed_lines(chunk[:end])
            chunk = chunk[end:]
        # What follows begins with an event, and nearly all events are one line of data.
        *events, unended = chunk.split(b"\n\n")
        for event in events:
            if event[:6] == b"data: " and b"\n" not in event:
                yield event[6:]
            else:
                yield from self._feed_lines(event + b"\n\n")
        if unended:
            yield from self._feed_lines(unended)

    def _feed_lines(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        *lines, unended = _split_lines(chunk)
        if chunk.endswith(b"\r"):
            self._after_cr = True
        if lines and (self._line or self._at_start):
            lines[0] = self._whole_line(lines[0])
        data = self._data
        for line in lines:
            if line:
                if line[:6] == b"data: ":  # as nearly all begin
                    data.append(line[6:])
                elif line[:5] in (b"data:", b"data"):
                    data.append(line[5:])
                else:
                    self._check_size(len(line))
                    continue
                self._data_size += len(line)
                self._check_size(self._data_size)
            elif data:
                event = data[0] if len(data) == 1 else b"\n".join(data)
                data.clear()
                self._data_size = 0
                yield event
        if unended:
            self._hold(unended)

    def _whole_line(self, end: bytes) -> bytes:
        line = b"".join((*self._line, end))
        self._line, self._line_size = [], 0
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        return line

    def _hold(self, piece: bytes) -> None:
        self._line.append(piece)
        self._line_size += len(piece)
        self._check_size(self._line_size)

    def _check_size(self, size: int) -> None:
        if size > self._max_event_size:
            raise EventTooLargeError(f"an event is larger than {self._max_event_size} bytes")


def _split_lines(chunk: bytes) -> list[bytes]:
    """Split at LF, CR and CRLF alone, which are all that bytes know; last comes the line that has not ended, or b""."""
    lines = chunk.splitlines()
    if not lines or chunk.endswith((b"\n", b"\r")):
        lines.append(b"")
    return lines
