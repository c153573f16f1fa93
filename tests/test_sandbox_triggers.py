"""What is told about by callback alone: hive agents, and what a webhook trigger starts."""

from __future__ import annotations

import json

import pytest

from fetch_hive_sdk import CallbackVerifier
from fetch_hive_sdk.sandbox import Answer, Run, Sandbox

from .sandbox_requests import (
    HIVE_AGENT,
    URL,
    ask,
    go_on,
    look_up,
    read,
    ticking_sandbox,
    told,
)


@pytest.fixture
def sandbox() -> Sandbox:
    return ticking_sandbox()


# --- hive agents --------------------------------------------------------------------------------------


def test_a_hive_agent_is_pending_and_calls_back(sandbox: Sandbox) -> None:
    """A hive agent answers `pending` with its secret; its end is told in a callback that the secret signed."""
    sandbox.hive_agent("HIVE_UUID", reply=lambda objective: f"Done: {objective}", secret="whsec_hive")
    reply = ask(sandbox, "hive-agent", {**HIVE_AGENT, "metadata": {"plan": "pro"}})
    request_id = "req_00000000000000000000000000000001"
    assert reply.status == 202
    assert read(reply) == {
        "run_id": "00000000-0000-0000-0000-000000000001",
        "request_id": request_id,
        "status": "pending",
        "webhook_secret": "whsec_hive",
    }
    run = go_on(sandbox, reply)
    assert (run.kind, run.agent, run.message, run.metadata) == (
        "hive_agent",
        "HIVE_UUID",
        "Compare three vendors.",
        {"plan": "pro"},
    )
    [callback] = run.callbacks
    CallbackVerifier("whsec_hive").verify(callback.body, callback.headers)
    assert json.loads(callback.body) == {
        "event_type": "hive_agent.completed",
        "request_id": request_id,
        "data": {"response": "Done: Compare three vendors.", "status": "completed"},
    }
    assert look_up(sandbox, f"/public/requests/{request_id}")["data"]["response"] == "Done: Compare three vendors."


def test_a_hive_agent_can_fail_and_be_cancelled(sandbox: Sandbox) -> None:
    """The callback of a hive agent tells failure and cancellation apart."""
    sandbox.hive_agent("HIVE_UUID", reply=Answer(error="Out of budget"))
    go_on(sandbox, ask(sandbox, "hive-agent", HIVE_AGENT))
    sandbox.cancel(ask(sandbox, "hive-agent", HIVE_AGENT).unfinished or "")
    assert told(sandbox) == [
        ("hive_agent.failed", {"error": "Out of budget", "status": "failed"}),
        ("hive_agent.cancelled", {"error": "The run was cancelled", "status": "cancelled"}),
    ]


# --- webhook triggers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["header", "query"])
def test_a_webhook_trigger_starts_a_workflow(sandbox: Sandbox, by: str) -> None:
    """A workflow's trigger takes its secret in the header or as `?secret=`, which the record leaves out."""
    sandbox.workflow("a/b é", variant="v 1", reply=lambda inputs: inputs["topic"], secret="whsec_ä+b")
    path = "/v1/workflow/webhooks/a%2Fb%20%C3%A9/variants/v%201"
    shown = f"{path}?source=crm"
    if by == "header":
        path, headers = shown, {"x-fetch-hive-webhook-secret": "whsec_ä+b"}
    else:
        path, headers = f"{path}?secret=whsec_%C3%A4%2Bb&source=crm", {}
    body = {"inputs": {"topic": "AI"}, "async": {"callback_url": URL}, "metadata": {"plan": "pro"}}
    reply = ask(sandbox, "", body, path=path, headers=headers)
    assert (reply.status, read(reply)) == (202, {"request_id": reply.unfinished, "run_status": "running"})
    run = go_on(sandbox, reply)
    assert (run.kind, run.deployment, run.variant, run.trigger) == ("workflow", "a/b é", "v 1", "webhook")
    assert (run.metadata, run.http and run.http.path) == ({"plan": "pro"}, shown)
    assert told(sandbox) == [("workflow.completed", {"output": "AI", "run_status": "completed"})]
    CallbackVerifier("whsec_ä+b").verify(run.callbacks[0].body, run.callbacks[0].headers)


def triggered_agent(sandbox: Sandbox, **more: object) -> Run:
    """The run of an agent's webhook trigger, as far as it goes."""
    headers = {"X-Fetch-Hive-Webhook-Secret": sandbox.webhook_secret("AGENT_UUID", kind="agent")}
    body = {"message": "Hi", "async": {"callback_url": URL}, **more}
    return go_on(sandbox, ask(sandbox, "", body, path="/v1/agent/webhooks/AGENT_UUID", headers=headers))


def test_a_webhook_trigger_starts_an_agent(sandbox: Sandbox) -> None:
    """An agent's trigger runs it with message and thread; the end is `agent.completed` or `agent.failed`."""
    sandbox.agent("AGENT_UUID", reply=str.upper)
    run = triggered_agent(sandbox, thread_id="t-1", user="u-7", streaming=True)
    assert (run.agent, run.message, run.thread_id, run.user, run.trigger) == (
        "AGENT_UUID",
        "Hi",
        "t-1",
        "u-7",
        "webhook",
    )
    sandbox.agent("AGENT_UUID", reply=Answer(error="no"))
    triggered_agent(sandbox)
    assert told(sandbox) == [("agent.completed", {"response": "HI"}), ("agent.failed", {"error": "no"})]


def test_a_lenient_sandbox_adds_keys_to_triggered_workflows_alone() -> None:
    """The reply to a workflow's trigger has the older keys in a lenient sandbox, the reply to an agent's has not."""
    sandbox = ticking_sandbox(lenient=True)
    run = triggered_agent(sandbox)
    assert run.reply is not None
    assert set(read(run.reply)) == {"request_id", "run_status"}


def test_inputs_that_are_null_are_none(sandbox: Sandbox) -> None:
    """A trigger's `"inputs": null` is as if it were not there: the rest of the body is the workflow's inputs."""
    path = f"/v1/workflow/webhooks/brief/variants/v?secret={sandbox.webhook_secret('brief')}"
    body = {"inputs": None, "topic": "AI", "async": {"callback_url": URL}}
    run = go_on(sandbox, ask(sandbox, "", body, path=path, headers={}))
    assert (run.inputs, run.request["inputs"]) == ({"topic": "AI"}, {"topic": "AI"})
