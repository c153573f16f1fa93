"""The server of all benchmarks: local, in a process of its own, and so lean that it is never the limit.

    python benchmarks/server.py       prints its port; ends when its standard input does

It writes prebuilt bytes. What to answer is the first part of the path, so that each client says it by its base URL:

    /now/…               the JSON answer at once
    /after-1000/…        the JSON answer after so many milliseconds
    /single-20000/…      a stream of so many events, each in an HTTP chunk of its own; else the JSON answer
    /mixed-20000/…       the same bytes in chunks of 50 to 1,000 bytes, wherever that cuts them
    /large-20000/…       the same bytes in chunks of 64 KiB
    /event-5000000/…     a stream with one event of so many bytes, in chunks of 1 KiB
    /first-5/…           a stream whose first event comes at once, and the others so many milliseconds later

The rest of the path says in whose shape: `/chat/completions` openai's, `/messages` anthropic's, all else Fetch Hive's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate, cycle
from typing import Any, ClassVar

TEXT = "The export button is disabled while a previous export is still running."
PIECE = " a piece of text"
CONSTANT_HEADERS = (
    b"Server: benchmark\r\nDate: Sun, 01 Nov 2026 12:00:00 GMT\r\nCache-Control: no-store\r\n"
    b"X-Request-Id: req_019d52846ea37682b03522fd0695cc43\r\nX-Ratelimit-Limit: 1000\r\nX-Ratelimit-Remaining: 999\r\n"
    b"Strict-Transport-Security: max-age=31536000\r\nX-Content-Type-Options: nosniff\r\n"
)


# --- whose answers ----------------------------------------------------------------------------------------


class FetchHive:
    """Fetch Hive's answers; its events have 113 bytes of JSON."""

    answer: ClassVar[dict[str, Any]] = {
        "request_id": "req_019d52846ea37682b03522fd0695cc43",
        "model": "gpt-x",
        "response": TEXT,
        "usage": {
            "duration": 1.9,
            "prompt_tokens": {"total_tokens": 24, "cached_tokens": 0},
            "completion_tokens": {"total_tokens": 9, "reasoning_tokens": 0},
            "total_tokens": 33,
        },
        "stop_reason": "completed",
    }

    @staticmethod
    def event(text: str) -> bytes:
        model = "gpt-x-2026-11-01-with-a-name-that-fills-the-event-up"
        return _sse({"type": "response", "response": text, "model": model})

    begin = b""
    end = b'data: {"type":"usage","usage":{"total_tokens":33},"stop_reason":"completed"}\n\ndata: [DONE]\n\n'


class OpenAI:
    """openai's chat completions."""

    _head: ClassVar[dict[str, Any]] = {"id": "chatcmpl-019d52846ea37682b035", "created": 1793534400, "model": "gpt-x"}
    answer: ClassVar[dict[str, Any]] = {
        **_head,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 24, "completion_tokens": 9, "total_tokens": 33},
    }

    @staticmethod
    def event(text: str) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return _sse({**OpenAI._head, "object": "chat.completion.chunk", "choices": [choice]})

    begin = b""
    end = b"data: [DONE]\n\n"


class Anthropic:
    """anthropic's messages."""

    answer: ClassVar[dict[str, Any]] = {
        "id": "msg_019d52846ea37682b035",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 24, "output_tokens": 9},
    }

    @staticmethod
    def event(text: str) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return _sse({"type": "content_block_delta", "index": 0, "delta": delta}, named=True)

    @staticmethod
    def _events(*events: dict[str, Any]) -> bytes:
        return b"".join(_sse(event, named=True) for event in events)


def _sse(event: dict[str, Any], *, named: bool = False) -> bytes:
    data = json.dumps(event, separators=(",", ":")).encode()
    return (b"event: %s\n" % event["type"].encode() if named else b"") + b"data: " + data + b"\n\n"


_begun = {**Anthropic.answer, "content": [], "stop_reason": None}
_block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
_ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
Anthropic.begin = Anthropic._events({"type": "message_start", "message": _begun}, _block)
Anthropic.end = Anthropic._events({"type": "content_block_stop", "index": 0}, _ended, {"type": "message_stop"})

SHAPES: dict[str, Any] = {"/chat/completions": OpenAI, "/messages": Anthropic}


# --- the bytes of an answer ---------------------------------------------------------------------------------


@cache
def reply_to(target: str, streaming: bool) -> list[tuple[float, bytes]]:
    """What is written for a request, with the seconds that pass before each part."""
    _, how, *_ = target.split("/")
    kind, _, text = how.partition("-")
    number = int(text or 0)
    shape = next((shape for end, shape in SHAPES.items() if target.endswith(end)), FetchHive)
    if not streaming:
        return [
            (number / 1000 if kind == "after" else 0.0, _json(json.dumps(shape.answer, separators=(",", ":")).encode()))
        ]
    if kind == "first":
        begin, rest = _http_chunk(shape.begin + shape.event(PIECE)), _chunked(lambda body: [body], shape.end)
        return [(0.0, STREAM_HEAD + begin), (number / 1000, rest)]
    events = [shape.event("x" * number)] if kind == "event" else [shape.event(PIECE)] * number
    begin = [shape.begin] if shape.begin else []
    if kind == "single":
        return [(0.0, STREAM_HEAD + _chunked(lambda _: [*begin, *events, shape.end]))]
    body = b"".join([*begin, *events, shape.end])
    cut: dict[str, Callable[[bytes], Iterator[bytes]]] = {"mixed": _mixed, "large": _large, "event": _small}
    return [(0.0, STREAM_HEAD + _chunked(cut[kind], body))]


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n" + CONSTANT_HEADERS + b"\r\n"
)


def _json(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return head + CONSTANT_HEADERS + b"\r\n" + body


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _chunked(cut: Callable[[bytes], Any], body: bytes = b"") -> bytes:
    return b"".join(map(_http_chunk, cut(body))) + b"0\r\n\r\n"


def _mixed(body: bytes) -> Iterator[bytes]:
    sizes = random.Random(1).choices(range(50, 1001), k=10_000)  # noqa: S311 - the same cuts in every run
    return _cut(body, cycle(sizes))


def _large(body: bytes) -> Iterator[bytes]:
    return _cut(body, cycle([64 * 1024]))


def _small(body: bytes) -> Iterator[bytes]:
    return _cut(body, cycle([1024]))


def _cut(body: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    begin = 0
    for end in accumulate(sizes):
        yield body[begin:end]
        if end >= len(body):
            return
        begin = end


# --- the server -------------------------------------------------------------------------------------------

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAMING = re.compile(rb'"stream(?:ing)?": ?true')


class Connection(asyncio.Protocol):
    """One connection of a client; it is kept alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end]
            length = _LENGTH.search(head)
            end += 4 + (int(length[1]) if length else 0)
            if len(self.received) < end:
                return
            body, self.received = self.received[len(head) + 4 : end], self.received[end:]
            target = head[: head.index(b" HTTP/")].partition(b" ")[2].decode()
            self._answer(reply_to(target, _STREAMING.search(body) is not None))

    def _answer(self, parts: list[tuple[float, bytes]]) -> None:
        waited = 0.0
        for seconds, data in parts:
            waited += seconds
            if waited:
                asyncio.get_running_loop().call_later(waited, self.transport.write, data)
            else:
                self.transport.write(data)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    await over.wait()


def main() -> None:
    from harness import pin, raise_descriptor_limit

    pin(-1)
    raise_descriptor_limit()
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
