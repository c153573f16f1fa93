"""An HTTP server on a real socket that misbehaves as it is told, and counts what arrived.

Each request that is read off a connection takes the next step of the script; the last step is repeated.
A step is a function that gets the `Exchange` and writes whatever bytes it likes. What happens before a request has
been read, such as a connection that is dropped or a TLS handshake that never ends, is the server's `welcome`.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from typing_extensions import Self

__all__ = [
    "Exchange",
    "FaultyServer",
    "chunked",
    "close",
    "drip",
    "drop",
    "json_reply",
    "reply",
    "reset",
    "say_nothing",
    "stream",
    "wait_for_hang_up",
]

Step = Callable[["Exchange"], None]
Welcome = Callable[[socket.socket, threading.Event], None]


@dataclass
class Exchange:
    """One request as it arrived, and the socket to answer on."""

    head: bytes
    body: bytes
    connection: socket.socket
    stopping: threading.Event

    def send(self, data: bytes) -> None:
        """Write bytes as they are; a client that has gone is no error here."""
        with suppress(OSError):
            self.connection.sendall(data)

    def reset(self) -> None:
        """Close with RST, as a crashed peer does."""
        drop(self.connection)

    def wait_for_hang_up(self) -> None:
        """Keep the connection open until the client closes it or the test ends."""
        with suppress(OSError):
            while not self.stopping.is_set() and self.connection.recv(65536):
                pass

    def pause(self, seconds: float) -> bool:
        """Wait, and say whether to go on."""
        return not self.stopping.wait(seconds)


class FaultyServer:
    """The server; use it in a `with` block. `base_url` is where it listens.

    Args:
        tls: The context with which it speaks TLS; None for plain connections.
        welcome: What is done to each connection first, with the event that says that the server stops. If it closes
            the connection, that is all.
        patience: After how many seconds without anything new on a connection the server ends it, so that a client
            without limits of its own does not wait for ever; None for never.

    Attributes:
        script: What the requests are answered with, by their order.
        requests: What arrived complete.
        connections: How many were made.
        answered: How many requests have been dealt with.
        open: How many connections are open.
    """

    def __init__(
        self, tls: ssl.SSLContext | None = None, welcome: Welcome | None = None, *, patience: float | None = None
    ) -> None:
        self.script: list[Step] = []
        self.requests: list[Exchange] = []
        self.connections = 0
        self.answered = 0
        self.welcome = welcome
        self._tls = tls
        self._changed = threading.Condition()
        self._before = 0  # requests before the script began
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._patience = patience
        self._since: dict[socket.socket, float] = {}  # when each connection last began with something
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self.base_url = f"https://localhost:{port}/v1" if tls else f"http://127.0.0.1:{port}/v1"

    def then(self, *steps: Step) -> FaultyServer:
        """Add steps to the script."""
        self.script.extend(steps)
        return self

    def now(self, *steps: Step) -> None:
        """Begin another script."""
        self._before = len(self.requests)
        self.script = list(steps)

    @property
    def open(self) -> int:
        return len(self._open)

    def wait_for(self, condition: Callable[[FaultyServer], bool], seconds: float = 20) -> bool:
        """Wait until something has come true of the server, and say whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), seconds)

    def __enter__(self) -> Self:
        self._start(self._accept)
        if self._patience is not None:
            self._start(self._watch, self._patience)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        # A blocked accept or recv is woken by shutdown, not by close.
        for opened in (self._listener, *list(self._open)):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(timeout=10)
            assert not thread.is_alive()
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # What a step sends shall be there when it is done.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.add(connection)
            self._start(self._receive, connection)

    def _watch(self, patience: float) -> None:
        while not self._stopping.wait(patience / 16):
            for connection, since in list(self._since.items()):
                if time.monotonic() - since > patience:
                    with suppress(OSError):  # past its encryption, which another thread may be busy with
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _receive(self, connection: socket.socket) -> None:
        self._since[connection] = time.monotonic()
        try:
            if self.welcome is not None:
                self.welcome(connection, self._stopping)
            if connection.fileno() == -1:
                return
            if self._tls is None:
                self._serve(connection)
                return
            with suppress(OSError), self._tls.wrap_socket(connection, server_side=True) as secure:
                self._open.add(secure)  # to be woken at the end
                self._open.discard(connection)
                self._serve(secure)
        finally:
            self._since.pop(connection, None)
            connection.close()
            self._open.discard(connection)
            self._note()

    def _note(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        with connection:
            while not self._stopping.is_set():
                self._since[connection] = time.monotonic()
                while (request := _take_request(received)) is None:
                    try:
                        data = connection.recv(65536)
                    except OSError:
                        data = b""
                    if not data:
                        self._open.discard(connection)
                        return
                    received += data
                head, body, received = request
                exchange = Exchange(head, body, connection, self._stopping)
                step = self.script[min(len(self.requests) - self._before, len(self.script) - 1)]
                self.requests.append(exchange)
                self._since[connection] = time.monotonic()
                with suppress(OSError):  # a client that has gone is no error here
                    step(exchange)
                self.answered += 1
                self._note()
                if connection.fileno() == -1:
                    break
        self._open.discard(connection)


def _take_request(received: bytes) -> tuple[bytes, bytes, bytes] | None:
    head, found, rest = received.partition(b"\r\n\r\n")
    if not found:
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return (head, rest[:length], rest[length:]) if len(rest) >= length else None


def drop(connection: socket.socket) -> None:
    """Close a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reply(status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> Step:
    """Answer correctly with this status and body."""
    lines = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return lambda exchange: exchange.send(f"HTTP/1.1 {status} \r\n{head}\r\n".encode() + body)


def json_reply(body: str, status: int = 200, **headers: str) -> Step:
    """Answer correctly with this JSON."""
    return reply(status, body.encode(), **headers)


def chunked(*pieces: bytes, kind: str = "text/event-stream", end: Step | None = None) -> Step:
    """Answer 200 with a chunked body; then end it, or do `end` instead."""

    def step(exchange: Exchange) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        exchange.send(head.encode())
        for piece in pieces:
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if end is None:
            exchange.send(b"0\r\n\r\n")
        else:
            end(exchange)

    return step


def stream(*events: str, end: Step | None = None) -> Step:
    """Answer with server-sent events, one chunk each."""
    return chunked(*(f"data: {event}\n\n".encode() for event in events), end=end)


def drip(head: bytes, piece: bytes, every: float) -> Step:
    """Send the head, then a small piece again and again, for ever."""

    def step(exchange: Exchange) -> None:
        exchange.send(head)
        while exchange.pause(every):
            try:
                exchange.connection.sendall(piece)
            except OSError:
                return

    return step


def reset(exchange: Exchange) -> None:
    """Reset the connection."""
    exchange.reset()


def close(exchange: Exchange) -> None:
    """Close the connection in good order."""
    exchange.connection.close()


def wait_for_hang_up(exchange: Exchange) -> None:
    """Keep the connection open and silent."""
    exchange.wait_for_hang_up()


def say_nothing(exchange: Exchange) -> None:
    """Never answer."""
    exchange.wait_for_hang_up()
