"""The door for tests: an httpx transport that answers from the sandbox, with no socket and no thread."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from anyio.lowlevel import checkpoint

from .chunks import Chunk, Cut, Pause
from .runs import Reply

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["SandboxTransport"]


class SandboxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Makes an `httpx.Client` or `httpx.AsyncClient` talk to a sandbox, whatever host it asks for.

        client = httpx.Client(transport=SandboxTransport(sandbox), base_url="http://sandbox.test/v1")

    Streams arrive event by event. Nothing is sent anywhere: a workflow with callback delivery has ended when
    its reply arrives, unless another thread that calls just then carries it on; and its callback waits in
    `sandbox.callbacks`. Replies that are functions run in the
    caller's thread, also below an async client.

    No time passes in it. Where a reply pauses for longer than the client's read timeout, the timeout comes at
    once; where it pauses for less, it goes on at once. A pause without end times out for a client without a
    timeout too.

    Args:
        sandbox: What answers.
    """

    withstands_cancellation = True  # tells the SDK's client so: no connection could be left in the middle

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of an `httpx.Client`."""
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of an `httpx.AsyncClient`."""
        return self._answer(request, await request.aread())

    def _answer(self, request: httpx.Request, body: bytes) -> httpx.Response:
        engine = self._sandbox.engine
        path = request.url.raw_path.decode("ascii")
        # As a server reads them, which takes a fraction of the time that the mapping of httpx does.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(request.headers.raw)}
        reply = engine.handle(request.method, path, headers, body)
        if reply.unfinished is not None:
            engine.release(reply.unfinished)
        engine.settle()
        return _response(reply, request)


def _response(reply: Reply, request: httpx.Request) -> httpx.Response:
    headers = reply.headers
    if isinstance(reply.body, bytes):
        # As a stream, because httpx works out the headers of a `content` anew.
        head = _head(tuple(headers.items()), len(reply.body))
        return httpx.Response(reply.status, headers=head, stream=httpx.ByteStream(reply.body))
    announced = httpx.Headers(headers).get("Content-Length")
    limit = request.extensions.get("timeout", {}).get("read")
    arriving = _arriving(reply.body, limit, None if announced is None else int(announced))
    first = next(arriving, b"")  # what breaks before the first byte leaves no response
    return httpx.Response(reply.status, headers=headers, stream=_Stream(first, arriving))


@lru_cache(maxsize=256)
def _head(headers: tuple[tuple[str, str], ...], length: int) -> httpx.Headers:
    """The headers of a whole body. Each response copies them, which is faster than to make them."""
    return httpx.Headers({"Content-Length": str(length), **dict(headers)})


def _arriving(chunks: Iterable[Chunk], limit: float | None, announced: int | None) -> Generator[bytes, None, None]:
    """The bytes of a body as a connection would hand them over.

    Args:
        chunks: What the reply is made of.
        limit: Seconds the client waits for each read; None for ever.
        announced: The `Content-Length`, if there is one.

    Raises:
        httpx.TransportError: As a connection would, where the body pauses for too long or is cut.
    """
    begun, received, quiet = False, 0, 0.0
    for chunk in chunks:
        if isinstance(chunk, bytes):
            begun, received, quiet = True, received + len(chunk), 0.0
            yield chunk
        elif isinstance(chunk, Pause):
            quiet += chunk.seconds
            if quiet == math.inf or (limit is not None and quiet > limit):
                raise httpx.ReadTimeout("The read operation timed out")
        else:
            raise _broken(chunk, begun=begun, received=received, announced=announced)
    if announced is not None and received < announced:
        raise _broken(Cut("close"), begun=True, received=received, announced=announced)


def _broken(cut: Cut, *, begun: bool, received: int, announced: int | None) -> httpx.TransportError:
    """What httpx raises for a connection that ends too early."""
    if cut.how == "reset":
        return httpx.ReadError(f"[Errno {errno.ECONNRESET}] {os.strerror(errno.ECONNRESET)}")
    if not begun:
        return httpx.RemoteProtocolError("Server disconnected without sending a response.")
    missing = "incomplete chunked read" if announced is None else f"received {received} bytes, expected {announced}"
    return httpx.RemoteProtocolError(f"peer closed connection without sending complete message body ({missing})")


class _Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, first: bytes, rest: Iterator[bytes]) -> None:
        self._first = first
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        yield from filter(None, self._rest)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.__iter__():
            await checkpoint()
            yield chunk
