"""`AsyncFetchHive(http_client="aiohttp")`: the same calls, errors and rules on aiohttp's connections."""

from __future__ import annotations

import asyncio
import copy
import gc
import gzip
import importlib.util
import io
import logging
import pathlib
import pickle
import random
import select
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from fetch_hive_sdk import (
    APIConnectionError,
    APITimeoutError,
    AsyncFetchHive,
    ClientClosedError,
    ConfigurationError,
    FetchHive,
    FetchHiveError,
    RetryPolicy,
    StreamInterruptedError,
)
from fetch_hive_sdk.http import tls_context

from .connection_server import CERTIFICATE, CountingServer, LoopServer, client_context, server_context
from .faulty_server import Exchange, FaultyServer, chunked, close, json_reply, reply, reset, say_nothing, stream

pytest.importorskip("aiohttp", reason="aiohttp is an extra")

from fetch_hive_sdk.aiohttp_connections import AiohttpTransport

pytestmark = pytest.mark.anyio

ANSWER = '{"request_id":"req_1","response":"Hi"}'
WORKSPACE = "00000000-0000-7000-8000-000000000001"
ASSET = '{"asset":{"id":1,"filename":"a.txt"}}'
AT_ONCE = RetryPolicy(initial_delay=0)


@pytest.fixture
def anyio_backend() -> str:
    """The only loop that aiohttp works on."""
    return "asyncio"


@pytest.fixture
async def client(faulty: FaultyServer) -> AsyncIterator[AsyncFetchHive]:
    """A client of the faulty server."""
    async with client_of(faulty.base_url) as client:
        yield client


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """The connections alone, for one request at a time."""
    async with AiohttpTransport(verify=client_context, max_connections=1) as transport:
        yield transport


@pytest.fixture
def secure(tmp_path: pathlib.Path) -> Iterator[CountingServer]:
    """A faulty server behind a certificate that it has signed itself."""
    with CountingServer(server_context(tmp_path)) as server:
        yield server


def client_of(base_url: str, **options: Any) -> AsyncFetchHive:
    options = {"retry_policy": AT_ONCE, "workspace_id": WORKSPACE, **options}
    return AsyncFetchHive("fhk_test", base_url, http_client="aiohttp", **options)


async def invoke(client: AsyncFetchHive, **inputs: Any) -> Any:
    return await client.invoke_prompt(deployment="d", variant="v", inputs=inputs)


async def get(transport: AiohttpTransport, url: str, **timeout: float) -> bytes:
    request = httpx.Request("GET", url, extensions={"timeout": timeout})
    response = await transport.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


# --- what is sent and what comes back -------------------------------------------------------------------


async def test_the_request_as_it_is_sent(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A call has the headers that the SDK sends on every way, in its spelling, and none of aiohttp's."""
    faulty.then(json_reply(ANSWER))
    await invoke(client)
    async with AsyncFetchHive("fhk_test", faulty.base_url) as other:
        await invoke(other)
    ours, theirs = (exchange.head.split(b"\r\n") for exchange in faulty.requests)
    assert theirs[0] == ours[0]
    assert sorted(theirs) == sorted(ours)
    assert faulty.requests[1].body == faulty.requests[0].body


async def test_answers(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """Calls in a row, compressed and empty answers among them, are read and use one connection."""
    packed = gzip.compress(ANSWER.encode())
    faulty.then(json_reply(ANSWER), reply(200, packed, Content_Encoding="gzip"), reply(204))
    assert "Hi" == (await invoke(client)).response
    assert "Hi" == (await invoke(client)).response
    await client.knowledge_bases.delete("kb_1")
    assert 1 == faulty.connections


async def test_the_answer_in_its_parts(transport: AiohttpTransport, faulty: FaultyServer) -> None:
    """A response has the status, the reason, the version and the headers as they came, a repeated one twice."""
    head = b"HTTP/1.0 203 Nearly\r\nX-A: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    faulty.then(lambda exchange: exchange.send(head))
    response = await transport.handle_async_request(httpx.Request("GET", faulty.base_url))
    await response.aclose()
    assert (203, "Nearly", "HTTP/1.0") == (response.status_code, response.reason_phrase, response.http_version)
    assert ["a=1", "b=2"] == response.headers.get_list("Set-Cookie")


async def test_nothing_of_its_own(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """No redirect is followed, and no cookie comes back."""
    faulty.then(reply(307, Location="/elsewhere", Set_Cookie="a=1"), json_reply(ANSWER))
    with pytest.raises(FetchHiveError, match="307"):
        await invoke(client)
    await invoke(client)
    assert b"cookie" not in faulty.requests[1].head.lower()
    assert faulty.requests[1].head.startswith(b"POST /v1/prompt/invoke ")


async def test_a_stream(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A stream's events come one by one; read to its end its connection is kept, left early it is closed."""
    pieces = ('{"type":"response","response":"Hi"}', '{"type":"response","response":"!"}', '{"type":"usage"}', "[DONE]")
    faulty.then(stream(*pieces), json_reply(ANSWER))
    assert "Hi!" == "".join([text async for text in client.invoke_prompt_stream(deployment="d").text])
    await invoke(client)
    assert 1 == faulty.connections
    faulty.script[:] = [stream(*pieces[:1], end=say_nothing)]
    async with client.invoke_prompt_stream(deployment="d") as events:
        assert "response" == (await anext(events)).type
    faulty.script[:] = [json_reply(ANSWER)]
    await invoke(client)
    assert 2 == faulty.connections


async def test_what_came_before_the_break(transport: AiohttpTransport, faulty: FaultyServer) -> None:
    """What had come before the connection broke is handed on, also to a reader who is late."""
    go_on, broken = threading.Event(), threading.Event()

    def breaks(exchange: Exchange) -> None:
        assert go_on.wait(10)
        exchange.send(b"5\r\nfirst\r\n6\r\nsecond\r\n")
        exchange.connection.close()
        broken.set()

    faulty.then(chunked(end=breaks))
    response = await transport.handle_async_request(httpx.Request("GET", faulty.base_url))
    go_on.set()
    assert await asyncio.to_thread(broken.wait, 10)
    for _ in range(20):  # until the loop has seen it
        await asyncio.sleep(0)
    parts = response.aiter_raw()
    assert b"firstsecond" == await anext(parts)
    with pytest.raises(httpx.RemoteProtocolError):
        await anext(parts)
    await response.aclose()


async def test_headers_beyond_the_usual(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """An answer may have a header of 50 KB."""
    faulty.then(json_reply(ANSWER, X_Long="x" * 50_000))
    assert "Hi" == (await invoke(client)).response


async def test_tls(secure: CountingServer, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """A certificate that is trusted is taken; another raises before anything is sent, and says what to do."""
    base_url = secure.url + "v1"
    async with client_of(base_url) as client:
        with pytest.raises(
            APIConnectionError, match=r"could not prove its identity .*CERTIFICATE_VERIFY_FAILED"
        ) as caught:
            await invoke(client)
    assert (False, True) == (caught.value.may_have_run, isinstance(caught.value, httpx.ConnectError))
    assert [] == secure.requests
    secure.then(json_reply(ANSWER))
    certificate = tmp_path / "trusted.pem"
    certificate.write_text(CERTIFICATE[CERTIFICATE.index("-----BEGIN CERT") :])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_context.cache_clear()
    try:
        async with client_of(base_url) as client:
            assert "Hi" == (await invoke(client)).response
            assert "Hi" == (await invoke(client)).response
    finally:
        tls_context.cache_clear()
    assert 2 == secure.connections


async def test_certificates_are_loaded_for_https_alone(faulty: FaultyServer, secure: CountingServer) -> None:
    """The TLS context is made at the first https request, and once."""
    made: list[object] = []

    def make_context() -> Any:
        made.append(None)
        return client_context()

    faulty.then(json_reply(ANSWER))
    secure.then(json_reply(ANSWER))
    async with AiohttpTransport(verify=make_context) as transport:
        await get(transport, faulty.base_url)
        assert [] == made
        await get(transport, secure.url)
        await get(transport, secure.url)
    assert 1 == len(made)


def test_closing_waits_for_no_goodbye(secure: CountingServer) -> None:
    """A closed client has closed its TLS connections too, although the server does not say goodbye."""
    over = threading.Event()

    def answer_and_hold(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
        over.wait(20)

    async def use() -> None:
        async with AiohttpTransport(verify=client_context) as transport:
            assert b"fine" == await get(transport, secure.url)

    secure.then(answer_and_hold)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(use())
        gc.collect()
    over.set()
    assert [] == [str(warning.message) for warning in caught]


# --- bodies ---------------------------------------------------------------------------------------------


class OnlyRead(io.RawIOBase):
    """A file that tells no size."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int = -1) -> bytes:
        piece, self.content = self.content[:size], self.content[size:]
        return piece


async def test_uploads(client: AsyncFetchHive, faulty: FaultyServer, tmp_path: pathlib.Path) -> None:
    """A file is sent in pieces, with its length and its progress."""
    faulty.then(json_reply(ASSET))
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 200_000)
    told: list[int] = []
    assert "1" == (await client.assets.upload(path, on_progress=lambda sent, size: told.append(sent))).id
    assert b"x" * 200_000 in faulty.requests[0].body
    assert [0, 65536, 131072, 196608, 200_000] == told


async def test_an_upload_without_a_length(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A file that tells no size is sent in chunks, with one header that says so."""
    received = bytearray()

    def serve(connection: socket.socket) -> None:
        with connection:
            while not received.endswith(b"\r\n0\r\n\r\n"):
                received.extend(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ASSET), ASSET.encode()))

    faulty._serve = serve  # type: ignore[method-assign]
    await client.assets.upload(OnlyRead(b"abc"), file_name="a.txt")
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    assert 1 == head.lower().count(b"transfer-encoding: chunked")
    assert b"content-length" not in head.lower()
    assert b"abc" in body


@pytest.mark.parametrize("size", [0, 32_000, 40_000, 3_000_000])
async def test_large_bodies(client: AsyncFetchHive, faulty: FaultyServer, size: int) -> None:
    """Inputs of any size are sent whole, without a warning."""
    faulty.then(json_reply(ANSWER))
    await invoke(client, text="x" * size)
    assert b"x" * size in faulty.requests[0].body


async def test_a_body_that_cannot_be_read(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """What reading the body raises comes out as it is, and nothing is repeated."""
    faulty.then(json_reply(ASSET))

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise LookupError("no more")

    class Body(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return broken()

    headers = {"Host": "x", "Content-Length": "6"}
    async with AiohttpTransport() as transport:
        with pytest.raises(LookupError, match="no more"):
            await transport.handle_async_request(httpx.Request("POST", faulty.base_url, headers=headers, stream=Body()))
    assert [] == faulty.requests


async def test_an_answer_before_the_end_of_the_upload(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A service that refuses a file before it has it all is heard; the next call has another connection."""
    accepting = threading.Event()

    class Slow(OnlyRead):
        def read(self, size: int = -1) -> bytes:
            if size and len(self.content) < 100_000:
                assert accepting.wait(10)
            return super().read(size)

    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        accepting.set()
        with connection, suppress(OSError):
            while connection.recv(65536):
                pass

    faulty._serve = refuse  # type: ignore[method-assign]
    with pytest.raises(FetchHiveError, match="413"):
        await client.assets.upload(Slow(b"x" * 150_000), file_name="a.txt")
    del faulty._serve
    faulty.then(json_reply(ANSWER))
    await invoke(client)
    assert 2 == faulty.connections


@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_while_reading_a_file(client: AsyncFetchHive, faulty: FaultyServer, times: int) -> None:
    """A cancelled upload waits for the read that is under way, and the client can be used again."""
    faulty.then(say_nothing, json_reply(ANSWER))
    reading, let_go = threading.Event(), threading.Event()

    class Slow(OnlyRead):
        def read(self, size: int = -1) -> bytes:
            if not size:
                return b""
            reading.set()
            assert let_go.wait(10)
            done.append(None)
            return b""

    done: list[object] = []
    upload = asyncio.create_task(client.assets.upload(Slow(b""), file_name="a.txt"))
    await asyncio.to_thread(reading.wait, 10)
    for _ in range(times):
        upload.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
    assert not upload.done()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert [None] == done
    await invoke(client)


# --- what is repeated -----------------------------------------------------------------------------------


def broken_http(exchange: Exchange) -> None:
    exchange.send(b"what?\r\n\r\n")
    exchange.wait_for_hang_up()


def half_an_answer(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"resp')
    exchange.connection.close()


def half_an_answer_and_a_crash(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"resp')
    exchange.reset()


def half_an_answer_and_silence(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"resp')
    exchange.wait_for_hang_up()


def broken_chunks(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwhat?\r\n")
    exchange.wait_for_hang_up()


def broken_length(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}")
    exchange.wait_for_hang_up()


def a_line_without_end(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000)
    exchange.wait_for_hang_up()


FAULTS = [
    (reset, httpx.ReadError),
    (close, httpx.RemoteProtocolError),
    (say_nothing, httpx.ReadTimeout),
    (broken_http, httpx.RemoteProtocolError),
    (broken_chunks, httpx.RemoteProtocolError),
    (broken_length, httpx.RemoteProtocolError),
    (a_line_without_end, httpx.RemoteProtocolError),
    (half_an_answer, httpx.RemoteProtocolError),
    (half_an_answer_and_a_crash, httpx.RemoteProtocolError),
    (half_an_answer_and_silence, httpx.ReadTimeout),
]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_sent_once(faulty: FaultyServer, fault: Any, kind: type[Exception], kept: bool) -> None:
    """An invoke that could have reached the service is sent once, on a new connection as on a kept one."""
    before = [json_reply(ANSWER)] if kept else []
    faulty.then(*before, fault)
    async with client_of(faulty.base_url, timeout=httpx.Timeout(5, read=0.2)) as client:
        for _ in before:
            await invoke(client)
        with pytest.raises(APIConnectionError) as caught:
            await invoke(client)
        assert len(before) + 1 == len(faulty.requests)
        assert caught.value.may_have_run
        assert isinstance(caught.value, kind)
        assert isinstance(caught.value, APITimeoutError) == issubclass(kind, httpx.TimeoutException)
        faulty.script[:] = [json_reply(ANSWER)]
        await invoke(client)


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("fault", [reset, close, half_an_answer])
async def test_look_ups_are_sent_as_often_as_set(faulty: FaultyServer, fault: Any, retries: int) -> None:
    """A GET is repeated by the SDK's count alone; aiohttp adds none of its own."""
    faulty.then(fault)
    async with client_of(faulty.base_url, retry_policy=RetryPolicy(retries, initial_delay=0)) as client:
        with pytest.raises(APIConnectionError):
            await client.models.list()
    assert retries + 1 == len(faulty.requests)


async def test_repeated_where_nothing_was_sent(faulty: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection is tried again as often as set, and the error says that nothing was run."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with caplog.at_level(logging.WARNING, "fetch_hive_sdk"):
        async with client_of(f"http://127.0.0.1:{port}/v1") as client:
            with pytest.raises(APIConnectionError, match="Nothing was run") as caught:
                await invoke(client)
    assert not caught.value.may_have_run
    assert isinstance(caught.value, httpx.ConnectError)
    assert 2 == len(caplog.records)


async def test_a_name_that_nobody_knows() -> None:
    """A host without an address is a connection that could not be made."""
    async with client_of("http://nowhere.invalid/v1") as client:
        with pytest.raises(APIConnectionError, match="Nothing was run") as caught:
            await invoke(client)
    assert isinstance(caught.value, httpx.ConnectError)


async def test_a_handshake_that_does_not_end(faulty: FaultyServer, transport: AiohttpTransport) -> None:
    """A server that accepts and then says nothing to TLS is one that could not be connected to in time."""
    with pytest.raises(httpx.ConnectTimeout):
        await get(transport, faulty.base_url.replace("http", "https"), connect=0.05)
    assert [] == faulty.requests


async def test_waiting_for_a_place(transport: AiohttpTransport, faulty: FaultyServer) -> None:
    """Beyond the limit a request waits, in vain as long as its pool timeout, else until a place is free."""
    faulty.then(stream("[DONE]", end=say_nothing), json_reply(ANSWER))
    first = await transport.handle_async_request(httpx.Request("GET", faulty.base_url))
    with pytest.raises(httpx.PoolTimeout):
        await get(transport, faulty.base_url, pool=0)
    second = asyncio.create_task(get(transport, faulty.base_url))
    await asyncio.sleep(0)
    await first.aclose()
    assert ANSWER.encode() == await second


async def test_nobody_takes_the_body(transport: AiohttpTransport) -> None:
    """A body that the other side does not take in time is a write timeout, and no connection is left."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        extensions = {"timeout": {"write": 0.05}}
        with pytest.raises(httpx.WriteTimeout):
            await transport.handle_async_request(
                httpx.Request("POST", url, content=b"x" * 30_000_000, extensions=extensions)
            )


@pytest.mark.parametrize("url", ["ftp://x/", "/v1", "http:///v1"])
async def test_addresses_that_nothing_can_be_sent_to(transport: AiohttpTransport, url: str) -> None:
    """An address without http or without a host is an error of httpx that says so."""
    with pytest.raises(httpx.UnsupportedProtocol):
        await get(transport, url)


async def test_a_header_that_cannot_be_sent(transport: AiohttpTransport, faulty: FaultyServer) -> None:
    """A header with a control character is never sent."""
    with pytest.raises(httpx.LocalProtocolError):
        await transport.handle_async_request(httpx.Request("GET", faulty.base_url, headers={"X-A": "a\rb"}))
    assert [] == faulty.requests


# --- kept connections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("poll", [True, False])
@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
async def test_a_kept_connection_that_the_server_has_closed(
    client: AsyncFetchHive, faulty: FaultyServer, last_words: bytes, poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was closed, or spoken on, while the loop was busy is not used for the next run."""
    if not poll:
        monkeypatch.delattr(select, "poll")  # as on Windows
    go_on, over = threading.Event(), threading.Event()

    def answer_and_close(exchange: Exchange) -> None:
        json_reply(ANSWER)(exchange)
        assert go_on.wait(10)
        exchange.send(last_words)
        exchange.connection.close()
        over.set()

    faulty.then(answer_and_close, json_reply(ANSWER))
    await invoke(client)
    go_on.set()
    assert over.wait(10)  # without the loop
    assert "Hi" == (await invoke(client)).response
    assert (2, 2) == (len(faulty.requests), faulty.connections)


async def test_an_answer_to_nothing(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A second answer that nobody asked for is not taken for that of the next call."""
    wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b'{"response":"wrong"}'

    def twice(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER.encode() + wrong)

    faulty.then(twice, json_reply(ANSWER))
    with suppress(APIConnectionError):
        await invoke(client)
    assert "Hi" == (await invoke(client)).response
    assert 2 == faulty.connections


# --- proxies --------------------------------------------------------------------------------------------


async def test_a_proxy(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy gets the request with the whole address and its own password."""
    monkeypatch.setenv("HTTP_PROXY", faulty.base_url.replace("http://", "user:secret@").removesuffix("/v1"))
    faulty.then(json_reply(ANSWER))
    async with client_of("http://service.invalid/v1") as client:
        assert "Hi" == (await invoke(client)).response
        assert "Hi" == (await invoke(client)).response
    head = faulty.requests[0].head
    assert head.startswith(b"POST http://service.invalid/v1/prompt/invoke HTTP/1.1\r\n")
    assert b"host: service.invalid\r\n" in head.lower()
    assert b"proxy-authorization: basic " in head.lower()
    assert 1 == faulty.connections


async def test_a_proxy_that_is_passed_by(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY is obeyed."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    faulty.then(json_reply(ANSWER))
    async with client_of(faulty.base_url) as client:
        assert "Hi" == (await invoke(client)).response


async def test_a_proxy_that_refuses(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not let a call through is said to, without its password; nothing was run."""
    monkeypatch.setenv("HTTPS_PROXY", faulty.base_url.replace("http://", "http://user:secret@"))
    faulty.then(lambda exchange: exchange.send(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n"))
    async with client_of("https://service.invalid/v1") as client:
        with pytest.raises(APIConnectionError, match=r"the proxy refused the connection \(407 Who\?\)") as caught:
            await invoke(client)
    assert not caught.value.may_have_run
    assert "secret" not in repr(caught.value.__cause__)
    assert faulty.requests[0].head.startswith(b"CONNECT service.invalid:443 ")
    assert b"fhk_test" not in faulty.requests[0].head


@pytest.mark.parametrize("fault", [close, reset])
async def test_a_proxy_that_breaks_off(faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    """A proxy that hangs up instead of connecting has sent nothing on, so that the call is tried again."""
    monkeypatch.setenv("HTTPS_PROXY", faulty.base_url)
    faulty.then(fault)
    async with client_of("https://service.invalid/v1") as client:
        with pytest.raises(APIConnectionError, match="Nothing was run"):
            await invoke(client)
    assert 3 == len(faulty.requests)


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not answer is named as the problem."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with client_of("http://service.invalid/v1") as client:
        with pytest.raises(APIConnectionError, match="Check HTTPS_PROXY") as caught:
            await invoke(client)
    assert isinstance(caught.value, httpx.ProxyError)


@pytest.mark.parametrize(("address", "kind"), [("socks5://user:secret@x:1", "socks5"), ("http://[", "broken")])
async def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch, address: str, kind: str) -> None:
    """A proxy that aiohttp cannot use is a setting that is wrong, and is not passed by."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    async with client_of("https://service.invalid/v1") as client:
        with pytest.raises(ConfigurationError, match=f"cannot use the environment's {kind} proxy") as caught:
            await invoke(client)
    assert "secret" not in str(caught.value)


# --- many at once, and cancellation ---------------------------------------------------------------------


async def test_a_hundred_at_once(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A hundred calls at once are all answered, and the next hundred need no new connections."""
    faulty.then(json_reply(ANSWER))
    for _ in range(2):
        assert {"Hi"} == {result.response for result in await asyncio.gather(*(invoke(client) for _ in range(100)))}
    assert faulty.connections <= 100


@pytest.mark.parametrize("path", ["/ok", "/chunks", "/silent", "/cut", "/hang-up"])
@pytest.mark.parametrize("cancel", ["task", "scope"])
async def test_cancelled_anywhere(path: str, cancel: str) -> None:
    """Wherever a cancellation lands, the place is free again, and no connection stays open that is not kept."""
    choose = random.Random(5).randrange
    async with LoopServer() as server, AiohttpTransport(max_connections=1) as transport:
        for _ in range(100):
            await cancelled_after(choose(40), cancel, transport, server.url + path)
            assert b"fine" == await get(transport, server.url + "/ok", pool=5.0)
        await server.wait_for_open(1)


async def cancelled_after(steps: int, how: str, transport: AiohttpTransport, url: str) -> None:
    async def read() -> None:
        with suppress(httpx.TransportError):
            await get(transport, url)

    if how == "task":
        task = asyncio.create_task(read())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        for _ in range(steps):
            await asyncio.sleep(0)
        tasks.cancel_scope.cancel()


async def test_cancelled_while_connecting(transport: AiohttpTransport, faulty: FaultyServer) -> None:
    """An upload that is cancelled in the middle of the TLS handshake takes no place, and its body is not begun."""
    faulty.then(json_reply(ANSWER))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        request = httpx.Request("POST", url, content=b"x" * 100_000)
        connecting = asyncio.create_task(transport.handle_async_request(request))
        connection, _ = await asyncio.to_thread(silent.accept)
        with connection:
            assert await asyncio.to_thread(connection.recv, 1)  # the handshake has begun
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
    assert ANSWER.encode() == await get(transport, faulty.base_url, pool=5.0)


async def test_cancelled_while_waiting_for_a_place(transport: AiohttpTransport, faulty: FaultyServer) -> None:
    """Who waits for a place and is cancelled takes none."""
    faulty.then(stream("[DONE]", end=say_nothing), json_reply(ANSWER))
    first = await transport.handle_async_request(httpx.Request("GET", faulty.base_url))
    waiting = asyncio.create_task(get(transport, faulty.base_url))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await first.aclose()
    assert ANSWER.encode() == await get(transport, faulty.base_url, pool=5.0)


# --- choosing it, and its end ---------------------------------------------------------------------------


async def test_closing(client: AsyncFetchHive, faulty: FaultyServer) -> None:
    """A closed client raises; closing again does nothing; an open stream learns of it."""
    faulty.then(stream('{"type":"response","response":"Hi"}', end=say_nothing))
    events = client.invoke_prompt_stream(deployment="d")
    await anext(events)
    await client.aclose()
    with pytest.raises(StreamInterruptedError):
        await anext(events)
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await invoke(client)


async def test_closing_what_was_never_used() -> None:
    """A client that has sent nothing closes nothing."""
    await client_of("http://127.0.0.1:9/v1").aclose()
    transport = AiohttpTransport()
    await transport.aclose()
    assert transport.is_closed
    with pytest.raises(RuntimeError, match="closed"):
        await get(transport, "http://127.0.0.1:9/")


async def test_copies_choose_it_too(faulty: FaultyServer, client: AsyncFetchHive) -> None:
    """A pickled or copied client sends with aiohttp as well, on connections of its own."""
    faulty.then(json_reply(ANSWER))
    await invoke(client)
    for other in (pickle.loads(pickle.dumps(client)), copy.copy(client)):
        async with other:
            await invoke(other)
            [way] = other._pool._own.values()
            assert isinstance(way, AiohttpTransport)
    assert 3 == faulty.connections


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiohttp the client cannot be made, and says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'fetch-hive-sdk\[aiohttp\]'"):
        AsyncFetchHive("fhk_test", http_client="aiohttp")


def test_not_for_the_sync_client() -> None:
    """The sync client has no such choice, and no other word is one."""
    with pytest.raises(TypeError, match="is for AsyncFetchHive"):
        FetchHive("fhk_test", http_client="aiohttp")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='or "aiohttp"'):
        AsyncFetchHive("fhk_test", http_client="requests")  # type: ignore[arg-type]


def test_trio() -> None:
    """On trio the first call says that aiohttp is for asyncio, and what to use instead."""

    async def call() -> None:
        async with client_of("http://127.0.0.1:9/v1") as client:
            await invoke(client)

    with pytest.raises(ConfigurationError, match="asyncio alone"):
        anyio.run(call, backend="trio")
