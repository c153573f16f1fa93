"""Servers for the tests of the connection pools: counting what is open, with TLS, HTTP/2, or inside the loop."""

from __future__ import annotations

import pathlib
import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType

import anyio
import anyio.abc
import h2.config
import h2.connection
import h2.events
from typing_extensions import Self

from .faulty_server import FaultyServer

# Signed by itself for "localhost", and valid for a hundred years; made for tests alone.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgN22WfzeN3+FNWbgS
Kbo5t+rEGtAGsO5cHVde2Ay6M6mhRANCAAR6u5l3SLbhSYBZjTSm7LSNGAiNrbvF
lA8Imf9wmIIJugXGUvqgLMxF6DTve6B2M0nNZGG8Tr5HkmWwJoXHWHrN
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUUpst1EjW1c9ZFMCiKAzZHrqCJd8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjAxNDAyN1oYDzIxMjYxMDI5
MDE0MDI3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR6u5l3SLbhSYBZjTSm7LSNGAiNrbvFlA8Imf9wmIIJugXGUvqgLMxF
6DTve6B2M0nNZGG8Tr5HkmWwJoXHWHrNo2kwZzAdBgNVHQ4EFgQUKMUkClZpJegv
LnKJEYSOiDOtOzswHwYDVR0jBBgwFoAUKMUkClZpJegvLnKJEYSOiDOtOzswDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
RwAwRAIgbTN4PzLslK+mbkGRpW1WxLawZz+8RxxmxhN9mb9kwSYCIFDRp8CZt3s6
Loq9BQSOJfazBSPsxFJNattDYZGIUkk9
-----END CERTIFICATE-----
"""


def server_context(folder: pathlib.Path, *protocols: str) -> ssl.SSLContext:
    """The TLS context of a server on localhost."""
    file = folder / "certificate.pem"
    file.write_text(CERTIFICATE)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def client_context() -> ssl.SSLContext:
    """The TLS context of a client that trusts such servers."""
    return ssl.create_default_context(cadata=CERTIFICATE[CERTIFICATE.index("-----BEGIN CERT") :])


class CountingServer(FaultyServer):
    """A faulty server that knows how many of its connections are open; with a context it speaks TLS."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._context = context
        self._now_open = 0
        self._change = threading.Condition()
        port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{port}/" if context else f"http://127.0.0.1:{port}/"

    def wait_for_open(self, count: int) -> None:
        """Wait until just so many connections are open."""
        with self._change:
            assert self._change.wait_for(lambda: self._now_open == count, 20), self._now_open

    def _serve(self, connection: socket.socket) -> None:
        self._count(1)
        try:
            if self._context:
                with suppress(OSError), self._context.wrap_socket(connection, server_side=True) as secure:
                    self._open.add(secure)  # to be woken at the end
                    self._handle(secure)
            else:
                self._handle(connection)
        finally:
            connection.close()
            self._count(-1)

    def _handle(self, connection: socket.socket) -> None:
        super()._serve(connection)

    def _count(self, change: int) -> None:
        with self._change:
            self._now_open += change
            self._change.notify_all()


class HTTP2Server(CountingServer):
    """Answers every stream with its path, over HTTP/2."""

    def _handle(self, connection: socket.socket) -> None:
        with connection:
            talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            talk.initiate_connection()
            connection.sendall(talk.data_to_send())
            while data := connection.recv(65536):
                for event in talk.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        path = dict(event.headers)[b":path"]
                        talk.send_headers(event.stream_id, [(":status", "200")])
                        talk.send_data(event.stream_id, path, end_stream=True)
                connection.sendall(talk.data_to_send())


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
REPLIES = {
    "/ok": [OK],
    "/close": [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine", None],
    "/chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"4\r\nfine\r\n"] * 5, b"0\r\n\r\n"],
    "/cut": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine", None],
    "/hang-up": [None],
    "/not-http": [b"what?\r\n\r\n", None],
    "/silent": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine", ...],
}


class LoopServer:
    """A server in the test's own event loop, so that what happens when is the same in every run."""

    def __init__(self) -> None:
        self.url = ""
        self.open = 0
        self.most_open = 0

    async def __aenter__(self) -> Self:
        self._changed = anyio.Event()
        self._tasks = await anyio.create_task_group().__aenter__()
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._listener.extra(anyio.abc.SocketAttribute.local_port)}"
        self._tasks.start_soon(self._listener.serve, self._serve)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(exc_type, exc, traceback)
        await self._listener.aclose()

    async def _serve(self, connection: anyio.abc.SocketStream) -> None:
        self._count(1)
        try:
            async with connection:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    await self._talk(connection)
        finally:
            self._count(-1)

    async def _talk(self, connection: anyio.abc.SocketStream) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                received += await connection.receive()
            head, _, received = received.partition(b"\r\n\r\n")
            for piece in REPLIES[head.split()[1].decode()]:
                if piece is None:
                    return
                if piece is ...:
                    await connection.receive()
                else:
                    await connection.send(piece)

    async def wait_for_open(self, count: int) -> None:
        """Wait until just so many connections are open."""
        with anyio.fail_after(20):
            while self.open != count:
                self._changed = anyio.Event()
                await self._changed.wait()

    def _count(self, change: int) -> None:
        self.open += change
        self.most_open = max(self.most_open, self.open)
        self._changed.set()
