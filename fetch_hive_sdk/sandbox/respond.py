"""A reply on a real connection: sent in its pieces, with its pauses, and broken off where it says so."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from itertools import chain

from anyio.lowlevel import checkpoint
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .chunks import Cut
from .runs import Reply

__all__ = ["Connection", "respond"]

CONNECTION = "fetch_hive_sandbox_connection"
NO_BODY = (204, 304)
# Closing then sends a reset, and drops what is not on its way yet.
RESET = struct.pack("ii", 1, 0)


async def respond(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a reply, as an ASGI application does.

    A reply that pauses, is cut or is shorter than its `Content-Length` needs a server with `Connection`.

    Args:
        reply: The reply.
        scope: The request.
        receive: Not used: the body has been read.
        send: Where the reply goes to.
    """
    headers = {name.lower(): value for name, value in reply.headers.items()}
    body = reply.body
    at_once = isinstance(body, bytes) and "content-length" not in headers
    if isinstance(body, bytes):
        if reply.status not in NO_BODY:
            headers.setdefault("content-length", str(len(body)))
        body = (body,)
    head = {
        "type": "http.response.start",
        "status": reply.status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    }
    if at_once:
        await send(head)
        await send({"type": "http.response.body", "body": reply.body})
        return
    missing = int(headers.get("content-length", 0))
    begun = False
    for chunk in chain(body, (b"",)):  # an empty body has a head too
        if isinstance(chunk, bytes):
            if not begun:
                await send(head)
                begun = True
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await checkpoint()  # many small pieces must not keep others waiting
            missing -= len(chunk)
        elif isinstance(chunk, Cut):
            await _connection(scope).end(chunk)
            return
        elif not await _connection(scope).hold(chunk.seconds):
            return
    if missing > 0:
        await _connection(scope).end(Cut("close"))
        return
    await send({"type": "http.response.body", "body": b""})


def _connection(scope: Scope) -> Connection:
    connection: Connection = scope["state"][CONNECTION]
    return connection


class Connection(H11Protocol):
    """A connection of uvicorn that can stay silent and break off. `respond` finds it in the state of the scope.

    Pass it as `uvicorn.Config(http=Connection)`.
    """

    _lost: asyncio.Future[None]
    _holding = False
    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._lost = self.loop.create_future()
        # A reply goes out in several pieces, which must not wait for the client to confirm each. asyncio sees to it
        # for sockets that were made with the protocol's number, which `socket.create_server` leaves out.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, CONNECTION: self}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost.set_result(None)

    def shutdown(self) -> None:
        """Let a reply that is under way go on, unless it only waits."""
        super().shutdown()
        self._stopping = True
        if self._holding:
            self.transport.abort()

    async def hold(self, seconds: float) -> bool:
        """Send nothing for a while.

        Args:
            seconds: How long; infinite until the connection is lost.

        Returns:
            False if the connection was lost meanwhile: the client has gone, or the server stops.
        """
        self._holding = True
        if self._stopping:
            self.transport.abort()
            seconds = math.inf
        self.flow.resume_reading()  # it rests after a long request, and a client that goes would not be noticed
        await asyncio.wait([self._lost], timeout=None if seconds == math.inf else seconds)
        self._holding = False
        return not self._lost.done()

    async def end(self, cut: Cut) -> None:
        """End the connection; what is written already goes out before it is closed, but not before a reset."""
        if self._lost.done():
            return
        if cut.how == "close":
            self.transport.close()
        else:
            connection: socket.socket = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        # Until it is lost, uvicorn takes the reply for one that was forgotten.
        await self.hold(math.inf)
