"""Replies on real sockets: sent whole or in pieces, with their pauses, and broken off where they say so."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import inf

import httpx
import pytest

from fetch_hive_sdk.sandbox.chunks import Chunk, Cut, Pause
from fetch_hive_sdk.sandbox.respond import Connection
from fetch_hive_sdk.sandbox.runs import Reply

from .reply_server import ReplyServer

EVENTS = (b'data: {"type":"response"}\n\n', b"data: [DONE]\n\n")
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test leaves a warning or an error in the log."""
    yield
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(scope="module")
def server() -> Iterator[ReplyServer]:
    """A server for all tests that do not stop it."""
    with ReplyServer() as server:
        yield server


def stream(*chunks: Chunk, **headers: str) -> Reply:
    """A streamed reply."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=200, headers={"Content-Type": "text/event-stream", **headers}, body=chunks)


def get(server: ReplyServer, read: float = 10) -> httpx.Response:
    """The whole reply, by an ordinary client."""
    return httpx.get(server.base_url, timeout=httpx.Timeout(10, read=read), trust_env=False)


def received(connection: socket.socket) -> bytes:
    """All bytes up to the end of a connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_whole_reply(server: ReplyServer) -> None:
    """A reply arrives with its status, its headers and the length of its body."""
    server.answer_with(Reply(status=422, headers={"Content-Type": "application/json", "Allow": "GET"}, body=b'{"a":1}'))
    reply = get(server)

    assert (422, {"a": 1}) == (reply.status_code, reply.json())
    assert ("application/json", "GET", "7") == tuple(
        reply.headers[name] for name in ("Content-Type", "Allow", "Content-Length")
    )


@pytest.mark.parametrize("body", [b"", ()])
def test_an_empty_reply(server: ReplyServer, body: bytes | tuple[()]) -> None:
    """A reply without a byte in its body is whole."""
    server.answer_with(Reply(status=200, headers={}, body=body))

    assert b"" == get(server).content


@pytest.mark.parametrize("status", [204, 304])
def test_a_reply_that_may_have_no_body(server: ReplyServer, status: int) -> None:
    """A status that goes without a body announces none."""
    server.answer_with(Reply(status=status, headers={}, body=b""))
    reply = get(server)

    assert (status, False) == (reply.status_code, "Content-Length" in reply.headers)


def test_a_connection_is_used_again(server: ReplyServer) -> None:
    """Whole replies and streams leave the connection open for the next request."""
    with httpx.Client(trust_env=False) as client:
        replies: list[Reply] = [Reply(status=200, headers={}, body=b"a"), stream(b"b"), stream(b"c", Pause(0.0))]
        texts: list[str] = []
        ports: set[int] = set()
        for whole in replies:
            server.answer_with(whole)
            with client.stream("GET", server.base_url) as reply:
                ports.add(reply.extensions["network_stream"].get_extra_info("client_addr")[1])
                texts.append(reply.read().decode())

    assert (["a", "b", "c"], 1) == (texts, len(ports))


def test_a_body_in_pieces(server: ReplyServer) -> None:
    """Each chunk of a body arrives as a chunk, single bytes too."""
    pieces = [bytes([byte]) for byte in EVENTS[0]]
    server.answer_with(stream(*pieces))

    with httpx.stream("GET", server.base_url, trust_env=False) as reply:
        assert pieces == list(reply.iter_raw())


def test_a_lazy_body(server: ReplyServer) -> None:
    """A body that is made while it is sent goes out piece by piece, and not at its end."""
    asked = threading.Event()

    def body() -> Iterable[Chunk]:
        yield EVENTS[0]
        yield Pause(0.01)
        while not asked.is_set():
            yield Pause(0.001)
        yield EVENTS[1]

    server.answer_with(Reply(status=200, headers={}, body=body()))
    with httpx.stream("GET", server.base_url, trust_env=False) as reply:
        arriving = reply.iter_raw()
        first = next(arriving)
        asked.set()

        assert EVENTS == (first, *arriving)


def test_a_pause_that_ends(server: ReplyServer) -> None:
    """After a pause the reply goes on, whether it stands before the head or among the events."""
    server.answer_with(stream(Pause(0.001), EVENTS[0], Pause(0.001), EVENTS[1]))

    assert b"".join(EVENTS) == get(server).content


@pytest.mark.parametrize("before", [(), (b"",), EVENTS[:1]], ids=["nothing", "the head", "an event"])
def test_silence(server: ReplyServer, before: tuple[bytes, ...]) -> None:
    """Where a reply falls silent the client's read times out, and the server gives up once the client has gone."""
    over = server.answer_with(stream(*before, Pause(inf), EVENTS[1]))

    with pytest.raises(httpx.ReadTimeout):
        get(server, read=0.05)
    assert over.wait(10)


def test_a_client_that_goes_after_a_long_request(server: ReplyServer) -> None:
    """A client that leaves in a pause is noticed even if its request was so long that reading had been put to rest."""
    over = server.answer_with(stream(b"", Pause(inf)))
    with server.connect(POST % 300_000 + bytes(300_000)) as connection:
        assert connection.recv(1) == b"H"

    assert over.wait(10)


def test_silence_begins_before_the_head(server: ReplyServer) -> None:
    """A pause at the very beginning holds back the status line; after an empty chunk it does not."""
    server.answer_with(stream(b"", Pause(inf)))
    with httpx.stream("GET", server.base_url, trust_env=False) as reply:
        assert 200 == reply.status_code

    server.answer_with(stream(Pause(inf)))
    with server.connect() as connection:
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.mark.parametrize(
    ("before", "message"),
    [((), "without sending a response"), (EVENTS[:1], "incomplete chunked read")],
    ids=["before the head", "after an event"],
)
def test_close(server: ReplyServer, before: tuple[bytes, ...], message: str) -> None:
    """A connection that is closed in a reply ends it too early, after everything sent until then."""
    server.answer_with(stream(*before, Cut("close"), EVENTS[1]))

    with pytest.raises(httpx.RemoteProtocolError, match=message):
        get(server)
    with server.connect() as connection:
        answer = received(connection)
    assert (bool(before), False) == (EVENTS[0] in answer, b"[DONE]" in answer)


@pytest.mark.parametrize("before", [(), EVENTS[:1]], ids=["before the head", "after an event"])
def test_reset(server: ReplyServer, before: tuple[bytes, ...]) -> None:
    """A connection that is reset is reset for the client."""
    server.answer_with(stream(*before, Cut("reset"), EVENTS[1]))

    with server.connect() as connection, pytest.raises(ConnectionResetError):
        received(connection)
    with pytest.raises(httpx.ReadError):
        get(server)


@pytest.mark.parametrize("body", [b"12345", (b"12", b"345")], ids=["whole", "in pieces"])
def test_a_body_shorter_than_announced(server: ReplyServer, body: bytes | tuple[bytes, ...]) -> None:
    """A body that is shorter than its `Content-Length` ends with the connection."""
    server.answer_with(Reply(status=200, headers={"Content-Length": "10"}, body=body))

    with pytest.raises(httpx.RemoteProtocolError, match=r"received 5 bytes, expected 10"):
        get(server)


def test_a_length_that_is_true(server: ReplyServer) -> None:
    """A body in pieces as long as its `Content-Length` is whole."""
    server.answer_with(Reply(status=200, headers={"Content-Length": "4"}, body=(b"12", Pause(0.0), b"34")))

    assert b"1234" == get(server).content


@pytest.mark.parametrize("cut", [Cut("close"), Cut("reset")], ids=["close", "reset"])
def test_a_client_that_has_gone_before_the_cut(cut: Cut) -> None:
    """A cut of a connection that its client has left already is no error."""
    gone = threading.Event()

    class Noticing(Connection):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            gone.set()

    def body() -> Iterable[Chunk]:
        yield EVENTS[0]
        while not gone.is_set():
            yield b":"
        yield cut

    with ReplyServer(Noticing) as server:
        over = server.answer_with(Reply(status=200, headers={}, body=body()))
        with server.connect() as connection:
            assert connection.recv(1) == b"H"
        assert over.wait(10)


def test_stopping_ends_a_pause() -> None:
    """A server that stops does not wait for a reply that only waits; its client sees the connection end."""
    with ReplyServer() as server:
        over = server.answer_with(stream(EVENTS[0], Pause(inf)))
        with server.connect() as connection:
            assert connection.recv(1) == b"H"
            server.stop()
            assert over.wait(10)
            with suppress(ConnectionError):
                assert b"0\r\n\r\n" not in received(connection)


@pytest.mark.parametrize("seconds", [0.0, inf])
def test_a_pause_begun_while_stopping(seconds: float) -> None:
    """A reply that comes to a pause while the server stops ends there."""
    stopping = threading.Event()

    class Noticing(Connection):
        def shutdown(self) -> None:
            super().shutdown()
            stopping.set()

    def body() -> Iterable[Chunk]:
        yield EVENTS[0]
        while not stopping.is_set():
            yield b"x"
        yield Pause(seconds)
        yield EVENTS[1]

    with ReplyServer(Noticing) as server:
        server.answer_with(Reply(status=200, headers={}, body=body()))
        with server.connect() as connection:
            assert connection.recv(1) == b"H"
            server.stop()
            answer = b""
            with suppress(ConnectionError):
                while piece := connection.recv(65536):
                    answer += piece
            assert EVENTS[1] not in answer


def test_stopping_lets_a_reply_go_on() -> None:
    """A server that stops sends a reply that is under way to its end."""
    stopping = threading.Event()

    class Noticing(Connection):
        def shutdown(self) -> None:
            super().shutdown()
            stopping.set()

    def body() -> Iterable[Chunk]:
        yield EVENTS[0]
        while not stopping.is_set():
            yield b":"
        yield EVENTS[1]

    with ReplyServer(Noticing) as server:
        server.answer_with(Reply(status=200, headers={}, body=body()))
        with httpx.stream("GET", server.base_url, trust_env=False) as reply:
            arriving = reply.iter_raw()
            assert EVENTS[0] == next(arriving)
            server.stop()
            assert b"".join(arriving).endswith(EVENTS[1])


def test_stopping_does_not_wait_for_a_client_that_does_not_read() -> None:
    """A connection that is to be closed once all is sent ends with the server, if its client never reads."""
    ending = threading.Event()

    class Noticing(Connection):
        async def end(self, cut: Cut) -> None:
            ending.set()
            await super().end(cut)

    with ReplyServer(Noticing) as server:
        over = server.answer_with(stream(bytes(50_000_000), Cut("close")))
        with server.connect():
            assert ending.wait(10)
            server.stop()
            assert over.wait(10)
