"""The service's reply bodies and stream events, made from a run and its answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .answers import Answer
from .choices import Choices
from .refusals import error_body
from .runs import Run
from .wire import json_text

__all__ = ["agent_body", "events", "prompt_body", "workflow_body"]

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


def agent_body(run: Run, answer: Answer) -> dict[str, Any]:
    """The reply to an agent."""
    return {
        "request_id": run.request_id,
        **_agent_state(run),
        "model": answer.model,
        "response": answer.text,
        "usage": answer.usage,
        "tool_calls": [
            {"tool_name": name, "tool_input": json_text(given), "observation": json_text(observed)}
            for name, given, observed in _tool_calls(answer)
        ],
        "artifacts": list(answer.artifacts),
    }


def events(run: Run, answer: Answer, choices: Choices) -> Iterator[dict[str, Any]]:
    """What a streamed run sends, in its order, up to and with the `usage` or `error` event."""
    yield from _pieces(run, answer, "reasoning", answer.reasoning)
    if run.kind == "agent":
        yield from _tool_events(run, answer)
    yield from _pieces(run, answer, "response", answer.text)
    if run.kind == "agent":
        for artifact in answer.artifacts:
            yield {"request_id": run.request_id, "type": "artifact", "artifact": artifact}
    if answer.error is not None:
        body = error_body(answer.error, answer.error_code, error_only=choices.error_only)
        yield {"request_id": run.request_id, "type": "error", **body}
        return
    ending = {
        "request_id": run.request_id,
        "type": "usage",
        "usage": answer.usage,
        "stop_reason": "completed",
    }
    yield ending | _agent_state(run) if run.kind == "agent" else ending


def _pieces(run: Run, answer: Answer, kind: str, text: str) -> Iterator[dict[str, Any]]:
    """A text word by word. Joined, the pieces are the text; prompts name the model, agents mark the last."""
    pieces: list[str] = _PIECE.findall(text)
    for number, piece in enumerate(pieces, 1):
        more = {"done": number == len(pieces)} if run.kind == "agent" else {"model": answer.model}
        yield {"request_id": run.request_id, "type": kind, "response": piece, **more}


def _tool_events(run: Run, answer: Answer) -> Iterator[dict[str, Any]]:
    for number, (name, given, observed) in enumerate(_tool_calls(answer), 1):
        yield {
            "request_id": run.request_id,
            "type": "tool",
            "tool_id": f"call_{number}",
            "tool": name,
            "tool_type": "function",
            "tool_input": given,
            "observation": json_text(observed),
        }


def _agent_state(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.request_id,
        "status": "completed",
        "thread_id": run.request.get("thread_id") or None,
        "tool_approval": run.request.get("tool_approval") or "policy",
    }


def _tool_calls(answer: Answer) -> Iterator[tuple[str, Any, Any]]:
    for call in answer.tool_calls:
        yield call["tool_name"], call.get("tool_input", {}), call.get("observation")
