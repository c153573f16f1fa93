"""The door for tests: an httpx transport that answers from the sandbox, with no socket and no thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING

import httpx
from anyio.lowlevel import checkpoint

from .runs import Reply

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["SandboxTransport"]


class SandboxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Makes an `httpx.Client` or `httpx.AsyncClient` talk to a sandbox, whatever host it asks for.

        client = httpx.Client(transport=SandboxTransport(sandbox), base_url="http://sandbox.test/v1")

    Streams arrive event by event. Nothing is sent anywhere: a workflow with callback delivery has ended when
    its reply arrives, and its callback waits in `sandbox.callbacks`. Replies that are functions run in the
    caller's thread, also below an async client.

    Args:
        sandbox: What answers.
    """

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
        reply = engine.handle(request.method, request.url.raw_path.decode("ascii"), request.headers, body)
        if reply.unfinished is not None:
            engine.finish(reply.unfinished)
        return _response(reply)


def _response(reply: Reply) -> httpx.Response:
    headers = dict(reply.headers)
    if isinstance(reply.body, bytes):
        return httpx.Response(reply.status, headers=headers, content=reply.body)
    return httpx.Response(reply.status, headers=headers, stream=_Chunks(reply.body))


class _Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            await checkpoint()
            yield chunk
