"""The events of streams: each type from its JSON, and what becomes of all that is not documented."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from fetch_hive_sdk import (
    ArtifactEvent,
    ErrorEvent,
    ReasoningEvent,
    ResponseEvent,
    StreamEvent,
    SummaryEvent,
    ToolApprovalEvent,
    ToolEvent,
    UnknownEvent,
    UsageEvent,
)
from fetch_hive_sdk.events import read_event

REQUEST_ID = "req_0190aaaabbbbccccddddeeeeffff0001"

DOCUMENTED: list[tuple[type[Any], dict[str, Any], dict[str, Any]]] = [
    (
        ReasoningEvent,
        {"request_id": REQUEST_ID, "type": "reasoning", "model": "gpt-x", "response": " let"},
        {"request_id": REQUEST_ID, "model": "gpt-x", "response": " let", "done": None},
    ),
    (
        ResponseEvent,
        {"request_id": REQUEST_ID, "type": "response", "model": "gpt-x", "response": "Hello"},
        {"request_id": REQUEST_ID, "model": "gpt-x", "response": "Hello", "done": None},
    ),
    (ResponseEvent, {"type": "response", "response": "", "done": True}, {"request_id": None, "done": True}),
    (
        ToolEvent,
        {
            "type": "tool",
            "tool_id": "t1",
            "tool": "google_search",
            "tool_type": "search",
            "tool_input": {"q": "x"},
            "observation": '{"hits":2}',
        },
        {
            "tool_id": "t1",
            "tool": "google_search",
            "tool_type": "search",
            "tool_input": {"q": "x"},
            "observation": '{"hits":2}',
        },
    ),
    (
        ArtifactEvent,
        {"type": "artifact", "artifact": {"file_url": "https://example.com/a.csv", "file_size": 12}},
        {"artifact": {"file_url": "https://example.com/a.csv", "file_size": 12}},
    ),
    (
        ToolApprovalEvent,
        {"type": "tool_approval", "approval": {"approval_id": "a1", "tool_name": "send_email", "summary": "Send"}},
        {"approval": {"approval_id": "a1", "tool_name": "send_email", "summary": "Send"}},
    ),
    (
        SummaryEvent,
        {
            "type": "summary",
            "summary_text": "So far …",
            "original_token_count": 9000,
            "context_limit": 8000,
            "provider": "openai",
        },
        {"summary_text": "So far …", "original_token_count": 9000, "context_limit": 8000, "provider": "openai"},
    ),
    (
        UsageEvent,
        {
            "request_id": REQUEST_ID,
            "type": "usage",
            "usage": {"duration": 4.7, "prompt_tokens": {"total_tokens": 24, "cached_tokens": 0}, "total_tokens": 194},
            "stop_reason": "completed",
        },
        {"stop_reason": "completed", "status": None, "pending_tool_approvals": ()},
    ),
    (
        UsageEvent,
        {
            "type": "usage",
            "status": "awaiting_approval",
            "run_id": REQUEST_ID,
            "thread_id": None,
            "tool_approval": "policy",
            "pending_tool_approvals": [{"approval_id": "a1"}],
            "denied_tool_calls": [{"tool_name": "rm", "reason": "policy_deny"}],
            "auto_approved_tool_calls": [{"tool_name": "ls", "summary": "List"}],
        },
        {
            "status": "awaiting_approval",
            "run_id": REQUEST_ID,
            "thread_id": None,
            "tool_approval": "policy",
            "pending_tool_approvals": ({"approval_id": "a1"},),
            "denied_tool_calls": ({"tool_name": "rm", "reason": "policy_deny"},),
            "auto_approved_tool_calls": ({"tool_name": "ls", "summary": "List"},),
        },
    ),
    (
        ErrorEvent,
        {"type": "error", "error": "provider failed", "message": "provider failed", "error_code": "x"},
        {"error": "provider failed", "message": "provider failed", "error_code": "x"},
    ),
]


def read(value: object) -> Any:
    return read_event(json.dumps(value).encode())


def ids(table: list[tuple[type[Any], dict[str, Any], dict[str, Any]]]) -> list[str]:
    return [f"{cls.__name__}-{index}" for index, (cls, _, _) in enumerate(table)]


@pytest.mark.parametrize(("cls", "fields", "attributes"), DOCUMENTED, ids=ids(DOCUMENTED))
def test_documented(cls: type[Any], fields: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Each documented event has its class, its typed attributes, and its JSON untouched by key."""
    event = read(fields)

    assert cls is type(event)
    assert fields["type"] == event.type
    assert attributes == {name: getattr(event, name) for name in attributes}
    assert fields == dict(event)
    assert fields == {name: event[name] for name in fields}


@pytest.mark.parametrize(("cls", "fields", "attributes"), DOCUMENTED, ids=ids(DOCUMENTED))
def test_copies(cls: type[Any], fields: dict[str, Any], attributes: dict[str, Any]) -> None:
    """An event survives pickle, copy and deepcopy with its attributes and keys."""
    event = read(fields)

    for again in (pickle.loads(pickle.dumps(event)), copy.copy(event), copy.deepcopy(event)):
        assert cls is type(again)
        assert event == again
        assert attributes == {name: getattr(again, name) for name in attributes}


def test_nested_objects_are_typed() -> None:
    """Usage, artifacts and approvals inside events are typed objects too."""
    usage = read({"type": "usage", "usage": {"prompt_tokens": {"total_tokens": 24, "cached_tokens": 3}}}).usage
    artifact = read({"type": "artifact", "artifact": {"file_url": "u", "file_name": "a.csv"}}).artifact
    approval = read({"type": "tool_approval", "approval": {"summary": "Send", "arguments": {"to": "Ann"}}}).approval

    assert (24, 3) == (usage.prompt_tokens, usage.cached_tokens)
    assert ("u", "a.csv", None) == (artifact.file_url, artifact.file_name, artifact.file_size)
    assert ("Send", {"to": "Ann"}) == (approval.summary, approval.arguments)


@pytest.mark.parametrize(
    ("fields", "shown_type"),
    [
        ({"type": "delegation", "delegation": {"id": "d1"}}, "delegation"),
        ({"type": "Response", "response": "x"}, "Response"),
        ({"type": "", "response": "x"}, ""),
        ({"response": "no type"}, ""),
        ({}, ""),
        ({"type": None, "response": "x"}, ""),
        ({"type": 5}, "5"),
        ({"type": ["response"]}, '["response"]'),
        ({"type": {"name": "response"}}, '{"name":"response"}'),
        ({"type": True}, "true"),
        ({"type": "later", "request_id": 7}, "later"),
    ],
)
def test_unknown(fields: dict[str, Any], shown_type: str) -> None:
    """An event of an unknown, odd or missing type is an UnknownEvent with its JSON by key."""
    event = read(fields)

    assert UnknownEvent is type(event)
    assert shown_type == event.type
    assert fields == dict(event)


@pytest.mark.parametrize(
    ("fields", "attributes"),
    [
        ({"type": "response", "response": 5}, {"response": "5"}),
        ({"type": "response", "response": {"a": 1}}, {"response": '{"a":1}'}),
        ({"type": "response", "response": None, "model": "m"}, {"response": "", "model": "m"}),
        ({"type": "response", "response": "x", "done": "perhaps"}, {"response": "x", "done": None}),
        ({"type": "response", "response": "x", "request_id": 7, "model": ["m"]}, {"request_id": "7", "model": '["m"]'}),
        (
            {"type": "tool", "tool": "t", "tool_input": "text", "observation": {"hits": 2}},
            {"observation": '{"hits":2}'},
        ),
        ({"type": "tool", "tool": 5, "observation": "o"}, {"tool": "5", "observation": "o"}),
        ({"type": "artifact", "artifact": "a.csv"}, {"artifact": None}),
        ({"type": "tool_approval", "approval": ["a1"]}, {"approval": None}),
        ({"type": "usage", "usage": 12}, {"usage": None}),
        ({"type": "usage", "pending_tool_approvals": "none"}, {"pending_tool_approvals": ()}),
        ({"type": "summary", "original_token_count": "many", "summary_text": "s"}, {"summary_text": "s"}),
        ({"type": "error", "error": {"message": "m"}}, {"error": '{"message":"m"}'}),
        ({"type": "later", "request_id": 7}, {"request_id": "7"}),
    ],
)
def test_odd_fields(fields: dict[str, Any], attributes: dict[str, Any]) -> None:
    """A field of an unexpected type becomes JSON text or its default, and by key it is what came."""
    event = read(fields)

    assert fields["type"] == event.type
    assert attributes == {name: getattr(event, name) for name in attributes}
    assert fields == dict(event)


@pytest.mark.parametrize(
    ("fields", "attributes"),
    [
        ({"type": "usage", "usage": {"total_tokens": 3}, "stop_reason": 5}, {"usage": {"total_tokens": 3}}),
        ({"type": "error", "error": "text", "message": 5}, {"error": "text", "message": "5"}),
        ({"type": "artifact", "artifact": {"file_url": "u"}, "request_id": 5}, {"artifact": {"file_url": "u"}}),
        ({"type": "response", "response": "x", "model": 5}, {"response": "x", "model": "5"}),
    ],
)
def test_odd_field_beside_a_sound_one(fields: dict[str, Any], attributes: dict[str, Any]) -> None:
    """An odd field costs no other field, not even the one that is named like the event's type."""
    event = read(fields)

    assert attributes == {name: getattr(event, name) for name in attributes}


def test_unknown_fields_are_kept() -> None:
    """A field that this SDK does not know is there by key and by attribute."""
    event = read({"type": "response", "response": "x", "language": "en"})

    assert "en" == event["language"]
    assert "en" == event.language


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"[DONE]",
        b"[]",
        b"[1]",
        b"null",
        b"5",
        b"true",
        b'"text"',
        b"{",
        b'{"type":',
        b"{}{}",
        b"\xff",
        b"NaN",
    ],
)
def test_no_object(data: bytes) -> None:
    """Data that is not a JSON object is refused with ValueError."""
    with pytest.raises(ValueError, match=r"."):
        read_event(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'\xef\xbb\xbf{"type":"response","response":"a"}', "a"),
        (b'{"type":"response","response":"a\xffb"}', "a\ufffdb"),
        (b'{"type":"response","response":"a\\ud800b"}', "a\ufffdb"),
        (b'{"type":"response","response":"\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"type":"response","response":"a\xe2\x80\xa8b"}', "a\u2028b"),
    ],
)
def test_odd_text(data: bytes, text: str) -> None:
    """A BOM, stray bytes and half surrogate pairs do not cost the event."""
    event = read_event(data)

    assert isinstance(event, ResponseEvent)
    assert text == event.response
    assert text == event["response"]


def test_match() -> None:
    """Events can be told apart by class, by `type` and as mappings in a match statement."""

    def told(event: StreamEvent) -> str:
        match event:
            case ResponseEvent(response=text):
                return f"response {text}"
            case {"type": "usage", "stop_reason": reason}:
                return f"usage {reason}"
            case _:
                return event.type

    assert "response a" == told(read({"type": "response", "response": "a"}))
    assert "usage length" == told(read({"type": "usage", "stop_reason": "length"}))
    assert "later" == told(read({"type": "later"}))


def test_frozen() -> None:
    """An event cannot be changed."""
    event = read({"type": "response", "response": "a"})

    with pytest.raises(ValueError, match="frozen"):
        event.response = "b"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"type":"new_kind","text":"\\ud83d"}', id="half a surrogate pair"),
        pytest.param(b'\xef\xbb\xbf{"type":"new_kind"}', id="BOM"),
        pytest.param(b'{"type":"new_kind","t":"\xff"}', id="stray byte"),
        pytest.param(b'{"t":"\xff"}', id="no type"),
    ],
)
def test_odd_bytes_of_an_unknown_event(data: bytes) -> None:
    """An event of an unknown type is kept even where its bytes are odd."""
    assert isinstance(read_event(data), UnknownEvent)
