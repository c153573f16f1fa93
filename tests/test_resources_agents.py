"""Agents: what each call sends, what it gives back, and what is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import (
    FetchHive,
    InvalidRequestError,
    RetryPolicy,
    UnexpectedResponseError,
    UnprocessableEntityError,
)
from fetch_hive_sdk.resources import agents
from fetch_hive_sdk.resources.agents import Agent
from fetch_hive_sdk.resources.base import Done, ResultList
from fetch_hive_sdk.settings import Settings

pytestmark = pytest.mark.anyio

WORKSPACE = "00000000-0000-7000-8000-000000000001"
ID = "0190aaaa-0000-7000-8000-000000000001"
BASE = f"https://api.fetchhive.com/v1/public/workspaces/{WORKSPACE}/agents"
SETTINGS = Settings(api_key="fhk_test", workspace_id=WORKSPACE)
AGENT = {
    "id": ID,
    "name": "Support",
    "description": None,
    "llm_model": "gpt-x",
    "model_type": "llm",
    "provider": "openai",
    "instruction_prompt": "Help.",
    "temperature": 0.5,
    "max_token": 900,
    "max_thinking_token": 100,
    "reasoning_effort": "low",
    "tool_choice": "auto",
    "max_tool_calls": 3,
    "anthropic_prompt_cache_ttl": "5m",
    "tool_approval_mode": "policy",
    "status": "active",
    "mcp_tools": [{"name": "search"}],
}
LEAST = {"name": "Support", "llm_model": "gpt-x", "model_type": "llm"}
AT_CREATION = {**LEAST, "description": "d", "instruction_prompt": "", "temperature": 0, "max_token": 5}
AT_CHANGE = {
    **AT_CREATION,
    "max_thinking_token": 0,
    "reasoning_effort": "xhigh",
    "tool_choice": "required",
    "max_tool_calls": 7,
    "anthropic_prompt_cache_ttl": "1h",
}

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str, str, Any]] = [
    ("list", (), {}, "GET", "", None),
    ("get", (ID,), {}, "GET", f"/{ID}", None),
    ("get", (UUID(ID),), {}, "GET", f"/{ID}", None),
    ("create", (), LEAST, "POST", "", {"agent": LEAST}),
    ("create", (), AT_CREATION, "POST", "", {"agent": AT_CREATION}),
    ("update", (ID,), {"name": "New"}, "PATCH", f"/{ID}", {"agent": {"name": "New"}}),
    ("update", (ID,), AT_CHANGE, "PATCH", f"/{ID}", {"agent": AT_CHANGE}),
    ("delete", (ID,), {}, "DELETE", f"/{ID}", None),
    ("delete", ("a/b?c#d",), {}, "DELETE", "/a%2Fb%3Fc%23d", None),
]
ANSWERS: dict[str, Any] = {
    "list": {"agents": [AGENT, {}]},
    "get": {"agent": AGENT},
    "create": {"message": "Created.", "agent": AGENT},
    "update": {"message": "Updated.", "agent": AGENT},
    "delete": {"message": "Deleted."},
}
every_call = pytest.mark.parametrize(("method", "ids", "arguments", "verb", "path", "body"), CALLS)


@every_call
async def test_calls(
    make_client: Callable[..., Any],
    httpx_mock: HTTPXMock,
    method: str,
    ids: tuple[Any, ...],
    arguments: dict[str, Any],
    verb: str,
    path: str,
    body: Any,
) -> None:
    """Each call is one request as documented, in the client's workspace or in that of the call."""
    httpx_mock.add_response(json=ANSWERS[method], headers={"X-Trace": "abc"}, is_reusable=True)
    async with make_client(workspace_id=WORKSPACE) as client:
        result = await getattr(client.agents, method)(*ids, **arguments)
        await getattr(client.agents, method)(*ids, **arguments, workspace_id="other one")
    here, there = httpx_mock.get_requests()
    assert (verb, f"{BASE}{path}") == (here.method, str(here.url))
    assert f"/v1/public/workspaces/other%20one/agents{path}".encode() == there.url.raw_path
    assert body == (json.loads(here.content) if here.content else None)
    assert "Bearer fhk_test" == here.headers["Authorization"]
    assert (200, "abc") == (result.http_response.status_code, result.http_response.headers["x-trace"])
    assert ANSWERS[method] == result.http_response.json()
    if method == "list":
        assert type(result) is ResultList
        assert [AGENT, {}] == result
        result = result[0]
    if method == "delete":
        assert (Done, "Deleted.") == (type(result), result.message)
    else:
        assert type(result) is Agent
        assert AGENT == result


def test_attributes() -> None:
    """Every key that an agent is known to have is an attribute; one without any has defaults."""
    agent = Agent.from_json(json.dumps(AGENT).encode())
    assert AGENT == {**{name: getattr(agent, name) for name in AGENT}, "mcp_tools": list(agent.mcp_tools)}
    bare = Agent()
    assert ("", "", None, ()) == (bare.id, bare.name, bare.temperature, bare.mcp_tools)


def test_unknown_words() -> None:
    """An agent with words, types and keys that nobody knows can be read all the same."""
    odd = {"id": ID, "reasoning_effort": "cosmic", "max_token": "many", "new": {"a": 1}}
    agent = Agent.from_json(json.dumps(odd).encode())
    assert ("cosmic", None, {"a": 1}, "many") == (
        agent.reasoning_effort,
        agent.max_token,
        agent["new"],
        agent["max_token"],
    )


@pytest.mark.parametrize(
    ("method", "ids", "arguments", "message"),
    [
        ("get", ("",), {}, "agent_id: it is empty."),
        ("get", (5,), {}, "agent_id: an int is not allowed."),
        ("update", ("..",), {"name": "x"}, "agent_id: '..' is not an id."),
        ("delete", (None,), {}, "agent_id: None is not allowed."),
        ("create", (), {**LEAST, "name": " "}, "name: it is empty."),
        ("create", (), {**LEAST, "name": None}, "name: None is not allowed."),
        ("create", (), {**LEAST, "llm_model": None}, "llm_model: None is not allowed."),
        ("create", (), {**LEAST, "model_type": ""}, "model_type: it is empty."),
        ("create", (), {**LEAST, "description": 5}, "description: an int is not allowed."),
        ("create", (), {**LEAST, "temperature": float("nan")}, "temperature: nan is not allowed."),
        ("create", (), {**LEAST, "max_token": 1.5}, "max_token: a float is not allowed."),
        ("update", (ID,), {}, "There is nothing to change."),
        ("update", (ID,), {"name": ""}, "name: it is empty."),
        ("update", (ID,), {"reasoning_effort": "much"}, "reasoning_effort: 'much' is not allowed."),
        ("update", (ID,), {"tool_choice": "some"}, "tool_choice: 'some' is not allowed."),
        ("update", (ID,), {"anthropic_prompt_cache_ttl": "2h"}, "anthropic_prompt_cache_ttl: '2h' is not allowed."),
        ("update", (ID,), {"max_tool_calls": True}, "max_tool_calls: a bool is not allowed."),
        ("update", (ID,), {"max_thinking_token": "9"}, "max_thinking_token: a str is not allowed."),
        ("list", (), {"workspace_id": ""}, "workspace_id: it is empty."),
    ],
)
async def test_refused(
    make_client: Callable[..., Any], method: str, ids: tuple[Any, ...], arguments: dict[str, Any], message: str
) -> None:
    """A wrong argument is refused by its name, and nothing is sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await getattr(client.agents, method)(*ids, **arguments)
    assert message == caught.value.message
    assert caught.value.hint


@every_call
async def test_no_workspace(
    make_client: Callable[..., Any],
    method: str,
    ids: tuple[Any, ...],
    arguments: dict[str, Any],
    verb: str,
    path: str,
    body: Any,
) -> None:
    """Without a workspace every call says how to name one."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError, match=r"^workspace_id: it is missing"):
            await getattr(client.agents, method)(*ids, **arguments)


async def test_tool_approval_mode_is_no_argument() -> None:
    """What the service rejects cannot be passed."""
    with pytest.raises(TypeError, match="tool_approval_mode"):
        FetchHive("fhk_test", workspace_id=WORKSPACE).agents.update(ID, tool_approval_mode="policy")  # type: ignore[call-arg]


async def test_service_refusals(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """What the service refuses is raised with its words and code."""
    httpx_mock.add_response(422, json={"error": "Agent not found.", "error_code": "validation_error"})
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(UnprocessableEntityError, match=r"Agent not found\.") as caught:
            await client.agents.get(ID)
    assert "validation_error" == caught.value.error_code


async def test_repeated_only_where_safe(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A broken connection repeats every call but `create`, which may have made the agent."""
    options = {"workspace_id": WORKSPACE, "retry_policy": RetryPolicy(initial_delay=0, max_retries=1)}
    for method, ids, arguments, *_ in CALLS[:1] + CALLS[3:4] + CALLS[5:8:2]:
        httpx_mock.reset()
        httpx_mock.add_exception(httpx.ReadError("broken"), is_reusable=True)
        async with make_client(**options) as client:
            with pytest.raises(httpx.TransportError) as caught:
                await getattr(client.agents, method)(*ids, **arguments)
        creates = method == "create"
        assert (1 if creates else 2) == len(httpx_mock.get_requests())
        assert creates is caught.value.may_have_run  # type: ignore[attr-defined]


def test_a_dict_of_ones_own_is_sent_as_it_is() -> None:
    """The calls as values take any fields, keys that nobody knows and null included, and never change them."""
    fields = {"name": "x", "llm_model": None, "new": [1, {"a": UUID(ID)}]}
    sent = {"agent": {"name": "x", "llm_model": None, "new": [1, {"a": ID}]}}
    for operation in (agents.create(SETTINGS, fields, None), agents.update(SETTINGS, ID, fields, None)):
        assert isinstance(operation.body, bytes)
        assert sent == json.loads(operation.body)
    assert {"name": "x", "llm_model": None, "new": [1, {"a": UUID(ID)}]} == fields


@pytest.mark.parametrize(("status", "content"), [(204, b""), (200, b""), (200, b" "), (200, b"null")])
async def test_deleted_without_a_word(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, status: int, content: bytes
) -> None:
    """A deletion that is answered with nothing is done all the same: its status says so."""
    httpx_mock.add_response(status_code=status, content=content)
    async with make_client(workspace_id=WORKSPACE) as client:
        done = await client.agents.delete(ID)
    assert (Done(), {}, status) == (done, done.to_dict(), done.http_response.status_code)


@pytest.mark.parametrize("content", [b"<html>Log in</html>", b"[]", b'{"error": "It is in use."}'])
async def test_not_deleted(make_client: Callable[..., Any], httpx_mock: HTTPXMock, content: bytes) -> None:
    """A page of something in between, or an error with a success status, is not taken for a deletion."""
    httpx_mock.add_response(content=content)
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(UnexpectedResponseError):
            await client.agents.delete(ID)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({}, "it has no agent in it"),
        ({"message": "Agent created"}, "it has no agent in it"),
        ({"agent": None, "id": "1"}, "it has no agent in it"),
        ({"agent": "1"}, "it has no agent in it"),
        ({"error": None}, "it has no agent in it"),
        ({"error": "No such model.", "message": "No such model."}, "is an error, and not an answer: No such model."),
    ],
)
async def test_answers_without_an_agent(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, answer: Any, problem: str
) -> None:
    """A success without an agent in it is an error that says so, and not an agent without an id."""
    httpx_mock.add_response(json=answer)
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(UnexpectedResponseError) as caught:
            await client.agents.create(**LEAST)
    assert problem in caught.value.message
    assert (answer, True) == (caught.value.body, caught.value.may_have_run)


def test_an_agent_of_0_4_1_that_is_none() -> None:
    """What is given for an agent as a whole has to be a dict."""
    for fields in (None, [("name", "x")]):
        with pytest.raises(InvalidRequestError, match=r"^agent: "):
            agents.create(SETTINGS, cast("Any", fields), None)
