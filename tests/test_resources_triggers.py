"""Webhook triggers: the documented request with a secret instead of the key, and where that secret never turns up."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    WorkflowQueued,
    WorkflowRunning,
)

pytestmark = pytest.mark.anyio

SECRET = "whsec_0123456789abcdef"
CALLBACK = "https://example.com/callback"
BASE = "https://api.fetchhive.com/v1"
LEAST: dict[str, dict[str, Any]] = {
    "workflow": {"workflow_endpoint_id": "e", "variant_id": "v", "webhook_secret": SECRET, "callback_url": CALLBACK},
    "agent": {"agent_id": "a", "message": "Hello", "webhook_secret": SECRET, "callback_url": CALLBACK},
}
PATHS = {"workflow": "/workflow/webhooks/e/variants/v", "agent": "/agent/webhooks/a"}
both = pytest.mark.parametrize("kind", ["workflow", "agent"])


async def trigger(client: Any, kind: str, **given: Any) -> Any:
    return await getattr(client.triggers, kind)(**{**LEAST[kind], **given})


async def test_workflow(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A workflow's trigger sends inputs, callback and metadata with the secret's header, and gives a typed run."""
    answer = {"request_id": "req_1", "run_status": "queued"}
    httpx_mock.add_response(method="POST", url=BASE + PATHS["workflow"], status_code=202, json=answer)
    about = {"inputs": {"topic": "x"}, "user": "user-1", "metadata": {"plan": "pro"}}
    async with make_client(default_metadata={"region": "eu"}) as client:
        run = await trigger(client, "workflow", **about)
    [request] = httpx_mock.get_requests()
    assert {
        "inputs": {"topic": "x"},
        "async": {"callback_url": CALLBACK},
        "metadata": {"region": "eu", "plan": "pro"},
        "user": "user-1",
    } == json.loads(request.content)
    assert isinstance(run, WorkflowQueued)
    assert (answer, 202) == (run.to_dict(), run.http_response.status_code)


async def test_workflow_without_inputs(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """Inputs are always sent, so that the service never takes the rest of the body for them."""
    httpx_mock.add_response(json={"request_id": "req_1", "run_status": "running"})
    async with make_client() as client:
        run = await trigger(client, "workflow")
    [request] = httpx_mock.get_requests()
    assert {"inputs": {}, "async": {"callback_url": CALLBACK}} == json.loads(request.content)
    assert isinstance(run, WorkflowRunning)


async def test_agent(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """An agent's trigger sends the message with the secret's header, and gives a typed run."""
    answer = {"request_id": "req_1", "run_status": "running"}
    httpx_mock.add_response(method="POST", url=BASE + PATHS["agent"], status_code=202, json=answer)
    async with make_client() as client:
        run = await trigger(client, "agent", thread_id="thread-1", user="user-1", metadata={"plan": "pro"})
    [request] = httpx_mock.get_requests()
    assert {
        "message": "Hello",
        "thread_id": "thread-1",
        "metadata": {"plan": "pro"},
        "user": "user-1",
        "async": {"callback_url": CALLBACK},
    } == json.loads(request.content)
    assert ("req_1", "running", answer) == (run.request_id, run.run_status, run.to_dict())


@both
@pytest.mark.parametrize("secret", [SECRET, SecretStr(SECRET)], ids=["str", "SecretStr"])
async def test_the_secret_in_a_header(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, kind: str, secret: Any
) -> None:
    """The secret goes into its header, and the API key is not sent at all."""
    httpx_mock.add_response(url=BASE + PATHS[kind], json={"request_id": "req_1"})
    async with make_client() as client:
        await trigger(client, kind, webhook_secret=secret)
    [request] = httpx_mock.get_requests()
    assert SECRET == request.headers["X-Fetch-Hive-Webhook-Secret"]
    assert "Authorization" not in request.headers


@both
async def test_the_secret_in_the_query(make_client: Callable[..., Any], httpx_mock: HTTPXMock, kind: str) -> None:
    """Where headers do not get through, the secret goes into the query, escaped, and nowhere else."""
    httpx_mock.add_response(json={"request_id": "req_1"})
    async with make_client() as client:
        await trigger(client, kind, webhook_secret="a&b=c d/é".replace("é", "e"), via="query")
    [request] = httpx_mock.get_requests()
    assert {"secret": "a&b=c d/e"} == dict(request.url.params)
    assert not {"authorization", "x-fetch-hive-webhook-secret"} & set(request.headers)


@both
@pytest.mark.parametrize("via", ["header", "query"])
async def test_the_secret_is_in_no_error(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, caplog: pytest.LogCaptureFixture, kind: str, via: str
) -> None:
    """Neither messages, bodies, logs of ours nor pickles have the secret in them, even if the answer echoes it."""
    caplog.set_level(logging.DEBUG, logger="fetch_hive_sdk")
    httpx_mock.add_response(status_code=401, json={"error": f"Wrong secret {SECRET}"})
    httpx_mock.add_exception(httpx.ReadError("It broke."))
    async with make_client() as client:
        with pytest.raises(AuthenticationError) as refused:
            await trigger(client, kind, via=via)
        with pytest.raises(APIConnectionError) as broken:
            await trigger(client, kind, via=via)
    for error in (refused.value, broken.value):
        told = [str(error), repr(error), error.hint, str(error.body), pickle.dumps(error).decode("latin-1")]
        assert not [text for text in [*told, caplog.text] if SECRET in text]
    assert "Wrong secret [webhook secret]." in refused.value.message
    assert broken.value.may_have_run is True


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"webhook_secret": None}, "webhook_secret: None is not allowed."),
    ({"webhook_secret": b"x"}, "webhook_secret: a bytes is not allowed."),
    ({"webhook_secret": ""}, "webhook_secret: it is empty, or has a space at an end"),
    ({"webhook_secret": "a\nb"}, "webhook_secret: it is empty, or has a space at an end"),
    ({"webhook_secret": "é"}, "webhook_secret: it is empty, or has a space at an end"),
    ({"via": "body"}, "via: 'body' is not allowed."),
    ({"callback_url": None}, "callback_url: None is not allowed."),
    ({"callback_url": "http://example.com"}, "callback_url: an http URL is not allowed."),
    ({"metadata": {"a": []}}, "metadata.a: a list is not allowed"),
]


@both
@pytest.mark.parametrize(("given", "message"), WRONG)
async def test_wrong_arguments(make_client: Callable[..., Any], kind: str, given: dict[str, Any], message: str) -> None:
    """What the service must refuse is refused before anything is sent, and no secret is quoted."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await trigger(client, kind, **given)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("workflow", {"workflow_endpoint_id": ".."}, "workflow_endpoint_id: '..' is not an id."),
        ("workflow", {"variant_id": ""}, "variant_id: it is empty."),
        ("workflow", {"inputs": []}, "inputs: a list is not allowed."),
        ("agent", {"agent_id": ""}, "agent_id: it is empty."),
        ("agent", {"message": " "}, "message: it is empty."),
    ],
)
async def test_wrong_arguments_of_one(
    make_client: Callable[..., Any], kind: str, given: dict[str, Any], message: str
) -> None:
    """So are the arguments that only one of them has."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await trigger(client, kind, **given)
    assert message == caught.value.message


@both
async def test_a_wrong_secret(make_client: Callable[..., Any], httpx_mock: HTTPXMock, kind: str) -> None:
    """A refused secret is told as that: the hint does not send the reader to an API key that was not sent."""
    httpx_mock.add_response(status_code=401, json={"error": "Invalid access."})
    async with make_client() as client:
        with pytest.raises(AuthenticationError) as caught:
            await trigger(client, kind)
    assert "webhook secret" in caught.value.hint
    assert "FETCH_HIVE_API_KEY" not in caught.value.hint


async def test_an_escaped_secret(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A page that echoes the address does not bring the secret into the error, escaped as it is there."""
    secret = "whsec_a+b/c=="
    httpx_mock.add_callback(lambda request: httpx.Response(404, text=f"No route to {request.url}"))
    async with make_client() as client:
        with pytest.raises(NotFoundError) as caught:
            await trigger(client, "agent", webhook_secret=secret, via="query")
    told = [str(caught.value), str(caught.value.body), pickle.dumps(caught.value).decode("latin-1")]
    assert "secret=[webhook secret]" in caught.value.message
    assert not [text for text in told if secret in text or "whsec_a" in text]


async def test_a_redirect(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A redirect that repeats the query is told without the secret, and is not followed."""
    httpx_mock.add_callback(
        lambda request: httpx.Response(308, headers={"Location": str(request.url.copy_with(host="other.example"))})
    )
    async with make_client() as client:
        with pytest.raises(APIStatusError) as caught:
            await trigger(client, "agent", via="query")
    assert "other.example/v1/agent/webhooks/a?secret=[webhook secret]" in str(caught.value)
    assert SECRET not in str(caught.value)
