"""Agents: their settings. What one answers is told to the sandbox by `Sandbox.agent`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..refusals import Refusal
from .desk import Call, Desk, Handler, Object, one_of, typed, wrapped
from .models import find_model

__all__ = ["ROUTES", "known_agent"]

_REQUIRED = ("name", "llm_model", "model_type")
_CREATED: dict[str, type] = {"description": str, "instruction_prompt": str, "temperature": float, "max_token": int}
_UPDATED: dict[str, type] = {**_CREATED, "max_thinking_token": int, "max_tool_calls": int}
_ONE_OF = {
    "anthropic_prompt_cache_ttl": ("disabled", "5m", "1h"),
    "reasoning_effort": ("low", "medium", "high", "minimal", "xhigh", "max"),
    "tool_choice": ("none", "auto", "required"),
}


def known_agent(desk: Desk, id: str, *, status: int = 422) -> Object:  # noqa: A002
    """An agent as the API tells it.

    Args:
        desk: Where it is.
        id: Its id.
        status: HTTP status where there is none: 422 except for chats.

    Raises:
        Refusal: There is none with this id.
    """
    agent = desk.objects.get("agent", id)
    if agent is None:
        raise Refusal("Agent not found.", status=status, code=None)
    return agent


def _list(desk: Desk, _call: Call) -> Any:
    return {"agents": desk.objects.all("agent")}


def _get(desk: Desk, call: Call) -> Any:
    return {"agent": known_agent(desk, call.values[0])}


def _create(desk: Desk, call: Call) -> Any:
    given = wrapped(call.json(), "agent")
    agent: Object = {
        "id": desk.new_id(),
        **dict.fromkeys((*_REQUIRED, "provider", *_UPDATED, *_ONE_OF)),
        "mcp_tools": [],
        "status": "active",
        "generated_at": desk.clock().isoformat(),
        **_required(desk, given, _REQUIRED),
        **{key: typed(given, key, kind) for key, kind in _CREATED.items()},
    }
    desk.objects.add("agent", agent["id"], agent)
    return {"message": "Agent created.", "agent": agent}


def _update(desk: Desk, call: Call) -> Any:
    agent = known_agent(desk, call.values[0])
    given = wrapped(call.json(), "agent")
    if "tool_approval_mode" in given:
        text = "tool_approval_mode can only be changed in the dashboard."
        raise Refusal(text, status=422, code="tool_approval_mode_requires_dashboard")
    agent |= _required(desk, given, [key for key in _REQUIRED if key in given])
    agent |= {key: typed(given, key, kind) for key, kind in _UPDATED.items() if key in given}
    agent |= {key: one_of(given, key, allowed) for key, allowed in _ONE_OF.items() if key in given}
    desk.objects.save("agent", agent["id"], agent)
    return {"message": "Agent updated.", "agent": agent}


def _delete(desk: Desk, call: Call) -> Any:
    agent_id = call.values[0]
    known_agent(desk, agent_id)
    for chat in desk.objects.all("chat", parent=agent_id):
        desk.objects.remove_children("message", chat["id"])
    desk.objects.remove_children("chat", agent_id)
    desk.objects.remove("agent", agent_id)
    return {"message": "Agent deleted."}


def _required(desk: Desk, given: Object, keys: Iterable[str]) -> Object:
    """The fields an agent cannot be without, and the provider that follows from its model."""
    values: Object = {key: typed(given, key, str, required=True) for key in keys}
    if "llm_model" in values:
        model = find_model(values["llm_model"])
        if model is None and desk.strict:
            raise Refusal("Invalid LLM model.", status=422, code=None)
        values["provider"] = model["provider"] if model else None
    return values


_PATH = "/public/workspaces/{}/agents"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", _PATH, _list),
    ("POST", _PATH, _create),
    ("GET", f"{_PATH}/{{}}", _get),
    ("PATCH", f"{_PATH}/{{}}", _update),
    ("DELETE", f"{_PATH}/{{}}", _delete),
]
