"""One call, step by step and by hand: what is sent, repeated, waited for, returned and raised."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import (
    AgentRun,
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConcurrencyLimitError,
    DailyLimitError,
    Done,
    FetchHiveError,
    HiveAgentRun,
    InternalServerError,
    KnowledgeBaseSearch,
    PromptResult,
    RateLimitError,
    RetryPolicy,
    ToolActionApproval,
    UnexpectedResponseError,
    UnprocessableEntityError,
    WorkflowCompleted,
    WorkflowRun,
)
from fetch_hive_sdk.deadlines import DeadlineExceeded, Trace
from fetch_hive_sdk.exchange import Arrived, Failure, Send, Sleep, Step, is_event_stream, open_stream, run
from fetch_hive_sdk.operations import Operation, invoke_prompt, invoke_workflow
from fetch_hive_sdk.settings import Settings

KEY = "fhk_0123456789abcdef"
REQUEST_ID = "req_019d52846ea37682b03522fd0695cc43"
SETTINGS = Settings(api_key=KEY)
ALWAYS = SETTINGS.changed(retry_policy=RetryPolicy(invokes="always"))

PROMPT = invoke_prompt(SETTINGS, "greeter", "default", {"topic": "s3cret topic"}, None, None)
STREAM = invoke_prompt(SETTINGS, "greeter", "default", None, None, None, streaming=True)
WORKFLOW = invoke_workflow(SETTINGS, "brief", "default", None, None, None, None, None)
QUEUED_WORKFLOW = invoke_workflow(SETTINGS, "brief", "v", None, "https://example.com/cb", None, None, None)
LOOKUP: Operation[PromptResult] = Operation("GET", "/public/requests/r", b"", PromptResult.from_json, effect="nothing")

DAILY = {"error": "Daily API rate limit reached", "code": "api_rate_limit_exceeded", "limit": 50, "current": 50}
CONCURRENCY = {"error": "You've reached your concurrency limit. Try again later or use async mode."}


def request() -> httpx.Request:
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.Request("POST", "https://api.fetchhive.com/v1/prompt/invoke", headers=headers)


def answer(status: int, body: object = None, **headers: str) -> httpx.Response:
    """An answer as a driver hands it back: read and closed."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = httpx.Response(status, content=content, headers=headers, request=request())
    assert response.is_closed
    return response


def sound() -> httpx.Response:
    return answer(200, {"request_id": REQUEST_ID, "response": "Hi"})


Play = tuple[list[str], Any]


def failed(error: Exception, trace: Trace | None = None) -> Failure:
    """A failure as a driver hands it back; without a trace, of a transport that tells nothing."""
    return Failure(error, request(), trace or Trace())


def came(outcome: httpx.Response | Exception | Failure, step: Send | None = None) -> Arrived | Failure:
    """What a driver hands back: a response is read, unless it is the stream of events that was asked for."""
    if isinstance(outcome, Exception):
        return failed(outcome)
    if isinstance(outcome, Failure):
        return outcome
    streamed = step is not None and step.operation.streaming and outcome.is_success and is_event_stream(outcome)
    return Arrived(outcome, None if streamed else outcome.content)


def play(exchange: Generator[Step, Any, Any], *outcomes: httpx.Response | Exception | Failure) -> Play:
    """Carry an exchange out with these outcomes: its steps by name, and its result or error."""
    steps: list[str] = []
    left = list(outcomes)
    given: Any = None
    try:
        while True:
            step = exchange.send(given)
            if isinstance(step, Send):
                steps.append("send")
                given = came(left.pop(0), step)
            else:
                assert isinstance(step, Sleep)
                assert step.seconds >= 0
                steps.append("sleep")
                given = None
    except StopIteration as end:
        result = end.value
    except FetchHiveError as error:
        result = error
    assert not left, f"{len(left)} outcomes were not asked for"
    return steps, result


def repeated(times: int) -> list[str]:
    return ["send", *["sleep", "send"] * times]


# --- one attempt --------------------------------------------------------------------------------------


def test_result() -> None:
    """A sound answer is one send and its typed result."""
    steps, result = play(run(PROMPT, SETTINGS), sound())

    assert ["send"] == steps
    assert isinstance(result, PromptResult)
    assert ("Hi", REQUEST_ID) == (result.response, result.request_id)


def test_what_is_sent() -> None:
    """Each send carries the operation and the settings of the call."""
    exchange = run(PROMPT, SETTINGS)

    assert Send(PROMPT, SETTINGS) == next(exchange)
    assert isinstance(exchange.send(failed(httpx.ConnectError("refused"))), Sleep)
    assert Send(PROMPT, SETTINGS) == exchange.send(None)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_any_success(status: int) -> None:
    """Any success status is a success, since the service does not document which it uses."""
    _, run_ = play(run(WORKFLOW, SETTINGS), answer(status, {"run_status": "completed", "output": "x"}))

    assert isinstance(run_, WorkflowCompleted)


def test_open_stream() -> None:
    """Opening a stream ends with the open response."""
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    response = httpx.Response(200, stream=httpx.ByteStream(b""), headers=headers, request=request())

    assert (["send"], response) == play(open_stream(STREAM, SETTINGS), response)


# --- what is repeated ---------------------------------------------------------------------------------

NEVER_SENT: list[Callable[[], Exception]] = [
    partial(httpx.ConnectError, "refused"),
    partial(httpx.ConnectTimeout, "slow"),
    partial(httpx.PoolTimeout, ""),
    partial(httpx.ProxyError, "503 Service Unavailable"),
]
PERHAPS_SENT: list[Callable[[], Exception]] = [
    partial(httpx.ReadTimeout, "slow"),
    partial(httpx.WriteTimeout, "slow"),
    DeadlineExceeded,
    partial(httpx.RemoteProtocolError, "Server disconnected"),
    partial(httpx.ReadError, "reset"),
    partial(httpx.WriteError, "broken pipe"),
    partial(httpx.CloseError, ""),
    partial(httpx.DecodingError, "not gzip"),
    partial(ConnectionResetError, "reset"),
    partial(OSError, "no route"),
]


def named(make: Callable[[], Exception]) -> str:
    return type(make()).__name__


@pytest.mark.parametrize("make", NEVER_SENT, ids=named)
@pytest.mark.parametrize("operation", [PROMPT, WORKFLOW, LOOKUP], ids=lambda operation: operation.name)
@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_connection_never_made(make: Callable[[], Exception], operation: Operation[Any], max_retries: int) -> None:
    """A connection that was never made is tried again, as often as allowed, and then raised as one that did not run."""
    failures = [make() for _ in range(max_retries + 1)]
    steps, error = play(run(operation, SETTINGS.changed(max_retries=max_retries)), *failures)

    assert repeated(max_retries) == steps
    assert isinstance(error, APIConnectionError)
    assert (False, True) == (error.may_have_run, error.retryable)
    assert ("Nothing was run." in error.hint) is (operation.effect == "run")
    assert error.__cause__ is failures[-1]


@pytest.mark.parametrize("make", PERHAPS_SENT, ids=named)
@pytest.mark.parametrize("operation", [PROMPT, WORKFLOW, QUEUED_WORKFLOW], ids=["prompt", "direct", "callback"])
def test_connection_that_broke(make: Callable[[], Exception], operation: Operation[Any]) -> None:
    """After a timeout or a broken connection an invoke is never sent again, and is raised as one that may have run."""
    failure = make()
    steps, error = play(run(operation, SETTINGS), failure)

    assert ["send"] == steps
    assert isinstance(error, APIConnectionError)
    assert (True, False) == (error.may_have_run, error.retryable)
    assert "look it up in the dashboard before you repeat the call" in error.hint
    assert error.__cause__ is failure


@pytest.mark.parametrize("make", PERHAPS_SENT, ids=named)
@pytest.mark.parametrize(("operation", "settings"), [(PROMPT, ALWAYS), (LOOKUP, SETTINGS)], ids=["always", "look-up"])
def test_broken_and_repeated(make: Callable[[], Exception], operation: Operation[Any], settings: Settings) -> None:
    """A call that starts no run, or an invoke whose policy allows it, is sent again after a broken connection."""
    steps, result = play(run(operation, settings), make(), make(), sound())

    assert repeated(2) == steps
    assert "Hi" == result.response


@pytest.mark.parametrize(
    ("make", "timeout"),
    [(make, "imeout" in named(make) or named(make) == "DeadlineExceeded") for make in [*NEVER_SENT, *PERHAPS_SENT]],
    ids=lambda value: value if isinstance(value, bool) else named(value),
)
def test_timeouts_are_timeouts(make: Callable[[], Exception], timeout: bool) -> None:
    """A timeout, and nothing else, is raised as one."""
    _, error = play(run(PROMPT, SETTINGS.changed(max_retries=0)), make())

    assert isinstance(error, APIConnectionError)
    assert isinstance(error, APITimeoutError) is timeout
    assert ("APITimeoutError" if timeout else "APIConnectionError") == type(error).__name__


HTTPX_ERRORS = [
    *(httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout, httpx.ConnectError),
    *(httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.ProxyError, httpx.UnsupportedProtocol),
    *(httpx.LocalProtocolError, httpx.RemoteProtocolError, httpx.DecodingError, httpx.InvalidURL),
]


@pytest.mark.parametrize("cls", HTTPX_ERRORS, ids=lambda cls: cls.__name__)
def test_caught_as_httpx_has_it(cls: type[Exception]) -> None:
    """Code that catches the very class that httpx raises catches ours too, also after pickle and copy."""
    _, error = play(run(PROMPT, SETTINGS.changed(max_retries=0)), cls("It broke."))

    for one in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        with pytest.raises(cls) as caught:
            raise one
        assert isinstance(caught.value, APIConnectionError)
        assert str(error) == str(caught.value)
    assert type(error) is type(pickle.loads(pickle.dumps(error)))
    assert error.__class__.__module__ == "fetch_hive_sdk.errors"


@pytest.mark.parametrize(
    ("status", "body", "cls", "ran"),
    [
        (400, {"error": "Missing required field: deployment or variant"}, BadRequestError, False),
        (401, {"error": "Invalid access."}, AuthenticationError, False),
        (422, {"error": "Agent not found."}, UnprocessableEntityError, False),
        (429, DAILY, DailyLimitError, False),
        (500, {"error": "internal"}, InternalServerError, True),
        (502, {"error": "openai API error: provider rejected the request"}, InternalServerError, True),
        (502, b"<html>Bad gateway</html>", InternalServerError, True),
        (503, {"error": "busy"}, InternalServerError, True),
        (504, b"", InternalServerError, True),
    ],
)
def test_statuses_of_an_invoke(status: int, body: object, cls: type[Exception], ran: bool) -> None:
    """An invoke that was answered with an error is not sent again, and the error says whether it may have run."""
    steps, error = play(run(PROMPT, SETTINGS), answer(status, body))

    assert ["send"] == steps
    assert cls is type(error)
    assert (ran, False) == (error.may_have_run, error.retryable)
    assert status == error.status_code == error.response.status_code
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("operation", "ran"),
    [(WORKFLOW, True), (QUEUED_WORKFLOW, False), (PROMPT, False)],
    ids=["direct", "callback", "prompt"],
)
def test_422(operation: Operation[Any], ran: bool) -> None:
    """A 422 of a direct workflow may be a run that failed; for other calls it is a refusal."""
    _, error = play(run(operation, SETTINGS), answer(422, {"error": "The step failed."}))

    assert ran is error.may_have_run


@pytest.mark.parametrize(
    ("make", "cls"),
    [
        (lambda: answer(429, CONCURRENCY), ConcurrencyLimitError),
        (lambda: answer(429, {"error": "too many", "error_code": "too_many_requests"}), RateLimitError),
        (lambda: answer(429, b""), RateLimitError),
        (lambda: answer(503, {"error": "busy"}, **{"Retry-After": "0"}), InternalServerError),
    ],
    ids=["concurrency", "too many", "empty 429", "503 with Retry-After"],
)
@pytest.mark.parametrize("operation", [PROMPT, WORKFLOW, LOOKUP], ids=lambda operation: operation.name)
def test_refused_for_now(make: Callable[[], httpx.Response], cls: type[Exception], operation: Operation[Any]) -> None:
    """What was refused for the moment is sent again, and succeeds or is raised as what did not run."""
    assert repeated(2) == play(run(operation, SETTINGS), make(), make(), sound())[0]

    steps, error = play(run(operation, SETTINGS), make(), make(), make())
    assert repeated(2) == steps
    assert cls is type(error)
    assert (False, True) == (error.may_have_run, error.retryable)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(("operation", "settings"), [(PROMPT, ALWAYS), (LOOKUP, SETTINGS)], ids=["always", "look-up"])
def test_5xx_repeated(status: int, operation: Operation[Any], settings: Settings) -> None:
    """A 5xx is repeated for a call that starts no run, and for an invoke whose policy allows it."""
    steps, error = play(run(operation, settings), *(answer(status, {"error": "No."}) for _ in range(3)))

    assert repeated(2) == steps
    assert isinstance(error, InternalServerError)
    starts_run = operation.effect == "run"
    assert starts_run is error.may_have_run
    assert starts_run is not error.retryable


@pytest.mark.parametrize("operation", [PROMPT, LOOKUP], ids=lambda operation: operation.name)
def test_daily_limit(operation: Operation[Any]) -> None:
    """The daily cap is raised at once, whatever the policy and Retry-After say."""
    steps, error = play(run(operation, ALWAYS), answer(429, DAILY, **{"Retry-After": "1"}))

    assert ["send"] == steps
    assert isinstance(error, DailyLimitError)
    assert (50, 50, False) == (error.limit, error.current, error.retryable)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect(status: int) -> None:
    """A redirect is not followed: it is an error that says where base_url has to point to."""
    steps, error = play(run(PROMPT, SETTINGS), answer(status, b"", Location="https://elsewhere.example/v1"))

    assert ["send"] == steps
    assert "elsewhere.example" in error.hint


def test_no_retries() -> None:
    """With max_retries=0 nothing is sent twice."""
    assert ["send"] == play(run(PROMPT, SETTINGS.changed(max_retries=0)), answer(429, CONCURRENCY))[0]


def test_mixed_failures() -> None:
    """All kinds of failures of one call share one number of retries."""
    steps, error = play(
        run(PROMPT, SETTINGS), httpx.ConnectError("refused"), answer(429, CONCURRENCY), httpx.ReadTimeout("slow")
    )

    assert repeated(2) == steps
    assert isinstance(error, APITimeoutError)
    assert error.may_have_run is True


@pytest.mark.parametrize(
    "last",
    [partial(httpx.ConnectError, "refused"), partial(answer, 429, DAILY), partial(answer, 429, CONCURRENCY)],
    ids=["refused", "daily limit", "concurrency"],
)
def test_doubt_outlives_a_refusal(last: Callable[[], Any]) -> None:
    """If an attempt may have run, the call may have, whatever the last attempt of it comes to."""
    settings = SETTINGS.changed(retry_policy=RetryPolicy(invokes="always", max_retries=1))
    steps, error = play(run(PROMPT, settings), httpx.ReadError("reset"), last())

    assert repeated(1) == steps
    assert (True, False) == (error.may_have_run, error.retryable)
    assert "The run may have started" in error.hint
    assert "did not run" not in str(error)
    assert "Nothing was run" not in str(error)


# --- how long -----------------------------------------------------------------------------------------


def sleeps(settings: Settings, *outcomes: httpx.Response | Exception) -> list[float]:
    exchange = run(PROMPT, settings)
    waited: list[float] = []
    step: Any = next(exchange)
    for outcome in outcomes:
        step = exchange.send(came(outcome))
        assert isinstance(step, Sleep)
        waited.append(step.seconds)
        step = exchange.send(None)
    exchange.close()
    return waited


def test_growing_delays() -> None:
    """The waits between attempts double up to eight seconds, and chance takes at most half."""
    waited = sleeps(SETTINGS.changed(max_retries=7), *(httpx.ConnectError("refused") for _ in range(7)))

    for seconds, longest in zip(waited, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0], strict=True):
        assert longest / 2 <= seconds <= longest


@pytest.mark.parametrize("retry_after", ["0", "1.5", "7", "60"])
def test_retry_after(retry_after: str) -> None:
    """Retry-After up to a minute is waited as it stands."""
    assert [float(retry_after)] == sleeps(SETTINGS, answer(429, CONCURRENCY, **{"Retry-After": retry_after}))


@pytest.mark.parametrize(("status", "body"), [(429, CONCURRENCY), (503, {"error": "busy"})])
@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("61", 61.0), ("3600", 3600.0), ("Fri, 31 Dec 9999 23:59:59 GMT", None)]
)
def test_long_retry_after(status: int, body: object, retry_after: str, seconds: float | None) -> None:
    """A longer Retry-After is raised at once, with its seconds and as what can be repeated later."""
    steps, error = play(run(PROMPT, SETTINGS), answer(status, body, **{"Retry-After": retry_after}))

    assert ["send"] == steps
    assert error.retry_after > 60
    assert seconds in (error.retry_after, None)
    assert (False, True) == (error.may_have_run, error.retryable)
    assert "The service asks to wait" in error.hint


def test_own_longest_retry_after() -> None:
    """How long Retry-After may be is a setting."""
    patient = SETTINGS.changed(retry_policy=RetryPolicy(max_retry_after=3600))
    hasty = SETTINGS.changed(retry_policy=RetryPolicy(max_retry_after=0))

    assert [3600.0] == sleeps(patient, answer(429, CONCURRENCY, **{"Retry-After": "3600"}))
    assert ["send"] == play(run(PROMPT, hasty), answer(429, CONCURRENCY, **{"Retry-After": "1"}))[0]


@pytest.mark.parametrize("retry_after", ["soon", "-5", "nan", ""])
def test_odd_retry_after(retry_after: str) -> None:
    """A Retry-After that makes no sense is as none."""
    waited = sleeps(SETTINGS, answer(429, CONCURRENCY, **{"Retry-After": retry_after}))

    assert 0.25 <= waited[0] <= 0.5


# --- answers that are none ----------------------------------------------------------------------------

NO_ANSWERS: dict[str, tuple[bytes, object]] = {
    "HTML": (b"<html>Welcome</html>", "<html>Welcome</html>"),
    "truncated": (b'{"request_id":"req_1","response":"H', '{"request_id":"req_1","response":"H'),
    "empty": (b"", ""),
    "array": (b'[{"response":"Hi"}]', [{"response": "Hi"}]),
    "null": (b"null", None),
    "text": (b'"Hi"', "Hi"),
    "binary": (b"\xff\x00", "\ufffd\0"),
    "events": (b'data: {"type":"response"}\n\n', 'data: {"type":"response"}\n\n'),
}


@pytest.mark.parametrize("operation", [PROMPT, WORKFLOW, LOOKUP], ids=lambda operation: operation.name)
@pytest.mark.parametrize(("content", "body"), NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_unexpected(operation: Operation[Any], content: bytes, body: object) -> None:
    """A success whose body is not what the API promises is one clear error with the body, and is not repeated."""
    steps, error = play(run(operation, ALWAYS), answer(200, content))

    assert ["send"] == steps
    assert UnexpectedResponseError is type(error)
    assert (200, body) == (error.status_code, error.body)
    assert (operation.effect == "run", False) == (error.may_have_run, error.retryable)
    assert content == error.response.content
    assert error.message.startswith(f"{operation.name} was answered 200")
    assert (operation.effect == "run") is ("look it up in the dashboard" in error.hint)
    assert isinstance(error.__cause__, ValueError)
    assert error.body == pickle.loads(pickle.dumps(error)).body


def test_no_stream() -> None:
    """An answer that is no stream of events, where one was asked for, is one clear error."""
    response = answer(200, {"request_id": REQUEST_ID, "response": "Hi"}, **{"Content-Type": "application/json"})
    _, error = play(open_stream(STREAM, SETTINGS), response)

    assert UnexpectedResponseError is type(error)
    assert "application/json" in error.message
    assert REQUEST_ID == error.request_id
    assert error.may_have_run is True


def test_stream_without_a_type() -> None:
    """An answer that does not say what it is, is taken for the stream that was asked for."""
    response = httpx.Response(200, stream=httpx.ByteStream(b""), request=request())
    assert "Content-Type" not in response.headers

    assert (["send"], response) == play(open_stream(STREAM, SETTINGS), response)


def test_answer_without_a_type() -> None:
    """An unreadable answer that does not say what it is, is an error that says so."""
    _, error = play(run(PROMPT, SETTINGS), answer(204, b""))

    assert UnexpectedResponseError is type(error)
    assert "no content type" in error.message


def test_stream_refused() -> None:
    """A stream that the service refuses fails as a plain call does."""
    steps, error = play(open_stream(STREAM, SETTINGS), *(answer(429, CONCURRENCY) for _ in range(3)))

    assert repeated(2) == steps
    assert isinstance(error, ConcurrencyLimitError)


# --- what errors say ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "message", "hint"),
    [
        (httpx.ConnectError("refused"), "no connection to api.fetchhive.com could be made (refused).", "base_url"),
        (httpx.ConnectTimeout("slow"), "api.fetchhive.com did not accept a connection in time.", "network"),
        (httpx.PoolTimeout(""), "no connection became free in time.", "number of calls at once"),
        (httpx.ReadTimeout("slow"), "no complete answer came in time.", "callback delivery"),
        (DeadlineExceeded(), "no complete answer came in time.", "timeout="),
        (httpx.ProxyError("407"), "the proxy refused the connection (407).", "HTTPS_PROXY"),
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] no issuer"),
            "api.fetchhive.com could not prove its identity ([SSL: CERTIFICATE_VERIFY_FAILED] no issuer).",
            "SSL_CERT_FILE",
        ),
        (httpx.DecodingError("not gzip"), "the answer's content encoding is broken (not gzip).", "proxy"),
        (
            httpx.RemoteProtocolError("disconnected"),
            "the connection to api.fetchhive.com broke before the whole answer was there (disconnected).",
            "dashboard",
        ),
        (httpx.ReadError(""), "the connection to api.fetchhive.com broke before the whole answer was there.", "billed"),
    ],
)
def test_messages(failure: Exception, message: str, hint: str) -> None:
    """A failure on the way says what happened, with whom, and what to do."""
    _, error = play(run(PROMPT, SETTINGS.changed(max_retries=0)), failure)

    assert f"POST /prompt/invoke: {message}" == error.message
    assert hint in error.hint
    assert f"{error.message} {error.hint}" == str(error)


def test_host_with_a_port() -> None:
    """The host in a message has its port, if it has one."""
    failure = Failure(httpx.ConnectError("x"), httpx.Request("POST", "http://localhost:8123/v1/prompt/invoke"), Trace())

    error = play(run(PROMPT, SETTINGS.changed(max_retries=0)), failure)[1]

    assert "no connection to localhost:8123 could" in error.message


def test_request_of_an_error() -> None:
    """A connection error has the request that failed."""
    failure = failed(OSError("x"))

    assert failure.request is play(run(PROMPT, SETTINGS.changed(max_retries=0)), failure)[1].request


def trace(*events: tuple[str, bytes]) -> Trace:
    """The trace of a transport that told of these events."""
    told = Trace()
    for event, method in events:
        told(event, {"request": Method(method)})
    return told


class Method:
    """A request as httpcore tells of it."""

    def __init__(self, method: bytes) -> None:
        self.method = method


@pytest.mark.parametrize(
    ("events", "sent"),
    [
        ([("connection.connect_tcp.started", b"POST")], False),
        ([("http11.send_request_headers.started", b"CONNECT")], False),
        ([("http11.send_request_headers.started", b"POST")], True),
        ([("http2.send_request_headers.started", b"POST")], True),
    ],
)
@pytest.mark.parametrize(
    "make", [DeadlineExceeded, partial(httpx.ReadTimeout, "slow"), partial(httpx.ReadError, "cut")]
)
def test_what_the_connection_tells(make: Callable[[], Exception], events: list[tuple[str, bytes]], sent: bool) -> None:
    """Whether the run may have started is decided by whether the connection began to send, a proxy's CONNECT apart."""
    _, error = play(run(PROMPT, SETTINGS.changed(max_retries=0)), failed(make(), trace(*events)))

    assert (sent, not sent) == (error.may_have_run, error.retryable)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.UnsupportedProtocol("no scheme"),
        httpx.InvalidURL("bad"),
        httpx.ProxyError("407 Proxy Authentication Required"),
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
        UnicodeError("label too long"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_hopeless(failure: Exception) -> None:
    """What the same call cannot but meet again is raised at once, as not sent and not worth repeating."""
    steps, error = play(run(PROMPT, SETTINGS), failure)

    assert ["send"] == steps
    assert (False, False) == (error.may_have_run, error.retryable)


def test_illegal_header() -> None:
    """An illegal header is told without its value, which may be a secret."""
    failure = failed(
        httpx.LocalProtocolError("Illegal header value b's3cret'"), trace(("connection.x.started", b"POST"))
    )
    _, error = play(run(PROMPT, SETTINGS), failure)

    assert "the request is not valid HTTP." in error.message
    assert "s3cret" not in str(error)
    assert (False, False) == (error.may_have_run, error.retryable)


def test_stream_that_opens_late() -> None:
    """A stream that does not open in time names the setting that bounds it."""
    _, error = play(open_stream(STREAM, SETTINGS), httpx.ReadTimeout("slow"))

    assert "the stream did not open in time" in error.message
    assert "idle_timeout=" in error.hint


def test_request_id_of_an_error() -> None:
    """An error answer that names the run carries its id."""
    body = {"error": "No.", "request_id": REQUEST_ID, "error_code": "internal_server_error"}
    _, error = play(run(PROMPT, SETTINGS), answer(500, body))

    assert (REQUEST_ID, "internal_server_error", body) == (error.request_id, error.error_code, error.body)


# --- the log ------------------------------------------------------------------------------------------


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt and the run's id are logged at DEBUG, each retry at WARNING."""
    with caplog.at_level(logging.DEBUG, "fetch_hive_sdk"):
        play(run(PROMPT, SETTINGS), httpx.ConnectError("refused"), answer(429, CONCURRENCY), sound())

    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ["DEBUG", "WARNING", "DEBUG", "WARNING", "DEBUG", "DEBUG"] == [level for level, _ in lines]
    assert all(line.startswith("POST /prompt/invoke: ") for _, line in lines)
    assert "ConnectError after" in lines[0][1]
    assert "ConnectError; retry 1 of 2 in" in lines[1][1]
    assert "429; retry 2 of 2 in" in lines[3][1]
    assert "200 after" in lines[4][1]
    assert f"POST /prompt/invoke: request_id {REQUEST_ID}" == lines[5][1]
    assert {"fetch_hive_sdk"} == {record.name for record in caplog.records}


def test_log_without_a_request_id(caplog: pytest.LogCaptureFixture) -> None:
    """A result without an id is logged without one."""
    listing: Operation[list[int]] = Operation("GET", "/public/models", b"", json.loads)
    with caplog.at_level(logging.DEBUG, "fetch_hive_sdk"):
        assert [1] == play(run(listing, SETTINGS), answer(200, b"[1]"))[1]

    assert "GET /public/models: request_id None" == caplog.records[-1].getMessage()


def test_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor an error nor its pickle shows the key, the body that was sent, or the answer's text."""
    told: list[str] = []
    outcomes: list[httpx.Response | Exception] = [
        *[httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), DeadlineExceeded(), sound()],
        *[answer(status, {"error": f"Bad key {KEY}"}) for status in (400, 401, 429, 500)],
        answer(200, f"<html>{KEY}".encode()),
    ]
    with caplog.at_level(logging.DEBUG, "fetch_hive_sdk"):
        for outcome in outcomes:
            _, result = play(run(PROMPT, SETTINGS.changed(max_retries=0)), outcome)
            told += [str(result), repr(result)]
            assert KEY.encode() not in pickle.dumps(result)

    for text in [*told, caplog.text]:
        assert KEY not in text
        assert "s3cret topic" not in text
    assert "Hi" not in caplog.text


@pytest.mark.parametrize(
    "body", [{"error": "provider failed"}, {"error": {"text": "provider failed"}, "request_id": "r"}]
)
def test_error_with_a_success_status(body: dict[str, Any]) -> None:
    """A success status over an error object is an error, not an answer without text."""
    _, error = play(run(PROMPT, SETTINGS), answer(200, body))

    assert UnexpectedResponseError is type(error)
    assert "provider failed" in error.message
    assert (body, True) == (error.body, error.may_have_run)


def test_answer_beside_an_error() -> None:
    """An answer with a text is an answer, whatever stands beside it."""
    assert "Hi" == play(run(PROMPT, SETTINGS), answer(200, {"response": "Hi", "error": None}))[1].response


@pytest.mark.parametrize(
    ("result", "body", "is_answer"),
    [
        (HiveAgentRun, {"error": "No such hive agent.", "status": "failed"}, False),
        (HiveAgentRun, {"run_id": "1", "status": "pending", "error": "A source was left out."}, True),
        (AgentRun, {"error": "Not now.", "request_id": REQUEST_ID}, False),
        (Done, {"message": "It is in use.", "error": "It is in use."}, False),
        (Done, {"message": "Done.", "error": None}, True),
        (KnowledgeBaseSearch, {"error": "Not now."}, False),
        (ToolActionApproval, {"id": "1", "status": "pending", "error": "The tool failed."}, True),
        (WorkflowRun, {"error": "The step failed."}, True),
    ],
)
def test_errors_in_success_answers(result: Any, body: dict[str, Any], is_answer: bool) -> None:
    """Whatever was called: an error object with a success status is an error, and an answer with an error an answer."""
    operation: Operation[Any] = Operation("POST", "/x", b"", result.from_json)
    _, outcome = play(run(operation, SETTINGS), answer(200, body))

    assert is_answer is isinstance(outcome, result)
    assert is_answer or "is an error, and not an answer" in outcome.message
