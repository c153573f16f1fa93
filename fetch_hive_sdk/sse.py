"""Bytes in, server-sent events out: the WHATWG text to the letter, without I/O.

Only the bytes LF, CR and CRLF end a line; a BOM at the start is dropped; comments, `event`, `id`, `retry`
and unknown fields carry nothing for this API. An event is complete at its blank line and not before, so
what a cut stream leaves behind is never taken for an event. Work and memory are linear in the bytes fed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["EventTooLargeError", "SSEDecoder"]

_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event grew beyond the limit."""


class SSEDecoder:
    """An incremental decoder for one stream.

    Args:
        max_event_size: The most bytes one event may have from its first field on, field names included; and the
            most that one line of comment may have.
    """

    def __init__(self, max_event_size: int) -> None:
        self._max_event_size = max_event_size
        self._held: list[bytes] = []  # the pieces of an event that has not ended yet
        self._held_size = 0
        self._after_line = False  # the last byte that is held ended a line
        self._after_cr = False  # the last byte was CR: an LF that follows belongs to it
        self._at_start = True
        self._between_events = False  # nothing of what came before matters to what comes

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """The data of each event that this chunk completes, lines joined with LF. To be taken before the next chunk.

        Raises:
            EventTooLargeError: While it is taken: an event is larger than `max_event_size`.
        """
        # Nearly always a chunk is one event of one line.
        if (
            self._between_events
            and chunk[:6] == b"data: "
            and chunk[-2:] == b"\n\n"
            and chunk.find(b"\n") == len(chunk) - 2 <= self._max_event_size
            and b"\r" not in chunk
        ):
            return (chunk[6:-2],)
        return self._split(chunk)

    def _split(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk[-1:] == b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._at_start:
            chunk = self._without_bom(chunk)
        if not chunk:
            return
        if b"\n\n" not in chunk and not (self._after_line and chunk[:1] == b"\n"):
            self._between_events = False
            self._hold(chunk)
            return
        if self._held:
            chunk = b"".join((*self._held, chunk))
            self._held, self._held_size, self._after_line = [], 0, False
        events = chunk.split(b"\n\n")
        unended = events.pop()
        self._between_events = not unended and not self._after_cr
        for event in events:
            if len(event) > self._max_event_size:
                event = self._without_comments(event)  # noqa: PLW2901 - the rest is the event
                if len(event) > self._max_event_size:
                    raise self._too_large()
            if event[:6] == b"data: " and b"\n" not in event:  # as nearly all are
                yield event[6:]
            elif (data := _data_of(event)) is not None:
                yield data
        if unended:
            self._hold(unended)

    def _hold(self, piece: bytes) -> None:
        if not self._held and piece[:1] == b":" and piece.find(b"\n") == len(piece) - 1 <= self._max_event_size:
            return  # a comment without a blank line after it, as is sent to keep a connection alive
        self._held.append(piece)
        self._held_size += len(piece)
        self._after_line = piece[-1:] == b"\n"
        if self._held_size - self._after_line > self._max_event_size:
            self._held = [self._without_comments(b"".join(self._held))]
            self._held_size = len(self._held[0])
            if self._held_size - self._after_line > self._max_event_size:
                raise self._too_large()

    def _without_comments(self, event: bytes) -> bytes:
        """An event from its first field on: what comes before is not counted, as it may have been put by alone."""
        start = 0
        while event[start : start + 1] in (b":", b"\n"):
            end = event.find(b"\n", start)
            if not 0 <= end - start <= self._max_event_size:
                break
            start = end + 1
        return event[start:]

    def _without_bom(self, chunk: bytes) -> bytes:
        """The beginning of the stream without its mark; empty as long as it may become one."""
        beginning = b"".join((*self._held, chunk))
        self._held, self._held_size = [], 0
        if len(beginning) < len(_BOM) and _BOM.startswith(beginning):
            self._held.append(beginning)
            return b""
        self._at_start = False
        return beginning.removeprefix(_BOM)

    def _too_large(self) -> EventTooLargeError:
        return EventTooLargeError(f"an event is larger than {self._max_event_size} bytes")


def _data_of(event: bytes) -> bytes | None:
    """The data of an event, whatever else is in it; None if there is none."""
    data = [
        line[6:] if line[:6] == b"data: " else line[5:]
        for line in event.split(b"\n")
        if line[:5] == b"data:" or line == b"data"
    ]
    return b"\n".join(data) if data else None
