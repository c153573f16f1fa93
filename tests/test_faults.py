"""Faults on a real socket: which error comes, and how many requests were sent."""

from __future__ import annotations

import gzip
import json
import pickle
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import (
    APIConnectionError,
    APITimeoutError,
    BadRequestError,
    ConcurrencyLimitError,
    DailyLimitError,
    FetchHiveError,
    InternalServerError,
    RetryPolicy,
    UnexpectedResponseError,
)

from .faulty_server import (
    Exchange,
    FaultyServer,
    Step,
    chunked,
    close,
    drip,
    json_reply,
    reply,
    reset,
    say_nothing,
    stream,
)

pytestmark = pytest.mark.anyio

ANSWER = '{"request_id":"req_1","response":"Hi","model":"m"}'
CONCURRENCY = """{"error":"You've reached your concurrency limit. Try again later or use async mode."}"""
DAILY = (
    '{"error":"Daily API rate limit reached","code":"api_rate_limit_exceeded","message":"You have reached your '
    'daily limit of 50 API calls. Resets at midnight UTC.","limit":50,"current":50}'
)
DONE = "[DONE]"
AT_ONCE = RetryPolicy(initial_delay=0, max_delay=0)


async def invoke(client: Any, call: str) -> Any:
    if call == "prompt":
        return await client.invoke_prompt(deployment="d", variant="v")
    if call == "workflow":
        return await client.invoke_workflow(deployment="d", variant="v")
    if call == "agent":
        return await client.invoke_agent(agent="a", message="m")
    stream = {"prompt_stream": client.invoke_prompt_stream, "agent_stream": client.invoke_agent_stream}[call]
    arguments = {"agent": "a", "message": "m"} if call == "agent_stream" else {"deployment": "d", "variant": "v"}
    async with stream(**arguments) as opened:
        return await opened.final()


def lying_length(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
    exchange.connection.close()


def garbage(exchange: Exchange) -> None:
    exchange.send(b"\x00\x01 this is not HTTP\r\n\r\n")
    exchange.connection.close()


def cut_gzip(exchange: Exchange) -> None:
    body = gzip.compress(ANSWER.encode())[:-9] + b"xxxxxxxxx"
    exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


@pytest.mark.parametrize("call", ["prompt", "workflow", "agent", "prompt_stream", "agent_stream"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(reset, APIConnectionError, id="reset"),
        pytest.param(close, APIConnectionError, id="close"),
        pytest.param(lying_length, FetchHiveError, id="truncated"),
        pytest.param(garbage, APIConnectionError, id="garbage"),
        pytest.param(json_reply('{"error":"boom"}', 500), InternalServerError, id="500"),
        pytest.param(reply(502, b"<html>Bad Gateway</html>", "text/html"), InternalServerError, id="502 page"),
        pytest.param(json_reply('{"error":"openai API error"}', 502), InternalServerError, id="502 provider"),
        pytest.param(json_reply('{"error":"busy"}', 503), InternalServerError, id="503 without Retry-After"),
        pytest.param(json_reply('{"error":"slow"}', 504), InternalServerError, id="504"),
    ],
)
async def test_what_may_have_run_is_sent_once(
    call: str, fault: Step, error: type[FetchHiveError], faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """After a fault that leaves open whether the run started, exactly one request was sent."""
    faulty.then(fault)
    async with make_client(base_url=faulty.base_url, retry_policy=AT_ONCE) as client:
        with pytest.raises(error) as caught:
            await invoke(client, call)
    assert 1 == len(faulty.requests)
    assert caught.value.may_have_run
    assert not caught.value.retryable


@pytest.mark.parametrize("call", ["prompt", "workflow", "agent"])
async def test_a_read_timeout_is_sent_once(call: str, faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """A server that never answers ends in a timeout that says the run may have started; one request was sent."""
    faulty.then(say_nothing)
    async with make_client(base_url=faulty.base_url, timeout=0.2, retry_policy=AT_ONCE) as client:
        with pytest.raises(APITimeoutError, match="look it up in the dashboard") as caught:
            await invoke(client, call)
    assert 1 == len(faulty.requests)
    assert caught.value.may_have_run


@pytest.mark.parametrize("call", ["prompt", "workflow", "agent", "prompt_stream", "agent_stream"])
@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(json_reply(CONCURRENCY, 429), id="concurrency"),
        pytest.param(json_reply('{"error":"slow down","error_code":"too_many_requests"}', 429), id="too many"),
        pytest.param(json_reply('{"error":"soon"}', 503, Retry_After="0"), id="503 with Retry-After"),
    ],
)
async def test_what_did_not_run_is_sent_again(
    call: str, refusal: Step, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """A refusal before the run is repeated as often as configured and then raised, as one that did not run."""
    faulty.then(refusal)
    async with make_client(base_url=faulty.base_url, max_retries=3, retry_policy=AT_ONCE) as client:
        with pytest.raises(FetchHiveError) as caught:
            await invoke(client, call)
    assert 4 == len(faulty.requests)
    assert not caught.value.may_have_run
    assert caught.value.retryable


async def test_a_refused_connection_is_tried_again(make_client: Callable[..., Any], monkeypatch: Any) -> None:
    """A connection that cannot be made is tried the configured number of times."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connecting is refused
        port = unused.getsockname()[1]
        retries: list[str] = []
        monkeypatch.setattr("fetch_hive_sdk.exchange.logger.warning", lambda *_: retries.append("retry"))
        async with make_client(base_url=f"http://127.0.0.1:{port}/v1", retry_policy=AT_ONCE) as client:
            with pytest.raises(APIConnectionError, match=f"no connection to 127.0.0.1:{port} could be made") as caught:
                await invoke(client, "prompt")
    assert ["retry", "retry"] == retries
    assert not caught.value.may_have_run
    assert "Nothing was run." in caught.value.hint


async def test_a_retry_that_succeeds_returns_the_result(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """After two refusals the third answer is the result."""
    faulty.then(json_reply(CONCURRENCY, 429), json_reply('{"error":"x"}', 429), json_reply(ANSWER))
    async with make_client(base_url=faulty.base_url, retry_policy=AT_ONCE) as client:
        result = await invoke(client, "prompt")
    assert "Hi" == result.response
    assert 1 == faulty.connections
    assert 3 == len({id(request) for request in faulty.requests})
    assert 1 == len({request.body for request in faulty.requests})


async def test_the_daily_cap_is_not_repeated(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """The daily cap is raised at once, with its numbers and the time it resets."""
    faulty.then(json_reply(DAILY, 429))
    async with make_client(base_url=faulty.base_url, retry_policy=AT_ONCE) as client:
        with pytest.raises(DailyLimitError) as caught:
            await invoke(client, "agent")
    assert 1 == len(faulty.requests)
    assert (50, 50) == (caught.value.limit, caught.value.current)
    assert (0, 0) == (caught.value.resets_at.hour, caught.value.resets_at.minute)


async def test_a_concurrency_limit_has_its_own_class(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Without retries the concurrency cap is raised with the advice to use callback delivery."""
    faulty.then(json_reply(CONCURRENCY, 429))
    async with make_client(base_url=faulty.base_url, max_retries=0) as client:
        with pytest.raises(ConcurrencyLimitError, match="callback_url="):
            await invoke(client, "workflow")
    assert 1 == len(faulty.requests)


async def test_a_long_retry_after_is_raised_at_once(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """A wait beyond the limit is not slept but handed to the caller."""
    faulty.then(json_reply(CONCURRENCY, 429, Retry_After="61"))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(ConcurrencyLimitError, match="asks to wait 61 s") as caught:
            await invoke(client, "workflow")
    assert 1 == len(faulty.requests)
    assert 61 == caught.value.retry_after


@pytest.mark.parametrize("fault", [reset, json_reply('{"error":"boom"}', 500)])
async def test_always_repeats_invokes_too(fault: Step, faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Who opts in has invokes repeated even where they may have run."""
    faulty.then(fault, json_reply(ANSWER))
    policy = RetryPolicy(invokes="always", initial_delay=0)
    async with make_client(base_url=faulty.base_url, retry_policy=policy) as client:
        assert "Hi" == (await invoke(client, "prompt")).response
    assert 2 == len(faulty.requests)


@pytest.mark.parametrize(
    ("body", "kind", "shown"),
    [
        (b'{"request_id":"req_1","resp', "application/json", '{"request_id":"req_1","resp'),
        (b"<html>Maintenance</html>", "text/html", "<html>Maintenance</html>"),
        (b"[1]", "application/json", [1]),
        (b"", "application/json", ""),
    ],
    ids=["truncated JSON", "a page", "an array", "nothing"],
)
@pytest.mark.parametrize("call", ["prompt", "workflow", "agent", "prompt_stream"])
async def test_a_200_that_is_no_answer_is_an_error(
    body: bytes, kind: str, shown: Any, call: str, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """A success status with a useless body raises, keeps the body, and says that the run may have started."""
    faulty.then(reply(200, body, kind))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(UnexpectedResponseError) as caught:
            await invoke(client, call)
    assert (shown, 200, True) == (caught.value.body, caught.value.status_code, caught.value.may_have_run)
    assert 1 == len(faulty.requests)


class Touch:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("call", ["prompt", "workflow", "agent", "prompt_stream"])
async def test_the_content_of_an_answer_is_data(
    call: str, tmp_path: Path, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """Nothing in an answer is evaluated or unpickled, and no URL in it is fetched."""
    touched = tmp_path / "touched"
    with FaultyServer() as elsewhere:
        texts = (f"{elsewhere.base_url}/a.pdf", f"__import__('pathlib').Path({str(touched)!r}).touch()")
        for text in (*texts, pickle.dumps(Touch(touched), 0).decode("latin-1")):
            artifact = {"file_url": text, "image_url": text}
            fields = {
                "type": "response",
                "response": text,
                "output": text,
                "artifacts": [artifact],
                "callback_url": text,
            }
            answer = json.dumps({"request_id": "req_1", "run_status": "completed", **fields, text: text})
            faulty.now(stream(answer, DONE) if call == "prompt_stream" else json_reply(answer))
            async with make_client(base_url=faulty.base_url) as client:
                result = await invoke(client, call)
            assert text in (result.get("response"), result.get("output"))
        assert 0 == elsewhere.connections
    assert not touched.exists()
    pickle.loads(pickle.dumps(Touch(touched)))
    assert touched.exists()  # it would have been seen


async def test_a_broken_content_encoding_is_an_error(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """A gzip body that does not decode raises our error, not zlib's."""
    faulty.then(cut_gzip)
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(FetchHiveError):
            await invoke(client, "prompt")
    assert 1 == len(faulty.requests)


def drip_then_silence(exchange: Exchange) -> None:
    exchange.send(ENDLESS_BODY + b" ")
    exchange.pause(0.2)
    exchange.send(b" ")
    exchange.wait_for_hang_up()


ENDLESS_BODY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param(drip(ENDLESS_BODY, b" ", every=0.01), id="a body that drips"),
        pytest.param(drip(ENDLESS_BODY, b" " * 1000, every=0), id="a body without end"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", every=0.01), id="headers that drip"),
        pytest.param(drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", every=0.01), id="early hints without end"),
        pytest.param(drip_then_silence, id="drips, then silence"),
    ],
)
async def test_a_dripping_answer_ends_at_the_timeout(
    slow: Step, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """Bytes that keep coming do not extend the timeout of the whole attempt, on a new or a kept connection."""
    faulty.then(json_reply(ANSWER), slow)
    async with make_client(base_url=faulty.base_url, timeout=0.3) as client:
        await invoke(client.with_options(timeout=10), "prompt")  # connects, however busy the machine is
        started = time.monotonic()
        with pytest.raises(APITimeoutError) as caught:
            await invoke(client, "prompt")
        assert time.monotonic() - started < 5  # a hang, and no measure of speed
    assert caught.value.may_have_run
    assert (2, 1) == (len(faulty.requests), faulty.connections)


async def test_a_redirect_is_not_followed(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """A redirect is an error that names the new address; the key is sent nowhere else."""
    faulty.then(reply(307, Location="https://elsewhere.example/v1/prompt/invoke"))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(FetchHiveError, match=r"elsewhere\.example") as caught:
            await invoke(client, "prompt")
    assert not caught.value.may_have_run
    assert 1 == len(faulty.requests)


async def test_errors_are_httpx_errors_too(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Code that catches httpx's exceptions keeps catching ours, with response and request."""
    faulty.then(json_reply('{"error":"no"}', 400))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await invoke(client, "prompt")
    assert isinstance(caught.value, BadRequestError)
    assert (400, "POST") == (caught.value.response.status_code, caught.value.request.method)
    assert {"error": "no"} == caught.value.response.json()


async def test_a_failed_call_leaves_the_client_usable(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """After every kind of failure the next call on the same client works."""
    faults = [reset, lying_length, garbage, reply(500), reply(200, b"x"), cut_gzip, chunked(b"x", end=reset)]
    faulty.then(*(step for fault in faults for step in (fault, json_reply(ANSWER))))
    async with make_client(base_url=faulty.base_url, max_retries=0) as client:
        for _ in faults:
            with pytest.raises(FetchHiveError):
                await invoke(client, "prompt")
            assert "Hi" == (await invoke(client, "prompt")).response
