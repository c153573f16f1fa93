"""Faults on order: how they are written, what reply each makes, and the error of the SDK that each ends in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import httpx
import pytest
from pydantic import ValidationError

from fetch_hive_sdk import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConcurrencyLimitError,
    ConfigurationError,
    ConflictError,
    DailyLimitError,
    FetchHiveError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    StreamFailedError,
    StreamIdleTimeoutError,
    StreamInterruptedError,
    UnexpectedResponseError,
    UnprocessableEntityError,
)
from fetch_hive_sdk.error_codes import ERROR_CODES
from fetch_hive_sdk.sandbox import Sandbox, SandboxTransport
from fetch_hive_sdk.sandbox.choices import DEFAULT_CHOICES, Choices
from fetch_hive_sdk.sandbox.chunks import Chunk, Cut, Pause
from fetch_hive_sdk.sandbox.faults import Fault, Faults, fault_of
from fetch_hive_sdk.sandbox.runs import Reply

from .reply_server import ReplyServer

JSON = {"Content-Type": "application/json; charset=utf-8"}
STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
ONE = b'data: {"request_id":"req_1","type":"response","response":"Hello","model":"sandbox"}\n\n'
TWO = b'data: {"request_id":"req_1","type":"response","response":" you","model":"sandbox"}\n\n'
USAGE = b'data: {"request_id":"req_1","type":"usage","usage":{},"stop_reason":"completed"}\n\n'
DONE = b"data: [DONE]\n\n"
EVENTS = (ONE, TWO, USAGE, DONE)
PROVIDER = "openai API error: provider rejected the request"
CONCURRENCY = {"error": "You've reached your concurrency limit. Try again later or use async mode."}
DAILY = {
    "error": "Daily API rate limit reached",
    "code": "api_rate_limit_exceeded",
    "message": "You have reached your daily limit of 50 API calls. Resets at midnight UTC. "
    "Upgrade your plan for higher limits.",
    "limit": 50,
    "current": 50,
}


def refusal(fault: str | int | Fault, choices: Choices = DEFAULT_CHOICES) -> Reply:
    """The reply in place of a run."""
    made = fault_of(fault).refusal(choices)
    assert made is not None
    return made


def stream_with(fault: str, choices: Choices = DEFAULT_CHOICES, chunks: tuple[Chunk, ...] = EVENTS) -> Reply:
    """What a fault makes of a stream."""
    return fault_of(fault).damage(Reply(status=200, headers=STREAM, body=chunks), choices)


def plain_with(fault: str, body: bytes | tuple[Chunk, ...] = b"0123456789") -> Reply:
    """What a fault makes of a reply that is no stream."""
    return fault_of(fault).damage(Reply(status=200, headers=JSON, body=body, unfinished="req_1"), DEFAULT_CHOICES)


def read(reply: Reply) -> Any:
    """The JSON of a body."""
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)


# --- errors of the service ------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ERROR_CODES, ids=[entry.code for entry in ERROR_CODES])
def test_every_code_is_one_word(entry: Any) -> None:
    """A code of the catalog by itself is its status, its text and itself, in the service's error object."""
    fault = fault_of(entry.code)
    if entry.status == 500:
        assert (500, entry.message, entry.code) == fault.failure
        return
    reply = refusal(fault)
    body = read(reply)

    assert (entry.status, entry.code) == (reply.status, body.get("error_code") or body["code"])
    assert "%{" not in body["message"]
    assert fault.failure is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "Missing required field: deployment or variant", "error_code": "validation_error"}),
        (401, {"error": "Invalid access.", "error_code": "validation_error"}),
        (404, {"error": "Request not found"}),
        (409, {"error": "This approval has already been decided."}),
        (422, {"error": "Agent not found."}),
        (503, {"error": "Service Unavailable"}),
        (499, {"error": "Error 499"}),
    ],
)
def test_a_status_has_the_documented_text(status: int, body: dict[str, str]) -> None:
    """A status by itself has the text that the documentation shows for it, else the phrase of HTTP."""
    reply = refusal(status)

    assert status == reply.status
    assert {"message": body["error"], **body} == read(reply)
    assert dict(reply.headers) == JSON


@pytest.mark.parametrize(("status", "code"), [(402, "credits"), (403, "override")])
def test_a_status_with_one_code(status: int, code: str) -> None:
    """Where the documentation knows a status by its codes alone, one of them is sent."""
    assert code in read(refusal(status))["error_code"]


@pytest.mark.parametrize("spelling", ["daily_limit", "api_rate_limit_exceeded", "status=429, daily_limit"])
def test_daily_limit(spelling: str) -> None:
    """The daily limit has the documented body, and its code where the sandbox is told to put it."""
    reply = refusal(spelling)

    assert (429, DAILY) == (reply.status, read(reply))
    assert "error_code" in read(refusal(spelling, Choices(daily_limit_code_key="error_code")))


@pytest.mark.parametrize("spelling", ["concurrency_limit", "429", "status=429"])
def test_concurrency_limit(spelling: str) -> None:
    """The limit of concurrent workflows has the documented body, and `Retry-After` where the sandbox sends it."""
    reply = refusal(spelling, Choices(retry_after=2.0))

    assert (429, CONCURRENCY, "2") == (reply.status, read(reply), reply.headers["Retry-After"])
    assert "Retry-After" not in refusal(spelling).headers


@pytest.mark.parametrize(
    ("spelling", "failure"),
    [
        ("provider_error", (502, PROVIDER, None)),
        ("502", (502, PROVIDER, None)),
        ("error=Out of order", (502, "Out of order", None)),
        ("500", (500, "An unexpected error occurred.", "internal_server_error")),
        ("504", (504, "Gateway Timeout", None)),
        ("status=500, error=Out of order", (500, "Out of order", None)),
        ("status=529, error_code=of_tomorrow", (529, "Error 529", "of_tomorrow")),
    ],
)
def test_a_run_that_begins_and_fails(spelling: str, failure: tuple[int, str, str | None]) -> None:
    """A status from 500, but 503, is a run that begins and fails, and no refusal."""
    fault = fault_of(spelling)

    assert failure == fault.failure
    assert fault.refusal(DEFAULT_CHOICES) is None


@pytest.mark.parametrize("spelling", ["delay=1", "not_json", "stream_error", "cut=close"])
def test_damage_alone_is_no_error(spelling: str) -> None:
    """Damage to a reply neither refuses a run nor lets it fail."""
    fault = fault_of(spelling)

    assert (None, None) == (fault.refusal(DEFAULT_CHOICES), fault.failure)


def test_words_of_ones_own() -> None:
    """Text and code can be chosen, also against the catalog, and nothing is added to them."""
    reply = refusal('status=422, error="No, not now.", error_code=of_tomorrow')
    limit = refusal("status=429, error=Slow down")

    assert {"error": "No, not now.", "message": "No, not now.", "error_code": "of_tomorrow"} == read(reply)
    assert {"error": "Slow down", "message": "Slow down"} == read(limit)
    assert {"error": "Slow down"} == read(refusal("status=429, error=Slow down", Choices(error_only=True)))


@pytest.mark.parametrize(
    ("fault", "headers", "body"),
    [
        ("503, retry_after=2", {**JSON, "Retry-After": "2"}, None),
        ("503, retry_after=1234567", {**JSON, "Retry-After": "1234567"}, None),
        ("too_many_requests, retry_after=0.5", {**JSON, "Retry-After": "0.5"}, None),
        ("503, body=[1]", JSON, b"[1]"),
        ("503, body=sorry", JSON, b"sorry"),
        ("503, not_json=<p>", {"Content-Type": "text/html; charset=utf-8"}, b"<p>"),
        ('503, headers={"content-type": "text/plain", "X-Y": "z"}', {"Content-Type": "text/plain", "X-Y": "z"}, None),
        ('{"status": 302, "headers": {"Location": "/"}}', {**JSON, "Location": "/"}, None),
    ],
)
def test_other_bodies_and_headers(fault: str, headers: dict[str, str], body: bytes | None) -> None:
    """An error can have another body, and headers beside or in place of its own."""
    reply = refusal(fault)

    assert headers == dict(reply.headers)
    assert body in (None, reply.body)
    assert reply == fault_of(fault).damage(reply, DEFAULT_CHOICES)


# --- damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "chunks"),
    [
        ("delay=2", (Pause(2.0), *EVENTS)),
        ("delay=inf", (Pause(math.inf), *EVENTS)),
        ("silence=2", (ONE, Pause(2.0), TWO, USAGE, DONE)),
        ("silence=2, after=0", (b"", Pause(2.0), *EVENTS)),
        ("silence=2, after=9", (*EVENTS, Pause(2.0))),
        ("cut=close", (ONE, Cut("close"))),
        ("cut=reset, after=3", (ONE, TWO, USAGE, Cut("reset"))),
        ("cut=reset, after=0", (Cut("reset"),)),
        ("cut=reset, after=0, silence=1", (b"", Pause(1.0), Cut("reset"))),
        ("cut=close, silence=1, delay=3", (Pause(3.0), ONE, Pause(1.0), Cut("close"))),
        ("split=100", (b"".join(EVENTS)[:100], b"".join(EVENTS)[100:200], b"".join(EVENTS)[200:])),
        ("split=150, silence=1", (ONE, Pause(1.0), (TWO + USAGE + DONE)[:150], (TWO + USAGE + DONE)[150:])),
        ("split=200, silence=1, after=0", (b"", Pause(1.0), b"".join(EVENTS)[:200], b"".join(EVENTS)[200:])),
        ("crlf", tuple(event.replace(b"\n", b"\r\n") for event in EVENTS)),
        ("comments", tuple(b": keep-alive\n\n" + event for event in EVENTS)),
        ("no_space", tuple(event.replace(b"data: ", b"data:") for event in EVENTS)),
    ],
)
def test_damage_to_a_stream(fault: str, chunks: tuple[Chunk, ...]) -> None:
    """Each kind of damage stands where it was ordered; all events before it are whole."""
    reply = stream_with(fault)

    assert (200, STREAM, chunks) == (reply.status, reply.headers, reply.body)


def test_spellings_of_a_stream_go_together() -> None:
    """The spellings of a stream go together, and do not touch its pauses."""
    head, pause, first, *_ = stream_with("crlf, comments, no_space, silence=1, after=0").body

    assert (b"", Pause(1.0)) == (head, pause)
    assert b": keep-alive\r\n\r\n" + ONE.replace(b"data: ", b"data:").replace(b"\n", b"\r\n") == first


def test_events_are_counted_however_they_lie_in_chunks() -> None:
    """Events are counted one by one although several come in one chunk, and pauses of the stream are none."""
    reply = stream_with("cut=close, after=2", chunks=(Pause(1.0), ONE, Pause(1.0), TWO + USAGE, DONE))

    assert (Pause(1.0), ONE, Pause(1.0), TWO, Cut("close")) == reply.body
    assert (ONE, Cut("close")) == fault_of("cut=close").damage(
        Reply(status=200, headers=STREAM, body=b"".join(EVENTS)), DEFAULT_CHOICES
    ).body


@pytest.mark.parametrize(
    ("fault", "choices", "body"),
    [
        ("stream_error", Choices(), {"error": PROVIDER, "message": PROVIDER}),
        ("stream_error=Lost", Choices(error_only=True), {"error": "Lost"}),
        (
            "stream_error=internal_server_error",
            Choices(),
            {
                "error": "An unexpected error occurred.",
                "message": "An unexpected error occurred.",
                "error_code": "internal_server_error",
            },
        ),
    ],
)
def test_an_error_in_a_stream(fault: str, choices: Choices, body: dict[str, str]) -> None:
    """An error event of the run comes in the middle of a stream, and is the last."""
    chunks = tuple(stream_with(fault, choices).body)
    event = json.loads(cast("bytes", chunks[1]).removeprefix(b"data: "))

    assert (2, ONE) == (len(chunks), chunks[0])
    assert {"request_id": "req_1", "type": "error", **body} == event


@pytest.mark.parametrize(
    ("fault", "done", "ending"),
    [
        ("stream_error", True, (DONE,)),
        ("stream_error", False, ()),
        ("stream_error, cut=reset", True, (Cut("reset"),)),
        ("stream_error, silence=1", False, ()),
    ],
)
def test_the_end_after_an_error(fault: str, done: bool, ending: tuple[Chunk, ...]) -> None:
    """After an error event a stream ends as the sandbox is told to end it, or with the connection."""
    chunks = tuple(stream_with(fault, Choices(done_after_error=done)).body)
    [place] = [index for index, chunk in enumerate(chunks) if isinstance(chunk, bytes) and b'"error"' in chunk]

    assert ending == chunks[place + 1 :]
    assert place == 1 + ("silence" in fault)


@pytest.mark.parametrize("chunks", [(), (DONE,), (b"data: 5\n\n",), (b'data: {"request_id":5}\n\n',), (Pause(1.0),)])
def test_an_error_in_a_stream_without_an_id(chunks: tuple[Chunk, ...]) -> None:
    """Where no event names the run, the error names none."""
    reply = stream_with("stream_error, after=0", chunks=chunks)
    [event] = [chunk for chunk in reply.body if isinstance(chunk, bytes)]

    assert b"request_id" not in event


@pytest.mark.parametrize(
    ("fault", "body", "length"),
    [
        ("delay=2", (Pause(2.0), b"0123456789"), None),
        ("silence=2", (b"01234", Pause(2.0), b"56789"), None),
        ("cut=close", (b"01234", Cut("close")), "10"),
        ("cut=reset, silence=1", (b"01234", Pause(1.0), Cut("reset")), "10"),
        ("cut=reset, after=0", (Cut("reset"),), "10"),
        ("truncate", (b"01234",), "10"),
        ("truncate, delay=1, split=2", (Pause(1.0), b"01", b"23", b"4"), "10"),
        ("truncate, silence=1", (b"01234", Pause(1.0), b""), "10"),
        ("split=4", (b"0123", b"4567", b"89"), None),
        ("stream_error, crlf, comments, no_space", b"0123456789", None),
    ],
)
def test_damage_to_any_other_reply(fault: str, body: bytes | tuple[Chunk, ...], length: str | None) -> None:
    """A reply that is no stream breaks in the middle of its body, with the length of the whole announced."""
    reply = plain_with(fault)

    assert (200, "req_1", body) == (reply.status, reply.unfinished, reply.body)
    assert length == reply.headers.get("Content-Length")


def test_a_stream_cut_short() -> None:
    """A truncated stream announces all its bytes and ends after half of them."""
    whole = b"".join(EVENTS)
    reply = stream_with("truncate")

    assert (str(len(whole)), whole[: len(whole) // 2]) == (
        reply.headers["Content-Length"],
        b"".join(cast("tuple[bytes, ...]", reply.body)),
    )


def test_pauses_of_a_reply_stay() -> None:
    """A reply that takes its time anyway keeps its pauses, before the damage."""
    assert (Pause(3.0), b"01", Cut("close")) == plain_with("cut=close", (Pause(3.0), b"0123")).body
    assert (Pause(3.0), b"01") == plain_with("truncate", (Pause(3.0), b"0123")).body


@pytest.mark.parametrize("fault", ["truncate", "split=1", "split=99"])
def test_what_cannot_be_damaged(fault: str) -> None:
    """An empty body is neither truncated nor split, and announces no length that is none."""
    reply = plain_with(fault, b"")

    assert b"" == reply.body
    assert "Content-Length" not in reply.headers


@pytest.mark.parametrize(
    ("fault", "kind", "body"),
    [
        ("not_json", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("not_json=<p>Lost", "text/html; charset=utf-8", b"<p>Lost"),
        ("body={}", "application/json; charset=utf-8", b"{}"),
        ("body=data: {", "text/event-stream; charset=utf-8", b"data: {"),
    ],
)
def test_another_body(fault: str, kind: str, body: bytes) -> None:
    """A run that went well can be answered with a page, with other JSON, or with a text of the same type."""
    reply = stream_with(fault)

    assert (200, kind) == (reply.status, reply.headers["Content-Type"])
    assert isinstance(reply.body, bytes)
    assert reply.body.startswith(body)


def test_a_reply_that_is_made_while_it_is_sent() -> None:
    """A stream that can be read once is there as a whole after damage that does nothing to it."""
    reply = Reply(status=200, headers=STREAM, body=iter(EVENTS))

    assert EVENTS == tuple(fault_of("truncate=false, after=2").damage(reply, DEFAULT_CHOICES).body)


# --- spelling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "fault"),
    [
        (503, Fault(status=503)),
        ("503", Fault(status=503)),
        ("model_deprecated", Fault(error_code="model_deprecated")),
        ("status=503, retry_after=2", Fault(status=503, retry_after=2.0)),
        ("  status = 503 ,retry_after= 2.5 , ", Fault(status=503, retry_after=2.5)),
        ("truncate", Fault(truncate=True)),
        ("truncate=true, crlf=false", Fault(truncate=True)),
        ("cut=reset, after=3, delay=inf", Fault(cut="reset", after=3, delay=math.inf)),
        ('error="a, \\"b\\"", status=500', Fault(error='a, "b"', status=500)),
        ("error=a=b: c", Fault(error="a=b: c")),
        ('status=500, body={"a": [1, 2]}', Fault(status=500, body={"a": [1, 2]})),
        ("status=500, body=[1, 2], delay=1", Fault(status=500, body=[1, 2], delay=1.0)),
        ("body=", Fault(body="")),
        (' {"status": 500, "delay": 1} ', Fault(status=500, delay=1.0)),
        ({"status": 500, "headers": {"A": "b"}}, Fault(status=500, headers={"A": "b"})),
        ({"delay": math.inf}, Fault(delay=math.inf)),
        (Fault(split=1), Fault(split=1)),
    ],
)
def test_spellings(spelling: Any, fault: Fault) -> None:
    """A fault can be a status, a word, fields in a text, JSON, a mapping or a `Fault`."""
    assert fault == fault_of(spelling)


@pytest.mark.parametrize(
    "spelling",
    [
        "status=503, retry_after=2",
        "delay=inf",
        "delay=0.123456789, after=0, cut=close",
        "error_code=model_deprecated",
        'status=500, error="a, b"',
        "error=openai API error: no",
        'error="true"',
        "status=500, body=true",
        'body={"a":["é",null]}',
        'status=302, headers={"Location":"/"}',
        "not_json, crlf, comments, no_space, split=1",
        "stream_error=Lost",
    ],
)
def test_a_fault_tells_its_spelling(spelling: str) -> None:
    """The text of a fault is how it is written, and means the same fault."""
    fault = fault_of(spelling)

    assert fault == fault_of(str(fault))
    assert {part.partition("=")[0] for part in spelling.split(", ")} >= {
        part.partition("=")[0] for part in str(fault).split(", ")
    }


@pytest.mark.parametrize(
    ("spelling", "message", "hint"),
    [
        ("", "it is empty", "status, error"),
        ("  ", "it is empty", "status, error"),
        ({}, "it is empty", "status, error"),
        (None, "None is not allowed", "Pass a text"),
        (2.5, "a float is not allowed", "Pass a text"),
        (200, "status: an error is 400 to 599", "Fault"),
        ("status=304", "status: an error is 400 to 599", "Fault"),
        ("status=abc", "status: Input should be a valid integer", "Fault"),
        ("to_many_requests", "did you mean too_many_requests?", "too_many_requests"),
        ("xyz", "'xyz' is unknown", "concurrency_limit"),
        ("error_code=to_many_requests", "did you mean too_many_requests?", "Fault"),
        ("error_code=xyz", "error_code: 'xyz' is unknown; with status= any code can be sent", "Fault"),
        ("stat=503", "did you mean status?", "retry_after"),
        ({"pause": 3}, "'pause' is unknown", "retry_after"),
        ({3: 3}, "3 is unknown", "retry_after"),
        ("cut", "'cut' needs a value", "truncate"),
        ("cut=rst", "cut: Input should be 'close' or 'reset'", "Fault"),
        ("delay=-1", "delay: Input should be greater than or equal to 0", "Fault"),
        ("delay=nan", "delay: Input should be greater than or equal to 0", "Fault"),
        ("delay=soon", "delay: Input should be a valid number", "Fault"),
        ("503, retry_after=inf", "retry_after: Input should be a finite number", "Fault"),
        ("retry_after=2", "retry_after: it goes with status, error_code or error", "Fault"),
        ("split=0", "split: Input should be greater than or equal to 1", "Fault"),
        ("truncate=maybe", "truncate: Input should be a valid boolean", "Fault"),
        ("truncate, cut=close", "truncate: it goes with no cut", "Fault"),
        ("not_json, body=x", "not_json: it goes with no body", "Fault"),
        ("error=", "error: String should have at least 1 character", "Fault"),
        ({"body": b"x"}, "body: bytes are not JSON", "Fault"),
        ("status=503, status=500", "status: it is given twice", "once"),
        ("503, status=500", "status: it is given twice", "once"),
        ("=503", "a name is missing before '=503'", "name=value"),
        (",503", "a name is missing before ',503'", "name=value"),
        ("503 delay=1", "a comma is missing before 'delay=1'", "between fields"),
        ('error="a', "is not JSON", "JSON reports"),
        ('{"status": 503', "is not JSON", "JSON reports"),
        ('{"status": 503}, delay=1', "', delay=1' comes after the JSON object", "Leave it out"),
        ("body=" + "[" * 100_000, "is not JSON", "JSON reports"),
        ({"headers": {"Content-Length": "3"}}, "headers: Content-Length cannot be chosen", "Fault"),
        ({"headers": {"a b": "3"}}, "headers: 'a b' is not a header name", "Fault"),
        ({"headers": {"a": "3\r\nb: 4"}}, "headers: the value of a has a line break", "Fault"),
        ({"headers": {"a": "3 "}}, "headers: the value of a has", "Fault"),
        ({"headers": {"a": "☃"}}, "headers: the value of a has", "Fault"),
    ],
)
def test_wrong_spellings(spelling: Any, message: str, hint: str) -> None:
    """What means no fault is refused at once, with the field that is wrong and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        fault_of(spelling)

    assert caught.value.message.startswith("fault: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_wrong_fault_of_ones_own() -> None:
    """A `Fault` made in Python checks its fields too."""
    with pytest.raises(ValidationError, match="'close' or 'reset'"):
        Fault(cut=cast("Any", "rst"))


# --- those to come --------------------------------------------------------------------------------------


def test_faults_are_met_in_their_order() -> None:
    """Requests meet the waiting faults in the order they were added, each as often as it was told to come."""
    faults = Faults()
    faults.add("503", times=2)
    faults.add(Fault(truncate=True))

    met = [faults.take("prompt", "a") for _ in range(4)]
    assert [Fault(status=503), Fault(status=503), Fault(truncate=True), None] == met


def test_faults_for_some_requests() -> None:
    """A fault for a kind or a name waits until such a request comes, and lets all others pass."""
    faults = Faults()
    faults.add(401, kind="workflow")
    faults.add(402, name="b")
    faults.add(403, kind="agent", name="b")

    met = [faults.take(None, None), faults.take("prompt", "a"), faults.take("agent", "a")]
    assert [None, None, None] == met
    assert [402, 403, 401] == [
        fault and fault.status
        for fault in (faults.take("agent", "b"), faults.take("agent", "b"), faults.take("workflow", "b"))
    ]


def test_faults_are_forgotten() -> None:
    """No request meets a fault that was cleared."""
    faults = Faults()
    faults.add("503", times=3)
    faults.clear()

    assert faults.take(None, None) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": 0}, "times: 0 is not allowed."),
        ({"times": True}, "times: True is not allowed."),
        ({"times": "2"}, "times: '2' is not allowed."),
        ({"kind": "workflows"}, "kind: 'workflows' is unknown; did you mean workflow?"),
        ({"name": ""}, "name: '' is not allowed."),
        ({"name": 5}, "name: 5 is not allowed."),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    """What no request could meet is refused when it is added."""
    with pytest.raises(ConfigurationError) as caught:
        Faults().add("503", **arguments)

    assert caught.value.message.startswith(message)


# --- the errors of the SDK ------------------------------------------------------------------------------


class Engine:
    """An engine that has one reply."""

    def __init__(self, reply: Reply) -> None:
        self.engine = self
        self.reply = reply

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return self.reply

    def settle(self) -> None:
        """Nothing goes on after it."""


@pytest.fixture(scope="module")
def server() -> Iterator[ReplyServer]:
    """A server on a real socket."""
    with ReplyServer() as server:
        yield server


@pytest.fixture(params=["transport", "server"])
def client_of(
    request: pytest.FixtureRequest, server: ReplyServer, flavor: str, make_client: Callable[..., Any]
) -> Callable[[Reply, str], Any]:
    """A client of the SDK, of the test's flavor, that gets one reply through one of the two doors."""

    def client(reply: Reply, fault: str) -> Any:
        # Short only where it is waited for: a busy machine takes its time for a connection.
        timeout = 0.2 if "delay=inf" in fault else 1 if "silence=inf" in fault else 10
        options = {"max_retries": 0, "timeout": timeout, "idle_timeout": 0.5 if "silence=inf" in fault else timeout}
        if request.param == "server":
            server.answer_with(reply)
            return make_client(base_url=server.base_url, **options)
        transport = SandboxTransport(cast("Sandbox", Engine(reply)))
        http_client = (httpx.Client if flavor == "sync" else httpx.AsyncClient)(transport=transport)
        return make_client(base_url="http://sandbox.test/v1", http_client=http_client, **options)

    return client


def reply_with(fault: Fault, reply: Reply) -> Reply:
    """The reply as a sandbox makes it where a run meets a fault."""
    if fault.failure:
        status, text, code = fault.failure
        reply = Reply(status=status, headers=JSON, body=json.dumps({"error": text, "error_code": code}).encode())
    return fault.damage(fault.refusal(DEFAULT_CHOICES) or reply, DEFAULT_CHOICES)


ERRORS = [
    ("400", BadRequestError),
    ("401", AuthenticationError),
    ("402", PaymentRequiredError),
    ("403", PermissionDeniedError),
    ("404", NotFoundError),
    ("409", ConflictError),
    ("422", UnprocessableEntityError),
    ("too_many_requests", RateLimitError),
    ("concurrency_limit", ConcurrencyLimitError),
    ("daily_limit", DailyLimitError),
    ("500", InternalServerError),
    ("provider_error", InternalServerError),
    ("503, retry_after=7", InternalServerError),
    ("502, not_json", InternalServerError),
    ('302, headers={"Location": "https://www.example.com/"}', APIStatusError),
    ("delay=inf", APITimeoutError),
    ("503, delay=inf", APITimeoutError),
    ("cut=close, after=0", APIConnectionError),
    ("cut=reset, after=0", APIConnectionError),
    ("not_json", UnexpectedResponseError),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        *ERRORS,
        ("silence=inf", APITimeoutError),
        ("cut=close", APIConnectionError),
        ("cut=reset", APIConnectionError),
        ("truncate", APIConnectionError),
        ('body="{\\"request_id\\": \\"req_"', UnexpectedResponseError),
        ("body=[1]", UnexpectedResponseError),
    ],
)
async def test_errors_of_a_prompt(
    client_of: Callable[[Reply, str], Any], fault: str, error: type[FetchHiveError]
) -> None:
    """A prompt that meets a fault fails with the one error that tells of it, through both doors alike."""
    reply = Reply(status=200, headers=JSON, body=b'{"request_id":"req_1","response":"Hello you"}')
    async with client_of(reply_with(fault_of(fault), reply), fault) as client:
        with pytest.raises(error) as caught:
            await client.invoke_prompt(deployment="d", variant="v")
    assert error.__name__ == type(caught.value).__name__


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        *((fault, error, None) for fault, error in ERRORS),
        ("stream_error", StreamFailedError, "Hello"),
        ("stream_error, after=2", StreamFailedError, "Hello you"),
        ("silence=inf", StreamIdleTimeoutError, "Hello"),
        ("silence=inf, after=0", StreamIdleTimeoutError, ""),
        ("cut=close", StreamInterruptedError, "Hello"),
        ("cut=reset, after=2", StreamInterruptedError, "Hello you"),
        ("truncate", StreamInterruptedError, "Hello"),
        ("body=data: {", StreamInterruptedError, ""),
        ('body="data: {\\n\\n"', StreamInterruptedError, ""),
    ],
)
async def test_errors_of_a_stream(
    client_of: Callable[[Reply, str], Any], fault: str, error: type[FetchHiveError], text: str | None
) -> None:
    """A stream that meets a fault fails with the one error that tells of it, and has what came until then."""
    reply = Reply(status=200, headers=STREAM, body=EVENTS)
    async with client_of(reply_with(fault_of(fault), reply), fault) as client:
        with pytest.raises(error) as caught:
            await client.invoke_prompt_stream(deployment="d", variant="v").final()
    assert error.__name__ == type(caught.value).__name__
    assert text is None or text == cast("Any", caught.value).partial.response


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["split=1", "crlf", "comments", "no_space", "split=3, crlf, comments, no_space"])
async def test_spellings_of_a_stream_that_are_allowed(client_of: Callable[[Reply, str], Any], fault: str) -> None:
    """However a stream is spelled and split, the answer is the same."""
    reply = Reply(status=200, headers=STREAM, body=EVENTS)
    async with client_of(reply_with(fault_of(fault), reply), fault) as client:
        result = await client.invoke_prompt_stream(deployment="d", variant="v").final()
    assert ("req_1", "Hello you") == (result.request_id, result.response)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["delay=0.001", "silence=0.001", "split=1"])
async def test_damage_that_does_no_harm(client_of: Callable[[Reply, str], Any], fault: str) -> None:
    """A reply that is a little late, or comes in pieces, is the same reply."""
    reply = Reply(status=200, headers=JSON, body=b'{"request_id":"req_1","response":"Hello you"}')
    async with client_of(reply_with(fault_of(fault), reply), fault) as client:
        result = await client.invoke_prompt(deployment="d", variant="v")
    assert "Hello you" == result.response
