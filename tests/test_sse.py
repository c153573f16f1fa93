"""The decoder of server-sent events, against the WHATWG text and against every way to cut the bytes."""

from __future__ import annotations

import pytest

from fetch_hive_sdk.sse import EventTooLargeError, SSEDecoder


def decode(*chunks: bytes, max_event_size: int = 1000) -> list[bytes]:
    decoder = SSEDecoder(max_event_size)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


CASES = {
    # The examples of the WHATWG text, in its order.
    "stocks": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
    "four blocks": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [b"first event", b"second event", b" third event"],
    ),
    "two empty events": (b"data\n\ndata\ndata\n\ndata:", [b"", b"\n"]),
    "identical events": (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
    # The ends of lines.
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "all three mixed": (b"data: a\r\ndata: b\rdata: c\n\r\n\rdata: d\n\r", [b"a\nb\nc", b"d"]),
    "LF after CR is one end": (b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"]),
    "CR after LF are two ends": (b"data: a\n\rdata: b\n\r", [b"a", b"b"]),
    "other line ends of Unicode are data": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        ["a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode()],
    ),
    # The start of the stream.
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "BOM before a blank line": (b"\xef\xbb\xbf\ndata: a\n\n", [b"a"]),
    "only the first BOM is dropped": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"b"]),
    "a BOM later is part of a name": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
    "part of a BOM is part of a name": (b"\xef\xbbdata: a\n\ndata: b\n\n", [b"b"]),
    # The fields.
    "comment": (b": keep-alive\n\n:\n\ndata: a\n: between\ndata: b\n\n", [b"a\nb"]),
    "no space after the colon": (b"data:a\n\n", [b"a"]),
    "one space is dropped": (b"data:  a \n\n", [b" a "]),
    "a tab is kept": (b"data:\ta\n\n", [b"\ta"]),
    "colons in the value": (b"data: a:b: c\n\n", [b"a:b: c"]),
    "data without a colon": (b"data\n\n", [b""]),
    "empty data": (b"data:\n\ndata: \n\n", [b"", b""]),
    "blank last data line": (b"data: a\ndata\n\n", [b"a\n"]),
    "names are case-sensitive": (b"Data: a\nDATA: b\n\n", []),
    "a space before the colon belongs to the name": (b"data : a\n data: b\n\n", []),
    "unknown field": (b"dat: a\ndatax: b\nfoo\ndata: c\n\n", [b"c"]),
    "event, id and retry are no data": (b"event: e\nid: 1\nretry: 10\ndata: a\n\n", [b"a"]),
    "bytes that are not UTF-8": (b"data: \xff\xfe\n\n", [b"\xff\xfe"]),
    # What dispatches nothing.
    "id only": (b"id: 1\n\ndata: a\n\n", [b"a"]),
    "event only": (b"event: ping\n\ndata: a\n\n", [b"a"]),
    "retry only": (b"retry: 3000\n\n", []),
    "blank lines": (b"\n\n\r\n\r\rdata: a\n\n\n\n", [b"a"]),
    "no blank line at the end": (b"data: a\n\ndata: b\n", [b"a"]),
    "no line end at the end": (b"data: a\n\ndata: b", [b"a"]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("stream", "events"), CASES.values(), ids=CASES.keys())
def test_whole(stream: bytes, events: list[bytes]) -> None:
    """A stream that comes in one piece gives the events that the WHATWG text demands."""
    assert events == decode(stream)


@pytest.mark.parametrize(("stream", "events"), CASES.values(), ids=CASES.keys())
def test_cut_anywhere(stream: bytes, events: list[bytes]) -> None:
    """Wherever a stream is cut once or twice, even inside CRLF or a BOM, the events stay the same."""
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            assert events == decode(stream[:first], stream[first:second], stream[second:]), (first, second)


@pytest.mark.parametrize(("stream", "events"), CASES.values(), ids=CASES.keys())
def test_byte_by_byte(stream: bytes, events: list[bytes]) -> None:
    """A stream that drips in byte by byte, with empty chunks between, gives the same events."""
    drops = [stream[index : index + 1] for index in range(len(stream))]

    assert events == decode(*(chunk for drop in drops for chunk in (drop, b"")))


def test_event_at_its_blank_line() -> None:
    """An event comes out as soon as its blank line ends, also where that is a CR whose LF is still on its way."""
    decoder = SSEDecoder(1000)

    assert [] == list(decoder.feed(b"data: a\r\n"))
    assert [b"a"] == list(decoder.feed(b"\r"))
    assert [] == list(decoder.feed(b"\ndata: b\n"))
    assert [b"b"] == list(decoder.feed(b"\n"))


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_largest_event(end: bytes) -> None:
    """Events that stay well below the limit pass, one after the other, however many they are."""
    event = b"data: 12345" + end + b"data: 6789" + end + end

    assert [b"12345\n6789"] * 50 == decode(event * 50, max_event_size=32)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: " + b"x" * 60 + b"\n\n", id="one line"),
        pytest.param(b"data: " + b"x" * 60, id="a line without an end"),
        pytest.param(b"data: xxxx\n" * 12 + b"\n", id="many lines"),
        pytest.param(b"data\n" * 60, id="many empty lines without an end"),
        pytest.param(b": " + b"x" * 60, id="a comment without an end"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_too_large(stream: bytes, size: int) -> None:
    """An event or line beyond the limit is refused with that limit named, in pieces as in one."""
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]

    with pytest.raises(EventTooLargeError, match=r"^an event is larger than 32 bytes$"):
        decode(*chunks, max_event_size=32)


def test_events_before_the_large_one() -> None:
    """The events that were complete before the one that is too large come out first."""
    events = SSEDecoder(16).feed(b"data: a\n\ndata: " + b"x" * 20 + b"\n\n")

    assert b"a" == next(events)
    with pytest.raises(EventTooLargeError):
        next(events)


@pytest.mark.parametrize("length", range(8, 20))
@pytest.mark.parametrize("stream", [b"data: %s\n\n", b": %s\ndata: a\n\n"], ids=["data", "comment"])
def test_limit_in_pieces(stream: bytes, length: int) -> None:
    """Whether an event is too large depends on the event alone, not on how its bytes were cut."""

    def accepted(*chunks: bytes) -> bool:
        try:
            return bool(decode(*chunks, max_event_size=16))
        except EventTooLargeError:
            return False

    whole = stream % (b"x" * length)

    assert accepted(whole) == accepted(*(whole[index : index + 1] for index in range(len(whole))))


def test_linear_work() -> None:
    """The pieces of a large event are only put by until its last one comes, and put together once."""
    decoder = SSEDecoder(max_event_size=200_000)
    stream = b"data: " + b"x" * 100_000
    chunks = [stream[start : start + 100] for start in range(0, len(stream), 100)]

    assert [] == [event for chunk in chunks for event in decoder.feed(chunk)]
    assert chunks == decoder._held
    assert [100_000] == [len(event) for event in decoder.feed(b"\n\n")]


def test_comments_do_not_add_up() -> None:
    """Lines of comment that keep a connection alive, without blank lines between, never become too large an event."""
    assert [b"a"] == decode(*[b": still here\n"] * 1000, b"data: a\n\n", max_event_size=20)
