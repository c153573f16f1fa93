"""What an agent's run leads to beside its answer: tool calls to be approved, and workflows of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from .answers import BackgroundWorkflow, ToolCall
from .ids import new_uuid
from .replies import summary_of
from .runs import Approval, Delegation, Run

__all__ = ["approval_of", "delegation_of", "may_delegate", "workflow_of"]


def approval_of(run: Run, call: ToolCall, *, at: datetime) -> Approval:
    """The approval that a tool call of an agent's run waits for."""
    given: Any = call.get("tool_input", {})
    return Approval(
        id=new_uuid(),
        request_id=run.request_id,
        agent=run.name,
        tool_name=call["tool_name"],
        summary=summary_of(call),
        arguments=cast("dict[str, Any]", given) if isinstance(given, dict) else {"input": given},
        destructive=call.get("destructive", False),
        created_at=at,
    )


def may_delegate(run: Run) -> bool:
    """Whether an agent's workflows go on in the background.

    By default they do where their end can be learnt: by a callback, or in the thread.
    """
    options: dict[str, Any] = run.request.get("async") or {}
    allowed = options.get("allow_background")
    return bool(run.thread_id or options.get("callback_url")) if allowed is None else allowed


def workflow_of(run: Run, workflow: BackgroundWorkflow, *, request_id: str, at: datetime) -> Run:
    """The run of a workflow that an agent's run starts."""
    inputs = workflow.get("inputs") or {}
    return Run(
        kind="workflow",
        request_id=request_id,
        trigger="delegation",
        deployment=workflow["deployment"],
        variant=workflow.get("variant", "default"),
        inputs=inputs,
        metadata=run.metadata,
        user=run.user,
        request={"deployment": workflow["deployment"], "inputs": inputs},
        started_at=at,
    )


def delegation_of(run: Run, child: Run, *, tool_call_id: str) -> Delegation:
    """What tells of a workflow that an agent's run starts in the background."""
    return Delegation(
        id=new_uuid(),
        parent_request_id=run.request_id,
        request_id=child.request_id,
        thread_id=run.thread_id,
        tool_call_id=tool_call_id,
        name=child.name,
        created_at=child.started_at,
    )
