"""The connection pool of the async client: `ConnectionPool` with awaiting in the place of blocking.

It is a module of its own because it loads anyio, which the sync client can do without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import anyio
import httpx

from .connections import (
    ONE_CONNECTION,
    OPENING,
    Connection,
    Event,
    Lease,
    PoolBase,
    closed_error,
    own_trace,
    pool_timeout,
    traced,
)
from .joined_writes import join_async_writes
from .loading import loading

__all__ = ["AsyncConnectionPool"]

# How many seconds the closing of a connection may take, whose end nobody waits for: a TLS peer may not listen.
CLOSING = 2.0


class AsyncConnectionPool(PoolBase[httpx.AsyncHTTPTransport], httpx.AsyncBaseTransport):
    """Connections for the tasks of one event loop, as a transport for any `httpx.AsyncClient(transport=...)`.

    The same as `ConnectionPool`, with asyncio or trio. A cancellation frees its request's place at once, whatever
    comes after it. A kept connection that the server has closed is opened again by httpx without the trace of
    `new_connection_trace`, which is an async function here.

    Args:
        verify: The TLS context, or what makes it when the first https connection is opened.
        limits: `max_connections`: how many are open at once; a request beyond it waits, in the order of arrival, as
            long as its pool timeout says. `max_keepalive_connections`: how many are kept idle, and
            `keepalive_expiry`: for how many seconds. None is no limit.
        http2: Speak HTTP/2 where the server does. Its connections are shared by many requests, so that all of
            them go through one ordinary httpx transport.
        clock: What the seconds are counted by.

    Raises:
        ConfigurationError: As for `ConnectionPool`.
        ImportError: `http2` without the package h2.
        ClientClosedError: By a request, after `aclose` (it is a `RuntimeError`).

    Attributes:
        withstands_cancellation: A bare `Task.cancel` of asyncio leaves it sound.
    """

    withstands_cancellation = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of httpx, on the connection used last or on a new one."""
        if self._http2:
            return await self._share(request)
        url = request.url
        lease = _OpenStream(self, (url.raw_scheme, url.raw_host, url.port), self.ledger)
        try:
            if not lease.ledger.take(lease):
                await self._wait(lease, request)
            if self.ledger.doomed:
                await self.close_doomed()
            connection = lease.connection
            assert connection is not None
            if connection.transport is None:
                response = await self._open(connection, request)
            else:
                response = await connection.transport.handle_async_request(request)
            lease.response, lease.stream = response, response.stream
            response.stream = lease
        except BaseException as error:
            lease.ledger.give_up(lease)
            if isinstance(error, httpx.RequestError):
                error.request = request
            await self.close_doomed()
            raise
        return response

    def _make_event(self) -> Event:
        return anyio.Event()

    async def _wait(self, lease: _Stream, request: httpx.Request) -> None:
        with anyio.move_on_after(pool_timeout(request)):
            await lease.event.wait()
        if lease.connection is None:
            raise closed_error() if self.ledger.closed else httpx.PoolTimeout("No connection got free in time.")

    async def _open(self, connection: Connection[httpx.AsyncHTTPTransport], request: httpx.Request) -> httpx.Response:
        with loading:  # httpx loads httpcore for its first transport
            transport = httpx.AsyncHTTPTransport(verify=self._context(connection.origin[0]), limits=ONE_CONNECTION)
        connection.transport = transport
        response = await transport.handle_async_request(traced(request, _Opening(connection, own_trace(request))))
        connection.network_stream = None
        return response

    async def _share(self, request: httpx.Request) -> httpx.Response:
        if self.ledger.closed:
            raise closed_error()
        if self._shared is None:
            self._shared = httpx.AsyncHTTPTransport(verify=self._context(b"https"), limits=self._limits, http2=True)
        # Who of them opens a connection is not known here.
        return await self._shared.handle_async_request(traced(request, own_trace(request)))

    async def close_doomed(self) -> None:
        """Close what the decisions have put aside, cancelled or not."""
        doomed = self.ledger.doomed
        while doomed:
            connection = doomed.popleft()
            assert connection.transport is not None
            with anyio.move_on_after(CLOSING, shield=True), suppress(OSError, anyio.BrokenResourceError):
                if connection.network_stream is not None:
                    await connection.network_stream.aclose()
                await connection.transport.aclose()

    async def aclose(self) -> None:
        """Close what is idle; requests that are under way still end."""
        self.ledger.close()
        shared, self._shared = self._shared, None
        await self.close_doomed()
        if shared is not None:
            await shared.aclose()


class _Opening:
    """The trace of a request that opens a connection: it has the connection join its writes, and tells the request's.

    It keeps hold of a socket during its TLS handshake, because httpcore does not close it if it is cancelled then.
    """

    def __init__(self, connection: Connection[httpx.AsyncHTTPTransport], trace: Any) -> None:
        self._connection = connection
        self._trace = trace

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event in OPENING:
            self._connection.network_stream = info["return_value"]
            self._connection.received = join_async_writes(info["return_value"])
        if self._trace is not None:
            await self._trace(event, info)


class _Stream(Lease[httpx.AsyncHTTPTransport], httpx.AsyncByteStream):
    """A response's body, which gives its connection back when it is closed."""

    pool: AsyncConnectionPool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self.stream:
                yield piece
        except GeneratorExit:  # left half read, and collected
            self.ledger.give_up(self)
            raise
        self.ended = True

    async def aclose(self) -> None:
        ledger = self.ledger
        try:
            if self.clean:
                await self.stream.aclose()
                ledger.give_back(self)
        finally:
            if self.connection is not None:
                ledger.give_up(self)
            self.__class__ = _Stream  # pyright: ignore[reportAttributeAccessIssue]
            self.response = None  # as in the sync pool
            if ledger.doomed:
                await self.pool.close_doomed()


class _OpenStream(_Stream):
    """One that was not closed yet."""

    def __del__(self) -> None:
        if self.connection is not None:
            self.ledger.abandoned.append(self)  # for the next request: the collector may run in any thread
