"""What the sandbox refuses, and what it takes: bodies, keys, callback URLs, Start inputs, webhook secrets."""

from __future__ import annotations

from typing import Any

import pytest

from fetch_hive_sdk.sandbox import Choices, Sandbox

from .sandbox_requests import (
    AGENT,
    BODIES,
    HIVE_AGENT,
    KEY,
    PROMPT,
    URL,
    WORKFLOW,
    ask,
    go_on,
    invoke,
    read,
    ticking_sandbox,
)

HIVE_ASYNC = "hive agents require async.enabled true and async.callback_url"
DECIDED = "decided_tool_approvals is not accepted with an API key"
UUID = "0190aaaa-0000-7000-8000-000000000001"


@pytest.fixture
def sandbox() -> Sandbox:
    return ticking_sandbox()


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
    ("agent", {**AGENT, "decided_tool_approvals": []}, f"{DECIDED}; the run goes on by itself"),
    ("hive-agent", {}, "Missing required field: hive_agent or objective"),
    ("hive-agent", {**HIVE_AGENT, "objective": ""}, "Missing required field: hive_agent or objective"),
    ("hive-agent", {**HIVE_AGENT, "hive_agent": 7}, "hive_agent must be a string"),
    ("hive-agent", {**HIVE_AGENT, "unattended": 1}, "unattended must be a boolean"),
    ("hive-agent", {**HIVE_AGENT, "budget_policy": "spend"}, "budget_policy must be stop or proceed_to_cap"),
    ("hive-agent", {**HIVE_AGENT, "sources": []}, "sources must be an object"),
    ("hive-agent", {**HIVE_AGENT, "sources": {"asset_ids": "a"}}, "sources.asset_ids must be an array"),
    ("hive-agent", {**HIVE_AGENT, "sources": {"asset_ids": [7]}}, "sources.asset_ids must be an array of strings"),
    ("hive-agent", {**HIVE_AGENT, "async": None}, HIVE_ASYNC),
    ("hive-agent", {**HIVE_AGENT, "async": {"enabled": False, "callback_url": URL}}, HIVE_ASYNC),
    ("hive-agent", {**HIVE_AGENT, "async": {"enabled": True}}, HIVE_ASYNC),
    ("hive-agent", {**HIVE_AGENT, "async": {"enabled": True, "callback_url": 7}}, "callback_url must be a valid URL"),
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
    sources = {"website_urls": ["https://a.example"], "asset_ids": []}
    more = {"unattended": True, "budget_policy": "stop", "sources": sources}
    assert invoke(sandbox, "hive-agent", **more)["status"] == "pending"
    assert len(sandbox.runs) == 4


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
    sandbox = Sandbox(api_key="fhk_key")
    assert ask(sandbox, "prompt", PROMPT).status == 401
    assert ask(sandbox, "prompt", PROMPT, headers={"AUTHORIZATION": "bearer fhk_key"}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [("POST", "/v1/nothing", 404, "Not found"), ("GET", "/v1/agent/invoke", 405, "Method not allowed")],
)
def test_unknown_paths_and_methods(sandbox: Sandbox, method: str, path: str, status: int, text: str) -> None:
    """An unknown path is 404 and a wrong method 405, both with an error object."""
    reply = ask(sandbox, "", b"", method=method, path=path)
    assert (reply.status, read(reply)) == (status, {"error": text, "message": text})
    assert reply.headers.get("Allow") == ("POST" if status == 405 else None)


def test_auto_approve_needs_a_key_that_may() -> None:
    """A key without that permission is refused `auto_approve` before anything runs."""
    sandbox = Sandbox(may_auto_approve=False)
    for kind in ("workflow", "agent"):
        reply = ask(sandbox, kind, {**BODIES[kind], "tool_approval": "auto_approve"})
        assert (reply.status, read(reply)["error_code"]) == (403, "tool_approval_override_not_permitted")
        assert ask(sandbox, kind, {**BODIES[kind], "tool_approval": "policy"}).status == 200
    assert len(sandbox.runs) == 2


@pytest.mark.parametrize("delivery", ["yes", {"enabled": True, "callback_url": "nowhere"}])
def test_a_prompt_has_no_callback_delivery(sandbox: Sandbox, delivery: object) -> None:
    """`async` means nothing to a prompt, whatever is in it: it answers, and nobody is called back."""
    assert invoke(sandbox, "prompt", **{"async": delivery})["response"]
    assert (sandbox.runs[0].status, sandbox.callbacks) == ("completed", [])


# --- Start inputs -------------------------------------------------------------------------------------

TYPES: dict[str, Any] = {
    "topic": str,
    "companies": "array",
    "days": int,
    "share": float,
    "deep": bool,
    "more": "object",
}
INPUTS: dict[str, Any] = {
    "topic": "AI",
    "companies": ["a"],
    "days": 3,
    "share": 0.5,
    "deep": True,
    "more": {},
    "undeclared": None,
}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"topic": 7}, "inputs.topic must be a string"),
        ({"topic": None}, "inputs.topic must be a string"),
        ({"companies": '["a"]'}, "inputs.companies must be a native JSON array"),
        ({"days": "3"}, "inputs.days must be a number"),
        ({"days": True}, "inputs.days must be a number"),
        ({"deep": 1}, "inputs.deep must be a boolean"),
        ({"more": []}, "inputs.more must be an object"),
    ],
)
def test_start_inputs_must_have_their_types(sandbox: Sandbox, wrong: dict[str, Any], text: str) -> None:
    """An input of another type than the Start step declares is refused before anything runs."""
    sandbox.workflow("research-brief", reply="A brief.", inputs=TYPES)
    assert invoke(sandbox, "workflow", inputs={**INPUTS, **wrong})["error"] == text
    assert sandbox.runs == []


def test_start_inputs_of_the_right_types_are_taken(sandbox: Sandbox) -> None:
    """Inputs of the declared types are taken, with others beside them, and so is one that is missing."""
    sandbox.workflow("research-brief", reply="A brief.", inputs=TYPES)
    for inputs in (INPUTS, {**INPUTS, "days": 0.5}, {"topic": "AI"}):
        assert invoke(sandbox, "workflow", inputs=inputs)["output"] == "A brief."


# --- webhook triggers ---------------------------------------------------------------------------------

TRIGGERS = {
    "workflow": "/v1/workflow/webhooks/research-brief/variants/default",
    "agent": "/v1/agent/webhooks/AGENT_UUID",
}
BACK: dict[str, Any] = {"async": {"callback_url": URL}}


def trigger(sandbox: Sandbox, kind: Any, body: object) -> Any:
    """The reply to a webhook trigger with its right secret."""
    name = "AGENT_UUID" if kind == "agent" else "research-brief"
    headers = {"X-Fetch-Hive-Webhook-Secret": sandbox.webhook_secret(name, kind=kind)}
    return ask(sandbox, kind, body, path=TRIGGERS[kind], headers=headers)


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("workflow", {"inputs": {}}, "async.callback_url is required for webhook triggers"),
        ("workflow", {"async": {"callback_url": ""}}, "async.callback_url is required for webhook triggers"),
        ("workflow", {"async": {"callback_url": "nowhere"}}, "callback_url must be a valid URL"),
        ("workflow", {"async": []}, "async must be an object"),
        ("workflow", {**BACK, "inputs": []}, "inputs must be an object"),
        ("workflow", {**BACK, "metadata": {"a": []}}, "metadata.a must be a string, number, boolean, or null"),
        ("agent", BACK, "Missing required field: message"),
        ("agent", {**BACK, "message": ["Hi"]}, "message must be a string"),
        ("agent", {**BACK, "message": "Hi", "thread_id": 7}, "thread_id must be a string"),
        (
            "agent",
            {"message": "Hi", "async": {**BACK["async"], "allow_background": "yes"}},
            "async.allow_background must be a boolean",
        ),
    ],
)
def test_what_a_webhook_trigger_refuses(sandbox: Sandbox, kind: str, body: object, text: str) -> None:
    """A webhook trigger refuses what it cannot run, and what it could not tell the end of."""
    reply = trigger(sandbox, kind, body)
    assert (reply.status, read(reply)["error"]) == (400, text)
    assert sandbox.runs == []


@pytest.mark.parametrize("kind", ["workflow", "agent"])
def test_a_webhook_trigger_may_not_auto_approve(sandbox: Sandbox, kind: str) -> None:
    """`auto_approve` from a webhook is refused with its own code, and so is what is no tool approval at all."""
    body: dict[str, Any] = {**BACK, "message": "Hi", "inputs": {}}
    replies = [trigger(sandbox, kind, {**body, "tool_approval": given}) for given in ("auto_approve", "always")]
    assert [(reply.status, read(reply)["error_code"]) for reply in replies] == [
        (403, "tool_approval_override_not_permitted"),
        (400, "invalid_tool_approval"),
    ]


@pytest.mark.parametrize("kind", ["workflow", "agent"])
@pytest.mark.parametrize("given", [{}, {"X-Fetch-Hive-Webhook-Secret": "wrong"}, KEY])
def test_a_webhook_trigger_needs_its_secret(sandbox: Sandbox, kind: str, given: dict[str, str]) -> None:
    """Without the right secret a trigger is refused; an API key does not help."""
    reply = ask(sandbox, kind, {**BACK, "message": "Hi"}, path=TRIGGERS[kind], headers=given)
    assert (reply.status, read(reply)["error"]) == (401, "Invalid access.")
    reply = ask(sandbox, kind, {**BACK, "message": "Hi"}, path=f"{TRIGGERS[kind]}?secret=wrong", headers=given)
    assert reply.status == 401


def test_a_webhook_body_without_inputs_is_the_inputs(sandbox: Sandbox) -> None:
    """All of a body without `inputs` is the workflow's inputs, but for what is said about the run."""
    body = {**BACK, "topic": "AI", "id": 7, "metadata": {"plan": "pro"}, "user": "u-7"}
    run = go_on(sandbox, trigger(sandbox, "workflow", body))
    assert (run.inputs, run.metadata, run.user) == ({"topic": "AI", "id": 7}, {"plan": "pro"}, "u-7")


def test_a_long_list_is_not_deep(sandbox: Sandbox) -> None:
    """A body with very many brackets is taken, as long as they are beside each other."""
    body = {**PROMPT, "inputs": {"rows": [[1, {"a": "b"}]] * 200}}
    assert ask(sandbox, "prompt", body).status == 200
