"""The sandbox through an httpx client, in process: plain and async, on asyncio and on trio."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from flask import Flask, request

import fetch_hive_sdk
from fetch_hive_sdk import CallbackVerifier
from fetch_hive_sdk.sandbox import Sandbox, SandboxTransport

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
    """A client made by a sandbox gets the sandbox's key and transport, and the caller's options."""

    def record(**options: Any) -> dict[str, Any]:
        return options

    monkeypatch.setattr(fetch_hive_sdk, name, record)
    sandbox = Sandbox(api_key="fhk_private")
    options = make(sandbox, timeout=5)
    http = options.pop("http_client")
    assert options == {"api_key": "fhk_private", "base_url": "http://sandbox.test/v1", "timeout": 5}
    assert isinstance(http, httpx.Client if name == "FetchHive" else httpx.AsyncClient)
