"""Agents over the API: made, listed, changed and deleted, and refused where the service refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from fetch_hive_sdk.sandbox import Sandbox
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID

from .sandbox_requests import AGENT, START, Clock, ask, look_up, read

PATH = f"/public/workspaces/{WORKSPACE_ID}/agents"
NEW: dict[str, Any] = {"name": "Helper", "llm_model": "sandbox-small", "model_type": "llm"}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(clock=Clock())


def send(sandbox: Sandbox, method: str, body: object = None, *, below: str = "") -> Any:
    """Status and JSON that a request below the path of agents is answered with."""
    content = b"" if body is None else {"agent": body}
    reply = ask(sandbox, "", content, method=method, path=f"/v1{PATH}{below}")
    return reply.status, read(reply)


def made(sandbox: Sandbox, **more: Any) -> Any:
    """A new agent."""
    status, told = send(sandbox, "POST", {**NEW, **more})
    assert (status, told["message"]) == (200, "Agent created.")
    return told["agent"]


def test_an_agent_is_made_and_told(sandbox: Sandbox) -> None:
    """The reply to POST is the agent with all its settings, and GET tells the same, by itself and in the list."""
    settings = {"description": "Helps.", "instruction_prompt": "Be kind.", "temperature": 0.5, "max_token": 100}
    agent = made(sandbox, **settings)
    assert agent == {
        "id": agent["id"],
        **NEW,
        **settings,
        "provider": "sandbox",
        "max_thinking_token": None,
        "max_tool_calls": None,
        "anthropic_prompt_cache_ttl": None,
        "reasoning_effort": None,
        "tool_choice": None,
        "mcp_tools": [],
        "status": "active",
        "generated_at": START.isoformat(),
    }
    assert look_up(sandbox, f"{PATH}/{agent['id']}") == {"agent": agent}
    other = made(sandbox, name="Other")
    assert other["id"] != agent["id"]
    assert look_up(sandbox, PATH) == {"agents": [agent, other]}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Renamed"},
        {"temperature": 1, "max_token": None, "description": "Other", "instruction_prompt": None},
        {"max_thinking_token": 5, "max_tool_calls": 0},
        {"anthropic_prompt_cache_ttl": "5m", "reasoning_effort": "xhigh", "tool_choice": "required"},
        {"llm_model": "sandbox-image", "model_type": "image_generation"},
        {},
    ],
)
def test_an_agent_is_changed(sandbox: Sandbox, changes: dict[str, Any]) -> None:
    """PATCH changes the settings it names, and leaves the others as they are."""
    agent = made(sandbox, max_token=5)
    status, told = send(sandbox, "PATCH", changes, below=f"/{agent['id']}")
    assert status == 200
    assert told == {"message": "Agent updated.", "agent": {**agent, **changes}}
    assert look_up(sandbox, f"{PATH}/{agent['id']}") == {"agent": told["agent"]}


def test_unknown_settings_are_ignored(sandbox: Sandbox) -> None:
    """What an agent does not have, or has only once it is made, does not keep it from being made."""
    agent = made(sandbox, color="blue", id="mine", max_tool_calls=3)
    assert "color" not in agent
    assert (agent["id"] != "mine", agent["max_tool_calls"]) == (True, None)
    assert send(sandbox, "PATCH", {"color": "red", "id": "mine"}, below=f"/{agent['id']}")[1]["agent"] == agent


def test_an_agent_is_deleted(sandbox: Sandbox) -> None:
    """A deleted agent is gone from the list, cannot be told or deleted again, and its chats and messages are gone."""
    agent, other = made(sandbox), made(sandbox)
    for one in (agent, other):
        chats = f"/v1{PATH}/{one['id']}/chats"
        chat = read(ask(sandbox, "", {"chat": {"name": "A chat"}}, path=chats))["chat"]
        sandbox.add_chat_message(chat["id"], "Hello")
    assert send(sandbox, "DELETE", below=f"/{agent['id']}") == (200, {"message": "Agent deleted."})
    assert look_up(sandbox, PATH) == {"agents": [other]}
    for method in ("GET", "DELETE"):
        assert send(sandbox, method, below=f"/{agent['id']}")[0] == 422
    objects = sandbox.engine.store.objects
    assert [len(objects.all(noun)) for noun in ("chat", "message")] == [1, 1]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_agent_is_refused_as_documented(sandbox: Sandbox, method: str) -> None:
    """An agent that is not there is a 422 with the documented text, not a 404."""
    status, told = send(sandbox, method, {}, below="/none")
    assert (status, told["error"]) == (422, "Agent not found.")
    assert "error_code" not in told


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": None}, "name is required"),
        ({"name": ""}, "name is required"),
        ({"llm_model": None}, "llm_model is required"),
        ({"model_type": None}, "model_type is required"),
        ({"model_type": 1}, "model_type must be a string"),
        ({"description": []}, "description must be a string"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"temperature": True}, "temperature must be a number"),
        ({"max_token": 1.5}, "max_token must be an integer"),
    ],
)
def test_wrong_settings_are_refused(sandbox: Sandbox, given: dict[str, Any], text: str) -> None:
    """A setting that is missing or of another type is named, for a new agent as for a change, and nothing changes."""
    agent = made(sandbox)
    refused = [send(sandbox, "POST", {**NEW, **given}), send(sandbox, "PATCH", given, below=f"/{agent['id']}")]
    assert [(status, told["error"], told["error_code"]) for status, told in refused] == [
        (422, text, "validation_error"),
        (422, text, "validation_error"),
    ]
    assert look_up(sandbox, PATH) == {"agents": [agent]}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"max_thinking_token": "many"}, "max_thinking_token must be an integer"),
        ({"max_tool_calls": False}, "max_tool_calls must be an integer"),
        ({"anthropic_prompt_cache_ttl": "2h"}, "anthropic_prompt_cache_ttl must be one of: disabled, 5m, 1h"),
        ({"reasoning_effort": "huge"}, "reasoning_effort must be one of: low, medium, high, minimal, xhigh, max"),
        ({"tool_choice": "all"}, "tool_choice must be one of: none, auto, required"),
    ],
)
def test_wrong_settings_of_a_change_are_refused(sandbox: Sandbox, given: dict[str, Any], text: str) -> None:
    """A setting that only a change can have is checked there, and what else the change names is not changed either."""
    agent = made(sandbox)
    status, told = send(sandbox, "PATCH", {"name": "Renamed", **given}, below=f"/{agent['id']}")
    assert (status, told["error"]) == (422, text)
    assert look_up(sandbox, PATH) == {"agents": [agent]}


@pytest.mark.parametrize("mode", ["policy", None])
def test_the_mode_of_approvals_needs_the_dashboard(sandbox: Sandbox, mode: str | None) -> None:
    """Changing `tool_approval_mode` is refused with the documented code."""
    agent = made(sandbox)
    status, told = send(sandbox, "PATCH", {"tool_approval_mode": mode}, below=f"/{agent['id']}")
    assert (status, told["error_code"]) == (422, "tool_approval_mode_requires_dashboard")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_agent_stands_in_its_own_object(sandbox: Sandbox, method: str) -> None:
    """A body without `agent` is refused and told what is missing."""
    below = "" if method == "POST" else f"/{made(sandbox)['id']}"
    reply = ask(sandbox, "", NEW, method=method, path=f"/v1{PATH}{below}")
    assert (reply.status, read(reply)["error"]) == (422, "agent is required and must be an object")


def test_an_agent_of_an_unknown_model() -> None:
    """A model that is not listed is accepted, without a provider; a strict sandbox refuses it as documented."""
    agent = made(Sandbox(), llm_model="gpt-99")
    assert (agent["llm_model"], agent["provider"]) == ("gpt-99", None)
    strict = Sandbox(strict=True)
    refused = (422, {"error": "Invalid LLM model.", "message": "Invalid LLM model."})
    assert send(strict, "POST", {**NEW, "llm_model": "gpt-99"}) == refused
    agent = made(strict)
    assert send(strict, "PATCH", {"llm_model": "gpt-99"}, below=f"/{agent['id']}") == refused
    assert send(strict, "PATCH", {"llm_model": "sandbox-large"}, below=f"/{agent['id']}")[0] == 200


def test_a_strict_sandbox_knows_the_agents_made_over_the_api() -> None:
    """An agent that was made can be invoked where unknown agents cannot, until it is deleted."""
    sandbox = Sandbox(strict=True)
    agent = made(sandbox)
    assert ask(sandbox, "agent", {**AGENT, "agent": agent["id"]}).status == 200
    send(sandbox, "DELETE", below=f"/{agent['id']}")
    assert ask(sandbox, "agent", {**AGENT, "agent": agent["id"]}).status == 404
