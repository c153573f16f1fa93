"""The sandbox through an httpx client, in process: plain and async, on asyncio and on trio."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Union, cast

import httpx
import pytest
from flask import Flask, request

import fetch_hive_sdk
from fetch_hive_sdk import CallbackVerifier, RetryPolicy
from fetch_hive_sdk.sandbox import Sandbox, SandboxTransport
from fetch_hive_sdk.sandbox.chunks import Chunk, Cut, Pause
from fetch_hive_sdk.sandbox.runs import Reply

KEY = {"Authorization": "Bearer fhk_test"}
PROMPT = {
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {"ticket_text": "It is disabled."},
}
DELIVERED = {
    "deployment": "research-brief",
    "variant": "default",
    "async": {"enabled": True, "callback_url": "https://example.com/callback"},
}


def http_client(sandbox: Sandbox) -> httpx.Client:
    """A plain client over the transport."""
    return httpx.Client(transport=SandboxTransport(sandbox), base_url="http://sandbox.test/v1", headers=KEY)


def async_http_client(sandbox: Sandbox) -> httpx.AsyncClient:
    """A plain async client over the transport."""
    return httpx.AsyncClient(transport=SandboxTransport(sandbox), base_url="http://sandbox.test/v1", headers=KEY)


def test_a_client_is_answered_without_a_socket_or_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered by the sandbox although no socket can be opened, and in the caller's own thread."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    sandbox = Sandbox()
    threads: list[threading.Thread] = []

    @sandbox.prompt("support-classifier")
    def classify(inputs: dict[str, Any]) -> str:
        threads.append(threading.current_thread())
        return f"about {inputs['ticket_text']}"

    with http_client(sandbox) as client:
        response = client.post("/prompt/invoke", json=PROMPT)
    assert (response.status_code, response.json()["response"]) == (200, "about It is disabled.")
    assert threads == [threading.current_thread()]
    assert classify.__name__ == "classify"


def test_an_error_is_a_response_too() -> None:
    """A refused request is an ordinary response with the status and the error object."""
    with http_client(Sandbox(api_key="fhk_other")) as client:
        response = client.post("/prompt/invoke", json=PROMPT)
    assert (response.status_code, response.json()["error"]) == (401, "Invalid access.")


def test_a_stream_arrives_event_by_event() -> None:
    """Each chunk of a streamed reply is one event, and a reader may stop before the end."""
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply="Hello you")
    with (
        http_client(sandbox) as client,
        client.stream("POST", "/prompt/invoke", json={**PROMPT, "streaming": True}) as response,
    ):
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        first = next(response.iter_raw())
    assert first.endswith(b"\n\n")
    assert json.loads(first.removeprefix(b"data: "))["response"] == "Hello"
    assert sandbox.runs[0].status == "completed"


@pytest.mark.anyio
async def test_an_async_client_gets_the_same_reply() -> None:
    """An async client's plain reply is the one a blocking client gets."""
    sandbox = Sandbox()
    sandbox.prompt("support-classifier", reply="billing")
    async with async_http_client(sandbox) as client:
        response = await client.post("/prompt/invoke", json=PROMPT)
    assert (response.status_code, response.json()["response"]) == (200, "billing")


@pytest.mark.anyio
async def test_an_async_stream_arrives_event_by_event() -> None:
    """An async reader gets one chunk for each event, `[DONE]` last."""
    sandbox = Sandbox()
    sandbox.agent("AGENT_UUID", reply="Hello you")
    body = {"agent": "AGENT_UUID", "message": "Hi", "streaming": True}
    async with (
        async_http_client(sandbox) as client,
        client.stream("POST", "/agent/invoke", json=body) as response,
    ):
        chunks = [chunk async for chunk in response.aiter_raw()]
    *events, end = (chunk.decode().removeprefix("data: ") for chunk in chunks)
    assert [json.loads(event)["type"] for event in events] == ["response", "response", "usage"]
    assert end == "[DONE]\n\n"


def test_a_callback_waits_for_a_test_to_post_it() -> None:
    """A workflow with callback delivery is over when its reply arrives; its callback satisfies a receiver's check."""
    sandbox = Sandbox()
    received: list[Any] = []
    app = Flask(__name__)

    @app.post("/hook")
    def hook() -> tuple[str, int]:
        CallbackVerifier(reply["webhook_secret"]).verify(request.get_data(), request.headers)
        received.append(request.get_json())
        return "", 204

    with http_client(sandbox) as client:
        reply = client.post("/workflow/invoke", json=DELIVERED).json()
    assert reply["run_status"] == "running"

    [callback] = sandbox.callbacks
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://app.test") as receiver:
        answer = receiver.post("/hook", content=callback.body, headers=callback.headers)
    assert answer.status_code == 204
    assert received[0]["request_id"] == reply["request_id"] == callback.request_id
    assert (callback.attempts, callback.delivered) == ((), False)
    assert sandbox.runs[0].status == "completed"


@pytest.mark.parametrize(
    ("name", "make"),
    [("FetchHive", Sandbox.client), ("AsyncFetchHive", Sandbox.async_client)],
)
def test_a_sandbox_makes_clients_that_talk_to_it(
    monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[..., Any]
) -> None:
    """A client made by a sandbox gets the sandbox's key and transport, no delay, and the caller's options."""

    def record(**options: Any) -> dict[str, Any]:
        return options

    monkeypatch.setattr(fetch_hive_sdk, name, record)
    sandbox = Sandbox(api_key="fhk_private")
    options = make(sandbox, timeout=5)
    http = options.pop("http_client")
    assert options.pop("retry_policy") == RetryPolicy(initial_delay=0)
    assert options == {
        "api_key": "fhk_private",
        "base_url": "http://sandbox.test/v1",
        "workspace_id": sandbox.workspace_id,
        "timeout": 5,
    }
    assert isinstance(http, SandboxTransport)


# --- replies that pause, break off or lie ---------------------------------------------------------------


class Scripted:
    """A sandbox, as far as the transport knows it, whose engine has one reply."""

    def __init__(self, reply: Reply) -> None:
        self.engine = self
        self.reply = reply
        self.calls: list[str] = []

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.calls.append(f"{method} {path}")
        return self.reply

    def release(self, request_id: str) -> None:
        self.calls.append(f"release {request_id}")

    def settle(self) -> None:
        self.calls.append("settle")


def streamed(*chunks: Chunk, **headers: str) -> Reply:
    """A reply in pieces."""
    return Reply(status=200, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=chunks)


Timeout = Union[float, httpx.Timeout, None]


async def read_into(pieces: list[bytes], flavor: str, reply: Reply, *, timeout: Timeout = 5) -> None:
    """Add the pieces of a reply as a client of this flavor gets them."""
    transport = SandboxTransport(cast("Sandbox", Scripted(reply)))
    if flavor == "sync":
        read_blocking_into(pieces, transport, timeout)
        return
    async with (
        httpx.AsyncClient(transport=transport, timeout=timeout) as client,
        client.stream("GET", "http://sandbox.test/") as response,
    ):
        async for piece in response.aiter_raw():
            pieces.append(piece)  # noqa: PERF401 - those that come before an error are wanted too


def read_blocking_into(pieces: list[bytes], transport: SandboxTransport, timeout: Timeout) -> None:
    with (
        httpx.Client(transport=transport, timeout=timeout) as client,
        client.stream("GET", "http://sandbox.test/") as response,
    ):
        pieces.extend(response.iter_raw())


async def read_through(flavor: str, reply: Reply, *, timeout: Timeout = 5) -> list[bytes]:
    """The pieces of a whole reply."""
    pieces: list[bytes] = []
    await read_into(pieces, flavor, reply, timeout=timeout)
    return pieces


@pytest.mark.anyio
async def test_pauses_that_end_are_skipped(flavor: str) -> None:
    """A pause shorter than the read timeout takes no time, and neither does any for a client that waits for ever."""
    reply = streamed(Pause(3), b"a", Pause(5), b"", Pause(5), b"b")

    assert [b"a", b"b"] == await read_through(flavor, reply)
    assert [b"a"] == await read_through(flavor, streamed(Pause(1e9), b"a"), timeout=None)


@pytest.mark.anyio
@pytest.mark.parametrize("before", [(), (b"",), (b"a",)], ids=["nothing", "the head", "a piece"])
@pytest.mark.parametrize(
    ("timeout", "pauses"),
    [(5, (Pause(6),)), (5, (Pause(3), Pause(3))), (5, (Pause(math.inf),)), (None, (Pause(math.inf),))],
    ids=["longer", "longer together", "endless", "endless without a timeout"],
)
async def test_pauses_time_out(
    flavor: str, before: tuple[bytes, ...], timeout: float | None, pauses: tuple[Pause, ...]
) -> None:
    """A pause longer than the read timeout is a timeout, at once, wherever it stands; so is one without an end."""
    with pytest.raises(httpx.ReadTimeout):
        await read_through(flavor, streamed(*before, *pauses, b"b"), timeout=timeout)


@pytest.mark.anyio
async def test_the_read_timeout_alone_counts(flavor: str) -> None:
    """Other timeouts of the client have nothing to do with a pause."""
    assert [b"a"] == await read_through(flavor, streamed(Pause(6), b"a"), timeout=httpx.Timeout(1, read=7))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (streamed(Cut("close"), b"a"), httpx.RemoteProtocolError, "without sending a response"),
        (streamed(b"", Cut("close"), b"a"), httpx.RemoteProtocolError, "incomplete chunked read"),
        (streamed(b"a", Cut("close"), b"b"), httpx.RemoteProtocolError, "incomplete chunked read"),
        (streamed(b"a", Cut("close"), Content_Length="9"), httpx.RemoteProtocolError, "received 1 bytes, expected 9"),
        (streamed(b"abc", Content_Length="9"), httpx.RemoteProtocolError, "received 3 bytes, expected 9"),
        (streamed(Cut("reset"), b"a"), httpx.ReadError, "reset"),
        (streamed(b"a", Cut("reset"), b"b"), httpx.ReadError, "reset"),
    ],
)
async def test_replies_that_break_off(
    flavor: str, reply: Reply, error: type[httpx.TransportError], message: str
) -> None:
    """A connection that ends too early fails as it does on a socket, in httpx's own words, and names the request."""
    with pytest.raises(error, match=message) as caught:
        await read_through(flavor, reply)
    assert "http://sandbox.test/" == str(caught.value.request.url)


@pytest.mark.anyio
async def test_pieces_before_the_break_arrive(flavor: str) -> None:
    """What was sent before a connection ends is read before the error comes."""
    pieces: list[bytes] = []
    with pytest.raises(httpx.ReadError):
        await read_into(pieces, flavor, streamed(b"a", b"b", Cut("reset")))
    assert [b"a", b"b"] == pieces


@pytest.mark.anyio
async def test_a_length_that_is_true(flavor: str) -> None:
    """A body in pieces as long as its `Content-Length` is whole."""
    assert [b"ab", b"c"] == await read_through(flavor, streamed(b"ab", b"c", Content_Length="3"))


@pytest.mark.parametrize(
    ("body", "unfinished", "calls"),
    [
        (b"", None, ["settle"]),
        (b"", "req_1", ["release req_1", "settle"]),
        ((Pause(math.inf),), "req_1", ["release req_1", "settle"]),
    ],
    ids=["ended", "goes on", "goes on, and its reply never comes"],
)
def test_a_run_that_goes_on(body: bytes | tuple[Chunk, ...], unfinished: str | None, calls: list[str]) -> None:
    """Whatever a request lets go on is carried to its end, whether the client gets the reply or not."""
    sandbox = Scripted(Reply(status=200, headers={}, body=body, unfinished=unfinished))
    with (
        httpx.Client(transport=SandboxTransport(cast("Sandbox", sandbox))) as client,
        nullcontext() if isinstance(body, bytes) else pytest.raises(httpx.ReadTimeout),
    ):
        client.get("http://sandbox.test/v1?a=1")
    assert ["GET /v1?a=1", *calls] == sandbox.calls
