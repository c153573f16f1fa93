"""The sandbox's engine, asked directly: what it answers, what it refuses and what it remembers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import pytest

from fetch_hive_sdk import CallbackVerifier, InternalServerError
from fetch_hive_sdk.errors import ConfigurationError, InvalidRequestError
from fetch_hive_sdk.sandbox import Answer, CallbackAttempt, Choices, Sandbox
from fetch_hive_sdk.sandbox.runs import Reply

PROMPT: dict[str, Any] = {
    "deployment": "support-classifier",
    "variant": "default",
    "inputs": {"ticket_text": "The export button is disabled."},
}
WORKFLOW: dict[str, Any] = {
    "deployment": "research-brief",
    "variant": "default",
    "inputs": {"topic": "AI infrastructure trends"},
}
DELIVERED: dict[str, Any] = {**WORKFLOW, "async": {"enabled": True, "callback_url": "https://example.com/callback"}}
AGENT: dict[str, Any] = {"agent": "AGENT_UUID", "message": "Summarize this account before renewal."}
BODIES: dict[str, dict[str, Any]] = {"prompt": PROMPT, "workflow": WORKFLOW, "agent": AGENT}
UUID = "0190aaaa-0000-7000-8000-000000000001"
KEY = {"Authorization": "Bearer fhk_test"}


def ask(
    sandbox: Sandbox,
    kind: str,
    body: object,
    *,
    method: str = "POST",
    path: str | None = None,
    headers: Mapping[str, str] = KEY,
) -> Reply:
    """The reply to one request; by default the right method, path and key."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return sandbox.engine.handle(method, path or f"/v1/{kind}/invoke", headers, content)


def read(reply: Reply) -> Any:
    """The JSON a reply carries."""
    assert isinstance(reply.body, bytes)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    return json.loads(reply.body)


def invoke(sandbox: Sandbox, kind: str, **more: object) -> Any:
    """The JSON an ordinary request of a kind is answered with."""
    return read(ask(sandbox, kind, {**BODIES[kind], **more}))


def stream(sandbox: Sandbox, kind: str, **more: object) -> list[Any]:
    """The events of a stream; `[DONE]` stands for itself."""
    reply = ask(sandbox, kind, {**BODIES[kind], "streaming": True, **more})
    assert not isinstance(reply.body, bytes)
    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    events: list[Any] = []
    for chunk in reply.body:
        data = re.fullmatch(r"data: (.+)\n\n", chunk.decode())
        assert data is not None
        events.append(data[1] if data[1] == "[DONE]" else json.loads(data[1]))
    return events


@pytest.fixture
def sandbox() -> Sandbox:
    """A sandbox where each look at the clock is one second later, and ids are counted."""
    start = datetime(2026, 6, 1, tzinfo=timezone.utc)
    seconds: Iterator[int] = itertools.count()
    ids: Iterator[int] = itertools.count(1)
    return Sandbox(
        clock=lambda: start + timedelta(seconds=next(seconds)),
        new_request_id=lambda: f"req_{next(ids):032x}",
    )


def test_a_prompt_answers_with_its_registered_text(sandbox: Sandbox) -> None:
    """A prompt's reply has the registered text, the model, and usage counted in words and in the clock's seconds."""
    sandbox.prompt("support-classifier", reply="billing, surely")
    assert invoke(sandbox, "prompt") == {
        "request_id": "req_00000000000000000000000000000001",
        "response": "billing, surely",
        "model": "sandbox",
        "usage": {
            "duration": 1.0,
            "prompt_tokens": {"total_tokens": 14, "cached_tokens": 0},
            "completion_tokens": {"total_tokens": 3, "reasoning_tokens": 0},
            "total_tokens": 17,
        },
    }


def test_the_older_prompt_path_answers_alike(sandbox: Sandbox) -> None:
    """`/v1/invoke`, the older name of the prompt path, runs a prompt too, and a query string does not matter."""
    sandbox.prompt("support-classifier", reply="billing")
    assert read(ask(sandbox, "prompt", PROMPT, path="/v1/invoke?locale=es"))["response"] == "billing"


def test_a_direct_workflow_has_the_documented_keys_and_no_others(sandbox: Sandbox) -> None:
    """A direct workflow answers request_id, run_status and output, as the documentation shows it."""
    sandbox.workflow("research-brief", reply="A brief.")
    assert invoke(sandbox, "workflow", **{"async": {"enabled": False}}) == {
        "request_id": "req_00000000000000000000000000000001",
        "run_status": "completed",
        "output": "A brief.",
    }


def test_a_workflow_with_callback_delivery_answers_at_once_and_ends_later(sandbox: Sandbox) -> None:
    """With callback delivery the reply is `running` with the secret; the run ends, and calls back, when finished."""
    sandbox.workflow("research-brief", reply="A brief.", secret="whsec_mine")
    reply = ask(sandbox, "workflow", DELIVERED)
    request_id = "req_00000000000000000000000000000001"
    assert reply.status == 202
    assert read(reply) == {"request_id": request_id, "run_status": "running", "webhook_secret": "whsec_mine"}
    assert [run.status for run in sandbox.runs] == ["running"]
    assert sandbox.callbacks == []

    assert reply.unfinished == request_id
    sandbox.engine.finish(request_id)
    [callback] = sandbox.callbacks
    assert callback.url == "https://example.com/callback"
    assert callback.event_type == "workflow.completed"
    assert json.loads(callback.body) == {
        "event_type": "workflow.completed",
        "request_id": request_id,
        "data": {"output": "A brief.", "run_status": "completed"},
    }
    assert callback.headers["Content-Type"] == "application/json"
    CallbackVerifier("whsec_mine").verify(callback.body, callback.headers)
    [run] = sandbox.runs
    assert (run.status, run.reply, run.callbacks) == ("completed", reply, (callback,))


def test_a_failed_workflow_calls_back_too(sandbox: Sandbox) -> None:
    """A workflow that fails after its reply tells so in its callback, with the error's text."""
    sandbox.workflow("research-brief", reply=Answer(error="The search step failed"))
    sandbox.engine.finish(ask(sandbox, "workflow", DELIVERED).unfinished or "")
    [callback] = sandbox.callbacks
    assert json.loads(callback.body)["event_type"] == callback.event_type == "workflow.failed"
    assert json.loads(callback.body)["data"] == {"error": "The search step failed", "run_status": "failed"}
    assert sandbox.runs[0].status == "failed"


def test_an_agent_answers_with_everything_it_did(sandbox: Sandbox) -> None:
    """An agent's reply has the state keys, and tool calls whose input and observation are JSON as text."""
    answer = Answer(
        "Done.",
        model="gpt-x",
        usage={"total_tokens": 41},
        tool_calls=[{"tool_name": "google_search", "tool_input": {"q": "x"}, "observation": {"hits": 2}}],
        artifacts=[{"file_url": "https://files.example.com/a.pdf", "file_name": "a.pdf"}],
    )
    sandbox.agent("AGENT_UUID", reply=answer)
    assert invoke(sandbox, "agent", thread_id="t-1", tool_approval="auto_approve") == {
        "request_id": "req_00000000000000000000000000000001",
        "run_id": "req_00000000000000000000000000000001",
        "status": "completed",
        "thread_id": "t-1",
        "tool_approval": "auto_approve",
        "model": "gpt-x",
        "response": "Done.",
        "usage": {"total_tokens": 41},
        "tool_calls": [{"tool_name": "google_search", "tool_input": '{"q":"x"}', "observation": '{"hits":2}'}],
        "artifacts": [{"file_url": "https://files.example.com/a.pdf", "file_name": "a.pdf"}],
    }


def test_an_agent_without_a_thread_is_stateless(sandbox: Sandbox) -> None:
    """An absent or empty thread_id comes back as null, and the tool approval in force is the policy's."""
    for more in ({}, {"thread_id": ""}):
        reply = invoke(sandbox, "agent", **more)
        assert (reply["thread_id"], reply["tool_approval"]) == (None, "policy")


@pytest.mark.parametrize(
    ("kind", "key", "echo"),
    [
        (
            "prompt",
            "response",
            'Sandbox echo of support-classifier (default): ticket_text = "The export button is disabled."',
        ),
        (
            "workflow",
            "output",
            'Sandbox echo of research-brief (default): topic = "AI infrastructure trends"',
        ),
        ("agent", "response", 'Sandbox echo of AGENT_UUID: "Summarize this account before renewal."'),
    ],
)
def test_what_was_not_registered_is_an_echo(sandbox: Sandbox, kind: str, key: str, echo: str) -> None:
    """A deployment or agent the sandbox was not told about answers with an echo of what it was sent."""
    assert invoke(sandbox, kind)[key] == echo


def test_an_echo_of_nothing_says_so() -> None:
    """The echo of a run without inputs and without a variant names neither."""
    reply = read(ask(Sandbox(lenient=True), "prompt", {"deployment": "plain", "inputs": None}))
    assert reply["response"] == "Sandbox echo of plain: no inputs"


def test_a_reply_can_be_a_function_of_what_was_sent(sandbox: Sandbox) -> None:
    """A decorated function is called with the inputs, or an agent's message, and stays usable as itself."""

    @sandbox.prompt("support-classifier")
    def classify(inputs: dict[str, Any]) -> str:
        return str(inputs["ticket_text"]).upper()

    @sandbox.workflow("research-brief", secret="whsec_mine")
    def brief(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"topic": inputs["topic"], "pages": 3}

    @sandbox.agent("AGENT_UUID")
    def summarize(message: str) -> Answer:
        return Answer(message[:9], reasoning="short")

    assert invoke(sandbox, "prompt")["response"] == "THE EXPORT BUTTON IS DISABLED."
    assert invoke(sandbox, "workflow")["output"] == '{"topic":"AI infrastructure trends","pages":3}'
    assert invoke(sandbox, "agent")["response"] == "Summarize"
    assert classify({"ticket_text": "a"}) == "A"
    assert (brief({"topic": 1}), summarize("b").text) == ({"topic": 1, "pages": 3}, "b")
    assert sandbox.webhook_secret("research-brief") == "whsec_mine"


def test_a_variant_can_have_its_own_reply(sandbox: Sandbox) -> None:
    """A reply for one variant goes before the deployment's general one, which serves every other variant."""
    sandbox.prompt("support-classifier", reply="general")
    sandbox.prompt("support-classifier", reply="special", variant="b")
    replies = [invoke(sandbox, "prompt", variant=variant)["response"] for variant in ("a", "b")]
    assert replies == ["general", "special"]


def test_a_function_cannot_change_the_record_of_its_run(sandbox: Sandbox) -> None:
    """A reply function gets its own copy of the inputs: what it does to them is not seen in the run."""

    @sandbox.prompt("support-classifier")
    def clear(inputs: dict[str, Any]) -> str:
        inputs["ticket_text"] = "gone"
        return ""

    invoke(sandbox, "prompt")
    assert clear({}) == ""
    assert sandbox.runs[0].inputs == {"ticket_text": "The export button is disabled."}


@pytest.mark.parametrize(("kind", "status"), [("prompt", 502), ("agent", 502), ("workflow", 422)])
def test_a_function_that_raises_fails_its_run(sandbox: Sandbox, kind: str, status: int) -> None:
    """The text of what a reply function raises is the run's error; without a text it is the error's name."""

    def fail(given: object) -> str:
        raise LookupError("no such topic") if sandbox.runs[1:] else LookupError

    getattr(sandbox, kind)(BODIES[kind].get("deployment", "AGENT_UUID"), reply=fail)
    for text in ("LookupError", "no such topic"):
        reply = ask(sandbox, kind, BODIES[kind])
        assert (reply.status, read(reply)) == (status, {"error": text, "message": text})
        assert sandbox.runs[-1].status == "failed"


def test_an_error_can_carry_a_code(sandbox: Sandbox) -> None:
    """An answer with an error and a code sends both, under the documented keys."""
    sandbox.prompt("support-classifier", reply=Answer(error="The model is gone", error_code="model_deprecated"))
    assert invoke(sandbox, "prompt") == {
        "error": "The model is gone",
        "message": "The model is gone",
        "error_code": "model_deprecated",
    }


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


REFUSED: list[tuple[str, object, str]] = [
    ("prompt", b"{", "The request body is not valid JSON"),
    ("prompt", b'"\xff"', "The request body is not valid JSON"),
    ("prompt", b'{"deployment": NaN}', "The request body is not valid JSON"),
    ("prompt", b'{"deployment": 1e999}', "The request body is not valid JSON"),
    ("prompt", b"[" * 100_000, "The request body is not valid JSON"),
    (
        "prompt",
        b'{"inputs":' + b"[" * 100 + b"]" * 100 + b"}",
        "The request body is nested deeper than 100 levels",
    ),
    ("prompt", b"[]", "The request body must be a JSON object"),
    ("prompt", {"variant": "default"}, "Missing required field: deployment or variant"),
    ("prompt", {**PROMPT, "variant": ""}, "Missing required field: deployment or variant"),
    ("prompt", {**PROMPT, "deployment": 7}, "deployment must be a string"),
    ("prompt", {**PROMPT, "variant": ["a"]}, "variant must be a string"),
    ("prompt", {**PROMPT, "inputs": []}, "inputs must be an object"),
    ("prompt", {**PROMPT, "user": 7}, "user must be a string"),
    ("prompt", {**PROMPT, "streaming": "yes"}, "streaming must be a boolean"),
    ("prompt", {**PROMPT, "metadata": "x"}, "metadata must be an object"),
    ("prompt", {**PROMPT, "metadata": {"": 1}}, "metadata keys must be non-empty strings"),
    (
        "prompt",
        {**PROMPT, "metadata": {"plan": "pro", "tags": ["a"]}},
        "metadata.tags must be a string, number, boolean, or null",
    ),
    (
        "prompt",
        {**PROMPT, "image_urls": []},
        "image_urls is not accepted on prompts; use the prompt's inputs",
    ),
    (
        "prompt",
        {**PROMPT, "attachments": []},
        "attachments is not accepted on prompts; use the prompt's inputs",
    ),
    ("workflow", {"deployment": "research-brief"}, "Missing required field: deployment or variant"),
    (
        "workflow",
        {**WORKFLOW, "metadata": {"owner": {}}},
        "metadata.owner must be a string, number, boolean, or null",
    ),
    ("workflow", {**WORKFLOW, "async": True}, "async must be an object"),
    ("workflow", {**WORKFLOW, "async": {}}, "async.enabled is required and must be a boolean"),
    ("workflow", {**WORKFLOW, "async": {"enabled": 1}}, "async.enabled is required and must be a boolean"),
    ("workflow", {**WORKFLOW, "async": {"enabled": True}}, "callback_url is required when async is enabled"),
    ("agent", {"message": "Hi"}, "Missing required field: agent or message"),
    ("agent", {"agent": "AGENT_UUID", "message": ""}, "Missing required field: agent or message"),
    ("agent", {**AGENT, "message": 7}, "message must be a string"),
    ("agent", {**AGENT, "thread_id": 7}, "thread_id must be a string"),
    ("agent", {**AGENT, "messages": {}}, "messages must be an array"),
    ("agent", {**AGENT, "messages": ["Hi"]}, "messages[0] must be an object"),
    (
        "agent",
        {**AGENT, "messages": [{"role": "tool", "content": "Hi"}]},
        "messages[0].role must be user, assistant, or system",
    ),
    ("agent", {**AGENT, "messages": [{"role": "user"}]}, "messages[0].content must be a string"),
    (
        "agent",
        {**AGENT, "messages": [{"role": "user", "content": "", "image_urls": ["http://a.example/b.png"]}]},
        "messages[0].image_urls must be https:// URLs",
    ),
    ("agent", {**AGENT, "attachments": ["http://a.example/b.pdf"]}, "attachments must be https:// URLs"),
    ("agent", {**AGENT, "attachments": [{"file_name": "b.pdf"}]}, "attachments must be https:// URLs"),
    (
        "agent",
        {
            **AGENT,
            "attachments": ["https://a.example/1", {"file_url": "https://a.example/2"}],
            "image_urls": ["https://a.example/3"],
            "artifact_refs": [UUID] * 3,
        },
        "attachments, image_urls and artifact_refs may hold at most 5 items together",
    ),
    ("agent", {**AGENT, "artifact_refs": [UUID] * 6}, "artifact_refs accepts at most 5 items"),
    ("agent", {**AGENT, "known_artifact_refs": [UUID] * 51}, "known_artifact_refs accepts at most 50 items"),
    ("agent", {**AGENT, "artifact_refs": ["a.pdf"]}, "artifact_refs must contain UUIDs"),
    (
        "agent",
        {**AGENT, "messages": [], "artifact_refs": [UUID]},
        "artifact_refs must also be in known_artifact_refs when messages are sent",
    ),
    ("agent", {**AGENT, "async": {"callback_url": "nowhere"}}, "callback_url must be a valid URL"),
    ("agent", {**AGENT, "async": {"allow_background": "yes"}}, "async.allow_background must be a boolean"),
]


@pytest.mark.parametrize(("kind", "body", "text"), REFUSED)
def test_what_the_service_refuses_is_refused(sandbox: Sandbox, kind: str, body: object, text: str) -> None:
    """A request the service refuses gets 400 and the error object, and leaves no run behind."""
    reply = ask(sandbox, kind, body)
    assert reply.status == 400
    assert read(reply) == {"error": text, "message": text, "error_code": "validation_error"}
    assert sandbox.runs == []


@pytest.mark.parametrize("kind", ["workflow", "agent"])
def test_an_unknown_tool_approval_has_its_own_code(sandbox: Sandbox, kind: str) -> None:
    """A tool_approval that is neither policy nor auto_approve is refused under the documented code."""
    reply = ask(sandbox, kind, {**BODIES[kind], "tool_approval": "always"})
    assert (reply.status, read(reply)["error_code"]) == (400, "invalid_tool_approval")


def test_what_the_service_takes_is_taken(sandbox: Sandbox) -> None:
    """Requests up to the documented limits are accepted, and null stands for a field that is not sent."""
    assert invoke(sandbox, "prompt", inputs=None, metadata=None, user=None, streaming=None)["response"]
    assert invoke(sandbox, "workflow", metadata={"a": "b", "c": 1.5, "d": True, "e": None})["output"]
    more: dict[str, Any] = {
        "messages": [{"role": "system", "content": "Be brief", "attachments": ["https://a.example/0"]}],
        "attachments": ["https://a.example/1", {"file_url": "https://a.example/2", "file_name": "2"}],
        "image_urls": ["https://a.example/3", "https://a.example/4"],
        "artifact_refs": [UUID],
        "known_artifact_refs": [UUID] * 50,
        "async": {"callback_url": "https://example.com/callback", "allow_background": False},
    }
    assert invoke(sandbox, "agent", **more)["response"]
    assert len(sandbox.runs) == 3


@pytest.mark.parametrize(
    ("url", "local", "any_http", "never"),
    [
        ("https://example.com/callback", True, True, True),
        ("http://localhost:3000/hook", True, True, False),
        ("http://127.0.0.1:3000/hook", True, True, False),
        ("http://[::1]/hook", True, True, False),
        ("http://10.1.2.3/hook", True, True, False),
        ("http://web:8000/hook", True, True, False),
        ("http://example.com/callback", False, True, False),
        ("http://8.8.8.8/hook", False, True, False),
        ("ftp://example.com/callback", False, False, False),
        ("https:///callback", False, False, False),
        ("https://exa mple.com/", False, False, False),
        ("https://example.com:99999/", False, False, False),
        ("https://xn--a/", False, False, False),
        ("https://\x00/", False, False, False),
        ("https://[::1", False, False, False),
        (7, False, False, False),
    ],
)
def test_which_callback_urls_are_valid(url: object, local: bool, any_http: bool, never: bool) -> None:
    """An https URL is always accepted, an http one by choice: local ones, which is the default, any, or none."""
    body = {**WORKFLOW, "async": {"enabled": True, "callback_url": url}}
    accepted: list[bool] = []
    for choices in (Choices(), Choices(http_callbacks="any"), Choices(http_callbacks="never")):
        reply = ask(Sandbox(choices=choices), "workflow", body)
        accepted.append(reply.status == 202)
        assert reply.status == 202 or read(reply)["error"] == "callback_url must be a valid URL"
    assert accepted == [local, any_http, never]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer "}, {"Authorization": "fhk_test"}, {"Authorization": "Basic fhk_test"}],
)
def test_a_request_without_a_key_is_refused(sandbox: Sandbox, headers: dict[str, str]) -> None:
    """A missing or malformed Authorization header gets the documented 401."""
    reply = ask(sandbox, "prompt", PROMPT, headers=headers)
    assert reply.status == 401
    assert read(reply) == {
        "error": "Invalid access.",
        "message": "Invalid access.",
        "error_code": "validation_error",
    }


def test_a_sandbox_with_a_key_accepts_that_one_only() -> None:
    """A sandbox given a key refuses every other one; the header's name and scheme may be in any case."""
    sandbox = Sandbox(api_key="fhk_clé")
    assert ask(sandbox, "prompt", PROMPT).status == 401
    assert ask(sandbox, "prompt", PROMPT, headers={"AUTHORIZATION": "bearer fhk_clé"}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [("POST", "/v1/nothing", 404, "Not found"), ("GET", "/v1/agent/invoke", 405, "Method not allowed")],
)
def test_unknown_paths_and_methods(sandbox: Sandbox, method: str, path: str, status: int, text: str) -> None:
    """An unknown path is 404 and a wrong method 405, both with an error object."""
    reply = ask(sandbox, "", b"", method=method, path=path)
    assert (reply.status, read(reply)) == (status, {"error": text, "message": text})
    assert reply.headers.get("Allow") == ("POST" if status == 405 else None)


def test_a_lenient_sandbox_follows_the_openapi_description() -> None:
    """A lenient sandbox takes a missing variant and adds run_id and status to every workflow reply."""
    sandbox = Sandbox(lenient=True, choices=Choices(failed_workflow="state"))
    sandbox.workflow("research-brief", reply="A brief.")
    sandbox.workflow("research-brief", variant="bad", reply=Answer(error="no"))
    direct = read(ask(sandbox, "workflow", {"deployment": "research-brief", "variant": ""}))
    assert (direct["run_status"], direct["output"]) == ("completed", "A brief.")
    replies = [direct, invoke(sandbox, "workflow", variant="bad"), read(ask(sandbox, "workflow", DELIVERED))]
    assert [reply["status"] for reply in replies] == ["completed", "failed", "running"]
    assert [reply["run_status"] for reply in replies] == ["completed", "failed", "running"]
    assert all(reply["run_id"] == reply["request_id"] for reply in replies)
    assert sandbox.runs[0].variant is None


def test_each_choice_changes_what_it_names() -> None:
    """The choices about statuses, error bodies, event names and the end of a failed stream are obeyed."""
    choices = Choices(
        validation_status=422,
        error_only=True,
        callback_status=200,
        failed_workflow_status=500,
        done_after_error=True,
        workflow_failed_event="workflow.error",
        workflow_completed_event="workflow.done",
    )
    sandbox = Sandbox(choices=choices)
    sandbox.workflow("research-brief", reply="A brief.")
    sandbox.workflow("research-brief", variant="bad", reply=Answer(error="no"))
    sandbox.prompt("support-classifier", reply=Answer(error="no"))

    refused = ask(sandbox, "workflow", {})
    assert refused.status == 422
    assert read(refused) == {"error": "Missing required field: deployment or variant"}
    failed = ask(sandbox, "workflow", {**WORKFLOW, "variant": "bad"})
    assert (failed.status, read(failed)) == (500, {"error": "no"})
    error, end = stream(sandbox, "prompt")
    assert (error["error"], "message" in error, end) == ("no", False, "[DONE]")
    for body in (DELIVERED, {**DELIVERED, "variant": "bad"}):
        reply = ask(sandbox, "workflow", body)
        assert reply.status == 200
        sandbox.engine.finish(reply.unfinished or "")
    assert [callback.event_type for callback in sandbox.callbacks] == ["workflow.done", "workflow.error"]


def test_a_failed_workflow_can_be_a_state() -> None:
    """By choice a failed direct workflow answers 200 with run_status failed and its error."""
    sandbox = Sandbox(choices=Choices(failed_workflow="state"))
    sandbox.workflow("research-brief", reply=Answer(error="no"))
    reply = ask(sandbox, "workflow", WORKFLOW)
    assert reply.status == 200
    request_id = sandbox.runs[0].request_id
    assert read(reply) == {"request_id": request_id, "run_status": "failed", "error": "no"}


def test_a_signature_has_the_form_that_was_chosen() -> None:
    """The signature is the HMAC-SHA256 of the exact body: in hex, in hex with a prefix, or in base64."""
    forms: tuple[Literal["hex", "sha256=hex", "base64"], ...] = ("hex", "sha256=hex", "base64")
    for form in forms:
        sandbox = Sandbox(choices=Choices(signature=form))
        sandbox.engine.finish(ask(sandbox, "workflow", DELIVERED).unfinished or "")
        [callback] = sandbox.callbacks
        mac = hmac.new(sandbox.webhook_secret("research-brief").encode(), callback.body, hashlib.sha256)
        expected = {
            "hex": mac.hexdigest(),
            "sha256=hex": f"sha256={mac.hexdigest()}",
            "base64": base64.b64encode(mac.digest()).decode(),
        }
        assert callback.headers["X-Fetch-Hive-Signature"] == expected[form]


def test_a_webhook_secret_is_its_deployments_own() -> None:
    """A secret the sandbox makes stays the same for its deployment, and differs from any other's."""
    one, other = Sandbox(), Sandbox()
    first = read(ask(one, "workflow", DELIVERED))["webhook_secret"]
    assert re.fullmatch(r"whsec_[0-9a-f]+", first)
    one.reset()
    assert read(ask(one, "workflow", DELIVERED))["webhook_secret"] == first
    assert len({first, one.webhook_secret("another"), other.webhook_secret("research-brief")}) == 3


def test_a_run_remembers_what_was_sent_and_what_came_of_it(sandbox: Sandbox) -> None:
    """A run's record holds the caller's fields, the times, the reply, and the answer with its usage."""
    metadata = {"customer_id": "cus_123", "renewal_window_days": 30}
    start = datetime(2026, 6, 1, tzinfo=timezone.utc)
    sandbox.prompt("support-classifier", reply="billing")
    reply = ask(sandbox, "prompt", {**PROMPT, "metadata": metadata, "user": "u-7"})
    invoke(sandbox, "agent")
    prompt, agent = sandbox.runs
    assert (prompt.kind, prompt.deployment, prompt.variant, prompt.agent, prompt.message) == (
        "prompt",
        "support-classifier",
        "default",
        None,
        None,
    )
    assert (prompt.inputs, prompt.metadata, prompt.user) == (PROMPT["inputs"], metadata, "u-7")
    assert prompt.request == {**PROMPT, "metadata": metadata, "user": "u-7"}
    assert prompt.reply == reply
    assert prompt.answer is not None
    assert prompt.answer.text == "billing"
    assert prompt.answer.usage == read(reply)["usage"]
    assert (prompt.started_at, prompt.ended_at) == (start, start + timedelta(seconds=2))
    assert (agent.kind, agent.agent, agent.message) == ("agent", "AGENT_UUID", AGENT["message"])
    assert (agent.deployment, agent.variant) == (None, None)


def test_attempts_are_kept_with_the_callback_they_were_for(sandbox: Sandbox) -> None:
    """A recorded attempt is found on its own callback alone; the callback counts as delivered once it got a 2xx."""
    for _ in range(2):
        sandbox.engine.finish(ask(sandbox, "workflow", DELIVERED).unfinished or "")
    first, second = sandbox.callbacks
    now = datetime(2026, 6, 1, tzinfo=timezone.utc)
    for status_code in (500, 204):
        assert not sandbox.callbacks[1].delivered
        attempt = CallbackAttempt(started_at=now, duration=0.1, status_code=status_code)
        sandbox.engine.record_attempt(second, attempt)
    assert sandbox.callbacks[0] == first
    assert [attempt.status_code for attempt in sandbox.callbacks[1].attempts] == [500, 204]
    assert sandbox.callbacks[1].delivered


def test_reset_forgets_runs_but_not_replies(sandbox: Sandbox) -> None:
    """After a reset there are no runs; replies still answer; and a run that was under way leaves no trace."""
    sandbox.workflow("research-brief", reply="A brief.")

    @sandbox.prompt("support-classifier")
    def reset(inputs: dict[str, Any]) -> str:
        sandbox.reset()
        return f"reset by {len(inputs)}"

    unfinished = ask(sandbox, "workflow", DELIVERED).unfinished or ""
    sandbox.engine.finish(unfinished)
    [callback] = sandbox.callbacks
    assert invoke(sandbox, "prompt")["response"] == "reset by 1"
    sandbox.engine.record_attempt(callback, CallbackAttempt(started_at=sandbox.engine.clock(), duration=0))
    assert sandbox.engine.finish(unfinished) is None
    assert (sandbox.runs, sandbox.callbacks) == ([], [])
    assert reset({}) == "reset by 0"
    assert invoke(sandbox, "workflow")["output"] == "A brief."


def test_half_a_surrogate_pair_survives(sandbox: Sandbox) -> None:
    """Text that has no UTF-8, which JSON can still escape, comes back as it was sent and gets a secret too."""
    odd = rb'{"deployment":"\ud800","variant":"v","inputs":{"a":"\ud800"}}'
    assert read(ask(sandbox, "prompt", odd))["response"] == 'Sandbox echo of \ud800 (v): a = "\ud800"'
    delivered = odd.replace(b'"v",', b'"v","async":{"enabled":true,"callback_url":"https://a.example"},')
    assert ask(sandbox, "workflow", delivered).status == 202


def test_request_ids_are_version_7_uuids_and_unique() -> None:
    """Runs of several threads all get their own id in the documented layout, and none is lost."""
    sandbox = Sandbox()

    def work() -> None:
        for _ in range(50):
            invoke(sandbox, "workflow")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {run.request_id for run in sandbox.runs}
    assert len(ids) == 400
    assert all(re.fullmatch(r"req_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", request_id) for request_id in ids)
    assert {run.status for run in sandbox.runs} == {"completed"}


def test_repr_tells_no_secret() -> None:
    """Neither keys nor webhook secrets can be read off what the sandbox prints."""
    sandbox = Sandbox(api_key="fhk_private")
    sandbox.workflow("research-brief", reply="A brief.", secret="whsec_private")
    headers = {"Authorization": "Bearer fhk_private"}
    reply = ask(sandbox, "workflow", DELIVERED, headers=headers)
    sandbox.engine.finish(reply.unfinished or "")
    assert read(reply)["webhook_secret"] == "whsec_private"
    assert "_private" not in repr((sandbox, sandbox.engine, reply, sandbox.runs, sandbox.callbacks))


@pytest.mark.parametrize("options", [{"api_key": ""}, {"deliver_to": "example.com"}, {"choices": "hex"}])
def test_wrong_options_are_told_at_once(options: dict[str, Any]) -> None:
    """An empty key, a text where a list of hosts belongs, and choices that are none, are configuration errors."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Sandbox(**options)


def test_an_empty_webhook_secret_is_refused() -> None:
    """A deployment cannot be given an empty secret, with which anybody could sign."""
    with pytest.raises(ConfigurationError, match="secret is empty"):
        Sandbox().workflow("w", reply="x", secret="")


@pytest.mark.parametrize(
    "options",
    [
        {"tool_calls": [{"tool_input": "x"}]},
        {"artifacts": [{"file_name": "a.pdf"}]},
        {"artifacts": ["https://files.example.com/a"]},
        {"usage": {"total_tokens": float("nan")}},
        {"text": 7},
        {"colour": "red"},
    ],
)
def test_a_wrong_answer_is_told_at_once(options: dict[str, Any]) -> None:
    """An answer that could not be sent cannot be made."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Answer(**options)


def test_a_reply_must_have_a_json_form() -> None:
    """A reply that is not JSON is refused when registered; returned by a function, it fails the run."""
    sandbox = Sandbox()
    with pytest.raises(InvalidRequestError, match="reply"):
        sandbox.prompt("support-classifier", reply=b"bytes")
    sandbox.prompt("support-classifier", reply=lambda _inputs: {1: "a"})
    assert "Keys of JSON objects are str" in invoke(sandbox, "prompt")["error"]


@pytest.mark.parametrize("options", [{"signature": "md5"}, {"callback_timeout": 0}, {"retries": 3}])
def test_a_wrong_choice_is_told_at_once(options: dict[str, Any]) -> None:
    """A choice that does not exist, or a value it does not allow, is refused."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Choices(**options)


def test_a_forgotten_return_fails_the_run() -> None:
    """A reply function that returns None makes the run fail and say so, instead of answering "null"."""
    sandbox = Sandbox()

    @sandbox.prompt("forgetful")
    def forget(inputs: dict[str, Any]) -> None: ...

    with pytest.raises(InternalServerError, match="returned None"):
        sandbox.client().invoke_prompt(deployment="forgetful", variant="v")
