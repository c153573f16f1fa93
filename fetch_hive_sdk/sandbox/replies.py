"""The service's reply bodies and stream events, made from a run as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from .answers import Answer, ToolCall
from .choices import Choices
from .ids import uuid_of_request_id
from .refusals import error_body
from .runs import Approval, Delegation, Run
from .wire import json_text

__all__ = [
    "agent_body",
    "approval_body",
    "delegation_body",
    "events",
    "final_text",
    "hive_agent_body",
    "needs_approval",
    "prompt_body",
    "request_body",
    "summary_of",
    "tool_outcomes",
    "workflow_body",
    "workflow_run_body",
]

_PIECE = re.compile(r"\s*\S+|\s+")


def prompt_body(run: Run, answer: Answer) -> dict[str, Any]:
    """The reply to a prompt."""
    return {
        "request_id": run.request_id,
        "response": answer.text,
        "model": answer.model,
        "usage": answer.usage,
    }


def workflow_body(run: Run, run_status: str, *, lenient: bool, **more: str) -> dict[str, Any]:
    """The reply to a workflow in any state. A lenient one has the OpenAPI description's keys as well."""
    older = {"run_id": run.request_id, "status": run_status} if lenient else {}
    return {"request_id": run.request_id, "run_status": run_status, **more, **older}


def hive_agent_body(run: Run, secret: str) -> dict[str, Any]:
    """The reply to a hive agent."""
    run_id = uuid_of_request_id(run.request_id)
    return {"run_id": run_id, "request_id": run.request_id, "status": "pending", "webhook_secret": secret}


def agent_body(run: Run, answer: Answer) -> dict[str, Any]:
    """The reply to an agent, whether it has ended or waits for an approval."""
    made = tool_outcomes(run, answer)["made"]
    return {
        "request_id": run.request_id,
        **_agent_state(run, answer),
        "model": answer.model,
        "response": final_text(run, answer),
        "usage": answer.usage,
        "tool_calls": [
            {"tool_name": name, "tool_input": json_text(given), "observation": json_text(observed)}
            for name, given, observed in map(_tool_call, made)
        ],
        "artifacts": _artifacts(run, answer),
        **_pending_delegations(run),
    }


def events(run: Run, answer: Answer, choices: Choices) -> Iterator[dict[str, Any]]:
    """What a streamed run sends, in its order, up to and with the `usage` or `error` event."""
    agent = run.kind == "agent"
    if agent and answer.summary:
        yield _summary(run, answer)
    yield from _pieces(run, answer, "reasoning", answer.reasoning)
    if agent:
        yield from _tool_events(run, answer)
    yield from _pieces(run, answer, "response", final_text(run, answer))
    if agent:
        for artifact in _artifacts(run, answer):
            yield {"request_id": run.request_id, "type": "artifact", "artifact": artifact}
    if answer.error is not None:
        body = error_body(answer.error, answer.error_code, error_only=choices.error_only)
        yield {"request_id": run.request_id, "type": "error", **body}
        return
    usage = {"request_id": run.request_id, "type": "usage", "usage": answer.usage, "stop_reason": "completed"}
    yield usage | (_agent_state(run, answer) | _pending_delegations(run) if agent else {})


Outcome = Literal["made", "denied", "auto_approved", "pending"]


def tool_outcomes(run: Run, answer: Answer) -> dict[Outcome, list[ToolCall]]:
    """An agent's tool calls by what became of them. One that was approved by itself is `made` as well."""
    outcomes: dict[Outcome, list[ToolCall]] = {"made": [], "denied": [], "auto_approved": [], "pending": []}
    approvals = iter(run.approvals)
    for call in answer.tool_calls:
        if call.get("denied"):
            outcomes["denied"].append(call)
        elif needs_approval(run, call):
            approval = next(approvals, None)
            status = approval.status if approval else "pending"
            outcomes["made" if status == "allowed" else status].append(call)
        else:
            outcomes["made"].append(call)
            if call.get("needs_approval"):
                outcomes["auto_approved"].append(call)
    return outcomes


def needs_approval(run: Run, call: ToolCall) -> bool:
    """True if a tool call has to wait for a decision. What is destructive always has to."""
    if call.get("denied"):
        return False
    asked = call.get("needs_approval") and run.request.get("tool_approval") != "auto_approve"
    return bool(asked or call.get("destructive"))


def request_body(run: Run, choices: Choices) -> dict[str, Any]:
    """What the look-up of a request tells. Without an end `data` is null."""
    answer = run.answer if run.ended else None
    started = next((moment.at for moment in run.timeline if moment.what == "Started"), None)
    return {
        "id": uuid_of_request_id(run.request_id),
        "request_id": run.request_id,
        "status": choices.paused_status if run.status == "paused" else run.status,
        "request_type": run.kind,
        "requestable_type": None,
        "requestable_id": None,
        "message": answer.error if answer else None,
        "generated_at": run.started_at.isoformat(),
        "started_at": started.isoformat() if started else None,
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "metadata": {},
        "user_metadata": dict(run.metadata),
        "data": _data(run, answer) if answer else None,
    }


def workflow_run_body(run: Run, choices: Choices) -> dict[str, Any]:
    """What the older look-up of a workflow's run tells."""
    told = request_body(run, choices)
    answer = run.answer if run.ended else None
    usage: dict[str, Any] = (answer.usage if answer else None) or {}
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
    delivery: dict[str, Any] = run.request.get("async") or {}
    return {
        "workflow_run": {
            "id": told["id"],
            "started_at": told["started_at"],
            "ended_at": told["ended_at"],
            "start_inputs": dict(run.inputs),
            "error_message": told["message"],
            "duration": seconds,
            "total_charge": "0.0",
            "total_tokens": usage.get("total_tokens", 0),
            "output_content": answer.text if answer else None,
            "async_webhook_url": delivery.get("callback_url"),
            "token": run.request_id,
            "run_status": told["status"],
            "run_async": bool(delivery.get("enabled")),
        }
    }


def approval_body(approval: Approval, *, workspace_id: str) -> dict[str, Any]:
    """A tool action approval as the API tells it."""
    return {
        "id": approval.id,
        "status": {"pending": "pending", "allowed": "approved", "denied": "denied"}[approval.status],
        "decision": {"pending": None, "allowed": "allow_once", "denied": "deny"}[approval.status],
        "summary": approval.summary,
        "action_slug": approval.tool_name,
        "arguments": dict(approval.arguments),
        "risk_level": "destructive" if approval.destructive else None,
        "requested_by_kind": "agent",
        "requested_by": {"kind": "agent", "name": approval.agent, "workflow_name": None, "agent_name": approval.agent},
        "agent_run_id": uuid_of_request_id(approval.request_id),
        "created_at": approval.created_at.isoformat(),
        "expires_at": None,
        "decided_at": approval.decided_at.isoformat() if approval.decided_at else None,
        "decided_via": approval.decided_via,
        "workspace_id": workspace_id,
    }


def delegation_body(delegation: Delegation) -> dict[str, Any]:
    """A delegation as the API tells it."""
    delivered = delegation.delivered_at
    return {
        "id": delegation.id,
        "status": delegation.status,
        "kind": "workflow",
        "target": {"name": delegation.name},
        "result": dict(delegation.result) if delegation.result is not None else None,
        "expected_by": None,
        "delivered_at": delivered.isoformat() if delivered else None,
        "delivery_error": delegation.delivery_error,
        "parent_request_id": delegation.parent_request_id,
        "tool_call_id": delegation.tool_call_id,
        "workflow_run_id": uuid_of_request_id(delegation.request_id),
        "created_at": delegation.created_at.isoformat(),
    }


def _data(run: Run, answer: Answer) -> dict[str, Any]:
    """The result of an ended run, in the words of its reply or callback."""
    if answer.error is not None:
        return error_body(answer.error, answer.error_code, error_only=False)
    if run.kind == "workflow":
        return {"output": answer.text}
    if run.kind == "agent":
        return agent_body(run, answer)
    return prompt_body(run, answer)


def final_text(run: Run, answer: Answer) -> str:
    """The final text, which an agent that waits for an approval does not have yet."""
    outcomes = tool_outcomes(run, answer)
    if outcomes["pending"]:
        return ""
    if answer.text_if_denied is not None and any(approval.status == "denied" for approval in run.approvals):
        return answer.text_if_denied
    return answer.text


def _artifacts(run: Run, answer: Answer) -> list[dict[str, Any]]:
    """The files, which an agent that waits for an approval has not made yet."""
    return [] if tool_outcomes(run, answer)["pending"] else list(answer.artifacts)


def _pieces(run: Run, answer: Answer, kind: str, text: str) -> Iterator[dict[str, Any]]:
    """A text word by word. Joined, the pieces are the text; prompts name the model, agents mark the last."""
    pieces: list[str] = _PIECE.findall(text)
    for number, piece in enumerate(pieces, 1):
        more = {"done": number == len(pieces)} if run.kind == "agent" else {"model": answer.model}
        yield {"request_id": run.request_id, "type": kind, "response": piece, **more}


def _summary(run: Run, answer: Answer) -> dict[str, Any]:
    return {
        "request_id": run.request_id,
        "type": "summary",
        "summary_text": answer.summary,
        "original_token_count": 100_000,
        "context_limit": 128_000,
        "provider": "sandbox",
        "model": answer.model,
    }


def _tool_events(run: Run, answer: Answer) -> Iterator[dict[str, Any]]:
    outcomes = tool_outcomes(run, answer)
    for number, (name, given, observed) in enumerate(map(_tool_call, outcomes["made"]), 1):
        yield {
            "request_id": run.request_id,
            "type": "tool",
            "tool_id": f"call_{number}",
            "tool": name,
            "tool_type": "function",
            "tool_input": given,
            "observation": json_text(observed),
        }
    for approval in _pending_approvals(run):
        yield {"request_id": run.request_id, "type": "tool_approval", "approval": approval}


def _agent_state(run: Run, answer: Answer) -> dict[str, Any]:
    outcomes = tool_outcomes(run, answer)
    pending = _pending_approvals(run)
    state: dict[str, Any] = {
        "run_id": run.request_id,
        "status": "awaiting_approval" if pending else "completed",
        "thread_id": run.thread_id,
        "tool_approval": run.request.get("tool_approval") or "policy",
    }
    if pending:
        state["pending_tool_approvals"] = pending
    denied: list[dict[str, Any]] = [
        {"tool_name": call["tool_name"], "reason": "policy_deny"} for call in answer.tool_calls if call.get("denied")
    ]
    # For a call that somebody denied no reason is documented; its approval tells.
    denied += [
        {"tool_name": approval.tool_name, "approval_id": approval.id}
        for approval in run.approvals
        if approval.status == "denied"
    ]
    if denied:
        state["denied_tool_calls"] = denied
    if outcomes["auto_approved"]:
        state["auto_approved_tool_calls"] = [
            {"summary": summary_of(call), "tool_name": call["tool_name"]} for call in outcomes["auto_approved"]
        ]
    return state


def summary_of(call: ToolCall) -> str:
    """What a tool call is about to do, in words."""
    return call.get("summary") or f"Use {call['tool_name']}"


def _pending_approvals(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "approval_id": approval.id,
            "tool_name": approval.tool_name,
            "summary": approval.summary,
            "arguments": dict(approval.arguments),
            "expires_at": None,
            "review_url": None,
        }
        for approval in run.approvals
        if approval.status == "pending"
    ]


def _pending_delegations(run: Run) -> dict[str, Any]:
    pending = [
        {"id": delegation.id, "kind": "workflow", "target": {"name": delegation.name}, "expected_by": None}
        for delegation in run.delegations
        if delegation.status in ("pending", "running")
    ]
    return {"pending_delegations": pending} if pending else {}


def _tool_call(call: ToolCall) -> tuple[str, Any, Any]:
    return call["tool_name"], call.get("tool_input", {}), call.get("observation")
