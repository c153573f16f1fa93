"""Pieces of a chunked body that have come together are taken together, and never one that has not come."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fetch_hive_sdk import StreamInterruptedError
from fetch_hive_sdk.pieces import pieces_at_hand

from .faulty_server import Exchange, FaultyServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDED = b'data: {"type":"usage","usage":{}}\n\n'


def piece(text: str) -> bytes:
    return b'data: {"type":"response","response":"%s"}\n\n' % text.encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (b"", 0),
        (b"\r\n", 0),
        (b"\r\n1\r", 0),
        (b"\r\n1\r\n", 0),
        (b"\r\n1\r\nx", 1),
        (b"\r\nA\r\npart", 1),
        (b"\r\n00a\r\n0123456789\r\n1\r\n\n", 2),
        (b"\r\n1\r\nx\r\n0\r\n\r\n", 1),
        (b"\r\n0\r\n\r\n", 0),
        (b"\r\n1;name=value\r\nx", 0),
        (b"\n1\nx", 0),
    ],
)
def test_what_stands_behind_a_piece(behind: bytes, expected: int) -> None:
    """Only a chunk of which a byte is there is counted; its end, the last chunk and an extension are not."""
    assert pieces_at_hand(b"5\r\nfirst" + behind, b"first") == expected


def test_a_piece_that_is_not_in_what_was_read() -> None:
    """Nothing is known where the piece was not read last, or stands where no first piece can."""
    assert pieces_at_hand(b"", b"first") == 0
    assert pieces_at_hand(b"5\r\nother\r\n1\r\nx", b"first") == 0
    assert pieces_at_hand(b"x" * 99 + b"first\r\n1\r\nx", b"first") == 0


@pytest.mark.anyio
async def test_an_event_does_not_wait_for_the_next(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """However chunks are cut and joined, an event whose blank line is there is handed over before the next comes."""
    bundles = [
        chunk(piece("1")),
        chunk(piece("2")) + chunk(piece("3")) + chunk(piece("4"))[:2],  # the next head has begun
        chunk(piece("4"))[2:] + chunk(piece("5"))[:-2],  # the end of a chunk is missing
        b"\r\n" + chunk(piece("6")[:9]) + chunk(piece("6")[9:]),
        b"%x;ext=1\r\n%s\r\n" % (len(piece("7")), piece("7")) + chunk(piece("7")) * 2,
        chunk(ENDED) + b"0\r\n\r\n",
    ]
    expected = ["1", "23", "45", "6", "777"]
    taken: list[str] = []

    def in_turns(exchange: Exchange) -> None:
        exchange.send(HEAD)
        for number, bundle in enumerate(bundles):
            while len(taken) < len("".join(expected[:number])):
                assert exchange.pause(0.002), "an event was held back until the next came"
            exchange.send(bundle)

    faulty.then(in_turns)
    async with make_client(base_url=faulty.base_url, idle_timeout=10) as client:
        async for event in client.invoke_prompt_stream(deployment="greeter", variant="default"):
            if event.type == "response":
                taken.append(event.response)  # noqa: PERF401 - the server looks at it meanwhile
    assert "".join(taken) == "".join(expected)


def events_in(pieces: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix(b"data: ")) for event in b"".join(pieces).split(b"\n\n") if event]


def in_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# Pieces that come at once: many, of very different sizes, and each a byte.
TEXTS = [f"{number}{'x' * (number % 7) ** 4};" for number in range(60)]
MANY = {
    "an event each": [piece(text) for text in TEXTS],
    "a line's end each": [part for text in TEXTS for part in (piece(text)[:-2], b"\n", b"\n")],
    "a byte each": in_bytes(piece("one;")) + in_bytes(piece("two;")),
    "one large among small": [*in_bytes(piece("one;")), piece("y" * 9_000), *in_bytes(piece("two;"))],
    "two": [piece("one;"), piece("two;")],
}


@pytest.mark.anyio
@pytest.mark.parametrize("cut", [None, 1, 3], ids=["whole", "cut in a size", "cut behind a size"])
async def test_many_at_once(faulty: FaultyServer, make_client: Callable[..., Any], cut: int | None) -> None:
    """However many pieces come at once, and of whatever sizes, each of their events is handed over before more comes.

    The bundles may also end in the head of the next one's first chunk.
    """
    body = [b"".join(map(chunk, pieces)) for pieces in (*MANY.values(), [ENDED])]
    heads = [b"", *(wire[:cut] if cut else b"" for wire in body[1:])]
    bundles = [wire[len(head) :] + after for wire, head, after in zip(body, heads, [*heads[1:], b""], strict=True)]
    expected = [[event["response"] for event in events_in(pieces)] for pieces in MANY.values()]
    taken: list[str] = []

    def in_turns(exchange: Exchange) -> None:
        exchange.send(HEAD)
        for number, bundle in enumerate(bundles):
            while len(taken) < sum(map(len, expected[:number])):
                assert exchange.pause(0.002), "an event was held back or lost"
            exchange.send(bundle + (b"0\r\n\r\n" if number == len(expected) else b""))

    faulty.then(in_turns)
    async with make_client(base_url=faulty.base_url, idle_timeout=10) as client:
        async for event in client.invoke_prompt_stream(deployment="greeter", variant="default"):
            if event.type == "response":
                taken.append(event.response)  # noqa: PERF401 - the server looks at it meanwhile
    assert taken == [text for texts in expected for text in texts]


@pytest.mark.anyio
async def test_what_came_before_a_broken_chunk(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Events that came together with a chunk that breaks the protocol are handed over before the error is raised."""
    read: list[str] = []
    first = chunk(piece("0"))
    together = chunk(piece("1")) + chunk(piece("2"))[:-2] + b"no end of a chunk"

    def broken(exchange: Exchange) -> None:
        exchange.send(HEAD + first)
        while not read:
            assert exchange.pause(0.002)
        exchange.send(together)

    faulty.then(broken)
    async with make_client(base_url=faulty.base_url, idle_timeout=10) as client:
        stream = client.invoke_prompt_stream(deployment="greeter", variant="default")
        with pytest.raises(StreamInterruptedError) as caught:  # noqa: PT012 - the error comes while it is read
            async for event in stream:
                read.append(event.response)  # noqa: PERF401 - the server looks at it meanwhile
    assert read == ["0", "1", "2"]
    assert caught.value.partial.response == "012"
