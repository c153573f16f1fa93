"""A caller's httpx2 client as `http_client`: the same calls, errors and rules."""

from __future__ import annotations

import asyncio
import gzip
import pathlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import (
    APIConnectionError,
    AsyncFetchHive,
    ClientClosedError,
    FetchHive,
    RetryPolicy,
)

from .conftest import Awaited
from .connection_server import CountingServer, LoopServer, client_context, server_context
from .faulty_server import Exchange, FaultyServer, close, json_reply, reply, reset, say_nothing, stream

httpx2 = pytest.importorskip("httpx2", reason="httpx2 is an extra, and for Python 3.11 or newer")

pytestmark = pytest.mark.anyio

ANSWER = '{"request_id":"req_1","response":"Hi"}'
ASSET = '{"asset":{"id":1,"filename":"a.txt"}}'
WORKSPACE = "00000000-0000-7000-8000-000000000001"
AT_ONCE = RetryPolicy(initial_delay=0)

Make = Callable[..., Any]


@pytest.fixture
async def make(flavor: str, faulty: FaultyServer) -> AsyncIterator[Make]:
    """Make a client of the faulty server with an httpx2 client of these options."""
    made: list[Any] = []

    def make(base_url: str = "", settings: dict[str, Any] | None = None, **options: Any) -> Any:
        settings = {"retry_policy": AT_ONCE, "workspace_id": WORKSPACE, **(settings or {})}
        base_url = base_url or faulty.base_url
        made.append((httpx2.Client if flavor == "sync" else httpx2.AsyncClient)(**options))
        if flavor == "sync":
            return Awaited(FetchHive("fhk_test", base_url, http_client=made[-1], **settings))
        return AsyncFetchHive("fhk_test", base_url, http_client=made[-1], **settings)

    yield make
    for client in made:
        if flavor == "sync":
            client.close()
        else:
            await client.aclose()


@pytest.fixture
def hook(flavor: str) -> Callable[[Any], Any]:
    """A function as an event hook of the flavor's client."""

    def hook(function: Any) -> Any:
        async def awaited(message: Any) -> None:
            if (coming := function(message)) is not None:
                await coming

        return function if flavor == "sync" else awaited

    return hook


async def invoke(client: Any) -> Any:
    return await client.invoke_prompt(deployment="d", variant="v")


def lines(exchange: Exchange) -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in exchange.head.decode().split("\r\n")[1:])
    return {name.lower(): value for name, value in pairs}


async def test_calls(make: Make, faulty: FaultyServer) -> None:
    """Calls in a row use one connection, and send what the SDK sends, with what the client adds."""
    faulty.then(json_reply(ANSWER), reply(200, gzip.compress(ANSWER.encode()), Content_Encoding="gzip"))
    client = make(headers={"X-Mine": "1", "User-Agent": "mine", "Accept-Encoding": "gzip"})
    assert "Hi" == (await invoke(client)).response
    assert "Hi" == (await invoke(client)).response
    sent = lines(faulty.requests[0])
    assert ("Bearer fhk_test", "1", "gzip") == (sent["authorization"], sent["x-mine"], sent["accept-encoding"])
    assert sent["user-agent"].startswith("fetch-hive-sdk/")
    assert str(len(faulty.requests[0].body)) == sent["content-length"]
    assert len(faulty.requests[0].head.split(b"\r\n")) == len(sent) + 1  # no header twice
    assert 1 == faulty.connections


async def test_what_the_client_adds(make: Make, faulty: FaultyServer, hook: Callable[[Any], Any]) -> None:
    """Its params, cookies, authentication and hooks are in force, also where a call has a query of its own."""
    seen: list[str] = []
    hooks = {"request": [hook(lambda request: seen.append(request.url.path))]}
    faulty.then(json_reply("{}"))
    client = make(params={"p": "1"}, cookies={"c": "2"}, auth=("a", "b"), event_hooks=hooks)
    await client.request("GET", "/x", params={"status": "failed"})
    target = faulty.requests[0].head.split(b" ")[1]
    assert b"p=1" in target
    assert b"status=failed" in target
    assert "c=2" == lines(faulty.requests[0])["cookie"]
    assert lines(faulty.requests[0])["authorization"].startswith("Basic ")
    assert 1 == len(seen)


async def test_a_query(make: Make, faulty: FaultyServer) -> None:
    """A call's query is sent."""
    faulty.then(json_reply("{}"))
    await make().request("GET", "/x", params={"status": "failed"})
    assert b"status=failed" in faulty.requests[0].head.split(b" ")[1]


async def test_a_hook_that_reads(make: Make, faulty: FaultyServer, flavor: str, hook: Callable[[Any], Any]) -> None:
    """A hook may read the answer's body, compressed or not; the call still has it."""
    faulty.then(json_reply(ANSWER), reply(200, gzip.compress(ANSWER.encode()), Content_Encoding="gzip"))
    read = hook(lambda response: response.read() and None if flavor == "sync" else response.aread())
    client = make(event_hooks={"response": [read]})
    for _ in range(2):
        assert "Hi" == (await invoke(client)).response


async def test_a_stream(make: Make, faulty: FaultyServer) -> None:
    """Streams work, read to the end and left early."""
    faulty.then(stream('{"type":"response","response":"Hi"}', '{"type":"usage"}', "[DONE]"))
    client = make()
    assert "Hi" == (await client.invoke_prompt_stream(deployment="d").final()).response
    async with client.invoke_prompt_stream(deployment="d") as events:
        assert "response" == (await anext(aiter(events))).type
    assert "Hi" == (await client.invoke_prompt_stream(deployment="d").final()).response


@pytest.mark.parametrize("params", [None, {"p": "1"}])
async def test_an_upload(make: Make, faulty: FaultyServer, tmp_path: pathlib.Path, params: Any) -> None:
    """A file is sent in pieces with its length, also by a client with params."""
    faulty.then(json_reply(ASSET))
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 200_000)
    assert "1" == (await make(params=params).assets.upload(path)).id
    assert b"x" * 200_000 in faulty.requests[0].body


def half_an_answer(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"resp')
    exchange.connection.close()


def broken_http(exchange: Exchange) -> None:
    exchange.send(b"what?\r\n\r\n")
    exchange.wait_for_hang_up()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (reset, httpx.ReadError),
        (close, httpx.RemoteProtocolError),
        (say_nothing, httpx.ReadTimeout),
        (half_an_answer, httpx.RemoteProtocolError),
        (broken_http, httpx.RemoteProtocolError),
    ],
)
async def test_sent_once(make: Make, faulty: FaultyServer, fault: Any, kind: type[Exception]) -> None:
    """An invoke that could have reached the service is sent once, and the error is httpx's of the same name."""
    faulty.then(fault)
    client = make(settings={"timeout": httpx.Timeout(5, read=0.2)})
    with pytest.raises(APIConnectionError) as caught:
        await invoke(client)
    assert 1 == len(faulty.requests)
    assert (True, True) == (caught.value.may_have_run, isinstance(caught.value, kind))
    assert type(caught.value.__cause__).__module__.startswith("httpx.") or kind is type(caught.value.__cause__)


async def test_a_body_that_cannot_be_unpacked(make: Make, faulty: FaultyServer, flavor: str) -> None:
    """An answer whose encoding is broken is said to be."""
    if flavor == "trio":
        pytest.skip("httpx2 leaves a generator behind here, of which trio complains")
    faulty.then(reply(200, b"what?", Content_Encoding="gzip"))
    with pytest.raises(APIConnectionError, match="content encoding is broken"):
        await invoke(make())


async def test_repeated_where_nothing_was_sent(make: Make) -> None:
    """A refused connection is tried again, and the error says that nothing was run."""
    listener = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    listener.close()
    with pytest.raises(APIConnectionError, match="Nothing was run") as caught:
        await invoke(make(base_url))
    assert (False, True) == (caught.value.may_have_run, isinstance(caught.value, httpx.ConnectError))


async def test_a_hook_that_fails(make: Make, faulty: FaultyServer, hook: Callable[[Any], Any]) -> None:
    """What a hook raises passes as it is, an error of httpx2 about another request too; nothing is sent."""

    def fail(request: Any) -> None:
        raise error

    client = make(event_hooks={"request": [hook(fail)]})
    other = httpx2.ConnectError("elsewhere", request=httpx2.Request("GET", "http://elsewhere/"))
    for error in (httpx2.ConnectError("mine"), other, LookupError("mine")):
        with pytest.raises(type(error)) as caught:
            await invoke(client)
        assert error is caught.value
    assert [] == faulty.requests


async def test_a_hook_that_closes(make: Make, faulty: FaultyServer, flavor: str, hook: Callable[[Any], Any]) -> None:
    """A hook that reads the body past us leaves an error of httpx, and not one of httpx2."""
    faulty.then(json_reply(ANSWER))

    def read_past(response: Any) -> Any:
        if flavor == "sync":
            return list(response.iter_raw()) and None

        async def read() -> None:
            async for _ in response.aiter_raw():
                pass

        return read()

    with pytest.raises(APIConnectionError):
        await invoke(make(event_hooks={"response": [hook(read_past)]}))


async def test_tls(make: Make, tmp_path: pathlib.Path, flavor: str) -> None:
    """The client's own certificates count; one that is not trusted raises before anything is sent."""
    with CountingServer(server_context(tmp_path)) as server:
        server.then(json_reply(ANSWER))
        with pytest.raises(APIConnectionError, match="Nothing was run"):
            await invoke(make(server.url + "v1"))
        assert [] == server.requests
        trusting = make(server.url + "v1", verify=client_context())
        assert "Hi" == (await invoke(trusting)).response


async def test_it_stays_its_owners(faulty: FaultyServer, make: Make) -> None:
    """Closing the SDK's client leaves it open; once its owner has closed it, calls say so."""
    faulty.then(json_reply(ANSWER))
    with httpx2.Client() as own:
        with FetchHive("fhk_test", faulty.base_url, http_client=own) as client:
            client.invoke_prompt(deployment="d")
        assert not own.is_closed
        client = FetchHive("fhk_test", faulty.base_url, http_client=own)
    with pytest.raises(ClientClosedError):
        client.invoke_prompt(deployment="d")


async def test_the_wrong_kind() -> None:
    """Each client takes its own kind only."""
    async with httpx2.AsyncClient() as other:
        with pytest.raises(TypeError, match="AsyncClient of httpx2 is not allowed here"):
            FetchHive("fhk_test", http_client=other)
    with httpx2.Client() as other, pytest.raises(TypeError, match="Client of httpx2 is not allowed here"):
        AsyncFetchHive("fhk_test", http_client=other)


@pytest.mark.parametrize("path", ["/ok", "/chunks", "/silent", "/cut"])
def test_cancelled_anywhere(path: str) -> None:
    """Wherever asyncio's `Task.cancel` lands, httpx2's one place is free again: no task of its own is needed."""
    from fetch_hive_sdk.httpx2_clients import AsyncHttpx2Transport

    choose = random.Random(5).randrange

    async def get(transport: AsyncHttpx2Transport, url: str) -> bytes:
        request = httpx.Request("GET", url, extensions={"timeout": {"pool": 5.0, "read": 5.0}})
        response = await transport.handle_async_request(request)
        try:
            return await response.aread()
        finally:
            await response.aclose()

    async def run() -> None:
        async with LoopServer() as server, httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1)) as own:
            transport = AsyncHttpx2Transport(own)
            for _ in range(100):
                task = asyncio.create_task(get(transport, server.url + path))
                for _ in range(choose(40)):
                    await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError, httpx.TransportError):
                    await task
                assert b"fine" == await get(transport, server.url + "/ok")

    asyncio.run(run())
