"""The state of a stream without I/O: when it is complete, when it is cut, and what it adds up to."""

from __future__ import annotations

import json
import pickle
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import (
    AgentReply,
    APIConnectionError,
    APITimeoutError,
    ErrorEvent,
    PromptResult,
    ReasoningEvent,
    ResponseEvent,
    StreamEvent,
    StreamFailedError,
    StreamIdleTimeoutError,
    StreamInterruptedError,
    ToolEvent,
    UnknownEvent,
    UsageEvent,
)
from fetch_hive_sdk.deadlines import DeadlineExceeded
from fetch_hive_sdk.operations import invoke_agent, invoke_prompt
from fetch_hive_sdk.settings import Settings
from fetch_hive_sdk.streams import StreamReader

REQUEST_ID = "req_0190aaaabbbbccccddddeeeeffff0001"
USAGE = {
    "duration": 4.7,
    "prompt_tokens": {"total_tokens": 24, "cached_tokens": 0},
    "completion_tokens": {"total_tokens": 170, "reasoning_tokens": 64},
    "total_tokens": 194,
}

REASONING = {"request_id": REQUEST_ID, "type": "reasoning", "model": "gpt-x", "response": " let"}
HELLO = {"request_id": REQUEST_ID, "type": "response", "model": "gpt-x", "response": "Hello"}
WORLD = {"request_id": REQUEST_ID, "type": "response", "model": "gpt-x", "response": " world"}
END = {"request_id": REQUEST_ID, "type": "usage", "usage": USAGE, "stop_reason": "completed"}
FAILED = {"type": "error", "error": "provider failed", "error_code": "too_many_requests", "request_id": REQUEST_ID}
DONE = "[DONE]"

SETTINGS = Settings(api_key="fhk_test")


def prompt_reader() -> StreamReader[PromptResult]:
    return StreamReader(invoke_prompt(SETTINGS, "d", "v", None, None, None, streaming=True), idle_timeout=2.5)


def agent_reader() -> StreamReader[AgentReply]:
    return StreamReader(
        invoke_agent(SETTINGS, "a", "Hi", None, None, None, None, None, None, None, None, None, None, streaming=True)
    )


def wire(*events: object) -> bytes:
    """Events as the service writes them; text stands for itself."""
    return b"".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode() for event in events)


def read_all(reader: StreamReader[Any]) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    while (event := reader.next()) is not None:
        events.append(event)
    return events


def types(reader: StreamReader[Any]) -> list[str]:
    return [event.type for event in read_all(reader)]


# --- complete -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "ended"),
    [
        pytest.param([HELLO, END], False, id="by usage"),
        pytest.param([HELLO, DONE], True, id="by [DONE]"),
        pytest.param([HELLO, END, DONE], True, id="by both"),
        pytest.param([DONE], True, id="by [DONE] alone"),
    ],
)
def test_complete(events: list[object], ended: bool) -> None:
    """A stream is complete by its usage event, by [DONE], or both; after [DONE] nothing more is waited for."""
    reader = prompt_reader()
    reader.feed(wire(*events))

    assert reader.complete is True
    assert ended is reader.ended
    assert [event["type"] for event in events if isinstance(event, dict)] == types(reader)
    reader.end()
    assert reader.next() is None
    assert reader.ended is True
    assert isinstance(reader.result(), PromptResult)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_in_pieces(size: int) -> None:
    """However the bytes are cut, the events and the result are the same."""
    data = wire(REASONING, HELLO, {**WORLD, "response": " wörld\u2028"}, END, DONE)
    reader = prompt_reader()
    seen: list[str] = []
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        seen += types(reader)
    reader.end()

    assert ["reasoning", "response", "response", "usage"] == seen
    assert "Hello wörld\u2028" == reader.result().response


def test_failure_after_the_end() -> None:
    """A connection that breaks or times out after the last event costs nothing."""
    for judge in (
        lambda reader: reader.end(OSError("reset")),
        lambda reader: reader.end(httpx.ReadTimeout("slow")),
        lambda reader: reader.feed(b"data: {bro"),
    ):
        for events in ([HELLO, END], [HELLO, DONE]):
            reader = prompt_reader()
            reader.feed(wire(*events))
            judge(reader)
            reader.end()
            read_all(reader)
            assert "Hello" == reader.result().response


def test_nothing_after_done() -> None:
    """What comes after [DONE], in the same chunk or later, is no event."""
    reader = prompt_reader()
    reader.feed(wire(HELLO, DONE, WORLD))
    reader.feed(wire(WORLD))
    reader.feed(b"data: not JSON\n\n")

    assert ["response"] == types(reader)
    assert "Hello" == reader.result().response


def test_events_between_usage_and_done() -> None:
    """Events between the usage event and [DONE] are passed on."""
    reader = prompt_reader()
    reader.feed(wire(HELLO, END, {"type": "later"}, DONE))

    assert ["response", "usage", "later"] == types(reader)


# --- what passes --------------------------------------------------------------------------------------


def test_events() -> None:
    """Events come out typed and in order, unknown ones too."""
    reader = prompt_reader()
    reader.feed(wire(REASONING, HELLO, {"type": "later", "n": 1}, {"no": "type"}, END))

    events = read_all(reader)
    assert [ReasoningEvent, ResponseEvent, UnknownEvent, UnknownEvent, UsageEvent] == [type(event) for event in events]
    assert 1 == events[2]["n"]


@pytest.mark.parametrize(
    "noise",
    [b": keep-alive\n\n", b"data\n\n", b"data:\n\n", b"data: \n\n", b"event: ping\n\n", b"id: 1\n\n", b"\r\n\r\n"],
)
def test_noise(noise: bytes) -> None:
    """Comments, empty data and blocks without data are no events and cost none."""
    reader = prompt_reader()
    reader.feed(noise)

    assert reader.next() is None
    assert not reader.ended
    reader.feed(noise + wire(HELLO) + noise + wire(END) + noise)
    assert ["response", "usage"] == types(reader)


def test_request_id() -> None:
    """The run's id is known as soon as an event has carried it, and stays."""
    reader = prompt_reader()
    assert reader.request_id is None

    reader.feed(wire({"type": "summary", "summary_text": "s"}))
    assert reader.request_id is None

    reader.feed(wire(HELLO))
    assert REQUEST_ID == reader.request_id

    reader.feed(wire({**END, "request_id": None}))
    assert REQUEST_ID == reader.request_id == reader.result().request_id


# --- cut ----------------------------------------------------------------------------------------------

CUTS: dict[str, bytes] = {
    "nothing at all": b"",
    "comments only": b": hi\n\n: hi\n\n",
    "after an event": wire(HELLO),
    "inside an event": wire(HELLO) + b'data: {"type":"usage","usage":{}',
    "before the blank line of the last event": wire(HELLO, END)[:-1],
    "inside [DONE]": wire(HELLO) + b"data: [DON",
    "before the blank line of [DONE]": wire(HELLO) + b"data: [DONE]\n",
}


@pytest.mark.parametrize("data", CUTS.values(), ids=CUTS.keys())
@pytest.mark.parametrize("failure", [None, OSError("reset")], ids=["ended", "broke"])
def test_cut(data: bytes, failure: Exception | None) -> None:
    """A stream that ends or breaks before it said that it was complete raises, again and again, with what came."""
    reader = prompt_reader()
    reader.feed(data)
    reader.end(failure)
    text = "Hello" if b"Hello" in data else ""

    if text:
        assert "response" == getattr(reader.next(), "type", None)
    for _ in range(3):
        with pytest.raises(StreamInterruptedError) as caught:
            reader.next()
        error = caught.value
        assert isinstance(error, APIConnectionError)
        assert isinstance(error.partial, PromptResult)
        assert text == error.partial.response
        assert (REQUEST_ID if text else None) == error.request_id
        assert (True, False) == (error.may_have_run, error.retryable)
        assert error.__cause__ is failure
        assert ("the connection broke" if failure else "it ended without its last event") in error.message
        assert "POST /prompt/invoke" in error.message
        assert "error.partial" in error.hint
    assert reader.ended is True


def test_ends_once() -> None:
    """An end that is told twice raises one error."""
    reader = prompt_reader()
    reader.end()
    reader.end(OSError("reset"))

    with pytest.raises(StreamInterruptedError, match="ended without its last event"):
        reader.next()


@pytest.mark.parametrize(
    "bad", ["{bro", "[1]", "null", "5", '"text"', "[DONE", "DONE", "<html>", "[DONE] "], ids=lambda bad: bad.strip()
)
def test_unreadable_event(bad: str) -> None:
    """Data that is not a JSON object is never skipped: the events before it come out, then the error."""
    reader = prompt_reader()
    reader.feed(wire(HELLO, bad, WORLD, END, DONE))

    assert "response" == getattr(reader.next(), "type", None)
    for _ in range(2):
        with pytest.raises(StreamInterruptedError, match="it sent an event that is not a JSON object") as caught:
            reader.next()
    assert "Hello" == caught.value.partial.response
    assert reader.ended is True


def test_too_large() -> None:
    """An event beyond max_event_size interrupts the stream, after the events before it, and names option and limit."""
    operation = invoke_prompt(SETTINGS, "d", "v", None, None, None, streaming=True)
    reader = StreamReader(operation, max_event_size=200)
    reader.feed(wire(HELLO, {**WORLD, "response": "x" * 300}, END))
    reader.feed(wire(END))

    assert "response" == getattr(reader.next(), "type", None)
    for _ in range(2):
        with pytest.raises(StreamInterruptedError, match="larger than max_event_size=200 bytes") as caught:
            reader.next()
    assert "Hello" == caught.value.partial.response


@pytest.mark.parametrize("failure", [httpx.ReadTimeout("slow"), DeadlineExceeded()], ids=["timeout", "deadline"])
def test_idle(failure: Exception) -> None:
    """A stream without an event for too long raises a timeout with what came."""
    reader = StreamReader(invoke_prompt(SETTINGS, "d", "v", None, None, None, streaming=True), idle_timeout=2.5)
    reader.feed(wire(HELLO))
    read_all(reader)
    reader.end(failure)

    for _ in range(2):
        with pytest.raises(StreamIdleTimeoutError, match=r"no event came for 2\.5 s") as caught:
            reader.next()
    assert isinstance(caught.value, APITimeoutError)
    assert isinstance(caught.value, StreamInterruptedError)
    assert failure is caught.value.__cause__
    assert "Hello" == caught.value.partial.response
    assert (REQUEST_ID, True) == (caught.value.request_id, caught.value.may_have_run)


# --- error events -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [[], [DONE], [WORLD, END, DONE], ["{bro"]], ids=["alone", "DONE", "more", "garbage"])
def test_error_event(after: list[object]) -> None:
    """An error event is passed on, and the next step raises, again and again, whatever comes after."""
    reader = prompt_reader()
    reader.feed(wire(HELLO, FAILED, *after))
    reader.feed(wire(DONE))
    reader.end()
    reader.end(httpx.ReadTimeout("slow"))

    assert "response" == getattr(reader.next(), "type", None)
    event = reader.next()
    assert isinstance(event, ErrorEvent)
    assert "provider failed" == event.error
    for _ in range(3):
        with pytest.raises(StreamFailedError) as caught:
            reader.next()
    error = caught.value
    assert "The run failed while it was streamed: provider failed." == error.message
    assert "error.partial" in error.hint
    assert ("too_many_requests", REQUEST_ID, FAILED) == (error.error_code, error.request_id, error.body)
    assert (True, False) == (error.may_have_run, error.retryable)
    assert "Hello" == error.partial.response
    assert "Hello" == pickle.loads(pickle.dumps(error)).partial.response


@pytest.mark.parametrize(
    ("event", "text", "code"),
    [
        ({"type": "error", "error": "It broke."}, "It broke.", None),
        ({"type": "error", "message": "It broke", "code": "x"}, "It broke.", "x"),
        ({"type": "error", "error": "", "message": "It broke"}, "It broke.", None),
        ({"type": "error", "error": {"detail": 1}, "error_code": "y", "code": "x"}, '{"detail":1}.', "y"),
        ({"type": "error"}, "(no text).", None),
        ({"type": "error", "error": "a", "code": 5}, "a.", None),
    ],
)
def test_text_of_an_error(event: dict[str, Any], text: str, code: str | None) -> None:
    """The error says what the event said, under whichever key, and has its code if that is text."""
    reader = prompt_reader()
    reader.feed(wire(event))

    assert isinstance(reader.next(), ErrorEvent)
    with pytest.raises(StreamFailedError) as caught:
        reader.next()
    assert f"The run failed while it was streamed: {text}" == caught.value.message
    assert code == caught.value.error_code
    assert caught.value.request_id is None


def test_error_after_usage() -> None:
    """An error event fails the run even after a usage event."""
    reader = prompt_reader()
    reader.feed(wire(HELLO, END, FAILED))

    assert ["response", "usage", "error"] == [getattr(reader.next(), "type", None) for _ in range(3)]
    with pytest.raises(StreamFailedError):
        reader.next()


# --- the result ---------------------------------------------------------------------------------------


def test_prompt_result() -> None:
    """The result of a prompt's stream is what the plain call returns: text, model, usage and reason."""
    reader = prompt_reader()
    reader.feed(wire(REASONING, HELLO, WORLD, END, DONE))
    result = reader.result()

    assert PromptResult is type(result)
    assert (REQUEST_ID, "Hello world", "gpt-x", "completed") == (
        result.request_id,
        result.response,
        result.model,
        result.stop_reason,
    )
    assert result.usage is not None
    assert (24, 170, 64, 194, 4.7) == (
        result.usage.prompt_tokens,
        result.usage.completion_tokens,
        result.usage.reasoning_tokens,
        result.usage.total_tokens,
        result.usage.duration,
    )
    assert {
        "request_id": REQUEST_ID,
        "model": "gpt-x",
        "response": "Hello world",
        "usage": USAGE,
        "stop_reason": "completed",
    } == dict(result)
    assert result == pickle.loads(pickle.dumps(result))


AGENT_EVENTS: list[dict[str, Any]] = [
    {"type": "summary", "summary_text": "s", "request_id": REQUEST_ID},
    {"type": "reasoning", "response": "hm", "done": True},
    {"type": "tool", "tool": "google_search", "tool_input": {"q": "x"}, "observation": '{"hits":2}', "tool_id": "t1"},
    {"type": "tool", "tool": "read_file", "tool_input": '{"n":1}', "observation": "{}"},
    {"type": "tool", "tool": "clock"},
    {"type": "artifact", "artifact": {"file_url": "https://example.com/a.csv", "file_size": 12}},
    {"type": "tool_approval", "approval": {"approval_id": "a1"}},
    {"type": "response", "response": "Do", "done": False},
    {"type": "response", "response": "ne.", "done": True},
    {
        "type": "usage",
        "request_id": REQUEST_ID,
        "run_id": REQUEST_ID,
        "status": "awaiting_approval",
        "thread_id": "t-1",
        "tool_approval": "policy",
        "usage": {"total_tokens": 41},
        "stop_reason": "tool_approval",
        "pending_tool_approvals": [{"approval_id": "a1", "tool_name": "send", "summary": "Send"}],
        "denied_tool_calls": [{"tool_name": "rm", "reason": "policy_deny"}],
        "auto_approved_tool_calls": [],
    },
]


def test_agent_reply() -> None:
    """The result of an agent's stream is what the plain call returns, with tools, artifacts, usage and approvals."""
    reader = agent_reader()
    reader.feed(wire(*AGENT_EVENTS, DONE))
    reply = reader.result()

    assert AgentReply is type(reply)
    assert ("Done.", "awaiting_approval", True, "t-1", "policy", "tool_approval") == (
        reply.response,
        reply.status,
        reply.awaiting_approval,
        reply.thread_id,
        reply.tool_approval,
        reply.stop_reason,
    )
    assert (REQUEST_ID, REQUEST_ID) == (reply.request_id, reply.run_id)
    assert [("google_search", '{"q":"x"}', '{"hits":2}'), ("read_file", '{"n":1}', "{}"), ("clock", "null", "")] == [
        (call.tool_name, call.tool_input, call.observation) for call in reply.tool_calls
    ]
    assert [("https://example.com/a.csv", 12)] == [(file.file_url, file.file_size) for file in reply.artifacts]
    assert reply.usage is not None
    assert 41 == reply.usage.total_tokens
    assert ["a1"] == [approval.approval_id for approval in reply.pending_tool_approvals]
    assert ["rm"] == [call.tool_name for call in reply.denied_tool_calls]
    assert () == reply.auto_approved_tool_calls
    assert "type" not in reply


def test_empty_result() -> None:
    """Before anything came the result is empty."""
    assert {"response": ""} == dict(prompt_reader().result())
    assert {"response": ""} == dict(agent_reader().result())


def test_result_so_far() -> None:
    """The result can be asked for at any time and is what has come until then."""
    reader = prompt_reader()
    texts: list[str] = []
    for event in (HELLO, WORLD, END):
        reader.feed(wire(event))
        texts.append(reader.result().response)

    assert ["Hello", "Hello world", "Hello world"] == texts


@pytest.mark.parametrize(
    "event",
    [
        {"type": "artifact"},
        {"type": "artifact", "artifact": None},
        {"type": "artifact", "artifact": "a.csv"},
        {"type": "tool", "tool": 5, "tool_input": [1, {"a": None}], "observation": {"hits": 2}},
        {"type": "usage", "usage": "many", "pending_tool_approvals": 5, "run_id": []},
        {"type": "usage", "response": "not the text", "tool_calls": "none"},
        {"type": "response", "response": {"a": 1}, "model": 5},
    ],
)
def test_odd_events(event: dict[str, Any]) -> None:
    """Odd events never cost the result."""
    reader = agent_reader()
    reader.feed(wire({"type": "response", "response": "Hello"}, event, DONE))
    reader.end()

    read_all(reader)
    assert reader.result().response.startswith("Hello")
    assert "not the text" not in reader.result().response


@pytest.mark.parametrize("odd", [None, "none", {"a": 1}, 5])
def test_odd_lists_before_sound_events(odd: object) -> None:
    """What a usage event has in the place of a list costs no tool call and no artifact that comes after it."""
    reader = agent_reader()
    tool, file = {"type": "tool", "tool": "t"}, {"type": "artifact", "artifact": {"file_url": "https://example.com/a"}}
    reader.feed(wire({"type": "usage", "tool_calls": odd, "artifacts": odd}, tool, file, DONE))
    reply = reader.result()

    assert (["t"], ["https://example.com/a"]) == (
        [call.tool_name for call in reply.tool_calls],
        [one.file_url for one in reply.artifacts],
    )


def test_lists_of_an_event_stay_its_own() -> None:
    """A tool call that comes after a usage event is added to the result, and not to that event."""
    reader = agent_reader()
    reader.feed(wire({"type": "usage", "tool_calls": [{"tool_name": "a"}]}, {"type": "tool", "tool": "b"}, DONE))
    usage = reader.next()

    assert usage is not None
    assert [{"tool_name": "a"}] == usage["tool_calls"]
    assert ["a", "b"] == [call.tool_name for call in reader.result().tool_calls]


def test_odd_artifact_beside_a_sound_one() -> None:
    """An odd artifact does not cost the others."""
    reader = agent_reader()
    reader.feed(wire({"type": "artifact"}, AGENT_EVENTS[5], DONE))

    assert ["https://example.com/a.csv"] == [file.file_url for file in reader.result().artifacts]


def test_numbers_that_are_no_json() -> None:
    """NaN in a tool's input is told as such and costs nothing."""
    reader = agent_reader()
    reader.feed(b'data: {"type":"tool","tool":"t","tool_input":{"n":NaN}}\n\ndata: [DONE]\n\n')

    event = reader.next()
    assert isinstance(event, ToolEvent)
    assert ['{"n":NaN}'] == [call.tool_input for call in reader.result().tool_calls]
