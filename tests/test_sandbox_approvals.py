"""Tool approvals: an agent whose tool calls wait for a decision, and goes on when all are decided."""

from __future__ import annotations

from typing import Any

import pytest

from fetch_hive_sdk import CallbackVerifier
from fetch_hive_sdk.errors import InvalidRequestError
from fetch_hive_sdk.sandbox import Answer, Approval, Choices, Run, Sandbox, ToolCall
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID

from .sandbox_requests import (
    AGENT,
    KEY,
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
    stream,
    timeline,
    told,
)

APPROVALS = f"/public/workspaces/{WORKSPACE_ID}/tool_action_approvals"
SEARCH: ToolCall = {"tool_name": "google_search", "tool_input": {"q": "x"}, "observation": {"hits": 2}}
MAIL: ToolCall = {
    "tool_name": "send_mail",
    "tool_input": {"to": "ann"},
    "observation": "sent",
    "summary": "Write to Ann",
    "needs_approval": True,
}
DELETE: ToolCall = {"tool_name": "delete_all", "tool_input": ["a", "b"], "destructive": True}
FORBIDDEN: ToolCall = {"tool_name": "buy", "denied": True, "needs_approval": True}


@pytest.fixture
def sandbox() -> Sandbox:
    ids = counted_ids()
    return Sandbox(clock=Clock(), new_request_id=lambda: next(ids))


def answers(sandbox: Sandbox, *calls: ToolCall, **more: Any) -> None:
    """Let the agent answer with these tool calls."""
    sandbox.agent("AGENT_UUID", reply=Answer("Done.", tool_calls=calls, **more))


def decide(sandbox: Sandbox, approval: Approval | str, decision: object) -> Any:
    """The reply to a decision over HTTP."""
    approval_id = approval if isinstance(approval, str) else approval.id
    return ask(sandbox, "", {"decision": decision}, path=f"/v1{APPROVALS}/{approval_id}/decide")


def test_a_run_waits_until_all_is_decided(sandbox: Sandbox) -> None:
    """The reply is `awaiting_approval` with what waits; once all is decided the run ends with its whole answer."""
    answers(sandbox, SEARCH, MAIL, DELETE)
    reply = invoke(sandbox, "agent")
    request_id = "req_00000000000000000000000000000001"
    mail, delete = sandbox.approvals
    assert reply == {
        "request_id": request_id,
        "run_id": request_id,
        "status": "awaiting_approval",
        "thread_id": None,
        "tool_approval": "policy",
        "pending_tool_approvals": [
            {
                "approval_id": mail.id,
                "tool_name": "send_mail",
                "summary": "Write to Ann",
                "arguments": {"to": "ann"},
                "expires_at": None,
                "review_url": None,
            },
            {
                "approval_id": delete.id,
                "tool_name": "delete_all",
                "summary": "Use delete_all",
                "arguments": {"input": ["a", "b"]},
                "expires_at": None,
                "review_url": None,
            },
        ],
        "model": "sandbox",
        "response": "",
        "usage": reply["usage"],
        "tool_calls": [{"tool_name": "google_search", "tool_input": '{"q":"x"}', "observation": '{"hits":2}'}],
        "artifacts": [],
    }
    assert sandbox.decide(mail.id, "allow_once").status == "awaiting_approval"
    assert sandbox.approvals == [delete]
    ended = sandbox.decide(delete.id, "allow_once")
    assert ended.status == "completed"
    assert timeline(ended) == [
        "Accepted",
        "Started",
        "Waits for an approval",
        "Allowed: send_mail",
        "Allowed: delete_all",
        "Completed",
    ]
    looked_up = look_up(sandbox, f"/public/requests/{request_id}")
    assert (looked_up["status"], looked_up["data"]["response"]) == ("completed", "Done.")
    assert [call["tool_name"] for call in looked_up["data"]["tool_calls"]] == [
        "google_search",
        "send_mail",
        "delete_all",
    ]
    assert ended.reply is not None
    assert read(ended.reply) == reply


def test_a_denied_call_is_not_made(sandbox: Sandbox) -> None:
    """What is denied is told as denied, beside what the rules forbid, and the answer may be another for it."""
    answers(sandbox, MAIL, FORBIDDEN, text_if_denied="I could not write.")
    assert invoke(sandbox, "agent")["denied_tool_calls"] == [{"tool_name": "buy", "reason": "policy_deny"}]
    ended = sandbox.decide(sandbox.approvals[0].id, "deny")
    data = look_up(sandbox, f"/public/requests/{ended.request_id}")["data"]
    assert (data["response"], data["tool_calls"]) == ("I could not write.", [])
    assert data["denied_tool_calls"] == [
        {"tool_name": "buy", "reason": "policy_deny"},
        {"tool_name": "send_mail", "approval_id": ended.approvals[0].id},
    ]


def test_files_are_not_made_before_the_approval(sandbox: Sandbox) -> None:
    """While an agent waits for an approval its reply has no files yet; afterwards the look-up has them."""
    answers(sandbox, MAIL, artifacts=[{"file_url": "https://files.test/a.pdf"}])
    assert invoke(sandbox, "agent")["artifacts"] == []
    ended = sandbox.decide(sandbox.approvals[0].id, "allow_once")
    data = look_up(sandbox, f"/public/requests/{ended.request_id}")["data"]
    assert data["artifacts"] == [{"file_url": "https://files.test/a.pdf"}]


def test_without_another_text_a_denial_leaves_the_answer(sandbox: Sandbox) -> None:
    """Without `text_if_denied` the text is the same, denied or allowed; and with it, where all is allowed."""
    for decision, if_denied in (("deny", None), ("allow_once", "No.")):
        answers(sandbox, MAIL, text_if_denied=if_denied)
        invoke(sandbox, "agent")
        run = sandbox.decide(sandbox.approvals[0].id, decision)
        assert look_up(sandbox, f"/public/requests/{run.request_id}")["data"]["response"] == "Done."


def test_auto_approve_asks_for_what_destroys_alone(sandbox: Sandbox) -> None:
    """With `auto_approve` calls are made and told as such; a destructive one waits all the same."""
    answers(sandbox, SEARCH, MAIL, FORBIDDEN)
    reply = invoke(sandbox, "agent", tool_approval="auto_approve")
    assert (reply["status"], reply["tool_approval"], reply["response"]) == ("completed", "auto_approve", "Done.")
    assert [call["tool_name"] for call in reply["tool_calls"]] == ["google_search", "send_mail"]
    assert reply["auto_approved_tool_calls"] == [{"summary": "Write to Ann", "tool_name": "send_mail"}]
    assert reply["denied_tool_calls"] == [{"tool_name": "buy", "reason": "policy_deny"}]
    answers(sandbox, MAIL, {**DELETE, "needs_approval": True})
    reply = invoke(sandbox, "agent", tool_approval="auto_approve")
    assert [call["tool_name"] for call in reply["pending_tool_approvals"]] == ["delete_all"]
    assert [approval.destructive for approval in sandbox.approvals] == [True]


def test_a_stream_tells_what_waits(sandbox: Sandbox) -> None:
    """A streamed run that waits sends `tool_approval` events and no text, and `usage` says what is pending."""
    answers(sandbox, SEARCH, MAIL)
    *events, usage, end = stream(sandbox, "agent", thread_id="t-1")
    [approval] = sandbox.approvals
    assert [event["type"] for event in events] == ["tool", "tool_approval"]
    assert events[1]["approval"]["approval_id"] == approval.id
    assert (usage["status"], usage["pending_tool_approvals"]) == ("awaiting_approval", [events[1]["approval"]])
    assert (usage["thread_id"], end) == ("t-1", "[DONE]")
    run = sandbox.decide(approval.id, "allow_once")
    assert (run.status, run.answer and run.answer.text) == ("completed", "Done.")


def test_a_slow_stream_may_wait_too(sandbox: Sandbox) -> None:
    """A stream with a duration that ends in a wait does not go on by being sent, but by the decision."""
    answers(sandbox, MAIL, duration=2.0)
    reply = ask(sandbox, "agent", {**AGENT, "streaming": True})
    assert events_of(reply)[-2]["status"] == "awaiting_approval"
    assert go_on(sandbox, reply).status == "awaiting_approval"
    assert sandbox.decide(sandbox.approvals[0].id, "deny").status == "completed"


def test_an_agent_that_fails_asks_for_nothing(sandbox: Sandbox) -> None:
    """A run that fails has no approvals."""
    answers(sandbox, MAIL, error="provider gone")
    assert ask(sandbox, "agent", AGENT).status == 502
    assert sandbox.approvals == []


def triggered(sandbox: Sandbox) -> Run:
    headers = {"X-Fetch-Hive-Webhook-Secret": sandbox.webhook_secret("AGENT_UUID", kind="agent")}
    body = {"message": "Hi", "async": {"callback_url": URL}}
    return go_on(sandbox, ask(sandbox, "", body, path="/v1/agent/webhooks/AGENT_UUID", headers=headers))


@pytest.mark.parametrize(("decision", "text"), [("allow_once", "Done."), ("deny", "I could not write.")])
def test_a_triggered_agent_calls_back_when_it_has_ended(sandbox: Sandbox, decision: str, text: str) -> None:
    """An agent behind a webhook waits without a callback; the one it makes has the text that the decision leads to."""
    answers(sandbox, MAIL, text_if_denied="I could not write.")
    run = triggered(sandbox)
    assert (run.status, sandbox.callbacks) == ("awaiting_approval", [])
    ended = sandbox.decide(sandbox.approvals[0].id, decision)
    assert (told(sandbox), ended.reply) == ([("agent.completed", {"response": text})], run.reply)


def test_the_end_after_an_approval_can_be_called_back() -> None:
    """By choice the end of an invoked agent's run that had waited is told to its `async.callback_url`, signed by it."""
    sandbox = Sandbox(choices=Choices(approval_callback=True))
    answers(sandbox, MAIL)
    sandbox.agent("AGENT_UUID", reply=Answer("Done.", tool_calls=[MAIL]), secret="whsec_agent")
    invoke(sandbox, "agent", **{"async": {"callback_url": URL}})
    run = sandbox.decide(sandbox.approvals[0].id, "allow_once")
    [callback] = run.callbacks
    CallbackVerifier("whsec_agent").verify(callback.body, callback.headers)
    assert told(sandbox) == [("agent.completed", {"response": "Done."})]
    sandbox.agent("AGENT_UUID", reply="No tools.")
    invoke(sandbox, "agent", **{"async": {"callback_url": URL}})
    assert len(sandbox.callbacks) == 1


def test_cancelling_denies_what_waits(sandbox: Sandbox) -> None:
    """A run that is cancelled while it waits takes its approvals with it: none is left to decide."""
    answers(sandbox, MAIL, DELETE)
    run_id = invoke(sandbox, "agent")["request_id"]
    first, second = sandbox.approvals
    sandbox.decide(first.id, "allow_once")
    run = sandbox.cancel(run_id)
    assert (run.status, [approval.status for approval in run.approvals]) == ("cancelled", ["allowed", "denied"])
    assert sandbox.approvals == []
    assert decide(sandbox, second, "allow_once").status == 409
    assert sandbox.runs[0].status == "cancelled"


def test_deciding_what_cannot_be_decided(sandbox: Sandbox) -> None:
    """An unknown approval, a second decision and a word that is neither are errors in Python too."""
    answers(sandbox, MAIL)
    invoke(sandbox, "agent")
    [approval] = sandbox.approvals
    with pytest.raises(InvalidRequestError, match="decision must be allow_once or deny"):
        sandbox.decide(approval.id, "always_allow")
    sandbox.decide(approval.id, "deny")
    with pytest.raises(InvalidRequestError, match="already been decided"):
        sandbox.decide(approval.id, "allow_once")
    with pytest.raises(InvalidRequestError, match="Approval not found"):
        sandbox.decide("nothing", "deny")


# --- over HTTP ----------------------------------------------------------------------------------------


def test_an_approval_is_decided_over_http(sandbox: Sandbox) -> None:
    """A decision is answered with the approval as it is then, and the run goes on; a second one is 409."""
    answers(sandbox, MAIL)
    run_id = invoke(sandbox, "agent")["request_id"]
    [approval] = sandbox.approvals
    body = {
        "id": approval.id,
        "status": "pending",
        "decision": None,
        "summary": "Write to Ann",
        "action_slug": "send_mail",
        "arguments": {"to": "ann"},
        "risk_level": None,
        "requested_by_kind": "agent",
        "requested_by": {
            "kind": "agent",
            "name": "AGENT_UUID",
            "workflow_name": None,
            "agent_name": "AGENT_UUID",
        },
        "agent_run_id": "00000000-0000-0000-0000-000000000001",
        "created_at": START.isoformat(),
        "expires_at": None,
        "decided_at": None,
        "decided_via": None,
        "workspace_id": WORKSPACE_ID,
    }
    assert look_up(sandbox, f"{APPROVALS}/{approval.id}") == {"approval": body}
    decided = {
        **body,
        "status": "approved",
        "decision": "allow_once",
        "decided_at": START.isoformat(),
        "decided_via": "api",
    }
    reply = decide(sandbox, approval, "allow_once")
    assert (reply.status, read(reply)) == (200, {"approval": decided})
    assert look_up(sandbox, f"{APPROVALS}/{approval.id}") == {"approval": decided}
    assert look_up(sandbox, f"/public/requests/{run_id}")["status"] == "running"
    sandbox.engine.settle()
    assert look_up(sandbox, f"/public/requests/{run_id}")["status"] == "completed"
    again = decide(sandbox, approval, "deny")
    assert (again.status, read(again)["error"]) == (409, "The approval has already been decided")


@pytest.mark.parametrize("body", [{}, {"decision": None}, {"decision": "always_allow"}, {"decision": ["deny"]}])
def test_a_decision_is_one_of_two(sandbox: Sandbox, body: object) -> None:
    """Anything but allow_once and deny is 422, and leaves the approval pending."""
    answers(sandbox, MAIL)
    invoke(sandbox, "agent")
    [approval] = sandbox.approvals
    reply = ask(sandbox, "", body, path=f"/v1{APPROVALS}/{approval.id}/decide")
    assert (reply.status, read(reply)["error"]) == (422, "decision must be allow_once or deny")
    assert sandbox.approvals == [approval]


def test_unknown_approvals_and_workspaces_are_not_found(sandbox: Sandbox) -> None:
    """An approval or a workspace that is not there is 404, to read and to decide; a body that is no JSON is 400."""
    for path, text in (
        (f"{APPROVALS}/nothing", "Approval not found"),
        (APPROVALS.replace(WORKSPACE_ID, "another"), "Workspace not found"),
    ):
        reply = ask(sandbox, "", b"", method="GET", path=f"/v1{path}")
        assert (reply.status, read(reply)["error"]) == (404, text)
    assert decide(sandbox, "nothing", "deny").status == 404
    assert ask(sandbox, "", b"{", path=f"/v1{APPROVALS}/nothing/decide").status == 400
    assert ask(sandbox, "", b"{}", path=f"/v1{APPROVALS}/nothing/decide", headers={}).status == 401


def listed(sandbox: Sandbox, query: str = "") -> list[str]:
    return [one["id"] for one in look_up(sandbox, f"{APPROVALS}{query}")["approvals"]]


def test_approvals_are_listed_and_filtered(sandbox: Sandbox) -> None:
    """The list has what is pending, newest first; status, agent, run, limit and cursor narrow it."""
    for agent in ("a", "b c"):
        sandbox.agent(agent, reply=Answer(tool_calls=[MAIL, DELETE]))
        assert ask(sandbox, "agent", {**AGENT, "agent": agent}).status == 200
    a_mail, a_delete, b_mail, b_delete = (approval.id for approval in sandbox.approvals)
    assert listed(sandbox) == listed(sandbox, "?status=pending") == [b_delete, b_mail, a_delete, a_mail]
    assert listed(sandbox, "?agent_id=b+c") == listed(sandbox, "?agent_id=b%20c") == [b_delete, b_mail]
    run = sandbox.runs[0].request_id
    assert listed(sandbox, f"?request_id={run}") == [a_delete, a_mail]
    assert listed(sandbox, "?run_id=00000000-0000-0000-0000-000000000001") == [a_delete, a_mail]
    assert listed(sandbox, f"?run_id={run}") == [a_delete, a_mail]
    assert listed(sandbox, "?run_id=nothing") == []
    assert listed(sandbox, "?limit=3") == [b_delete, b_mail, a_delete]
    assert listed(sandbox, f"?limit=100&cursor={b_mail}") == [a_delete, a_mail]
    assert listed(sandbox, "?cursor=nothing") == []
    sandbox.decide(a_mail, "deny")
    sandbox.decide(b_mail, "allow_once")
    assert listed(sandbox) == [b_delete, a_delete]
    assert (listed(sandbox, "?status=denied"), listed(sandbox, "?status=approved")) == ([a_mail], [b_mail])


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("status=open", "status must be one of: pending, approved, denied"),
        *((f"limit={limit}", "limit must be a number from 1 to 100") for limit in ("0", "101", "x", "²", "9" * 5000)),
    ],
)
def test_wrong_filters_of_approvals_are_refused(sandbox: Sandbox, query: str, text: str) -> None:
    """A status that does not exist, and a limit that is none, are refused by name."""
    reply = ask(sandbox, "", b"", method="GET", path=f"/v1{APPROVALS}?{query}", headers=KEY)
    assert (reply.status, read(reply)["error"]) == (400, text)
