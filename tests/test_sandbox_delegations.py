"""Delegations: workflows that an agent starts, in the background or before it answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fetch_hive_sdk import CallbackVerifier
from fetch_hive_sdk.sandbox import Answer, CallbackAttempt, Run, Sandbox
from fetch_hive_sdk.sandbox.answers import BackgroundWorkflow

from .sandbox_requests import (
    AGENT,
    DELIVERED,
    START,
    URL,
    Clock,
    ask,
    counted_ids,
    events_of,
    go_on,
    invoke,
    look_up,
    read,
    ticking_sandbox,
    timeline,
    told,
)

BRIEF: BackgroundWorkflow = {"deployment": "research-brief", "variant": "b", "inputs": {"topic": "AI"}}
OTHER: BackgroundWorkflow = {"deployment": "other"}
CALLED_BACK: dict[str, Any] = {"async": {"callback_url": URL}}


@pytest.fixture
def sandbox() -> Sandbox:
    ids = counted_ids()
    sandbox = Sandbox(clock=Clock(), new_request_id=lambda: next(ids))
    sandbox.workflow("research-brief", reply=lambda inputs: f"Brief on {inputs['topic']}")
    return sandbox


def delegating(sandbox: Sandbox, *workflows: BackgroundWorkflow, **more: Any) -> None:
    """Let the agent start these workflows."""
    sandbox.agent("AGENT_UUID", reply=Answer("I began.", background=workflows, **more), secret="whsec_agent")


def begun(sandbox: Sandbox, **more: object) -> list[Any]:
    """The delegations that the agent's reply tells of, and their runs not begun yet."""
    return list(invoke(sandbox, "agent", **more)["pending_delegations"])


def delegations(sandbox: Sandbox, thread_id: str) -> list[Any]:
    return list(look_up(sandbox, f"/agent/threads/{thread_id}/delegations")["delegations"])


def children(sandbox: Sandbox) -> list[Run]:
    return [run for run in sandbox.runs if run.trigger == "delegation"]


def test_an_agent_starts_a_workflow_in_the_background(sandbox: Sandbox) -> None:
    """The reply tells of the delegation; once it is sent the workflow runs, with the agent's metadata and user."""
    delegating(sandbox, BRIEF)
    more = {"thread_id": "t-1", "metadata": {"plan": "pro"}, "user": "u-7"}
    reply = ask(sandbox, "agent", {**AGENT, **more})
    parent, child = "req_00000000000000000000000000000001", "req_00000000000000000000000000000002"
    [pending] = read(reply)["pending_delegations"]
    assert pending == {
        "id": pending["id"],
        "kind": "workflow",
        "target": {"name": "research-brief"},
        "expected_by": None,
    }
    body = {
        **pending,
        "status": "running",
        "result": None,
        "delivered_at": None,
        "delivery_error": None,
        "parent_request_id": parent,
        "tool_call_id": "workflow_1",
        "workflow_run_id": "00000000-0000-0000-0000-000000000002",
        "created_at": START.isoformat(),
    }
    assert look_up(sandbox, f"/agent/delegations/{pending['id']}") == body
    assert delegations(sandbox, "t-1") == [body]
    assert go_on(sandbox, reply).status == "completed"
    assert look_up(sandbox, f"/agent/delegations/{pending['id']}") == {
        **body,
        "status": "completed",
        "result": {"output": "Brief on AI"},
    }
    assert delegations(sandbox, "t-1") == []
    [run] = children(sandbox)
    assert (run.request_id, run.deployment, run.variant, run.inputs) == (child, "research-brief", "b", {"topic": "AI"})
    assert (run.metadata, run.user, run.http, run.callbacks) == ({"plan": "pro"}, "u-7", None, ())
    assert look_up(sandbox, f"/public/requests/{child}")["status"] == "completed"
    assert sandbox.callbacks == []


def test_the_end_of_a_delegation_is_called_back(sandbox: Sandbox) -> None:
    """With a callback URL the end of each workflow is told there, signed with the agent's secret, failures too."""
    sandbox.workflow("other", reply=Answer(error="no"))
    delegating(sandbox, BRIEF, OTHER)
    run = go_on(sandbox, ask(sandbox, "agent", {**AGENT, **CALLED_BACK}))
    assert [callback.request_id for callback in sandbox.callbacks] == [run.request_id] * 2
    for callback in run.callbacks:
        CallbackVerifier("whsec_agent").verify(callback.body, callback.headers)
    (first_type, first), (second_type, second) = told(sandbox)
    assert first_type == second_type == "agent.delegation.completed"
    assert first == look_up(sandbox, f"/agent/delegations/{first['id']}")
    assert (first["status"], first["result"]) == ("completed", {"output": "Brief on AI"})
    assert (second["status"], second["result"]) == ("failed", {"error": "no"})


def test_the_delivery_of_a_delegation_is_remembered(sandbox: Sandbox) -> None:
    """A delegation tells whether its own callback was accepted, and why it was not."""
    delegating(sandbox, BRIEF, OTHER)
    run = go_on(sandbox, ask(sandbox, "agent", {**AGENT, **CALLED_BACK}))
    first, second = run.callbacks

    def attempted(status_code: int | None, error: str | None = None) -> list[tuple[Any, Any]]:
        attempt = CallbackAttempt(started_at=START, duration=0.1, status_code=status_code, error=error)
        sandbox.engine.lifecycle.record_attempt(first, attempt, pending=False)
        found = [look_up(sandbox, f"/agent/delegations/{one.id}") for one in run.delegations]
        return [(one["delivered_at"], one["delivery_error"]) for one in found]

    untouched = (None, None)
    assert attempted(500) == [(None, "HTTP status 500"), untouched]
    assert attempted(None, "ConnectError") == [(None, "ConnectError"), untouched]
    assert attempted(204) == [(START.isoformat(), None), untouched]
    assert attempted(500) == [(START.isoformat(), "HTTP status 500"), untouched]
    assert json.loads(second.body)["data"]["id"] == run.delegations[1].id


@pytest.mark.parametrize(
    ("more", "in_background"),
    [
        ({}, False),
        ({"thread_id": "t-1"}, True),
        (CALLED_BACK, True),
        ({"async": {"allow_background": True}}, True),
        ({"thread_id": "t-1", "async": {"allow_background": False}}, False),
        ({"async": {}}, False),
    ],
)
def test_whether_workflows_run_in_the_background(sandbox: Sandbox, more: dict[str, Any], in_background: bool) -> None:
    """They do with a thread or a callback URL, unless the request says; else the agent waits for them."""
    delegating(sandbox, BRIEF)
    reply = invoke(sandbox, "agent", **more)
    assert ("pending_delegations" in reply) == in_background
    calls = [] if in_background else ["run_workflow"]
    assert [call["tool_name"] for call in reply["tool_calls"]] == calls


def test_a_workflow_before_the_reply_is_a_tool_call(sandbox: Sandbox) -> None:
    """A workflow that the agent waits for ends before it, and its result is a tool call, after the agent's own."""
    sandbox.workflow("other", reply=Answer(error="no"))
    delegating(sandbox, BRIEF, OTHER, tool_calls=[{"tool_name": "search"}])
    reply = ask(sandbox, "agent", AGENT)
    assert reply.unfinished is None
    assert [(call["tool_name"], call["tool_input"], call["observation"]) for call in read(reply)["tool_calls"]] == [
        ("search", "{}", "null"),
        ("run_workflow", '{"deployment":"research-brief","inputs":{"topic":"AI"}}', '{"output":"Brief on AI"}'),
        ("run_workflow", '{"deployment":"other","inputs":{}}', '{"error":"no"}'),
    ]
    assert [(run.status, timeline(run)) for run in children(sandbox)] == [
        ("completed", ["Accepted", "Started", "Completed"]),
        ("failed", ["Accepted", "Started", "Failed"]),
    ]
    assert sandbox.runs[0].delegations == ()


def test_a_workflow_with_a_human_step_needs_the_background(sandbox: Sandbox) -> None:
    """Without background such a workflow is a tool's error and does not run; in it the delegation waits with it."""
    sandbox.workflow("research-brief", reply=lambda _inputs, choice: choice, human_in_the_loop=True)
    delegating(sandbox, BRIEF)
    [call] = invoke(sandbox, "agent")["tool_calls"]
    assert "Human in the Loop" in json.loads(call["observation"])["error"]
    assert children(sandbox) == []
    go_on(sandbox, ask(sandbox, "agent", {**AGENT, "thread_id": "t-1"}))
    [child] = children(sandbox)
    assert (child.status, [one["status"] for one in delegations(sandbox, "t-1")]) == ("paused", ["running"])
    sandbox.choose(child.request_id, "approve")
    assert delegations(sandbox, "t-1") == []


def test_a_stream_tells_of_delegations_at_its_end(sandbox: Sandbox) -> None:
    """The `usage` event names what runs in the background, which begins once the stream is sent; a slow one too."""
    for duration in (None, 2.0):
        delegating(sandbox, BRIEF, duration=duration)
        reply = ask(sandbox, "agent", {**AGENT, "streaming": True, "thread_id": "t-1"})
        usage = events_of(reply)[-2]
        assert [one["target"] for one in usage["pending_delegations"]] == [{"name": "research-brief"}]
        assert [one["status"] for one in delegations(sandbox, "t-1")] == ["running"]
        assert go_on(sandbox, reply).status == "completed"
        assert delegations(sandbox, "t-1") == []
    assert [run.status for run in children(sandbox)] == ["completed", "completed"]


def test_delegations_wait_for_places(sandbox: Sandbox) -> None:
    """Over the plan's limit a delegation is pending until its workflow begins."""
    sandbox = ticking_sandbox(plan="lite")
    delegating(sandbox, BRIEF, OTHER)
    reply = ask(sandbox, "agent", {**AGENT, "thread_id": "t-1"})
    assert [one["status"] for one in delegations(sandbox, "t-1")] == ["running", "pending"]
    seen: list[str] = []

    @sandbox.workflow("other")
    def other(inputs: dict[str, Any]) -> str:
        seen.extend(one["status"] for one in delegations(sandbox, "t-1"))
        return f"{len(inputs)} inputs"

    go_on(sandbox, reply)
    assert (seen, delegations(sandbox, "t-1"), other({})) == (["running"], [], "0 inputs")
    assert [run.status for run in sandbox.runs] == ["completed"] * 3


def test_a_triggered_agent_starts_workflows_too(sandbox: Sandbox) -> None:
    """An agent behind a webhook starts its workflows in the background as well; all ends are called back."""
    delegating(sandbox, BRIEF)
    body = {"message": "Hi", **CALLED_BACK}
    reply = ask(sandbox, "", body, path="/v1/agent/webhooks/AGENT_UUID?secret=whsec_agent", headers={})
    assert go_on(sandbox, reply).status == "completed"
    assert [run.status for run in children(sandbox)] == ["completed"]
    assert sorted(event_type for event_type, _ in told(sandbox)) == ["agent.completed", "agent.delegation.completed"]


def test_an_agent_may_wait_with_workflows_under_way(sandbox: Sandbox) -> None:
    """Workflows run while their agent waits for an approval, and are not started again when it goes on."""
    delegating(sandbox, BRIEF, tool_calls=[{"tool_name": "pay", "needs_approval": True}])
    reply = ask(sandbox, "agent", {**AGENT, "thread_id": "t-1"})
    assert (read(reply)["status"], len(read(reply)["pending_delegations"])) == ("awaiting_approval", 1)
    assert go_on(sandbox, reply).status == "awaiting_approval"
    assert [run.status for run in children(sandbox)] == ["completed"]
    assert sandbox.decide(sandbox.approvals[0].id, "allow_once").status == "completed"
    assert len(children(sandbox)) == 1


def test_a_delegation_can_be_cancelled(sandbox: Sandbox) -> None:
    """A cancelled delegation never runs and calls back; cancelling it again, or one that ended, changes nothing."""
    delegating(sandbox, BRIEF, OTHER)
    reply = ask(sandbox, "agent", {**AGENT, **CALLED_BACK})
    first, second = (one["id"] for one in read(reply)["pending_delegations"])

    def cancelled(delegation_id: str) -> Any:
        answer = ask(sandbox, "", b"", path=f"/v1/agent/delegations/{delegation_id}/cancel")
        assert answer.status == 200
        return read(answer)

    told_first = cancelled(first)
    assert (told_first["status"], told_first["result"]) == ("cancelled", {"error": "The run was cancelled"})
    go_on(sandbox, reply)
    assert cancelled(first) == told_first
    assert cancelled(second) == look_up(sandbox, f"/agent/delegations/{second}")
    assert [data["status"] for _, data in told(sandbox)] == ["cancelled", "completed"]
    assert [run.status for run in children(sandbox)] == ["cancelled", "completed"]


def test_threads_are_found_by_their_encoded_ids(sandbox: Sandbox) -> None:
    """A thread's id is free text: percent-encoded it finds its own delegations alone."""
    delegating(sandbox, BRIEF)
    for thread_id, encoded in (("a/b?c d+é%", "a%2Fb%3Fc%20d+%C3%A9%25"), ("😀", "%F0%9F%98%80"), ("..", "%2E%2E")):
        invoke(sandbox, "agent", thread_id=thread_id)
        [found] = delegations(sandbox, encoded)
        assert found["parent_request_id"] == sandbox.engine.runs[-2].request_id
    assert delegations(sandbox, "a") == []


@pytest.mark.parametrize("in_background", [True, False])
@pytest.mark.parametrize("by", ["reset", "cancel"])
def test_an_agent_that_is_over_starts_nothing(sandbox: Sandbox, by: str, in_background: bool) -> None:
    """An agent that is reset or cancelled while it answers starts no workflow, and answers all the same."""

    def answer(message: str) -> Answer:
        sandbox.reset() if by == "reset" else sandbox.cancel(sandbox.engine.runs[0].request_id)
        return Answer("I began.", background=[BRIEF])

    sandbox.agent("AGENT_UUID", reply=answer)
    reply = ask(sandbox, "agent", {**AGENT, "async": {"allow_background": in_background}})
    assert reply.status == (200 if by == "reset" else 502)
    assert [run.status for run in sandbox.runs] == ([] if by == "reset" else ["cancelled"])


def test_workflows_of_an_agent_that_is_cancelled_go_on() -> None:
    """A workflow that began before its agent was cancelled goes on to its end and frees its place."""
    ids = counted_ids()

    def new_request_id() -> str:
        if len(own.engine.runs) == 2:  # the agent's and the first workflow's
            own.engine.cancel(own.engine.runs[0].request_id)
        return next(ids)

    own = Sandbox(new_request_id=new_request_id)
    delegating(own, BRIEF, OTHER)
    reply = ask(own, "agent", {**AGENT, "thread_id": "t-1"})
    assert (reply.status, reply.unfinished) == (502, None)
    assert [run.status for run in own.runs] == ["cancelled", "completed"]


def test_a_strict_background_is_an_echo_too(sandbox: Sandbox) -> None:
    """A workflow without inputs and variant runs its default variant; what is not registered echoes."""
    delegating(sandbox, OTHER)
    go_on(sandbox, ask(sandbox, "agent", {**AGENT, **CALLED_BACK}))
    assert told(sandbox)[0][1]["result"] == {"output": "Sandbox echo of other (default): no inputs"}
    assert read(ask(sandbox, "workflow", DELIVERED))["run_status"] == "running"
