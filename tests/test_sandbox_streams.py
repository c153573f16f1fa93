"""The sandbox's streams: which events come, in which order, and how a stream ends."""

from __future__ import annotations

import pytest

from fetch_hive_sdk.sandbox import Answer, Sandbox
from fetch_hive_sdk.sandbox.chunks import Pause

from .sandbox_requests import AGENT, BODIES, PROMPT, ask, events_of, go_on, stream, ticking_sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    return ticking_sandbox()


def test_a_prompt_streams_reasoning_text_and_usage(sandbox: Sandbox) -> None:
    """A streamed prompt sends its reasoning and its text word by word, then usage, then `[DONE]`."""
    sandbox.prompt("support-classifier", reply=Answer("Bill\ning  it ", reasoning="hm so", model="gpt-x"))
    *events, end = stream(sandbox, "prompt")
    usage = events.pop()
    base = {"request_id": "req_00000000000000000000000000000001", "model": "gpt-x"}
    assert events == [
        {**base, "type": kind, "response": piece}
        for kind, piece in [
            ("reasoning", "hm"),
            ("reasoning", " so"),
            ("response", "Bill"),
            ("response", "\ning"),
            ("response", "  it"),
            ("response", " "),
        ]
    ]
    assert "".join(event["response"] for event in events[2:]) == "Bill\ning  it "
    assert usage == {
        "request_id": "req_00000000000000000000000000000001",
        "type": "usage",
        "usage": {
            "duration": 1.0,
            "prompt_tokens": {"total_tokens": 14, "cached_tokens": 0},
            "completion_tokens": {"total_tokens": 5, "reasoning_tokens": 2},
            "total_tokens": 19,
        },
        "stop_reason": "completed",
    }
    assert end == "[DONE]"


def test_an_agent_streams_its_tools_and_artifacts(sandbox: Sandbox) -> None:
    """A streamed agent sends tool and artifact events, marks last pieces, and ends with the agent's usage keys."""
    answer = Answer(
        "All done",
        reasoning="look",
        usage={},
        tool_calls=[{"tool_name": "google_search", "tool_input": {"q": "x"}, "observation": ["é"]}],
        artifacts=[{"file_url": "https://files.example.com/a.pdf"}],
    )
    sandbox.agent("AGENT_UUID", reply=answer)
    request_id = "req_00000000000000000000000000000001"
    events = stream(sandbox, "agent", thread_id="t-1")
    assert {event.pop("request_id") for event in events[:-1]} == {request_id}
    assert events == [
        {"type": "reasoning", "response": "look", "done": True},
        {
            "type": "tool",
            "tool_id": "call_1",
            "tool": "google_search",
            "tool_type": "function",
            "tool_input": {"q": "x"},
            "observation": '["é"]',
        },
        {"type": "response", "response": "All", "done": False},
        {"type": "response", "response": " done", "done": True},
        {"type": "artifact", "artifact": {"file_url": "https://files.example.com/a.pdf"}},
        {
            "type": "usage",
            "usage": {},
            "stop_reason": "completed",
            "run_id": request_id,
            "status": "completed",
            "thread_id": "t-1",
            "tool_approval": "policy",
        },
        "[DONE]",
    ]


def test_a_prompt_streams_no_tools(sandbox: Sandbox) -> None:
    """Tool calls and artifacts of an answer are sent for agents alone."""
    answer = Answer(tool_calls=[{"tool_name": "t"}], artifacts=[{"file_url": "https://files.example.com/a"}])
    sandbox.prompt("support-classifier", reply=answer)
    assert [event["type"] for event in stream(sandbox, "prompt")[:-1]] == ["usage"]


@pytest.mark.parametrize("kind", ["prompt", "agent"])
def test_a_stream_that_fails_ends_with_an_error_event(sandbox: Sandbox, kind: str) -> None:
    """A streamed run that fails sends the pieces it had and then one error event, and nothing after it."""
    reply = Answer("Half an", error="provider gone")
    sandbox.prompt("support-classifier", reply=reply)
    sandbox.agent("AGENT_UUID", reply=reply)
    *pieces, error = stream(sandbox, kind)
    assert "".join(piece["response"] for piece in pieces) == "Half an"
    assert error == {
        "request_id": "req_00000000000000000000000000000001",
        "type": "error",
        "error": "provider gone",
        "message": "provider gone",
    }
    assert sandbox.runs[0].status == "failed"


def test_an_agent_may_begin_with_a_summary(sandbox: Sandbox) -> None:
    """An agent whose history was compressed sends a `summary` event first; a prompt has none."""
    answer = Answer("Done.", reasoning="hm", summary="They talked about May.", model="gpt-x")
    sandbox.agent("AGENT_UUID", reply=answer)
    sandbox.prompt("support-classifier", reply=answer)
    summary, *rest = stream(sandbox, "agent")
    assert summary == {
        "request_id": "req_00000000000000000000000000000001",
        "type": "summary",
        "summary_text": "They talked about May.",
        "original_token_count": 100_000,
        "context_limit": 128_000,
        "provider": "sandbox",
        "model": "gpt-x",
    }
    assert [event["type"] for event in rest[:-1]] == ["reasoning", "response", "usage"]
    assert "summary" not in [event["type"] for event in stream(sandbox, "prompt")[:-1]]


def test_a_stream_takes_its_time_between_its_events(sandbox: Sandbox) -> None:
    """With a duration the stream pauses before each event, and its run ends once the stream is sent."""
    sandbox.prompt("support-classifier", reply=Answer("one two", duration=2.0))
    reply = ask(sandbox, "prompt", {**PROMPT, "streaming": True})
    assert not isinstance(reply.body, bytes)
    assert [chunk for chunk in reply.body if not isinstance(chunk, bytes)] == [Pause(0.5)] * 4
    assert [type(chunk) for chunk in reply.body] == [Pause, bytes] * 4
    assert events_of(reply)[-2]["usage"]["duration"] == 2.0
    assert sandbox.runs[0].status == "running"
    assert go_on(sandbox, reply).status == "completed"


def test_a_slow_stream_can_fail_too(sandbox: Sandbox) -> None:
    """With a duration and an error the stream ends with the error, and its run as failed once that is sent."""
    sandbox.agent("AGENT_UUID", reply=Answer("Half", error="provider gone", duration=1.0))
    reply = ask(sandbox, "agent", {**AGENT, "streaming": True})
    assert [event["type"] for event in events_of(reply)] == ["response", "error"]
    run = go_on(sandbox, reply)
    assert (run.status, run.answer and run.answer.error) == ("failed", "provider gone")


def test_a_slow_stream_can_be_cancelled(sandbox: Sandbox) -> None:
    """A run that is cancelled while its stream is sent stays cancelled when that has ended."""
    sandbox.prompt("support-classifier", reply=Answer("one two", duration=2.0))
    reply = ask(sandbox, "prompt", {**PROMPT, "streaming": True})
    assert sandbox.cancel(sandbox.runs[0].request_id).status == "cancelled"
    assert go_on(sandbox, reply).status == "cancelled"


@pytest.mark.parametrize("kind", ["workflow", "hive-agent"])
def test_what_does_not_stream_ignores_the_wish(sandbox: Sandbox, kind: str) -> None:
    """Workflows and hive agents have no streams: with `streaming` they answer, and end, as ever."""
    sandbox.workflow("research-brief", reply=Answer("A brief.", duration=2.0))
    sandbox.hive_agent("HIVE_UUID", reply=Answer("Compared.", duration=2.0))
    reply = ask(sandbox, kind, {**BODIES[kind], "streaming": True})
    assert isinstance(reply.body, bytes)
    run = go_on(sandbox, reply) if reply.unfinished else sandbox.runs[0]
    assert run.status == "completed"
