"""The connection pools: limits, fairness, expiry, faults, cancellation, TLS, HTTP/2, threads."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from fetch_hive_sdk import ConfigurationError
from fetch_hive_sdk.async_connections import AsyncConnectionPool
from fetch_hive_sdk.connections import ConnectionPool, Lease, Ledger

from .connection_server import CountingServer, HTTP2Server, LoopServer, client_context, server_context
from .faulty_server import chunked, close, reply, reset, say_nothing
from .lost_sockets import collect_lost, lost_sockets_forgiven

pytestmark = pytest.mark.anyio

OK = reply(200, b"fine")


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Sender:
    """A pool of the test's flavor, under one surface that is awaited."""

    def __init__(self, flavor: str, **options: Any) -> None:
        self.sync = flavor == "sync"
        self.pool: Any = (ConnectionPool if self.sync else AsyncConnectionPool)(**options)

    def __repr__(self) -> str:
        return repr(self.pool).partition(": ")[2].rstrip(">")

    async def open(self, url: str, pool: float | None = 20, **extensions: Any) -> httpx.Response:
        """Send a request; the answer is still to be read."""
        timeout = {"connect": 20, "read": 20, "write": 20, "pool": pool}
        request = httpx.Request("GET", url, extensions={"timeout": timeout, **extensions})
        if self.sync:
            return self.pool.handle_request(request)
        return await self.pool.handle_async_request(request)

    async def read(self, response: httpx.Response) -> bytes:
        """Read an answer to its end, and close it then or if that fails, as a client does."""
        try:
            return response.read() if self.sync else await response.aread()
        finally:
            with anyio.CancelScope(shield=True):
                await self.close(response)

    async def get(self, url: str, **extensions: Any) -> bytes:
        """Send a request and read the answer."""
        return await self.read(await self.open(url, **extensions))

    async def close(self, response: httpx.Response) -> None:
        """Close an answer."""
        if self.sync:
            response.close()
        else:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the pool."""
        if self.sync:
            self.pool.close()
        else:
            await self.pool.aclose()


@pytest.fixture
async def make(flavor: str) -> AsyncIterator[Callable[..., Sender]]:
    """Make a pool; it is closed after the test."""
    made: list[Sender] = []

    def make(**options: Any) -> Sender:
        made.append(Sender(flavor, **options))
        return made[-1]

    yield make
    for sender in made:
        await sender.aclose()


@pytest.fixture
def servers() -> Iterator[Callable[..., CountingServer]]:
    """Start servers that answer "fine"."""
    with ExitStack() as stack:

        def start(*arguments: Any, kind: type[CountingServer] = CountingServer) -> CountingServer:
            return stack.enter_context(kind(*arguments)).then(OK)

        yield start


@pytest.fixture
def server(servers: Callable[..., CountingServer]) -> CountingServer:
    """A server that answers "fine"."""
    return servers()


def limits(most: int | None = 10, idle: int | None = None, expiry: float | None = None) -> httpx.Limits:
    return httpx.Limits(max_connections=most, max_keepalive_connections=idle, keepalive_expiry=expiry)


# --- Keeping connections ----------------------------------------------------------------------------------


async def test_the_connection_used_last_is_used_next(make: Callable[..., Sender], server: CountingServer) -> None:
    """Of three idle connections the one that came back last is used, again and again."""
    sender = make()
    responses = [await sender.open(server.url) for _ in range(3)]
    assert "3 connections in use, 0 idle, 0 requests waiting" == repr(sender)
    for response in responses:
        assert b"fine" == await sender.read(response)
    assert "0 connections in use, 3 idle, 0 requests waiting" == repr(sender)

    for _ in range(3):
        await sender.get(server.url)

    assert 3 == server.connections
    ports = [exchange.connection.getpeername() for exchange in server.requests]
    assert {ports[5]} == {ports[3], ports[4]}


async def test_each_origin_has_its_own_connections(
    make: Callable[..., Sender], servers: Callable[..., CountingServer]
) -> None:
    """A connection to one server is not used for another."""
    one, other = servers(), servers()
    sender = make()
    for server in (one, other, one, other):
        await sender.get(server.url)

    assert [1, 1] == [one.connections, other.connections]
    assert "0 connections in use, 2 idle, 0 requests waiting" == repr(sender)


async def test_an_ordinary_client_can_use_it(flavor: str, server: CountingServer) -> None:
    """The pools are transports for httpx's own clients, which close them."""
    if flavor == "sync":
        with httpx.Client(transport=ConnectionPool()) as client:
            assert ["fine", "fine"] == [client.get(server.url).text for _ in range(2)]  # noqa: ASYNC212 - meant
    else:
        async with httpx.AsyncClient(transport=AsyncConnectionPool()) as async_client:
            assert ["fine", "fine"] == [(await async_client.get(server.url)).text for _ in range(2)]

    assert 1 == server.connections
    server.wait_for_open(0)


async def test_a_connection_expires(make: Callable[..., Sender], server: CountingServer) -> None:
    """What was idle for longer than `keepalive_expiry` is closed and not used; what was not is."""
    clock = Clock()
    sender = make(limits=limits(expiry=5.0), clock=clock)
    await sender.get(server.url)
    clock.now += 4.9
    await sender.get(server.url)
    assert 1 == server.connections

    clock.now += 5.1
    await sender.get(server.url)

    assert 2 == server.connections
    server.wait_for_open(1)
    assert "0 connections in use, 1 idle, 0 requests waiting" == repr(sender)


async def test_what_lies_at_the_bottom_expires(make: Callable[..., Sender], server: CountingServer) -> None:
    """Idle connections that are not needed any more are closed while another one is in use all the time."""
    clock = Clock()
    sender = make(limits=limits(expiry=5.0), clock=clock)
    for response in [await sender.open(server.url) for _ in range(4)]:
        await sender.read(response)
    for _ in range(4):
        clock.now += 2
        await sender.get(server.url)

    server.wait_for_open(1)
    assert 4 == server.connections


async def test_no_more_are_kept_than_allowed(make: Callable[..., Sender], server: CountingServer) -> None:
    """What would be one idle connection too many is closed."""
    sender = make(limits=limits(10, 2))
    for response in [await sender.open(server.url) for _ in range(4)]:
        await sender.read(response)

    assert "0 connections in use, 2 idle, 0 requests waiting" == repr(sender)
    server.wait_for_open(2)


async def test_a_connection_that_the_server_has_closed(make: Callable[..., Sender], server: CountingServer) -> None:
    """Idle connections that the server closes are replaced without an error, whether one or all are closed."""

    def fine_then_close(exchange: Any) -> None:
        OK(exchange)
        close(exchange)

    sender = make()
    server.script[:] = [OK, fine_then_close, fine_then_close, OK]
    responses = [await sender.open(server.url) for _ in range(3)]
    server.wait_for_open(1)
    for response in responses:
        await sender.read(response)

    assert b"fine" == await sender.get(server.url)
    await sender.get(server.url)
    assert "0 connections in use" in repr(sender)


async def test_new_connections_take_the_place_of_closed_ones(
    make: Callable[..., Sender], server: CountingServer
) -> None:
    """Where all connections were closed by the server, and no more are allowed, a request still gets its own."""
    server.script[:] = [lambda exchange: (OK(exchange), close(exchange))[0]]
    sender = make(limits=limits(1))
    for count in (1, 2, 3):
        assert b"fine" == await sender.get(server.url, pool=0)
        server.wait_for_open(0)
        assert count == server.connections


async def test_a_server_that_keeps_no_connection(make: Callable[..., Sender], server: CountingServer) -> None:
    """An answer with "Connection: close" is read, and the next request has another connection."""
    server.script[:] = [reply(200, b"fine", Connection="close")]
    sender = make(limits=limits(1))
    for _ in range(3):
        assert b"fine" == await sender.get(server.url, pool=0)

    assert 3 == server.connections


# --- Limits ---------------------------------------------------------------------------------------------


async def test_the_pool_timeout(make: Callable[..., Sender], server: CountingServer) -> None:
    """Where all connections are in use, a request fails after its pool timeout and names itself."""
    sender = make(limits=limits(1))
    response = await sender.open(server.url)
    for seconds in (0, 0.001):
        with pytest.raises(httpx.PoolTimeout) as caught:
            await sender.open(server.url, pool=seconds)
        assert server.url == str(caught.value.request.url)
    assert "1 connections in use, 0 idle, 0 requests waiting" == repr(sender)

    await sender.read(response)

    assert b"fine" == await sender.get(server.url, pool=0)
    assert 1 == server.connections


async def test_room_for_another_origin(make: Callable[..., Sender], servers: Callable[..., CountingServer]) -> None:
    """At the limit an idle connection to another server is closed to make room."""
    one, other = servers(), servers()
    sender = make(limits=limits(2))
    for response in [await sender.open(one.url) for _ in range(2)]:
        await sender.read(response)

    await sender.get(other.url, pool=0)

    one.wait_for_open(1)
    assert "0 connections in use, 2 idle, 0 requests waiting" == repr(sender)


async def test_no_limits(make: Callable[..., Sender], server: CountingServer) -> None:
    """None is no limit."""
    sender = make(limits=limits(None, None, None))
    for response in [await sender.open(server.url) for _ in range(20)]:
        await sender.read(response)

    assert "0 connections in use, 20 idle, 0 requests waiting" == repr(sender)


# --- What ends early ------------------------------------------------------------------------------------


async def test_an_answer_that_is_closed_early(make: Callable[..., Sender], server: CountingServer) -> None:
    """An answer that is not read to its end closes its connection and frees its place; closing again does nothing."""
    server.script[:] = [chunked(b"one", end=say_nothing), OK]
    sender = make(limits=limits(1))
    response = await sender.open(server.url)
    for _ in range(2):
        await sender.close(response)
    assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)
    server.wait_for_open(0)

    assert b"fine" == await sender.get(server.url, pool=0)


# httpcore leaves its generators to trio, which has something to say about it.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_an_answer_that_is_closed_in_its_middle(make: Callable[..., Sender], server: CountingServer) -> None:
    """The same after its first piece was read."""
    server.script[:] = [chunked(b"one", end=say_nothing), OK]
    sender = make(limits=limits(1))
    response = await sender.open(server.url)
    if sender.sync:
        pieces = response.iter_raw()
        assert b"one" == next(pieces)
        pieces.close()  # type: ignore[attr-defined]
    else:
        async_pieces: Any = response.aiter_raw()
        assert b"one" == await async_pieces.__anext__()
        await async_pieces.aclose()
    await sender.close(response)
    server.wait_for_open(0)

    assert b"fine" == await sender.get(server.url, pool=0)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(close, httpx.RemoteProtocolError, id="closed before the answer"),
        pytest.param(reset, httpx.ReadError, id="reset before the answer"),
        pytest.param(lambda exchange: exchange.send(b"?\r\n\r\n"), httpx.RemoteProtocolError, id="not HTTP"),
        pytest.param(chunked(b"one", end=close), httpx.RemoteProtocolError, id="closed in the body"),
        pytest.param(chunked(b"one", end=reset), httpx.ReadError, id="reset in the body"),
    ],
)
async def test_a_fault(fault: Any, error: type[Exception], make: Callable[..., Sender], server: CountingServer) -> None:
    """After a fault the connection is closed and its place is free."""
    server.script[:] = [OK, fault, OK]
    sender = make(limits=limits(1))
    await sender.get(server.url)
    with pytest.raises(error):
        await sender.get(server.url)
    assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)
    server.wait_for_open(0)

    assert b"fine" == await sender.get(server.url, pool=0)


async def test_nobody_listens(make: Callable[..., Sender]) -> None:
    """A connection that cannot be made takes no place, and the error names its request."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sender = make()
    with pytest.raises(httpx.ConnectError) as caught:
        await sender.open(f"http://127.0.0.1:{port}/", new_connection_trace=Tracer(sender.sync))

    assert NEW_TRACE not in caught.value.request.extensions.get("trace", {})
    assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)


@pytest.mark.parametrize("url", ["ftp://localhost/", "/path"])
async def test_an_address_of_no_server(url: str, make: Callable[..., Sender]) -> None:
    """What httpx refuses is refused, and nothing is lost."""
    sender = make(verify=client_context())
    with pytest.raises(httpx.UnsupportedProtocol):
        await sender.open(url)

    assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)


# --- Tracing --------------------------------------------------------------------------------------------

NEW_TRACE = "new_connection_trace"


class Tracer:
    """Notes what it is told."""

    def __init__(self, sync: bool) -> None:
        self.events: list[str] = []
        self.sync = sync

    def __call__(self, event: str, info: Any) -> Any:
        self.events.append(event)
        return None if self.sync else anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("secure", [False, True])
async def test_only_new_connections_are_traced(
    secure: bool, make: Callable[..., Sender], servers: Callable[..., CountingServer], tmp_path: pathlib.Path
) -> None:
    """The trace of new connections is told of the request that opens one, and of no other, sent again or not."""
    server = servers(server_context(tmp_path)) if secure else servers()
    sender = make(verify=client_context())
    extensions = {NEW_TRACE: Tracer(sender.sync)}
    await sender.get(server.url, **extensions)
    told = list(extensions[NEW_TRACE].events)
    assert "connection.connect_tcp.complete" in told
    assert "http11.send_request_headers.started" in told

    await sender.get(server.url, **extensions)

    assert told == extensions[NEW_TRACE].events
    assert "trace" not in extensions


@pytest.mark.parametrize("secure", [False, True])
async def test_an_ordinary_trace(
    secure: bool, make: Callable[..., Sender], servers: Callable[..., CountingServer], tmp_path: pathlib.Path
) -> None:
    """Httpx's own `trace` is told of every request."""
    server = servers(server_context(tmp_path)) if secure else servers()
    sender = make(verify=client_context())
    tracer = Tracer(sender.sync)
    for _ in range(2):
        await sender.get(server.url, trace=tracer)

    assert 1 == tracer.events.count("connection.connect_tcp.complete")
    assert 2 == tracer.events.count("http11.send_request_headers.started")


# --- TLS and HTTP/2 -------------------------------------------------------------------------------------


async def test_tls(make: Callable[..., Sender], servers: Callable[..., CountingServer], tmp_path: pathlib.Path) -> None:
    """Connections with TLS are kept too; the context is made when the first is opened, once, and not before."""
    made: list[ssl.SSLContext] = []

    def make_context() -> ssl.SSLContext:
        made.append(client_context())
        return made[-1]

    plain, secure = servers(), servers(server_context(tmp_path))
    sender = make(verify=make_context)
    await sender.get(plain.url)
    assert [] == made

    for response in [await sender.open(secure.url) for _ in range(2)]:
        assert b"fine" == await sender.read(response)
    await sender.get(secure.url)

    assert 1 == len(made)
    assert 2 == secure.connections


async def test_a_certificate_that_is_not_trusted(
    make: Callable[..., Sender], servers: Callable[..., CountingServer], tmp_path: pathlib.Path
) -> None:
    """By default the usual certificates are trusted, and no other; also after plain HTTP."""
    sender = make()
    await sender.get(servers().url)
    with pytest.raises(httpx.ConnectError):  # trio has no text for it
        await sender.get(servers(server_context(tmp_path)).url)

    assert "0 connections in use, 1 idle, 0 requests waiting" == repr(sender)


async def test_a_handshake_that_fails_late(make: Callable[..., Sender], server: CountingServer) -> None:
    """A server that does not answer to a TLS handshake is left after the connect timeout, and nothing stays open."""
    sender = make(verify=client_context())
    with pytest.raises(httpx.ConnectTimeout):
        await sender.open(
            server.url.replace("http:", "https:").replace("127.0.0.1", "localhost"), timeout={"connect": 0.02}
        )
    assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)

    server.wait_for_open(0)


async def test_http2(
    make: Callable[..., Sender], servers: Callable[..., CountingServer], tmp_path: pathlib.Path
) -> None:
    """With HTTP/2 many requests share one connection, which is closed with the pool."""
    server = servers(server_context(tmp_path, "h2"), kind=HTTP2Server)
    sender = make(verify=client_context, http2=True)
    tracer = Tracer(sender.sync)
    responses = [await sender.open(f"{server.url}{n}", **{NEW_TRACE: tracer}) for n in range(3)]
    assert [b"/0", b"/1", b"/2"] == [await sender.read(response) for response in responses]
    assert ["HTTP/2"] * 3 == [response.http_version for response in responses]
    assert 1 == tracer.events.count("connection.connect_tcp.complete")
    assert 1 == server.connections

    await sender.aclose()

    server.wait_for_open(0)
    with pytest.raises(RuntimeError, match="closed"):
        await sender.open(server.url)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": False}, "verify: a bool is not allowed."),
        ({"verify": "/etc/ca.pem"}, "verify: a str is not allowed."),
        ({"verify": ssl.SSLContext}, "verify: a type is not allowed."),
        ({"limits": 5}, "limits: an int is not allowed."),
        ({"limits": None}, "limits: None is not allowed."),
        ({"limits": httpx.Limits(max_connections=0)}, "limits: 0 is not allowed for max_connections."),
        ({"limits": httpx.Limits(max_connections=True)}, "limits: True is not allowed for max_connections."),
        (
            {"limits": httpx.Limits(max_keepalive_connections=-1)},
            "limits: -1 is not allowed for max_keepalive_connections.",
        ),
        ({"limits": httpx.Limits(keepalive_expiry=math.nan)}, "limits: nan is not allowed for keepalive_expiry."),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    """Connections that could never work are refused when they are made, by the option's name and its value's kind."""
    for pool in (ConnectionPool, AsyncConnectionPool):
        with pytest.raises(ConfigurationError) as caught:
            pool(**options)
        assert message == caught.value.message
        assert caught.value.hint.startswith("Pass ")


async def test_http2_without_its_package(flavor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package for HTTP/2 is missing, asking for it says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'httpx\[http2\]'"):
        Sender(flavor, http2=True)


# --- The end --------------------------------------------------------------------------------------------


async def test_closing(make: Callable[..., Sender], server: CountingServer) -> None:
    """Closing closes what is idle at once and what is in use when it is read; a new request is an error."""
    sender = make()
    idle, used = await sender.open(server.url), await sender.open(server.url)
    await sender.read(idle)
    await sender.aclose()
    server.wait_for_open(1)

    assert b"fine" == await sender.read(used)
    server.wait_for_open(0)
    with pytest.raises(RuntimeError, match="pool is closed"):
        await sender.open(server.url)
    await sender.aclose()
    assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)


# --- Decisions, without any connection ------------------------------------------------------------------


def ledger_of(most: int | None = 1, idle: int | None = None, expiry: float | None = None) -> tuple[Any, Clock]:
    clock = Clock()
    return Ledger(limits(most, idle, expiry), clock, threading.Event), clock


def lease_of(origin: str = "one") -> Any:
    return Lease(None, (b"http", origin.encode(), None))


def test_who_waits_longest_is_next() -> None:
    """Free places go to those who wait, in the order in which they came, and not to a newcomer."""
    ledger, _ = ledger_of(2)
    leases = [lease_of() for _ in range(6)]
    assert [True, True, False, False, False, False] == [ledger.take(lease) for lease in leases]
    ledger.give_up(leases[3])  # it has waited in vain
    kept = leases[0].connection

    ledger.give_back(leases[0])  # its connection goes on
    ledger.give_up(leases[1])  # only its place does
    newcomer = lease_of()
    assert not ledger.take(newcomer)

    assert kept is leases[2].connection
    assert leases[4].connection is not None
    assert [True, True, False] == [lease.event.is_set() for lease in (leases[2], leases[4], leases[5])]
    assert "2 connections in use, 0 idle, 2 requests waiting" == repr(ledger)
    ledger.give_back(leases[2])
    assert leases[5].event.is_set()
    assert not newcomer.event.is_set()


def test_a_place_goes_to_another_origin() -> None:
    """A connection whose place goes to a request for another server is closed."""
    ledger, _ = ledger_of(1)
    first, second = lease_of("one"), lease_of("two")
    ledger.take(first)
    first.connection.transport = "open"
    ledger.take(second)
    ledger.give_back(first)

    assert (b"http", b"two", None) == second.connection.origin
    assert ["open"] == [connection.transport for connection in ledger.doomed]
    assert "1 connections in use, 0 idle, 0 requests waiting" == repr(ledger)


def test_ending_a_lease_twice() -> None:
    """A lease that has ended ends no second time."""
    ledger, _ = ledger_of()
    lease = lease_of()
    ledger.take(lease)
    for _ in range(2):
        ledger.give_back(lease)
        ledger.give_up(lease)

    assert "0 connections in use, 1 idle, 0 requests waiting" == repr(ledger)


def test_expired_ones_are_put_aside_bit_by_bit() -> None:
    """One request puts aside a few expired connections, the next ones the rest; no expired one is given out."""
    ledger, clock = ledger_of(100, expiry=5.0)
    leases = [lease_of("one" if n % 2 else "two") for n in range(20)]
    for lease in leases:
        ledger.take(lease)
    for lease in leases:
        ledger.give_back(lease)
    clock.now += 6
    late = [lease_of("two") for _ in range(3)]
    counts = []
    for lease in late:
        ledger.take(lease)
        counts.append(len(ledger.doomed))

    assert counts[0] < counts[1] < counts[2] == 20
    assert not {lease.connection for lease in late} & set(ledger.doomed)
    assert "3 connections in use, 0 idle, 0 requests waiting" == repr(ledger)


def test_an_expired_connection_makes_room() -> None:
    """At the limit an expired connection that is not yet put aside gives its place to a new one."""
    ledger, clock = ledger_of(20, expiry=5.0)
    leases = [lease_of() for _ in range(20)]
    for lease in leases:
        ledger.take(lease)
    for lease in leases:
        ledger.give_back(lease)
    clock.now += 6

    assert all(ledger.take(lease_of()) for _ in range(20))
    assert "20 connections in use, 0 idle, 0 requests waiting" == repr(ledger)
    assert 20 == len(ledger.doomed)


# --- Waiting, in tasks ----------------------------------------------------------------------------------


@pytest.fixture
def loop_flavor(flavor: str) -> None:
    if flavor == "sync":
        pytest.skip("about tasks")


@pytest.mark.usefixtures("loop_flavor")
async def test_tasks_wait_in_turn() -> None:
    """Many tasks share few connections, never more than allowed, and are served in the order of their coming."""
    served: list[int] = []
    async with LoopServer() as server, AsyncConnectionPool(limits=limits(3)) as pool:
        client = httpx.AsyncClient(transport=pool)

        async def call(number: int) -> None:
            async with client.stream("GET", f"{server.url}/chunks", timeout=20) as response:
                served.append(number)
                assert b"fine" * 5 == await response.aread()

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(call, number)
                await anyio.lowlevel.checkpoint()
        assert 3 == server.most_open

    assert list(range(30)) == sorted(served)
    assert all(abs(place - number) < 3 for place, number in enumerate(served))


@pytest.mark.usefixtures("loop_flavor")
async def test_closing_wakes_tasks_that_wait() -> None:
    """A request that waits for its connection while the pool is closed gets the error of a closed pool."""
    sender = Sender("async", limits=limits(1))
    async with LoopServer() as server:
        response = await sender.open(f"{server.url}/ok")

        async def wait() -> None:
            with pytest.raises(RuntimeError, match="pool is closed"):
                await sender.open(f"{server.url}/ok", pool=None)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            while "1 requests waiting" not in repr(sender):
                await anyio.lowlevel.checkpoint()
            await sender.aclose()
        assert b"fine" == await sender.read(response)


# --- Cancellation ---------------------------------------------------------------------------------------


async def after(rounds: int) -> None:
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()


class Cancelled:
    """A call in a task of its own, cancelled after so many rounds of the loop; natively and again in asyncio."""

    def __init__(self, anyio_backend: str, again: int | None) -> None:
        self.native = anyio_backend == "asyncio" and again is not None
        self.again = again or 0

    async def __call__(self, call: Callable[[], Any], rounds: int) -> bool:
        """Call, cancel, and tell whether the call had come to its end before."""
        ended = False

        async def run() -> None:
            nonlocal ended
            with suppress(httpx.HTTPError):
                await call()
            ended = True

        if self.native:
            task = asyncio.ensure_future(run())
            await after(rounds)
            task.cancel()
            await after(self.again)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return ended
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await after(rounds)
            tasks.cancel_scope.cancel()
        return ended


@lost_sockets_forgiven
@pytest.mark.usefixtures("loop_flavor")
@pytest.mark.parametrize("again", [None, 0, 2])
@pytest.mark.parametrize("path", ["/ok", "/close", "/chunks", "/silent", "/cut"])
@pytest.mark.parametrize("kept", [False, True])
async def test_a_cancellation_at_every_await(anyio_backend: str, again: int | None, path: str, kept: bool) -> None:
    """A request may be cancelled at any of its awaits, and again while it cleans up: no place and no socket is lost."""
    cancelled = Cancelled(anyio_backend, again)
    sender = Sender("async", limits=limits(1))
    async with LoopServer() as server:
        for rounds in range(60):
            if kept:
                await sender.get(f"{server.url}/ok")
            ended = await cancelled(lambda: sender.get(server.url + path), rounds)

            assert "0 connections in use" in repr(sender)
            assert "0 requests waiting" in repr(sender)
            assert b"fine" == await sender.get(f"{server.url}/ok", pool=0)
            if ended:
                break
        # One that the library below has opened unseen, for one that the server had closed, is not kept.
        assert b"fine" == await sender.get(f"{server.url}/ok")
        collect_lost()
        await server.wait_for_open(1)
        await sender.aclose()
        collect_lost()
        await server.wait_for_open(0)
        assert ended or path == "/silent"


@lost_sockets_forgiven
@pytest.mark.usefixtures("loop_flavor")
@pytest.mark.parametrize("again", [None, 0, 1])
async def test_a_cancellation_while_waiting(anyio_backend: str, again: int | None) -> None:
    """A request may be cancelled while it waits, and in the moment in which its connection comes."""
    cancelled = Cancelled(anyio_backend, again)
    sender = Sender("async", limits=limits(1))
    async with LoopServer() as server:
        for rounds in range(40):
            response = await sender.open(f"{server.url}/ok")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancelled, lambda: sender.get(f"{server.url}/ok", pool=None), rounds)
                await after(20)
                await sender.read(response)

            assert "0 connections in use" in repr(sender)
            assert "0 requests waiting" in repr(sender)
        assert b"fine" == await sender.get(f"{server.url}/ok", pool=0)
        await sender.aclose()
        collect_lost()
        await server.wait_for_open(0)


@lost_sockets_forgiven
@pytest.mark.usefixtures("loop_flavor")
@pytest.mark.parametrize("again", [None, 0, 1])
async def test_a_cancellation_in_a_handshake(anyio_backend: str, again: int | None, server: CountingServer) -> None:
    """A request may be cancelled while TLS is being spoken of: its socket is closed."""
    cancelled = Cancelled(anyio_backend, again)
    sender = Sender("async", limits=limits(1), verify=client_context())
    url = server.url.replace("http:", "https:")
    for rounds in range(0, 40, 3):
        await cancelled(lambda: sender.get(url), rounds)
        assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)
    collect_lost()
    with anyio.fail_after(20):
        await anyio.to_thread.run_sync(server.wait_for_open, 0)


@lost_sockets_forgiven
@pytest.mark.usefixtures("loop_flavor")
async def test_a_cancelled_request_still_closes_what_has_expired() -> None:
    """What a cancelled request has found expired is closed by it, and not left to the next request."""
    clock = Clock()
    sender = Sender("async", limits=limits(expiry=5.0), clock=clock)
    async with LoopServer() as server:
        for response in [await sender.open(f"{server.url}/ok") for _ in range(3)]:
            await sender.read(response)
        clock.now += 6
        with anyio.CancelScope() as scope:
            scope.cancel()
            await sender.get(f"{server.url}/ok")

        await server.wait_for_open(0)
        assert "0 connections in use, 0 idle, 0 requests waiting" == repr(sender)
        await sender.aclose()


@lost_sockets_forgiven
@pytest.mark.usefixtures("loop_flavor")
@pytest.mark.parametrize("seed", range(2))
async def test_a_soak(anyio_backend: str, seed: int) -> None:
    """Hundreds of requests, faults and cancellations at random leave a pool that counts right and can be used."""
    rng = random.Random(seed)
    sender = Sender("async", limits=limits(4, 3, 5.0))
    paths = ["/ok", "/ok", "/chunks", "/chunks", "/close", "/cut", "/hang-up", "/not-http", "/silent"]
    async with LoopServer() as server, LoopServer() as other:

        async def caller(rng: random.Random) -> None:
            for _ in range(25):
                url = rng.choice([server, server, other]).url + rng.choice(paths)
                cancelled = Cancelled(anyio_backend, rng.choice([None, 0, 1, 2]))
                await cancelled(lambda url=url: sender.get(url, pool=None), rng.randrange(80))

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(caller, random.Random(rng.random()))
        assert "0 connections in use" in repr(sender)
        assert "0 requests waiting" in repr(sender)

        responses = [await sender.open(f"{server.url}/ok", pool=0) for _ in range(4)]
        assert [b"fine"] * 4 == [await sender.read(response) for response in responses]
        await sender.aclose()
        collect_lost()
        await server.wait_for_open(0)
        await other.wait_for_open(0)


# --- Threads --------------------------------------------------------------------------------------------


def test_threads(server: CountingServer) -> None:
    """Many threads share few connections, never more than allowed."""
    with (
        httpx.Client(transport=ConnectionPool(limits=limits(3)), timeout=20) as client,
        ThreadPoolExecutor(12) as threads,
    ):
        texts = list(threads.map(lambda _: client.get(server.url).text, range(200)))

    assert {"fine"} == set(texts)
    assert 3 >= server.connections
    server.wait_for_open(0)


def test_closing_wakes_threads_that_wait(server: CountingServer) -> None:
    """A request that waits for its connection while the pool is closed gets the error of a closed pool."""
    pool = ConnectionPool(limits=limits(1))
    waiting = threading.Event()

    class Timeouts(dict[str, Any]):
        """Tells that the pool looks for how long to wait."""

        def get(self, name: str, default: Any = None) -> Any:
            waiting.set()
            return super().get(name, default)

    request = httpx.Request("GET", server.url)
    response = pool.handle_request(request)
    with ThreadPoolExecutor(1) as threads:
        other = httpx.Request("GET", server.url, extensions={"timeout": Timeouts()})
        waits = threads.submit(pool.handle_request, other)
        assert waiting.wait(20)
        pool.close()
        with pytest.raises(RuntimeError, match="pool is closed"):
            waits.result(20)
    assert b"fine" == response.read()
    server.wait_for_open(0)


class Interrupted(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="about signals")
def test_an_interrupt_while_waiting(server: CountingServer) -> None:
    """An interrupt, as by Ctrl-C, ends the waiting for a connection and for an answer, and no place is lost."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    server.script[:] = [OK, say_nothing, OK]
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ConnectionPool(limits=limits(1)) as pool:
            response = pool.handle_request(httpx.Request("GET", server.url))
            for _ in range(2):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with pytest.raises(Interrupted):
                    pool.handle_request(httpx.Request("GET", server.url))
                response.read()
            assert "0 connections in use, 0 idle, 0 requests waiting" in repr(pool)
            assert b"fine" == pool.handle_request(httpx.Request("GET", server.url)).read()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_sync_pool_loads_no_event_loop() -> None:
    """A program with the sync pool alone does not pay for anyio."""
    program = (  # an httpx of before 0.28 loads it itself
        "import sys, httpx; before = set(sys.modules); import fetch_hive_sdk.connections; "
        "print({'anyio', 'asyncio'} & (sys.modules.keys() - before))"
    )
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "set()" == printed.stdout.strip()
