"""The tree of errors: as its outline draws it, safe to send between processes, and silent about the key."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

import fetch_hive_sdk
from fetch_hive_sdk import errors
from fetch_hive_sdk.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    CallbackVerificationError,
    ConcurrencyLimitError,
    ConfigurationError,
    ConflictError,
    DailyLimitError,
    FetchHiveError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    StreamError,
    StreamFailedError,
    StreamInterruptedError,
    UnexpectedResponseError,
    UnprocessableEntityError,
    response_body,
    status_error,
)
from fetch_hive_sdk.results import PromptResult

KEY = "fhk_0123456789abcdef"
REQUEST_ID = "req_019d52846ea37682b03522fd0695cc43"
CALL = "POST /prompt/invoke"


def request() -> httpx.Request:
    return httpx.Request(
        "POST",
        "https://api.fetchhive.com/v1/prompt/invoke",
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        content=b'{"deployment":"greeter"}',
    )


def answer(status: int, body: object = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, content=content, request=request(), headers=headers)


def error_of(response: httpx.Response, **given: Any) -> APIStatusError:
    settled: dict[str, Any] = {"may_have_run": False, "retryable": False, "retry_after": None, **given}
    return status_error(response, response_body(response), call=CALL, **settled)


def refused(status: int, body: object = None, **given: Any) -> APIStatusError:
    return error_of(answer(status, body), **given)


# --- the tree -----------------------------------------------------------------------------------------

FOREIGN: dict[str, type] = {
    "TimeoutError": TimeoutError,
    "ValueError": ValueError,
    "RuntimeError": RuntimeError,
    "httpx.TransportError": httpx.TransportError,
    "httpx.TimeoutException": httpx.TimeoutException,
    "httpx.HTTPStatusError": httpx.HTTPStatusError,
}


def outline() -> dict[str, tuple[type, ...]]:
    """The names of the outline in the docstring of errors.py, each with the bases it is drawn with."""
    drawn: dict[str, tuple[type, ...]] = {}
    above: list[str] = []
    for indent, name, further in re.findall(r"^( *)\* (\w+)(?: \(([\w.]+)\))?", errors.__doc__ or "", re.MULTILINE):
        del above[len(indent) // 4 :]
        parent: type = getattr(errors, above[-1]) if above else Exception
        drawn[name] = (parent, *([FOREIGN.get(further) or getattr(errors, further)] if further else []))
        above.append(name)
    return drawn


def test_tree() -> None:
    """The tree of errors is the outline in the module's docstring: every name, its place and its further bases."""
    tree = {name: getattr(errors, name).__bases__ for name in errors.__all__}

    assert tree == outline()


@pytest.mark.parametrize("name", errors.__all__)
def test_public(name: str) -> None:
    """Every error can be imported from the package and is caught as a FetchHiveError."""
    cls = getattr(fetch_hive_sdk, name)

    assert getattr(errors, name) is cls
    assert issubclass(cls, FetchHiveError)


# --- pickle and copy ----------------------------------------------------------------------------------

COMMON: dict[str, Any] = {
    "hint": "Try again.",
    "request_id": REQUEST_ID,
    "error_code": "a_code",
    "status_code": 429,
    "body": {"error": "It broke.", "limit": 50, "current": 50},
    "may_have_run": True,
    "retryable": True,
    "retry_after": 1.5,
}


def made(cls: type[Any]) -> Any:
    """An error of this class with all that it can have."""
    more: dict[str, Any] = {}
    if issubclass(cls, httpx.HTTPStatusError):
        more = {"request": request(), "response": answer(429, {"error": "It broke."}, **{"X-Request": "1"})}
    elif issubclass(cls, httpx.TransportError):
        more = {"request": request()}
    elif cls is UnexpectedResponseError:
        more = {"response": answer(200, b"<html>")}
    elif cls is CallbackVerificationError:
        more = {"reason": "wrong_signature"}
    if issubclass(cls, StreamError):
        more["partial"] = PromptResult.from_json(b'{"response":"so far"}')
    return cls("It broke.", **COMMON, **more)


def attributes(error: Any) -> dict[str, Any]:
    """All that an error holds, with httpx's objects as values that can be compared."""

    def comparable(value: Any) -> Any:
        if isinstance(value, httpx.Response):
            return value.status_code, value.content, value.headers.get("X-Request"), comparable(value.request)
        return (value.method, value.url) if isinstance(value, httpx.Request) else value

    return {name: comparable(value) for name, value in vars(error).items()}


COPIERS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "oldest pickle": lambda error: pickle.loads(pickle.dumps(error, 0)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle of a pickle": lambda error: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error)))),
}


@pytest.mark.parametrize("make_copy", COPIERS.values(), ids=COPIERS.keys())
@pytest.mark.parametrize("name", errors.__all__)
def test_copies(name: str, make_copy: Callable[[Any], Any]) -> None:
    """Every error survives pickle, copy and deepcopy with its text and all its attributes."""
    error = made(getattr(errors, name))
    again = make_copy(error)

    assert type(error) is type(again)
    assert "It broke. Try again." == str(error) == str(again)
    assert repr(error) == repr(again)
    assert error.args == again.args
    assert attributes(error) == attributes(again)
    assert COMMON == {name: getattr(again, name) for name in COMMON}


@pytest.mark.parametrize("name", errors.__all__)
def test_only_a_message(name: str) -> None:
    """An error that is made with as little as it needs, as in a test of yours, has defaults and can be copied."""
    cls = getattr(errors, name)
    needed: dict[str, Any] = {}
    if issubclass(cls, httpx.HTTPStatusError):
        needed = {"request": request(), "response": answer(429)}
    elif cls is UnexpectedResponseError:
        needed = {"response": answer(200)}
    elif cls is CallbackVerificationError:
        needed = {"reason": "wrong_signature"}
    error = pickle.loads(pickle.dumps(cls("It broke.", **needed)))

    assert "It broke." == str(error) == error.message
    assert ("", None, None, None, None, False, False, None) == tuple(getattr(error, name) for name in COMMON)


def test_request_of_a_connection_error() -> None:
    """A connection error has httpx's `request`, where one was made."""
    assert "POST" == made(APIConnectionError).request.method
    with pytest.raises(RuntimeError, match="request"):
        _ = APIConnectionError("It broke.").request


def test_response_still_open() -> None:
    """An error with a response that was not read can be copied; its body is left behind."""
    response = httpx.Response(200, stream=httpx.ByteStream(b"later"), request=request())
    error = pickle.loads(pickle.dumps(UnexpectedResponseError("It broke.", response=response)))

    assert (200, b"") == (error.response.status_code, error.response.content)


def test_compressed_response() -> None:
    """The copied response of an error has the body in plain, whatever encoding it came in."""
    content = gzip.compress(b'{"error":"It broke."}')
    response = httpx.Response(500, content=content, headers={"Content-Encoding": "gzip"}, request=request())
    error = pickle.loads(pickle.dumps(error_of(response)))

    assert {"error": "It broke."} == error.response.json() == error.body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"error": f"Bad key {KEY}."}, id="JSON"),
        pytest.param({"echo": {"headers": [["Authorization", f"Bearer {KEY}"]]}}, id="nested JSON"),
        pytest.param(f"<html>Authorization: Bearer {KEY}</html>".encode(), id="HTML"),
        pytest.param(f"{'x' * 190}{KEY}".encode(), id="at the cut"),
    ],
)
def test_no_key(body: object) -> None:
    """The API key is in no text of an error and in no pickle, not even if the service or a proxy echoes it."""
    error = error_of(answer(401, body, **{"X-Echo": f"Bearer {KEY}"}))
    pickled = pickle.dumps(error)

    assert KEY[:12] not in str(error) + repr(error) + error.message
    assert KEY.encode() not in pickled
    assert KEY not in repr(pickle.loads(pickled).body)
    assert KEY not in repr(pickle.loads(pickled).response.headers)


def test_no_key_in_an_unexpected_response() -> None:
    """The API key is in no pickle of an error about an answer that echoes it."""
    response = answer(200, f"<pre>Bearer {KEY}</pre>".encode())
    error = UnexpectedResponseError("It broke.", response=response, body=response_body(response))

    assert KEY.encode() not in pickle.dumps(error)
    assert KEY not in repr(error) + str(error)


def test_no_key_in_a_connection_error() -> None:
    """The API key and the body of the request stay behind when a connection error is pickled."""
    pickled = pickle.dumps(made(APIConnectionError))

    assert KEY.encode() not in pickled
    assert b"greeter" not in pickled


# --- from an answer to its error ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "cls", "hint"),
    [
        (400, BadRequestError, "Correct the named field."),
        (401, AuthenticationError, "FETCH_HIVE_API_KEY"),
        (402, PaymentRequiredError, "Add credits"),
        (403, PermissionDeniedError, "permission"),
        (404, NotFoundError, "Check the id"),
        (405, APIStatusError, "refused the request"),
        (408, APIStatusError, "refused the request"),
        (409, ConflictError, "in the meantime"),
        (413, APIStatusError, "refused the request"),
        (422, UnprocessableEntityError, "cannot carry it out"),
        (429, RateLimitError, "Wait"),
        (500, InternalServerError, "failed"),
        (502, InternalServerError, "failed"),
        (503, InternalServerError, "failed"),
        (529, InternalServerError, "failed"),
    ],
)
def test_status(status: int, cls: type[APIStatusError], hint: str) -> None:
    """Each status has its class, and a hint at what to do."""
    error = refused(status, {"error": "No."})

    assert cls is type(error)
    assert hint in error.hint
    assert (status, status) == (error.status_code, error.response.status_code)
    assert f"{error.message} {error.hint}" == str(error)
    assert error.message.startswith(f"POST /prompt/invoke was answered {status}")
    assert error.message.endswith(": No.")
    assert KEY in error.request.headers["Authorization"]


@pytest.mark.parametrize(
    ("body", "code", "request_id"),
    [
        ({"error": "a", "error_code": "x", "request_id": REQUEST_ID}, "x", REQUEST_ID),
        ({"error": "a", "code": "y"}, "y", None),
        ({"error": "a", "error_code": "x", "code": "y"}, "x", None),
        ({"error": "a", "error_code": "", "code": "y", "request_id": ""}, "y", None),
        ({"error": "a", "error_code": 5, "code": None, "request_id": 7}, None, None),
        ({"error": "a"}, None, None),
        (["error_code"], None, None),
        (f'{{"request_id":"{REQUEST_ID}","error":"cu'.encode(), None, REQUEST_ID),
        (f"<p>{REQUEST_ID}</p>".encode(), None, REQUEST_ID),
        (f"<p>{REQUEST_ID}0</p>".encode(), None, None),
        (b"<html>", None, None),
    ],
)
def test_code_and_request_id(body: object, code: str | None, request_id: str | None) -> None:
    """The stable code is read under both of its names, and the run's id where the body has it."""
    error = refused(400, body)

    assert (code, request_id) == (error.error_code, error.request_id)


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (422, "model_deprecated", "active model"),
        (422, "personal_model_missing_credentials", "Connect"),
        (422, "personal_model_invalid_credentials", "renew"),
        (402, "insufficient_hosted_llm_credits", "Add hosted LLM credits"),
        (422, "account_credit_cap_reached", "credit cap"),
        (402, "asset_storage_limit_reached", "storage is full"),
        (422, "vision_not_supported", "no images"),
        (402, "workflow_step_limit_reached", "steps"),
        (402, "workspace_limit_reached", "workspaces"),
        (402, "log_range_limit_exceeded", "range"),
        (422, "iteration_limit_exceeded", "loop"),
        (429, "too_many_requests", "wait"),
        (400, "invalid_tool_approval", '"auto_approve"'),
        (403, "tool_approval_override_not_permitted", "tool_approval"),
        (422, "a_code_of_tomorrow", "Correct what it names; an id may be wrong."),
    ],
)
def test_hint_of_a_code(status: int, code: str, hint: str) -> None:
    """A documented code has its own hint, and an unknown one the hint of its status."""
    error = refused(status, {"error": "No.", "error_code": code})

    assert hint in error.hint
    assert code == error.error_code


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "Invalid access."}, "Invalid access."),
        ({"error": "Invalid access"}, "Invalid access."),
        ({"error": "a", "message": "a"}, "a."),
        ({"error": "Short", "message": "The long story."}, "Short – The long story."),
        ({"message": "only this"}, "only this."),
        ({"errors": ["Name is missing", "Model is unknown"]}, "Name is missing – Model is unknown."),
        ({"error": "Invalid", "errors": ["Invalid", "Name is missing", 5, None]}, "Invalid – Name is missing."),
        ({"error": ["a", "b"]}, "a – b."),
        ({"error": {"message": "nested"}}, "(no text)."),
        ({"error": None, "message": 5, "errors": {}}, "(no text)."),
        ({}, "(no text)."),
        ([1], "(no text)."),
        (None, "(no text)."),
        (b"", "(no text)."),
        (b"  Bad\n gateway  ", "Bad gateway."),
        (b"<html>\n<body class='x'><h1>502</h1>Bad gateway</body></html>", "502 Bad gateway."),
        (b"<html></html>", "(no text)."),
        (b"\xff\xfe\x00", "\ufffd\ufffd\0."),
        ('{"error": "caf\u00e9"}'.encode("latin-1"), '{"error": "caf\ufffd"}.'),
    ],
)
def test_what_the_service_said(body: object, said: str) -> None:
    """The message quotes what the service said, in whichever of its shapes, and survives any bytes."""
    assert f"POST /prompt/invoke was answered 500 Internal Server Error: {said}" == refused(500, body).message


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b'{"error":"a"}', {"error": "a"}),
        (b"[1]", [1]),
        (b"", ""),
        (b"<html>", "<html>"),
        (b'{"error":', '{"error":'),
        (b"\xff", "\ufffd"),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_body(content: bytes, body: object) -> None:
    """An error keeps the body: parsed if it is JSON, as text if not."""
    assert body == refused(502, content).body


def test_long_body() -> None:
    """A long text is cut in the message and whole in `body`."""
    page = "x" * 5000
    error = refused(502, page.encode())

    assert f"POST /prompt/invoke was answered 502 Bad Gateway: {page[:200]}…." == error.message
    assert page == error.body


def test_status_without_a_reason() -> None:
    """A status that has no standard words is told without."""
    assert refused(529, {"error": "No."}).message.startswith("POST /prompt/invoke was answered 529: No.")


@pytest.mark.parametrize(
    ("path", "said", "hint"),
    [
        ("/v1/public/requests/req_1", "Request not found", "Check the id."),
        ("/public/requests/req_1", "Not found", "base_url has to end with /v1."),
        ("/v1/v1/public/models", "Not found", "it has /v1 twice"),
        ("/v1/public/workspaces/w/agents", "Workspace not found", "workspace_id= or FETCH_HIVE_WORKSPACE_ID"),
    ],
)
def test_not_found(path: str, said: str, hint: str) -> None:
    """What is not found is told with what may be wrong: the id, the workspace, or the address itself."""
    request = httpx.Request("GET", f"https://api.fetchhive.com{path}", headers={"Authorization": "Bearer fhk_x"})
    response = httpx.Response(404, json={"error": said}, request=request)
    error = status_error(response, {"error": said}, call=CALL, may_have_run=False, retryable=False, retry_after=None)

    assert hint in error.hint


def test_may_have_run() -> None:
    """Where the run may have started, the error says so, and what to do before the call is repeated."""
    error = refused(502, {"error": "No."}, may_have_run=True, advice="Look before you repeat the call.")

    assert error.may_have_run is True
    assert error.hint.endswith("failed. Look before you repeat the call.")
    assert "repeat" not in refused(400, {"error": "No."}).hint


def test_retry_after() -> None:
    """The seconds the service asks to wait are an attribute and part of the hint."""
    error = refused(503, {"error": "No."}, retryable=True, retry_after=12.0)

    assert (12.0, True) == (error.retry_after, error.retryable)
    assert error.hint.endswith("The service asks to wait 12 s.")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect(status: int) -> None:
    """A redirect is an error that says where base_url has to point to."""
    error = error_of(answer(status, b"", Location="https://www.example.com/v1"))

    assert APIStatusError is type(error)
    assert "'https://www.example.com/v1'" in error.hint
    assert "base_url" in error.hint


# --- the limits ---------------------------------------------------------------------------------------

DAILY = {
    "error": "Daily API rate limit reached",
    "code": "api_rate_limit_exceeded",
    "message": "You have reached your daily limit of 50 API calls. Resets at midnight UTC. Upgrade your plan.",
    "limit": 50,
    "current": 51,
}
CONCURRENCY = {"error": "You've reached your concurrency limit. Try again later or use async mode."}


@pytest.mark.parametrize(
    ("status", "body", "cls"),
    [
        (429, DAILY, DailyLimitError),
        (429, {"error": "a", "error_code": "api_rate_limit_exceeded"}, DailyLimitError),
        (429, {"error": "a", "limit": 50, "current": 50}, DailyLimitError),
        (429, {"error": "a", "limit": 50, "current": 50, "error_code": "too_many_requests"}, RateLimitError),
        (429, {"error": "a", "limit": 50}, RateLimitError),
        (429, {"error": "a", "limit": "50", "current": "50"}, RateLimitError),
        (429, {"error": "a", "limit": True, "current": True}, RateLimitError),
        (429, {"error": "too many"}, RateLimitError),
        (429, b"<html>Too many</html>", RateLimitError),
        (429, CONCURRENCY, ConcurrencyLimitError),
        (429, {"error": "a", "message": "Concurrency limit reached"}, ConcurrencyLimitError),
        (429, b"concurrency limit", ConcurrencyLimitError),
        (402, DAILY, PaymentRequiredError),
        (400, CONCURRENCY, BadRequestError),
    ],
)
def test_which_limit(status: int, body: object, cls: type[APIStatusError]) -> None:
    """The daily cap, the cap of concurrent workflows and other 429s are told apart."""
    assert cls is type(refused(status, body))


def test_daily_limit() -> None:
    """The daily cap tells its numbers and the next midnight UTC, and that waiting seconds does not help."""
    before = datetime.now(timezone.utc)
    error = refused(429, DAILY)
    assert isinstance(error, DailyLimitError)

    assert (50, 51) == (error.limit, error.current)
    assert timedelta(0) == error.resets_at.utcoffset()
    assert (0, 0, 0, 0) == (
        error.resets_at.hour,
        error.resets_at.minute,
        error.resets_at.second,
        error.resets_at.microsecond,
    )
    assert before < error.resets_at <= before + timedelta(days=1, minutes=1)
    assert "The call did not run." in error.hint
    assert "resets_at" in error.hint


@pytest.mark.parametrize(
    ("now", "resets_at"),
    [
        ("2026-06-01T00:00:00+00:00", "2026-06-02T00:00:00+00:00"),
        ("2026-06-01T23:59:59.999999+00:00", "2026-06-02T00:00:00+00:00"),
        ("2026-12-31T12:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("2028-02-28T12:00:00+00:00", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_resets_at(now: str, resets_at: str) -> None:
    """The daily count starts anew at the midnight UTC that follows."""
    error = DailyLimitError(
        "No.", now=datetime.fromisoformat(now), body=DAILY, request=request(), response=answer(429, DAILY)
    )

    assert datetime.fromisoformat(resets_at) == error.resets_at
    assert datetime.fromisoformat(resets_at) == pickle.loads(pickle.dumps(error)).resets_at


@pytest.mark.parametrize(
    ("limit", "current", "expected"),
    [
        (50, 51, (50, 51)),
        (50.0, 51.5, (50, 51)),
        ("50", None, (None, None)),
        (True, [1], (None, None)),
        (float("inf"), float("nan"), (None, None)),
    ],
)
def test_odd_limits(limit: object, current: object, expected: tuple[int | None, int | None]) -> None:
    """Numbers of the daily cap that are no numbers are left out."""
    error = refused(429, {**DAILY, "limit": limit, "current": current})
    assert isinstance(error, DailyLimitError)

    assert expected == (error.limit, error.current)


def test_concurrency_limit() -> None:
    """The cap of concurrent workflows says that the call did not run, and what would queue it."""
    hint = refused(429, CONCURRENCY).hint

    assert "The call did not run." in hint
    assert "callback_url=" in hint


# --- the rest -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "foreign"),
    [
        (ConfigurationError, ValueError),
        (InvalidRequestError, ValueError),
        (CallbackVerificationError, ValueError),
        (AuthenticationError, httpx.HTTPStatusError),
        (DailyLimitError, httpx.HTTPError),
        (APIConnectionError, httpx.TransportError),
        (errors.APITimeoutError, httpx.TimeoutException),
        (StreamInterruptedError, APIConnectionError),
        (errors.StreamIdleTimeoutError, httpx.TimeoutException),
        (errors.ClientClosedError, RuntimeError),
    ],
)
def test_code_that_catches_others(cls: type[FetchHiveError], foreign: type[Exception]) -> None:
    """Code written for httpx's errors, ValueError or RuntimeError keeps catching ours."""
    with pytest.raises(foreign):
        raise made(cls)


def test_partial() -> None:
    """An error of a stream carries what had come, also through pickle."""
    error = pickle.loads(pickle.dumps(made(StreamFailedError)))

    assert "so far" == error.partial.response == error.partial["response"]


def test_short_key_is_no_secret() -> None:
    """A key as short as a word, as tests use, does not cut words out of what the service said."""
    response = httpx.Response(
        400,
        json={"error": "The latest test failed"},
        request=httpx.Request("POST", "https://x/v1", headers={"Authorization": "Bearer test"}),
    )

    assert {"error": "The latest test failed"} == response_body(response)
