"""Connection pools whose work per request does not grow with the number of connections.

httpx's own pool looks at all its connections for each request, which makes many at a time slow. Here each connection
is an httpx transport of its own, limited to one connection. Idle ones stand in a stack per origin, and the one used
last is used next. What happens to which connection is decided in `Ledger` alone, without waiting for anything;
`ConnectionPool`, and `AsyncConnectionPool` beside it, only wait, connect, send and close.
"""

from __future__ import annotations

import importlib.util
import math
import os
import ssl
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar, Union

import httpx

from .errors import ClientClosedError, ConfigurationError
from .joined_writes import Received, join_writes
from .jsonable import article, number_or_kind
from .loading import loading

__all__ = ["ConnectionPool"]

TransportT = TypeVar("TransportT", bound=Union[httpx.HTTPTransport, httpx.AsyncHTTPTransport])

Origin = tuple[bytes, bytes, Union[int, None]]  # scheme, host, port

# A request's extension: as httpx's `trace`, and in its place, but only for a request that opens a connection.
NEW_CONNECTION_TRACE = "new_connection_trace"
# The events of a trace that are a new connection, whose network stream is their `return_value`.
OPENING = ("connection.connect_tcp.complete", "connection.start_tls.complete")

DEFAULT_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=1000, keepalive_expiry=5.0)
ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)

# How many expired connections one request puts aside for closing at most.
SWEEP = 8


class Event(Protocol):
    """What wakes who waits: of threading or of anyio."""

    def set(self) -> None:
        """Wake it."""
        ...


class Connection(Generic[TransportT]):
    """A place in the pool, and the transport that connects and sends for it once it is used.

    Attributes:
        origin: Where it leads.
        transport: Limited to one connection; None until it is opened.
        network_stream: httpx's extension of this name, of the last response.
        received: What has been read from it; None where that is not known.
        expires_at: Until when it may be kept, by the pool's clock.
    """

    __slots__ = ("expires_at", "network_stream", "origin", "received", "transport")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.transport: TransportT | None = None
        self.network_stream: Any = None
        self.received: Received | None = None
        self.expires_at = math.inf


class Lease(Generic[TransportT]):
    """The use of a connection from a request's first moment to the end of its response.

    Attributes:
        origin: Where the request goes.
        ledger: Which knows of it: after a fork the child's pool has another.
        connection: None while the lease waits, and when it is over.
        event: Set once a waiting lease has its connection, or the pool is closed.
        ended: Whether the body has been read to its end. Only then is a connection surely in order: whatever is
            interrupted may have been interrupted in the middle of its cleaning up.
        response: What came.
    """

    connection: Connection[TransportT] | None = None
    event: Any = None
    ended = False
    response: Any = None
    stream: Any = None

    def __init__(self, pool: Any, origin: Origin, ledger: Any = None) -> None:
        self.pool = pool
        self.origin = origin
        self.ledger: Ledger[TransportT] = ledger

    @property
    def clean(self) -> bool:
        """Whether the connection is fit for another request: its answer was read to the end, and was all it had."""
        if not self.ended or (connection := self.connection) is None or connection.received is None:
            return False
        return connection.received.ends_with(self.response.headers.raw)


class Ledger(Generic[TransportT]):
    """Who has which connection, who waits, who is next, what is kept and what is closed. Waits for nothing itself.

    A lease that waits does so because every place is taken and nothing is idle, and a place that gets free is given
    on to the one that waits longest. So nobody can come in between.

    Ctrl-C interrupts a thread where it enters or has left a function, and where it loops. So whatever belongs together
    is changed without a call in between, and is either done as a whole or not at all.

    Args:
        limits: Of the pool.
        clock: What seconds are counted by.
        make_event: Makes what a lease waits on.

    Attributes:
        closed: Whether the pool was closed: nothing is given out or kept any more.
        doomed: Connections without a place, to be closed by the pool.
        abandoned: Leases that the collector ended, which takes no lock: given up as soon as somebody else has it.
    """

    def __init__(self, limits: httpx.Limits, clock: Callable[[], float], make_event: Callable[[], Event]) -> None:
        most, most_idle, expiry = limits.max_connections, limits.max_keepalive_connections, limits.keepalive_expiry
        self._most = math.inf if most is None else most
        self._most_idle = math.inf if most_idle is None else most_idle
        self._expiry = math.inf if expiry is None else expiry
        self._clock = clock
        self._make_event = make_event
        self._places = 0  # taken, by connections in use and idle ones
        self._idle_count = 0
        self._idle: dict[Origin, deque[Connection[TransportT]]] = {}  # the last used at the right; none is empty
        self._waiting: OrderedDict[Lease[TransportT], None] = OrderedDict()
        self._sweep_at = -math.inf
        self.closed = False
        self.doomed: deque[Connection[TransportT]] = deque()
        self.abandoned: deque[Lease[TransportT]] = deque()

    def __repr__(self) -> str:
        return (
            f"{self._places - self._idle_count} connections in use, {self._idle_count} idle, "
            f"{len(self._waiting)} requests waiting"
        )

    def take(self, lease: Lease[TransportT]) -> bool:
        """Give a connection, or a place for a new one, or let the lease wait.

        Returns:
            Whether there is one already.

        Raises:
            ClientClosedError: The pool is closed.
        """
        if self.abandoned:
            self.give_up_abandoned()
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep(now)
        if (idle := self._idle.get(lease.origin)) is not None and idle[-1].expires_at > now:
            self._idle_count -= 1
            lease.connection = idle[-1]
            del idle[-1]
            if not idle:
                del self._idle[lease.origin]
            return True
        if self.closed:
            raise closed_error()
        if self._places >= self._most:
            if not self._idle:
                lease.event = self._make_event()
                self._waiting[lease] = None
                return False
            self._doom(next(iter(self._idle)))
        connection: Connection[TransportT] = Connection(lease.origin)
        self._places += 1
        lease.connection = connection
        return True

    def exchange(self, lease: Lease[TransportT]) -> None:
        """Give another connection for one that the server has closed meanwhile."""
        assert lease.connection is not None
        self.doomed.append(lease.connection)
        if lease.origin not in self._idle:
            lease.connection = Connection(lease.origin)  # in the same place: others may be waiting
            return
        self._places -= 1
        lease.connection = None
        self.take(lease)

    def give_back(self, lease: Lease[TransportT]) -> None:
        """End a lease whose connection can be used again."""
        if (connection := lease.connection) is None:
            return
        if self._waiting or self.closed or self._idle_count >= self._most_idle:
            self._pass_on(lease, connection)
            return
        connection.expires_at = self._clock() + self._expiry
        if (idle := self._idle.get(connection.origin)) is None:
            self._idle[connection.origin] = deque((connection,))
        else:
            idle += (connection,)
        self._idle_count += 1
        lease.connection = None

    def _pass_on(self, lease: Lease[TransportT], connection: Connection[TransportT]) -> None:
        waiting = next(iter(self._waiting), None)
        if waiting is None or waiting.origin != connection.origin:
            self.give_up(lease)
            return
        del self._waiting[waiting]
        waiting.connection, lease.connection = connection, None
        waiting.event.set()

    def give_up(self, lease: Lease[TransportT]) -> None:
        """End a lease that failed, waited in vain or was broken off: its connection is not used again."""
        self._waiting.pop(lease, None)
        if (connection := lease.connection) is None:
            return
        waiting = next(iter(self._waiting), None)
        following: Connection[TransportT] | None = None if waiting is None else Connection(waiting.origin)
        lease.connection = None
        if connection.transport is not None:
            self.doomed += (connection,)
        if waiting is None:
            self._places -= 1
            return
        del self._waiting[waiting]
        waiting.connection = following
        waiting.event.set()

    def give_up_abandoned(self) -> None:
        """Give up the leases whose bodies were collected."""
        while self.abandoned:
            self.give_up(self.abandoned[0])
            del self.abandoned[0]

    def close(self) -> None:
        """Give up what is idle and wake all that wait, with nothing."""
        self.closed = True
        while self._idle:
            self._doom(next(iter(self._idle)))
        while (waiting := next(iter(self._waiting), None)) is not None:
            del self._waiting[waiting]
            waiting.event.set()

    def _sweep(self, now: float) -> None:
        """Put aside what has expired, a few at a time."""
        earliest = now + self._expiry
        left = SWEEP
        for origin, idle in list(self._idle.items()):
            while idle and idle[0].expires_at <= now:
                if not left:
                    return  # and go on at the next request
                left -= 1
                self._doom(origin)
            if idle:
                earliest = min(earliest, idle[0].expires_at)
        self._sweep_at = earliest

    def _doom(self, origin: Origin) -> None:
        """Put aside the connection to an origin that is idle longest."""
        idle = self._idle[origin]
        self.doomed += (idle[0],)
        del idle[0]
        self._idle_count -= 1
        self._places -= 1
        if not idle:
            del self._idle[origin]


def closed_error() -> ClientClosedError:
    """What a request gets that comes after the end."""
    return ClientClosedError(
        "The connection pool is closed.", hint="Make a new one, or keep it open while calls and streams are in use."
    )


def _check(verify: object, limits: object) -> None:
    if not isinstance(verify, ssl.SSLContext) and (not callable(verify) or isinstance(verify, type)):
        raise ConfigurationError(
            f"verify: {article(verify)} is not allowed.",
            hint="Pass an ssl.SSLContext or a function that makes one, such as ssl.create_default_context(cafile=...).",
        )
    if not isinstance(limits, httpx.Limits):
        raise ConfigurationError(f"limits: {article(limits)} is not allowed.", hint="Pass an httpx.Limits(...).")
    for name, least in (("max_connections", 1), ("max_keepalive_connections", 0), ("keepalive_expiry", 0)):
        given = getattr(limits, name)
        if given is not None and (isinstance(given, bool) or not isinstance(given, (int, float)) or not given >= least):
            raise ConfigurationError(
                f"limits: {number_or_kind(given)} is not allowed for {name}.",
                hint=f"Pass a number from {least} on, or None for no limit.",
            )


@lru_cache(maxsize=1)
def _empty_context() -> ssl.SSLContext:
    # httpx's transports want one in any case. It trusts nobody, so that nothing could come of using it.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class PoolBase(ABC, Generic[TransportT]):
    """What the two pools share: their options and how a connection is opened.

    Attributes:
        trace_extension: The extension of a request in which its trace is told of a new connection.
    """

    trace_extension = NEW_CONNECTION_TRACE

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
        limits: httpx.Limits = DEFAULT_LIMITS,
        http2: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if http2 and importlib.util.find_spec("h2") is None:
            raise ImportError("HTTP/2 needs the package h2: pip install 'httpx[http2]'")
        _check(verify, limits)
        self._verify = verify
        self._limits = limits
        self._http2 = http2
        self._shared: TransportT | None = None
        self._clock = clock
        self._inherited: list[object] = []
        self.ledger: Ledger[TransportT] = Ledger(limits, clock, self._make_event)
        _pools.add(self)

    def start_anew(self) -> None:
        """Begin without connections, in the child of a fork: those that are open are its parent's to use and close."""
        closed = self.ledger.closed
        self._inherited += (self.ledger, self._shared)  # kept, so that none of them is complained of as left open
        self.ledger, self._shared = Ledger(self._limits, self._clock, self._make_event), None
        self.ledger.closed = closed

    def __repr__(self) -> str:
        if "ledger" not in self.__dict__:  # a wrong option, in a traceback that shows variables
            return f"<{type(self).__name__}>"
        return f"<{type(self).__name__}: {self.ledger!r}>"

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, and sends nothing any more."""
        return self.ledger.closed

    @abstractmethod
    def _make_event(self) -> Event:
        """Make what a request waits on."""

    def _context(self, scheme: bytes) -> ssl.SSLContext:
        if scheme == b"http":
            return _empty_context()
        if not isinstance(self._verify, ssl.SSLContext):
            self._verify = self._verify()
        return self._verify


_pools: weakref.WeakSet[PoolBase[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.start_anew()


with suppress(AttributeError):  # there is no fork on this system
    os.register_at_fork(after_in_child=_after_fork)


def pool_timeout(request: httpx.Request) -> float | None:
    """How many seconds a request may wait for its connection; None: for ever."""
    timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get("pool")


def own_trace(request: httpx.Request) -> Any:
    """What a request that opens a connection wants to be told; None for nothing."""
    return request.extensions.get(NEW_CONNECTION_TRACE) or request.extensions.get("trace")


def traced(request: httpx.Request, trace: Any) -> httpx.Request:
    """The same request with a trace; the caller's stays as it is, because it may be sent again."""
    extensions = {**request.extensions, "trace": trace}
    stream = request.stream
    return httpx.Request(request.method, request.url, headers=request.headers, stream=stream, extensions=extensions)


class ConnectionPool(PoolBase[httpx.HTTPTransport], httpx.BaseTransport):
    """Connections for threads, as a transport for any `httpx.Client(transport=...)`.

    A request may carry the extension `new_connection_trace`: it is used as httpx's `trace`, and in its place, if the
    request opens a connection, and else ignored. The pool connects directly, never by a proxy. In the child
    of a fork it begins without connections, and leaves its parent's alone.

    Args:
        verify: The TLS context, or what makes it when the first https connection is opened.
        limits: `max_connections`: how many are open at once; a request beyond it waits, in the order of arrival, as
            long as its pool timeout says. `max_keepalive_connections`: how many are kept idle, and
            `keepalive_expiry`: for how many seconds. None is no limit.
        http2: Speak HTTP/2 where the server does. Its connections are shared by many requests, so that all of
            them go through one ordinary httpx transport.
        clock: What the seconds are counted by.

    Raises:
        ConfigurationError: `verify` or `limits` is of another kind, or a limit is no number that can work.
        ImportError: `http2` without the package h2.
        ClientClosedError: By a request, after `close` (it is a `RuntimeError`).
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
        limits: httpx.Limits = DEFAULT_LIMITS,
        http2: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(verify=verify, limits=limits, http2=http2, clock=clock)
        self.lock = threading.Lock()

    def start_anew(self) -> None:
        self.lock = threading.Lock()  # another thread of the parent may have held it
        super().start_anew()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of httpx, on the connection used last or on a new one."""
        if self._http2:
            return self._share(request)
        url = request.url
        lease = _OpenStream(self, (url.raw_scheme, url.raw_host, url.port), self.ledger)
        try:
            with self.lock:
                taken = lease.ledger.take(lease)
            if not taken:
                self._wait(lease, request)
            assert lease.connection is not None
            while (kept := lease.connection.network_stream) is not None and kept.get_extra_info("is_readable"):
                with self.lock:  # an answer to nothing: the server has closed it
                    lease.ledger.exchange(lease)
            if self.ledger.doomed:
                self.close_doomed()
            connection = lease.connection
            if connection.transport is None:
                connection.transport = self._open(lease.origin)
                opening = _Opening(connection, own_trace(request))
                response = connection.transport.handle_request(traced(request, opening))
            else:
                response = connection.transport.handle_request(request)
            connection.network_stream = response.extensions.get("network_stream")
            lease.response, lease.stream = response, response.stream
            response.stream = lease
        except BaseException as error:
            self.give_up(lease)
            if isinstance(error, httpx.RequestError):
                error.request = request
            raise
        return response

    def _make_event(self) -> Event:
        return _Turn()

    def _wait(self, lease: _Stream, request: httpx.Request) -> None:
        lease.event.wait_for(pool_timeout(request))
        if lease.connection is None:
            raise closed_error() if self.ledger.closed else httpx.PoolTimeout("No connection got free in time.")

    def _open(self, origin: Origin) -> httpx.HTTPTransport:
        with loading:  # httpx loads httpcore for its first transport
            return httpx.HTTPTransport(verify=self._context(origin[0]), limits=ONE_CONNECTION)

    def _share(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            if self.ledger.closed:
                raise closed_error()
            if self._shared is None:
                self._shared = httpx.HTTPTransport(verify=self._context(b"https"), limits=self._limits, http2=True)
        # Who of them opens a connection is not known here.
        return self._shared.handle_request(traced(request, own_trace(request)))

    def give_up(self, lease: _Stream) -> None:
        """Close the connection of a request or a response that broke off."""
        try:
            with self.lock:
                lease.ledger.give_up(lease)
        finally:
            if lease.connection is not None:  # interrupted
                with self.lock:
                    lease.ledger.give_up(lease)
        self.close_doomed()

    def close_doomed(self) -> None:
        """Close what the decisions have put aside."""
        doomed = self.ledger.doomed
        connection = None
        try:
            while True:
                with self.lock:
                    if not doomed:
                        return
                    connection = doomed[0]
                    del doomed[0]
                # Not by way of the transport, which has nothing else to close: Ctrl-C may have left its locks taken.
                if connection.network_stream is not None:
                    with suppress(OSError):  # of a connection that is of no use any more
                        connection.network_stream.close()
                connection = None
        finally:
            if connection is not None:  # interrupted: left to whoever closes next
                doomed += (connection,)

    def close(self) -> None:
        """Close what is idle; requests that are under way still end."""
        with self.lock:
            self.ledger.close()
            shared, self._shared = self._shared, None
        self.close_doomed()
        if shared is not None:
            shared.close()


class _Turn:
    """What a thread waits on. One of `threading` has locks of its own, which Ctrl-C may leave taken for ever."""

    __slots__ = ("_taken", "set")

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._taken.acquire()
        self.set = self._taken.release

    def wait_for(self, seconds: float | None) -> None:
        """Wait until it is set, or for so many seconds."""
        self._taken.acquire(timeout=-1 if seconds is None else max(seconds, 0))


class _Opening:
    """The trace of a request that opens a connection: it has the connection join its writes, and tells the request's.

    It keeps hold of a socket from its first moment, because httpcore does not close it if it is interrupted then.
    """

    def __init__(self, connection: Connection[httpx.HTTPTransport], trace: Any) -> None:
        self._connection = connection
        self._trace = trace

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event in OPENING:
            self._connection.network_stream = info["return_value"]
            self._connection.received = join_writes(info["return_value"])
        if self._trace is not None:
            self._trace(event, info)


class _Stream(Lease[httpx.HTTPTransport], httpx.SyncByteStream):
    """A response's body, which gives its connection back when it is closed."""

    pool: ConnectionPool

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.stream
        except GeneratorExit:  # left half read, and collected
            self._abandon()
            raise
        self.ended = True

    def _abandon(self) -> None:
        """End the lease of a body that nobody closed; the collector may have come in where the lock is held."""
        if self.connection is None:
            return
        self.ledger.abandoned.append(self)
        if self.pool.lock.acquire(blocking=False):
            try:
                self.ledger.give_up_abandoned()
            finally:
                self.pool.lock.release()

    def close(self) -> None:
        pool = self.pool
        try:
            clean, self.ended = self.clean, False  # for a second time, where the first is interrupted
            if clean:
                self.stream.close()
                with pool.lock:
                    self.ledger.give_back(self)
        finally:
            if self.connection is not None:
                pool.give_up(self)
        self.__class__ = _Stream  # pyright: ignore[reportAttributeAccessIssue]
        self.response = None  # which holds this one: a circle would be left to the collector
        if self.ledger.doomed:
            pool.close_doomed()


class _OpenStream(_Stream):
    """One that was not closed yet. Only this has a finalizer, in which Python would ignore Ctrl-C."""

    def __del__(self) -> None:
        self._abandon()
