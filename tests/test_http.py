"""The connections of a client: what is sent, what is shared, what is closed, and whose httpx client it is."""

from __future__ import annotations

import asyncio
import copy
import json
import multiprocessing
import os
import pickle
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import (
    APIConnectionError,
    APITimeoutError,
    AsyncConnectionPool,
    AsyncFetchHive,
    ClientClosedError,
    ConfigurationError,
    ConnectionPool,
    FetchHive,
    FetchHiveError,
    RetryPolicy,
)
from fetch_hive_sdk.http import tls_context
from fetch_hive_sdk.version import VERSION

from .faulty_server import Exchange, FaultyServer, json_reply, say_nothing, stream, wait_for_hang_up

pytestmark = pytest.mark.anyio

ANSWER = '{"request_id":"req_1","response":"Hi"}'


async def invoke(client: Any) -> Any:
    return await client.invoke_prompt(deployment="d", variant="v")


async def test_the_request_as_it_is_sent(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A call is one POST with the key, JSON both ways, our User-Agent and the caller's headers."""
    httpx_mock.add_response(json={"response": "Hi"})
    async with make_client(default_headers={"X-Team": "support"}, default_metadata={"region": "eu"}) as client:
        await client.invoke_prompt(deployment="d", variant="v", metadata={"plan": "pro"})
    [request] = httpx_mock.get_requests()
    assert ("POST", "https://api.fetchhive.com/v1/prompt/invoke") == (request.method, str(request.url))
    assert "Bearer fhk_test" == request.headers["Authorization"]
    assert "application/json" == request.headers["Content-Type"] == request.headers["Accept"]
    assert request.headers["User-Agent"].startswith(f"fetch-hive-sdk/{VERSION} python/3.")
    assert "support" == request.headers["X-Team"]
    assert {
        "deployment": "d",
        "variant": "v",
        "streaming": False,
        "metadata": {"region": "eu", "plan": "pro"},
    } == json.loads(request.content)


async def test_a_stream_asks_for_events(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A streamed call accepts an event stream, and JSON for refusals."""
    body = b'data: {"type":"usage"}\n\ndata: [DONE]\n\n'
    httpx_mock.add_response(content=body, headers={"Content-Type": "text/event-stream"})
    async with make_client() as client:
        await client.invoke_prompt_stream(deployment="d").final()
    [request] = httpx_mock.get_requests()
    assert "text/event-stream, application/json" == request.headers["Accept"]
    assert {"deployment": "d", "streaming": True} == json.loads(request.content)


async def test_calls_share_one_connection(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Calls in a row, on the client and on its copies, use one connection."""
    faulty.then(json_reply(ANSWER))
    async with make_client(base_url=faulty.base_url) as client:
        for each in (client, client.with_options(timeout=3), client.with_options(max_retries=0), client):
            assert "Hi" == (await invoke(each)).response
    assert (4, 1) == (len(faulty.requests), faulty.connections)


async def test_closing_a_copy_closes_nothing(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """The connections belong to the client that was made first."""
    faulty.then(json_reply(ANSWER))
    async with make_client(base_url=faulty.base_url) as client:
        async with client.with_options(timeout=3) as copied:
            await invoke(copied)
        assert "Hi" == (await invoke(client)).response
    with pytest.raises(ClientClosedError, match="The client is closed"):
        await invoke(copied)


async def test_a_closed_client_says_so(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """After close, calls and streams are refused with one clear error; a second close does nothing."""
    faulty.then(json_reply(ANSWER))
    client = make_client(base_url=faulty.base_url)
    await invoke(client)
    await client.aclose()
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await invoke(client)
    with pytest.raises(ClientClosedError):
        await client.invoke_prompt_stream(deployment="d").final()
    assert issubclass(ClientClosedError, RuntimeError)


async def test_closing_an_unused_client_builds_nothing(make_client: Callable[..., Any]) -> None:
    """A client that was never used has nothing to close."""
    client = make_client()
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await invoke(client)


def given_client(flavor: str, **options: Any) -> Any:
    return httpx.Client(**options) if flavor == "sync" else httpx.AsyncClient(**options)


async def close_given(client: Any) -> None:
    if isinstance(client, (httpx.Client, ConnectionPool)):
        client.close()
    else:
        await client.aclose()


async def test_an_own_httpx_client_is_used_and_never_closed(
    flavor: str, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """What the caller's httpx client adds to a request is sent, its hooks run, and it stays open."""
    faulty.then(json_reply(ANSWER))
    hooked: list[str] = []

    def hook(request: httpx.Request) -> None:
        hooked.append(request.method)

    async def async_hook(request: httpx.Request) -> None:
        hooked.append(request.method)

    given = given_client(
        flavor,
        headers={"X-Given": "yes"},
        params={"trace": "1"},
        cookies={"session": "s"},
        event_hooks={"request": [hook if flavor == "sync" else async_hook]},
    )
    async with make_client(base_url=faulty.base_url, http_client=given) as client:
        assert "Hi" == (await invoke(client)).response
    assert not given.is_closed
    await close_given(given)
    head = faulty.requests[0].head.decode()
    assert head.startswith("POST /v1/prompt/invoke?trace=1 ")
    assert {"X-Given: yes", "Cookie: session=s"} <= set(head.split("\r\n"))
    assert ["POST"] == hooked


async def test_an_own_httpx_client_that_is_closed_is_refused(flavor: str, make_client: Callable[..., Any]) -> None:
    """A caller's httpx client that was closed elsewhere gives the same clear error."""
    given = given_client(flavor)
    await close_given(given)
    with pytest.raises(ClientClosedError):
        await invoke(make_client(http_client=given))


async def test_raise_for_status_in_a_hook_passes_through(
    flavor: str, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """A hook that raises for the status has its own way: its error is neither wrapped nor retried."""
    faulty.then(json_reply("{}", 429))

    def hook(response: httpx.Response) -> None:
        response.raise_for_status()

    async def async_hook(response: httpx.Response) -> None:
        response.raise_for_status()

    given = given_client(flavor, event_hooks={"response": [hook if flavor == "sync" else async_hook]})
    with pytest.raises(httpx.HTTPStatusError):
        await invoke(make_client(base_url=faulty.base_url, http_client=given))
    await close_given(given)
    assert 1 == len(faulty.requests)


async def test_an_error_of_a_hook_passes_through(
    flavor: str, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """What the caller's own hook raises is the caller's: it is neither wrapped nor retried."""
    faulty.then(json_reply(ANSWER))

    def hook(_: httpx.Response) -> None:
        raise KeyError("mine")

    async def async_hook(_: httpx.Response) -> None:
        raise KeyError("mine")

    given = given_client(flavor, event_hooks={"response": [hook if flavor == "sync" else async_hook]})
    with pytest.raises(KeyError, match="mine"):
        await invoke(make_client(base_url=faulty.base_url, http_client=given))
    await close_given(given)
    assert 1 == len(faulty.requests)


@pytest.mark.parametrize(
    ("cls", "wrong"), [(FetchHive, httpx.AsyncClient), (AsyncFetchHive, httpx.Client)], ids=["sync", "async"]
)
def test_the_wrong_kind_of_httpx_client_is_refused(cls: Any, wrong: Any) -> None:
    """Each client takes its own kind of httpx client and names it."""
    with pytest.raises(TypeError, match=r"http_client: .* is not allowed here. Pass an httpx\."):
        cls("fhk_test", http_client=wrong(verify=tls_context()))
    with pytest.raises(TypeError, match="an int of builtins"):
        cls("fhk_test", http_client=5)


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("x"), httpx.ReadError("x"), OSError("x"), httpx.InvalidURL("x")]
)
async def test_a_failing_transport_gives_our_error(
    failure: Exception, make_client: Callable[..., Any], flavor: str
) -> None:
    """Whatever a transport fails with comes out as one of our errors, with its cause."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise failure

    given = given_client(flavor, transport=httpx.MockTransport(fail))
    with pytest.raises(APIConnectionError) as caught:
        await invoke(make_client(http_client=given, max_retries=0))
    await close_given(given)
    assert failure is caught.value.__cause__


async def test_a_proxy_from_the_environment_is_used(
    faulty: FaultyServer, make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY and NO_PROXY work as in httpx."""
    faulty.then(json_reply(ANSWER))
    monkeypatch.setenv("HTTP_PROXY", faulty.base_url.removesuffix("/v1"))
    async with make_client(base_url="http://service.example/v1") as client:
        assert "Hi" == (await invoke(client)).response
    assert faulty.requests[0].head.startswith(b"POST http://service.example/v1/prompt/invoke ")


async def test_an_unreachable_proxy_is_named(
    make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, faulty: FaultyServer
) -> None:
    """A proxy that refuses to connect gives an error that says so, and that nothing was run."""
    faulty.then(json_reply("{}", 403))
    monkeypatch.setenv("HTTPS_PROXY", faulty.base_url.removesuffix("/v1"))
    async with make_client(base_url="https://service.example/v1", max_retries=0) as client:
        with pytest.raises(APIConnectionError, match="the proxy refused the connection") as caught:
            await invoke(client)
    assert not caught.value.may_have_run


async def test_a_full_pool_times_out_without_sending(
    flavor: str, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """When no connection becomes free in time the error says so, and that nothing was run."""
    faulty.then(json_reply(ANSWER))
    given = given_client(flavor, limits=httpx.Limits(max_connections=1))
    client = make_client(
        base_url=faulty.base_url, http_client=given, timeout=httpx.Timeout(5, pool=0.05), max_retries=0
    )
    holding = given.stream("POST", f"{faulty.base_url}/hold")
    if flavor == "sync":
        with holding, pytest.raises(APITimeoutError, match="no connection became free in time") as caught:
            await invoke(client)
    else:
        async with holding:
            with pytest.raises(APITimeoutError, match="no connection became free in time") as caught:
                await invoke(client)
    await close_given(given)
    assert not caught.value.may_have_run


async def test_phases_of_an_httpx_timeout_are_kept(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """An httpx.Timeout sets the phases: its read timeout ends a silent call."""
    faulty.then(say_nothing)
    async with make_client(base_url=faulty.base_url, timeout=httpx.Timeout(5, read=0.1)) as client:
        with pytest.raises(APITimeoutError):
            await invoke(client)


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_the_deadline_holds_against_dripping_headers(faulty: FaultyServer, flavor: str) -> None:
    """In the async client the attempt ends at its timeout even if the headers themselves drip in."""

    def drip_headers(exchange: Any) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while exchange.pause(0.01):
            exchange.send(b"x")

    faulty.then(drip_headers)
    async with AsyncFetchHive("fhk_test", faulty.base_url, timeout=0.2) as client:
        with pytest.raises(APITimeoutError) as caught:
            await invoke(client)
    assert caught.value.may_have_run


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_a_cancelled_call_leaves_the_client_usable(faulty: FaultyServer, flavor: str) -> None:
    """Cancelling a call gives its connection back; the next call works on a pool of one."""
    faulty.then(say_nothing, json_reply(ANSWER))
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as one:
        client = AsyncFetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        with anyio.move_on_after(0.1) as scope:
            await invoke(client)
        assert scope.cancelled_caught
        assert "Hi" == (await invoke(client)).response


def test_a_second_event_loop_is_refused(faulty: FaultyServer) -> None:
    """An async client that is used in another event loop says what to do instead of failing strangely."""
    faulty.then(json_reply(ANSWER))
    client = AsyncFetchHive("fhk_test", faulty.base_url)

    async def first() -> None:
        await invoke(client)
        await client.aclose()

    asyncio.run(first())
    with pytest.raises(ClientClosedError, match="one client per event loop"):
        asyncio.run(invoke(client))


def test_closing_in_a_second_event_loop_is_refused(faulty: FaultyServer) -> None:
    """Closing an async client in another event loop says what to do instead of failing strangely."""
    faulty.then(json_reply(ANSWER))
    client = AsyncFetchHive("fhk_test", faulty.base_url)

    async def use() -> None:
        await invoke(client)
        [own] = client._pool._own.values()
        await own.aclose()

    asyncio.run(use())
    with pytest.raises(ClientClosedError, match="one client per event loop"):
        asyncio.run(client.aclose())


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_PROXY", "foo://user:s3cret@proxy"), ("SSL_CERT_FILE", __file__), ("HTTP_PROXY", "http://h:port")],
)
async def test_a_wrong_environment_is_a_configuration_error(
    name: str, value: str, make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy or certificate file that cannot be used is named by its kind, without its value."""
    monkeypatch.setenv(name, value)
    tls_context.cache_clear()
    try:
        with pytest.raises(ConfigurationError, match=name) as caught:
            await invoke(make_client())
    finally:
        tls_context.cache_clear()
    assert "s3cret" not in str(caught.value)


async def test_a_refused_handshake_did_not_run(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """A server that says nothing to a TLS hello has got no request: the timeout says that nothing ran."""
    faulty.then(say_nothing)
    base_url = faulty.base_url.replace("http://", "https://")
    async with make_client(base_url=base_url, timeout=0.2, max_retries=0) as client:
        with pytest.raises(APITimeoutError) as caught:
            await invoke(client)
    assert not caught.value.may_have_run
    assert "POST" == caught.value.request.method


def test_a_slow_upload_ends_at_the_timeout() -> None:
    """A body that the server takes in slowly does not extend the timeout of the attempt."""
    stopping = threading.Event()

    def sip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not stopping.wait(0.01) and connection.recv(1024):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server = threading.Thread(target=sip, args=(listener,))
        server.start()
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with FetchHive("fhk_test", base_url, 0.5, max_retries=0) as client:
            started = time.monotonic()
            with pytest.raises(APITimeoutError):
                client.invoke_prompt(deployment="d", inputs={"text": "x" * 20_000_000})
            assert time.monotonic() - started < 10  # a hang, and no measure of speed
        stopping.set()
        server.join()


def test_the_deadline_holds_on_a_connection_of_the_caller(faulty: FaultyServer) -> None:
    """A connection that the caller's httpx client had opened before keeps to the attempt's timeout too."""

    def drip_body(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        while exchange.pause(0.01):
            exchange.send(b" ")

    faulty.then(json_reply(ANSWER), drip_body)
    with httpx.Client() as given:
        given.get(faulty.base_url)
        with pytest.raises(APITimeoutError):
            FetchHive("fhk_test", faulty.base_url, 0.3, http_client=given).invoke_prompt(deployment="d")
    assert (2, 1) == (len(faulty.requests), faulty.connections)


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
async def test_what_is_raised_inside_a_call_comes_out_as_it_is(flavor: str, raised: type[BaseException]) -> None:
    """Ctrl-C, an exit and an error of the caller's own code are not wrapped in a group."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise raised

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as given:
        with pytest.raises(raised):
            await invoke(AsyncFetchHive("fhk_test", http_client=given))


@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_a_cancelled_task_of_a_hook_is_a_cancellation(flavor: str) -> None:
    """A hook that awaits something cancelled ends the call as cancelled, as with httpx."""

    async def answer(_: httpx.Request) -> httpx.Response:
        task = asyncio.ensure_future(asyncio.sleep(0))
        task.cancel()
        await task
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as given:
        with pytest.raises(asyncio.CancelledError):
            await invoke(AsyncFetchHive("fhk_test", http_client=given))


@pytest.mark.parametrize("named", [True, False], ids=["with its request", "without one"])
async def test_a_call_of_a_hook_fails_for_itself(
    named: bool, flavor: str, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """The failure of a hook's own call to somewhere else is not taken for a failure of ours, and repeats nothing."""
    faulty.then(json_reply(ANSWER))
    elsewhere = httpx.Request("GET", "https://elsewhere.example")

    def hook(_: httpx.Response) -> None:
        raise httpx.ConnectError("elsewhere", request=elsewhere if named else None)

    async def async_hook(response: httpx.Response) -> None:
        hook(response)

    given = given_client(flavor, event_hooks={"response": [hook if flavor == "sync" else async_hook]})
    with pytest.raises(httpx.ConnectError, match="elsewhere"):
        await invoke(make_client(base_url=faulty.base_url, http_client=given))
    await close_given(given)
    assert 1 == len(faulty.requests)


def test_streams_of_other_kinds_keep_their_time() -> None:
    """A transport that names no connection, or one that cannot be bounded, works all the same."""

    class Fixed:
        __slots__ = ()

        def read(self) -> None: ...

        write = read

    for network in (None, Fixed()):

        def answer(_: httpx.Request, network: object = network) -> httpx.Response:
            return httpx.Response(200, json={"response": "Hi"}, extensions={"network_stream": network})

        with httpx.Client(transport=httpx.MockTransport(answer)) as given:
            assert "Hi" == FetchHive("fhk_test", http_client=given).invoke_prompt(deployment="d").response


@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_an_answer_in_the_moment_of_cancellation_is_closed(flavor: str) -> None:
    """A response that arrives while its call is being cancelled is closed and not lost."""
    closed: list[bool] = []

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b""

        async def aclose(self) -> None:
            closed.append(True)

    with anyio.CancelScope() as scope:

        def answer(_: httpx.Request) -> httpx.Response:
            scope.cancel()
            return httpx.Response(200, stream=Body())

        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as given:
            await AsyncFetchHive("fhk_test", http_client=given).invoke_prompt_stream(deployment="d").final()
    assert [True] == closed


def test_a_subclass_keeps_its_state() -> None:
    """`with_options` of a subclass copies what the subclass has added."""

    class TeamClient(FetchHive):
        team = ""

    client = TeamClient("fhk_test")
    client.team = "support"
    assert "support" == client.with_options(timeout=3).team


def test_threads_share_a_client(faulty: FaultyServer) -> None:
    """Many threads call at once on one client, and each gets its own answer."""
    faulty.then(lambda exchange: json_reply(json.dumps({"response": json.loads(exchange.body)["user"]}))(exchange))
    answers: dict[str, str] = {}
    with FetchHive("fhk_test", faulty.base_url) as client:

        def work(name: str) -> None:
            for _ in range(5):
                answers[name] = client.invoke_prompt(deployment="d", user=name).response

        threads = [threading.Thread(target=work, args=(f"user {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {f"user {number}": f"user {number}" for number in range(8)} == answers
    assert 40 == len(faulty.requests)


def _call_in_child(client: FetchHive, answers: Any) -> None:
    answers.put(client.invoke_prompt(deployment="d").response)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(faulty: FaultyServer) -> None:
    """After a fork the child does not write to its parent's sockets, and the parent's go on."""
    faulty.then(json_reply(ANSWER))
    context = multiprocessing.get_context("fork")
    with FetchHive("fhk_test", faulty.base_url) as client:
        client.invoke_prompt(deployment="d")
        answers = context.SimpleQueue()
        child = context.Process(target=_call_in_child, args=(client, answers))
        child.start()
        assert "Hi" == answers.get()
        child.join()
        assert "Hi" == client.invoke_prompt(deployment="d").response
    assert (3, 2) == (len(faulty.requests), faulty.connections)


def test_closing_in_a_forked_child_leaves_the_parent_alone(faulty: FaultyServer) -> None:
    """A child that closes the client it inherited does not close its parent's connections."""
    faulty.then(json_reply(ANSWER))
    with FetchHive("fhk_test", faulty.base_url) as client:
        client.invoke_prompt(deployment="d")
        [(process, own)] = client._pool._own.items()
        client._pool._own = {process + 1: own}  # as it looks in a child
        client.close()
        assert "1 idle" in repr(own)
        own.close()
        assert "0 idle" in repr(own)


@pytest.mark.parametrize("cls", [FetchHive, AsyncFetchHive])
def test_a_client_can_be_pickled_and_copied(cls: Any) -> None:
    """The settings of a client travel to another process; its connections do not."""
    client = cls("fhk_test", "http://127.0.0.1:9/v1", timeout=3, default_metadata={"a": 1})
    for again in (pickle.loads(pickle.dumps(client)), copy.copy(client), copy.deepcopy(client)):
        assert isinstance(again, cls)
        assert client._settings == again._settings
        assert client._pool is not again._pool


def test_a_client_with_a_given_httpx_client_cannot_be_pickled() -> None:
    """A client that holds the caller's connections says why it cannot travel."""
    with httpx.Client() as given, pytest.raises(TypeError, match="has an http_client of yours"):
        pickle.dumps(FetchHive("fhk_test", http_client=given))


def test_repr_shows_no_key() -> None:
    """The repr of a client and of its settings names the address and not the key."""
    client = FetchHive("fhk_secret", default_headers={"X-Token": "hidden"})
    assert "FetchHive(base_url='https://api.fetchhive.com/v1')" == repr(client)
    assert "fhk_secret" not in repr(client._settings)
    assert "hidden" not in repr(client._settings)


def test_all_clients_share_one_tls_context() -> None:
    """The certificates are loaded once for the process."""
    assert tls_context() is tls_context()


async def test_no_connection_stays_checked_out(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """After retries, errors and results the pool holds no request any more."""
    faulty.then(json_reply("{}", 429), json_reply("{}", 500), json_reply(ANSWER), json_reply("x"))
    async with make_client(base_url=faulty.base_url, retry_policy=RetryPolicy(initial_delay=0)) as client:
        with pytest.raises(FetchHiveError):
            await invoke(client)
        await invoke(client)
        with pytest.raises(FetchHiveError):
            await invoke(client)
        connections = getattr(client, "client", client)._pool._own[os.getpid()]
        assert re.search(r"0 connections in use, [1-3] idle, 0 requests waiting", repr(connections))


@pytest.mark.parametrize("given", [{}, {"team": "a b"}], ids=["without", "with"])
def test_params_of_a_callers_client(httpx_mock: HTTPXMock, given: dict[str, str]) -> None:
    """Params of a caller's httpx client go with each call, beside the call's own query and not in its place."""
    httpx_mock.add_response(json={}, is_reusable=True)
    with httpx.Client(params=given) as http_client:
        client = FetchHive("fhk_test", http_client=http_client)
        client.request("GET", "/x", params={"limit": 5, "status": "a&b"})
        client.request("GET", "/x")
    with_query, without = (dict(request.url.params) for request in httpx_mock.get_requests())
    assert ({**given, "limit": "5", "status": "a&b"}, given) == (with_query, without)


@pytest.mark.parametrize("cls", [FetchHive, AsyncFetchHive])
def test_httpx2_is_not_needed(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no http_client is refused alike where httpx2 is not loaded."""
    monkeypatch.delitem(sys.modules, "httpx2", raising=False)
    with pytest.raises(TypeError, match="http_client: an int of builtins"):
        cls("fhk_test", http_client=5)


async def test_a_pool_of_the_caller(flavor: str, faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """A pool with other limits is used and not closed; once its owner has closed it, calls say so."""
    faulty.then(json_reply(ANSWER))
    limits = httpx.Limits(max_connections=1)
    pool: Any = ConnectionPool(limits=limits) if flavor == "sync" else AsyncConnectionPool(limits=limits)
    async with make_client(base_url=faulty.base_url, http_client=pool) as client:
        assert "Hi" == (await invoke(client)).response
    assert "0 connections in use, 1 idle" in repr(pool)
    await close_given(pool)
    with pytest.raises(ClientClosedError):
        await invoke(client)


def test_closing_wakes_a_call_that_waits_for_a_connection(faulty: FaultyServer) -> None:
    """A call that waits for its turn when another thread closes the pool ends with the error of a closed client."""
    faulty.then(stream(end=wait_for_hang_up))
    errors: list[Exception] = []
    with ConnectionPool(limits=httpx.Limits(max_connections=1)) as pool:
        client = FetchHive("fhk_test", faulty.base_url, http_client=pool)

        def wait() -> None:
            try:
                client.invoke_prompt(deployment="d")
            except ClientClosedError as error:
                errors.append(error)

        with client.invoke_prompt_stream(deployment="d"):
            waiting = threading.Thread(target=wait)
            waiting.start()
            while "1 requests waiting" not in repr(pool):
                pass
            pool.close()
            waiting.join(10)
    assert ["ClientClosedError"] == [type(error).__name__ for error in errors]
