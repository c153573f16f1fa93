"""What each method of both clients sends, as it arrives at a server, beside what the service documents, field by field.

A method or an argument that has no case here, and an endpoint that no method reaches, is a failure.
"""

from __future__ import annotations

import email
import email.policy
import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import anyio
import pytest

from fetch_hive_sdk import (
    Agent,
    AgentDelegation,
    AgentReply,
    AgentRun,
    ApprovalPage,
    Asset,
    AsyncFetchHive,
    AsyncStream,
    Chat,
    ChatMessage,
    Done,
    ErrorCatalog,
    FetchHive,
    HiveAgentRun,
    KnowledgeBase,
    KnowledgeBaseItem,
    KnowledgeBaseSearch,
    Model,
    PromptResult,
    Regeneration,
    RequestRecord,
    ResultList,
    SearchService,
    Stream,
    ToolActionApproval,
    WorkflowCompleted,
    WorkflowRunning,
    WorkflowRunRecord,
)
from fetch_hive_sdk.compat import OldMethods
from fetch_hive_sdk.sandbox import Answer, Choices, Sandbox, SandboxServer

DOCUMENT = Path(__file__).parent.parent / "docs" / "endpoints.md"
URL = "https://example.com/callback"
ARTIFACT = "01900000-0000-7000-8000-000000000001"
W = "/v1/public/workspaces/{workspace_id}"

# The service's endpoints, in the rows of the list that this SDK was written from.
ENDPOINTS: dict[int, list[str]] = {
    1: ["POST /v1/prompt/invoke"],
    2: ["POST /v1/workflow/invoke"],
    3: ["POST /v1/agent/invoke"],
    4: ["POST /v1/hive-agent/invoke"],
    5: ["POST /v1/workflow/webhooks/{workflow_endpoint_id}/variants/{variant_id}"],
    6: ["POST /v1/agent/webhooks/{agent_id}"],
    7: ["GET /v1/public/requests/{request_id}"],
    8: ["GET /v1/workflow_runs/{id}"],
    9: [
        "GET /v1/agent/delegations/{id}",
        "POST /v1/agent/delegations/{id}/cancel",
        "GET /v1/agent/threads/{thread_id}/delegations",
    ],
    10: [
        f"GET {W}/tool_action_approvals",
        f"GET {W}/tool_action_approvals/{{id}}",
        f"POST {W}/tool_action_approvals/{{id}}/decide",
    ],
    11: ["GET /v1/error_codes"],
    12: [
        f"GET {W}/knowledge_bases",
        f"POST {W}/knowledge_bases",
        f"GET {W}/knowledge_bases/{{id}}",
        f"PATCH {W}/knowledge_bases/{{id}}",
        f"DELETE {W}/knowledge_bases/{{id}}",
        f"POST {W}/knowledge_bases/{{id}}/search",
        f"GET {W}/knowledge_bases/{{knowledge_base_id}}/items",
        f"POST {W}/knowledge_bases/{{knowledge_base_id}}/items",
        f"GET {W}/knowledge_bases/{{knowledge_base_id}}/items/{{id}}",
        f"PATCH {W}/knowledge_bases/{{knowledge_base_id}}/items/{{id}}",
        f"DELETE {W}/knowledge_bases/{{knowledge_base_id}}/items/{{id}}",
        f"POST {W}/knowledge_bases/{{knowledge_base_id}}/items/{{id}}/regenerate",
    ],
    13: [
        f"GET {W}/agents",
        f"POST {W}/agents",
        f"GET {W}/agents/{{id}}",
        f"PATCH {W}/agents/{{id}}",
        f"DELETE {W}/agents/{{id}}",
        f"POST {W}/agents/{{agent_id}}/chats",
        f"GET {W}/agents/{{agent_id}}/chats/{{id}}",
        f"PATCH {W}/agents/{{agent_id}}/chats/{{id}}",
        f"DELETE {W}/agents/{{agent_id}}/chats/{{id}}",
        f"PATCH {W}/agents/{{agent_id}}/chats/{{id}}/clear_messages",
        f"GET {W}/agents/{{agent_id}}/chats/{{chat_id}}/messages",
    ],
    14: [f"GET {W}/assets", f"POST {W}/assets"],
    15: ["GET /v1/public/models"],
    16: ["GET /v1/public/search_services/countries", "GET /v1/public/search_services/{service}/countries"],
}

KEY = "fhk_conformance"
WITH_KEY = {"Authorization": f"Bearer {KEY}"}
SECRET = "whsec_conformance"
WITH_SECRET = {"X-Fetch-Hive-Webhook-Secret": SECRET}


@dataclass(frozen=True)
class Case:
    """One call of a method, and the request that it has to be. In braces are ids, which a test fills in.

    Attributes:
        name: The method, after `client.`.
        endpoint: The request's method and path, as it is sent.
        result: What the call returns; of what the list is, or the iterator gives, where it is one.
        ids: Positional arguments.
        arguments: Keyword arguments.
        body: The JSON body; None for no body at all. A `Form` for a form.
        query: The query string's parameters.
        credential: The headers that carry the key or the secret.
        many: What holds the results, where there are several.
    """

    name: str
    endpoint: str
    result: type
    ids: tuple[Any, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    query: tuple[tuple[str, str], ...] = ()
    credential: Mapping[str, str] = field(default_factory=lambda: WITH_KEY)
    many: type | None = None

    @property
    def streams(self) -> bool:
        return self.name.endswith("_stream")

    def passed(self, method: Callable[..., Any]) -> set[str]:
        """The names of the arguments that are passed."""
        return set(inspect.signature(method).bind(*self.ids, **self.arguments).arguments)


@dataclass(frozen=True)
class Form:
    """A form with one file."""

    part: str
    file_name: str
    content_type: str
    content: bytes


ABOUT: dict[str, Any] = {"user": "user-1", "metadata": {"plan": "pro", "seats": 3, "beta": True, "note": None}}
INPUTS: dict[str, Any] = {"topic": "AI", "companies": ["A", "B"], "deep": {"n": 1.5, "flag": False, "none": None}}
PROMPT: dict[str, Any] = {"deployment": "greeter", "variant": "default", "inputs": INPUTS, **ABOUT}
WORKFLOW: dict[str, Any] = {"deployment": "brief", "variant": "default", "inputs": INPUTS, **ABOUT}
AGENT: dict[str, Any] = {
    "agent": "helper",
    "message": "Hello",
    "thread_id": "thread-1",
    "messages": [
        {
            "role": "user",
            "content": "Hi",
            "attachments": ["https://example.com/a.pdf"],
            "image_urls": ["https://example.com/a"],
        },
        {"role": "assistant", "content": "Hello"},
        {"role": "system", "content": "Be brief"},
    ],
    "attachments": [
        "https://example.com/b.pdf",
        {"file_url": "https://example.com/c", "id": ARTIFACT, "file_name": "c.csv", "file_type": "text/csv"},
    ],
    "image_urls": ["https://example.com/d"],
    "known_artifact_refs": [ARTIFACT],
    "artifact_refs": [ARTIFACT],
    "tool_approval": "auto_approve",
    **ABOUT,
}
REPORTING = {"callback_url": URL, "allow_background": True}
HIVE_AGENT: dict[str, Any] = {
    "hive_agent": "hive",
    "objective": "Find out",
    "sources": {
        "website_urls": ["https://example.com"],
        "asset_ids": ["a"],
        "knowledge_base_ids": ["k"],
        "knowledge_base_item_ids": ["i"],
    },
    "metadata": ABOUT["metadata"],
    "unattended": True,
    "budget_policy": "proceed_to_cap",
}
KNOWLEDGE_BASE: dict[str, Any] = {
    "name": "Handbook",
    "description": "How we work",
    "search_type": "vector",
    "search_score_threshold": 0.25,
    "search_chunk_limit": 7,
}
SEARCH: dict[str, Any] = {
    "search_query": "holidays",
    "search_type": "full_text",
    "search_chunk_limit": 20,
    "search_score_threshold": 0.5,
}
ITEM_CHANGES: dict[str, Any] = {
    "name": "Holidays",
    "description": "Days off",
    "data_content": "There are 30 holidays.",
    "data_query": "main",
    "delete_email_data": "enabled",
    "delete_telephone_data": "disabled",
    "chunking_strategy": "fixed",
    "chunk_overlap": 10,
    "maximum_chunk_length": 500,
}
ITEM = {**ITEM_CHANGES, "item_type": "document", "response_type": "text", "asset_id": "{asset_id}"}
NEW_AGENT: dict[str, Any] = {
    "name": "Ann",
    "llm_model": "sandbox-model",
    "model_type": "llm",
    "description": "Helps",
    "instruction_prompt": "Help.",
    "temperature": 0.5,
    "max_token": 1000,
}
AGENT_CHANGES: dict[str, Any] = {
    **NEW_AGENT,
    "max_thinking_token": 500,
    "reasoning_effort": "high",
    "tool_choice": "auto",
    "max_tool_calls": 3,
    "anthropic_prompt_cache_ttl": "5m",
}
IN_WORKSPACE = {"workspace_id": "{workspace_id}"}
KB_PATH = f"{W}/knowledge_bases/{{knowledge_base_id}}"
ITEM_PATH = f"{KB_PATH}/items/{{item_id}}"
AGENT_PATH = f"{W}/agents/{{agent_id}}"
CHAT_PATH = f"{AGENT_PATH}/chats/{{chat_id}}"
TRIGGER_PATH = "/v1/workflow/webhooks/brief/variants/default"
TRIGGER = {"webhook_secret": SECRET, "callback_url": URL}
CALLED_BACK = {"async": {"callback_url": URL}}
FILTERS = {
    "status": "pending",
    "agent_id": "clerk",
    "run_id": "{run_id}",
    "request_id": "{waiting_request_id}",
    "cursor": "{cursor}",
    "limit": 10,
}


def query_of(arguments: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in arguments.items())


def without(arguments: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in names}


def both(name: str, endpoint: str, result: type, *ids: str, **more: Any) -> list[Case]:
    """A method whose one option is the workspace."""
    return [
        Case(name, endpoint, result, ids, **more),
        Case(name, endpoint, result, ids, **{**more, "arguments": {**more.get("arguments", {}), **IN_WORKSPACE}}),
    ]


def prompts(name: str, *, streaming: bool) -> list[Case]:
    few = {"deployment": "greeter"}
    endpoint = "POST /v1/prompt/invoke"
    return [
        Case(name, endpoint, PromptResult, arguments=few, body={**few, "streaming": streaming}),
        Case(name, endpoint, PromptResult, arguments=PROMPT, body={**PROMPT, "streaming": streaming}),
    ]


def agents(name: str, *, streaming: bool) -> list[Case]:
    few = {"agent": "helper", "message": "Hello"}
    endpoint = "POST /v1/agent/invoke"
    return [
        Case(name, endpoint, AgentReply, arguments=few, body={**few, "streaming": streaming}),
        Case(
            name,
            endpoint,
            AgentReply,
            arguments={**AGENT, "async_options": REPORTING},
            body={**AGENT, "async": REPORTING, "streaming": streaming},
        ),
    ]


CASES = [
    *prompts("invoke_prompt", streaming=False),
    *prompts("invoke_prompt_stream", streaming=True),
    Case(
        "invoke_workflow",
        "POST /v1/workflow/invoke",
        WorkflowCompleted,
        arguments={"deployment": "brief"},
        body={"deployment": "brief"},
    ),
    Case(
        "invoke_workflow",
        "POST /v1/workflow/invoke",
        WorkflowRunning,
        arguments={**WORKFLOW, "tool_approval": "policy", "callback_url": URL},
        body={**WORKFLOW, "tool_approval": "policy", "async": {"enabled": True, "callback_url": URL}},
    ),
    *agents("invoke_agent", streaming=False),
    *agents("invoke_agent_stream", streaming=True),
    Case(
        "invoke_hive_agent",
        "POST /v1/hive-agent/invoke",
        HiveAgentRun,
        arguments={"hive_agent": "hive", "objective": "Find out", "callback_url": URL},
        body={"hive_agent": "hive", "objective": "Find out", "async": {"enabled": True, "callback_url": URL}},
    ),
    Case(
        "invoke_hive_agent",
        "POST /v1/hive-agent/invoke",
        HiveAgentRun,
        arguments={**HIVE_AGENT, "callback_url": URL},
        body={**HIVE_AGENT, "async": {"enabled": True, "callback_url": URL}},
    ),
    Case(
        "triggers.workflow",
        f"POST {TRIGGER_PATH}",
        WorkflowRunning,
        ("brief", "default"),
        TRIGGER,
        # What becomes of a body without inputs is not documented, so there always are some.
        {**CALLED_BACK, "inputs": {}},
        credential=WITH_SECRET,
    ),
    Case(
        "triggers.workflow",
        f"POST {TRIGGER_PATH}",
        WorkflowRunning,
        ("brief", "default"),
        {**TRIGGER, "inputs": INPUTS, **ABOUT, "via": "query"},
        {**CALLED_BACK, "inputs": INPUTS, **ABOUT},
        query=(("secret", SECRET),),
        credential={},
    ),
    Case(
        "triggers.agent",
        "POST /v1/agent/webhooks/helper",
        AgentRun,
        ("helper",),
        {**TRIGGER, "message": "Hello"},
        {**CALLED_BACK, "message": "Hello"},
        credential=WITH_SECRET,
    ),
    Case(
        "triggers.agent",
        "POST /v1/agent/webhooks/helper",
        AgentRun,
        ("helper",),
        {**TRIGGER, "message": "Hello", "thread_id": "thread-1", **ABOUT, "via": "header"},
        {**CALLED_BACK, "message": "Hello", "thread_id": "thread-1", **ABOUT},
        credential=WITH_SECRET,
    ),
    Case("requests.get", "GET /v1/public/requests/{request_id}", RequestRecord, ("{request_id}",)),
    Case("requests.wait", "GET /v1/public/requests/{request_id}", RequestRecord, ("{request_id}",)),
    Case(
        "requests.wait",
        "GET /v1/public/requests/{request_id}",
        RequestRecord,
        ("{request_id}",),
        {"timeout": 10, "on_poll": lambda record: None},
    ),
    Case("workflow_runs.get", "GET /v1/workflow_runs/{workflow_run_id}", WorkflowRunRecord, ("{workflow_run_id}",)),
    Case("delegations.get", "GET /v1/agent/delegations/{delegation_id}", AgentDelegation, ("{delegation_id}",)),
    Case(
        "delegations.cancel",
        "POST /v1/agent/delegations/{delegation_id}/cancel",
        AgentDelegation,
        ("{delegation_id}",),
        body={},
    ),
    Case(
        "delegations.list",
        # The name of the caller's that "{thread}" stands for, percent-encoded.
        "GET /v1/agent/threads/team%2F1%3F%C3%A4%20%25%23/delegations",
        AgentDelegation,
        ("{thread}",),
        many=ResultList,
    ),
    Case("approvals.list", f"GET {W}/tool_action_approvals", ToolActionApproval, many=ApprovalPage),
    Case(
        "approvals.list",
        f"GET {W}/tool_action_approvals",
        ToolActionApproval,
        arguments={**FILTERS, **IN_WORKSPACE},
        query=query_of(FILTERS),
        many=ApprovalPage,
    ),
    Case("approvals.iterate", f"GET {W}/tool_action_approvals", ToolActionApproval, many=list),
    Case(
        "approvals.iterate",
        f"GET {W}/tool_action_approvals",
        ToolActionApproval,
        arguments={**without(FILTERS, "cursor"), **IN_WORKSPACE},
        query=query_of(without(FILTERS, "cursor")),
        many=list,
    ),
    *both("approvals.get", f"GET {W}/tool_action_approvals/{{approval_id}}", ToolActionApproval, "{approval_id}"),
    *both(
        "approvals.decide",
        f"POST {W}/tool_action_approvals/{{approval_id}}/decide",
        ToolActionApproval,
        "{approval_id}",
        "allow_once",
        body={"decision": "allow_once"},
    ),
    Case("error_codes", "GET /v1/error_codes", ErrorCatalog, credential={}),
    Case(
        "error_codes",
        "GET /v1/error_codes",
        ErrorCatalog,
        arguments={"locale": "es"},
        query=(("locale", "es"),),
        credential={},
    ),
    *both("knowledge_bases.list", f"GET {W}/knowledge_bases", KnowledgeBase, many=ResultList),
    *both("knowledge_bases.get", f"GET {KB_PATH}", KnowledgeBase, "{knowledge_base_id}"),
    Case(
        "knowledge_bases.create",
        f"POST {W}/knowledge_bases",
        KnowledgeBase,
        arguments={"name": "Handbook"},
        body={"knowledge_base": {"name": "Handbook"}},
    ),
    Case(
        "knowledge_bases.create",
        f"POST {W}/knowledge_bases",
        KnowledgeBase,
        arguments={**KNOWLEDGE_BASE, **IN_WORKSPACE},
        body={"knowledge_base": KNOWLEDGE_BASE},
    ),
    Case(
        "knowledge_bases.update",
        f"PATCH {KB_PATH}",
        KnowledgeBase,
        ("{knowledge_base_id}",),
        {"search_chunk_limit": 3},
        {"knowledge_base": {"search_chunk_limit": 3}},
    ),
    Case(
        "knowledge_bases.update",
        f"PATCH {KB_PATH}",
        KnowledgeBase,
        ("{knowledge_base_id}",),
        {**KNOWLEDGE_BASE, **IN_WORKSPACE},
        {"knowledge_base": KNOWLEDGE_BASE},
    ),
    *both("knowledge_bases.delete", f"DELETE {KB_PATH}", Done, "{knowledge_base_id}"),
    Case(
        "knowledge_bases.search",
        f"POST {KB_PATH}/search",
        KnowledgeBaseSearch,
        ("{knowledge_base_id}",),
        {"search_query": "holidays"},
        # The service asks for all four.
        {
            "search_query": "holidays",
            "search_type": "hybrid",
            "search_chunk_limit": 5,
            "search_score_threshold": 0.0,
        },
    ),
    Case(
        "knowledge_bases.search",
        f"POST {KB_PATH}/search",
        KnowledgeBaseSearch,
        ("{knowledge_base_id}",),
        {**SEARCH, **IN_WORKSPACE},
        SEARCH,
    ),
    *both(
        "knowledge_bases.items.list",
        f"GET {KB_PATH}/items",
        KnowledgeBaseItem,
        "{knowledge_base_with_item_id}",
        many=ResultList,
    ),
    *both("knowledge_bases.items.get", f"GET {ITEM_PATH}", KnowledgeBaseItem, "{knowledge_base_id}", "{item_id}"),
    Case(
        "knowledge_bases.items.create",
        f"POST {KB_PATH}/items",
        KnowledgeBaseItem,
        ("{knowledge_base_id}",),
        {"name": "Holidays"},
        {"knowledge_base_item": {"name": "Holidays"}},
    ),
    Case(
        "knowledge_bases.items.create",
        f"POST {KB_PATH}/items",
        KnowledgeBaseItem,
        ("{knowledge_base_id}",),
        {**ITEM, **IN_WORKSPACE},
        {"knowledge_base_item": ITEM},
    ),
    Case(
        "knowledge_bases.items.update",
        f"PATCH {ITEM_PATH}",
        KnowledgeBaseItem,
        ("{knowledge_base_id}", "{item_id}"),
        {"description": ""},
        {"knowledge_base_item": {"description": ""}},
    ),
    Case(
        "knowledge_bases.items.update",
        f"PATCH {ITEM_PATH}",
        KnowledgeBaseItem,
        ("{knowledge_base_id}", "{item_id}"),
        {**ITEM_CHANGES, **IN_WORKSPACE},
        {"knowledge_base_item": ITEM_CHANGES},
    ),
    *both("knowledge_bases.items.delete", f"DELETE {ITEM_PATH}", Done, "{knowledge_base_id}", "{item_id}"),
    *both(
        "knowledge_bases.items.regenerate",
        f"POST {ITEM_PATH}/regenerate",
        Regeneration,
        "{knowledge_base_id}",
        "{item_id}",
        body={},
    ),
    *both("agents.list", f"GET {W}/agents", Agent, many=ResultList),
    *both("agents.get", f"GET {AGENT_PATH}", Agent, "{agent_id}"),
    Case(
        "agents.create",
        f"POST {W}/agents",
        Agent,
        arguments={"name": "Ann", "llm_model": "sandbox-model", "model_type": "llm"},
        body={"agent": {"name": "Ann", "llm_model": "sandbox-model", "model_type": "llm"}},
    ),
    Case(
        "agents.create",
        f"POST {W}/agents",
        Agent,
        arguments={**NEW_AGENT, **IN_WORKSPACE},
        body={"agent": NEW_AGENT},
    ),
    Case(
        "agents.update",
        f"PATCH {AGENT_PATH}",
        Agent,
        ("{agent_id}",),
        {"temperature": 0},
        {"agent": {"temperature": 0}},
    ),
    Case(
        "agents.update",
        f"PATCH {AGENT_PATH}",
        Agent,
        ("{agent_id}",),
        {**AGENT_CHANGES, **IN_WORKSPACE},
        {"agent": AGENT_CHANGES},
    ),
    *both("agents.delete", f"DELETE {AGENT_PATH}", Done, "{agent_id}"),
    *both(
        "chats.create",
        f"POST {AGENT_PATH}/chats",
        Chat,
        "{agent_id}",
        arguments={"name": "Renewal"},
        body={"chat": {"name": "Renewal"}},
    ),
    *both("chats.get", f"GET {CHAT_PATH}", Chat, "{agent_id}", "{chat_id}"),
    *both(
        "chats.update",
        f"PATCH {CHAT_PATH}",
        Chat,
        "{agent_id}",
        "{chat_id}",
        arguments={"name": "Renewal"},
        body={"chat": {"name": "Renewal"}},
    ),
    *both("chats.delete", f"DELETE {CHAT_PATH}", Done, "{agent_id}", "{chat_id}"),
    *both("chats.clear", f"PATCH {CHAT_PATH}/clear_messages", Chat, "{agent_id}", "{chat_id}", body={}),
    *both("chats.messages", f"GET {CHAT_PATH}/messages", ChatMessage, "{agent_id}", "{chat_id}", many=ResultList),
    *both("assets.list", f"GET {W}/assets", Asset, many=ResultList),
    Case(
        "assets.upload",
        f"POST {W}/assets",
        Asset,
        (b"\x00\r\n--",),
        body=Form("file", "file", "application/octet-stream", b"\x00\r\n--"),
    ),
    Case(
        "assets.upload",
        f"POST {W}/assets",
        Asset,
        (b"a,b\r\n",),
        {
            "file_name": "table.csv",
            "content_type": "text/csv",
            "on_progress": lambda sent, total: None,
            "part": "upload",
            **IN_WORKSPACE,
        },
        Form("upload", "table.csv", "text/csv", b"a,b\r\n"),
    ),
    Case("models.list", "GET /v1/public/models", Model, many=ResultList),
    Case(
        "search_services.list",
        "GET /v1/public/search_services/countries",
        SearchService,
        credential={},
        many=ResultList,
    ),
    Case(
        "search_services.get",
        "GET /v1/public/search_services/google_search/countries",
        SearchService,
        ("google_search",),
        credential={},
    ),
]
# Calls anything, so it is no endpoint's own method.
RAW = [
    Case("request", "GET /v1/public/models", list, ("GET", "/public/models")),
    Case(
        "request",
        "POST /v1/agent/delegations/{delegation_id}/cancel",
        AgentDelegation,
        ("post", "/agent/delegations/{delegation_id}/cancel"),
        {"json": {"why": [1, None]}, "params": {"n": [1, 2], "b": True, "no": None}, "cast_to": AgentDelegation},
        {"why": [1, None]},
        query=(("n", "1"), ("n", "2"), ("b", "true")),
    ),
]

# They send nothing.
LOCAL = {"aclose", "close", "with_options"}
# The argument of 0.4.1 that warns; the tests of what 0.4.1 had are about it.
SUPERSEDED = {"async_mode"}
# Nothing can be changed without one more argument than the required ones.
CHANGES = {"agents.update", "knowledge_bases.items.update", "knowledge_bases.update"}


# --- the server, and what is in it ----------------------------------------------------------------------


@dataclass(frozen=True)
class Arrived:
    """A request as the server got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Recorded:
    """A served sandbox, and the requests that have arrived at it."""

    sandbox: Sandbox
    server: SandboxServer
    requests: list[Arrived]


@pytest.fixture(scope="module")
def served() -> Iterator[Recorded]:
    """A sandbox on a socket that records what it is asked."""
    # With a cursor in its lists, one request tells that there is no further page.
    choices = Choices(callback_retry_delays=(), next_cursor_key="next_cursor")
    sandbox = Sandbox(api_key=KEY, lenient=True, choices=choices)
    sandbox.prompt("greeter", reply="Hello")
    sandbox.workflow("brief", reply="A brief.", secret=SECRET)
    sandbox.workflow("asks", human_in_the_loop=True, reply=lambda inputs, choice: "Asked.")
    sandbox.agent("helper", reply="Hi.", secret=SECRET)
    sandbox.agent("manager", reply=Answer("Started.", background=[{"deployment": "asks"}]))
    waits = {"tool_name": "send_mail", "needs_approval": True}
    sandbox.agent("clerk", reply=Answer("Sent.", tool_calls=[waits, waits]))
    sandbox.hive_agent("hive", reply="Found.")
    requests: list[Arrived] = []
    handle = sandbox.engine.handle

    def record(method: str, path: str, headers: Mapping[str, str], body: bytes, **more: Any) -> Any:
        requests.append(Arrived(method, path, headers, body))
        return handle(method, path, headers, body, **more)

    sandbox.engine.handle = record  # type: ignore[method-assign]
    with sandbox.serve() as server:
        yield Recorded(sandbox, server, requests)


@pytest.fixture
def recorded(served: Recorded) -> Recorded:
    """The served sandbox, with nothing in it."""
    served.sandbox.reset()
    return served


class Things(dict[str, str]):
    """The ids of things in a sandbox, each made when it is asked for."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(workspace_id=sandbox.workspace_id, thread="team/1?ä %#")
        self._sandbox = sandbox
        self._client = sandbox.client()

    def __missing__(self, name: str) -> str:
        makers: dict[str, Callable[[], None]] = {
            "request_id": self._run_workflow,
            "workflow_run_id": self._run_workflow,
            "delegation_id": self._delegate,
            "approval_id": self._ask,
            "run_id": self._ask,
            "waiting_request_id": self._ask,
            "cursor": self._ask,
        }
        makers.get(name, getattr(self, f"_make_{name}", self._ask))()
        return self[name]

    def _run_workflow(self) -> None:
        request_id = self._client.invoke_workflow(deployment="brief").request_id
        self["request_id"], self["workflow_run_id"] = request_id, self._client.requests.get(request_id)["id"]

    def _delegate(self) -> None:
        reply = self._client.invoke_agent(agent="manager", message="Go", thread_id=self["thread"])
        self["delegation_id"] = reply.pending_delegations[0].id

    def _ask(self) -> None:
        reply = self._client.invoke_agent(agent="clerk", message="Write")
        listed = self._client.approvals.list()
        self["approval_id"], self["cursor"] = listed[1].id, listed[0].id
        self["waiting_request_id"] = reply.request_id
        self["run_id"] = self._client.requests.get(reply.request_id)["id"]

    def _make_knowledge_base_id(self) -> None:
        self["knowledge_base_id"] = self._client.knowledge_bases.create(name="Handbook").id

    def _make_item_id(self) -> None:
        item = self._client.knowledge_bases.items.create(self["knowledge_base_id"], name="Holidays")
        self["item_id"] = item.id

    def _make_knowledge_base_with_item_id(self) -> None:
        self._make_item_id()
        self["knowledge_base_with_item_id"] = self["knowledge_base_id"]

    def _make_agent_id(self) -> None:
        self["agent_id"] = self._client.agents.create(name="Ann", llm_model="sandbox-model", model_type="llm").id

    def _make_chat_id(self) -> None:
        self["chat_id"] = self._client.chats.create(self["agent_id"], name="Chat").id
        self._sandbox.add_chat_message(self["chat_id"], "Hello")

    def _make_asset_id(self) -> None:
        self["asset_id"] = self._client.assets.upload(b"Holidays", file_name="a.txt").id

    def make_for_lists(self) -> None:
        """So that no list is empty."""
        for name in ("delegation_id", "approval_id", "knowledge_base_id", "agent_id", "asset_id"):
            _ = self[name]

    def fill(self, value: Any) -> Any:
        """A value with the ids that its braces name."""
        if isinstance(value, str):
            return value.format_map(self) if "{" in value else value
        if isinstance(value, Mapping):
            return {name: self.fill(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.fill, value))
        return value


# --- calling ----------------------------------------------------------------------------------------------


def find(client: Any, name: str) -> Callable[..., Any]:
    """The method that a dotted name names."""
    for part in name.split("."):
        client = getattr(client, part)
    return client


def call(case: Case, things: Things, server: SandboxServer) -> Any:
    """What the sync client gives."""
    with FetchHive(KEY, server.base_url, workspace_id=workspace_of_client(case, things)) as client:
        result = find(client, case.name)(*things.fill(case.ids), **things.fill(case.arguments))
        if isinstance(result, Stream):
            return result.final()
        return list(result) if isinstance(result, Iterator) else result


async def call_async(case: Case, things: Things, server: SandboxServer) -> Any:
    """What the async client gives."""
    async with AsyncFetchHive(KEY, server.base_url, workspace_id=workspace_of_client(case, things)) as client:
        result = find(client, case.name)(*things.fill(case.ids), **things.fill(case.arguments))
        if isinstance(result, AsyncStream):
            return await result.final()
        return [one async for one in result] if isinstance(result, AsyncIterator) else await result


def workspace_of_client(case: Case, things: Things) -> str:
    """The client's own workspace, which is another where the call names one."""
    return "not-this-one" if "workspace_id" in case.arguments else things["workspace_id"]


def name_of_case(case: Case) -> str:
    return f"{case.name}({', '.join(case.arguments)})"


@pytest.mark.parametrize("flavor", ["sync", "async"])
@pytest.mark.parametrize("case", [*CASES, *RAW], ids=name_of_case)
def test_request(recorded: Recorded, case: Case, flavor: str) -> None:
    """A call arrives as one request with the documented method, path, query, headers and body; its result is typed."""
    things = Things(recorded.sandbox)
    if case.many:
        things.make_for_lists()
    things.fill([case.endpoint, case.ids, case.arguments, case.body])
    recorded.requests.clear()

    server = recorded.server
    result = call(case, things, server) if flavor == "sync" else anyio.run(call_async, case, things, server)

    [arrived] = recorded.requests
    path, _, query = arrived.path.partition("?")
    assert things.fill(case.endpoint) == f"{arrived.method} {path}"
    assert things.fill(case.query) == tuple(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    check_headers(case, arrived.headers)
    check_body(things.fill(case.body), arrived)
    check_result(case, result)


def check_headers(case: Case, headers: Mapping[str, str]) -> None:
    credentials = ("Authorization", "X-Fetch-Hive-Webhook-Secret")
    assert case.credential == {name: headers[name] for name in credentials if name in headers}
    accepted = {kind.strip() for kind in headers["Accept"].split(",")}
    assert accepted == {"application/json"} | ({"text/event-stream"} if case.streams else set())
    assert headers["User-Agent"].startswith("fetch-hive-sdk/")


def check_body(expected: Any, arrived: Arrived) -> None:
    kind = arrived.headers.get("Content-Type")
    if expected is None:
        assert (kind, arrived.body) == (None, b"")
    elif isinstance(expected, Form):
        assert kind is not None
        form = email.message_from_bytes(
            b"Content-Type: " + kind.encode() + b"\r\n\r\n" + arrived.body, policy=email.policy.HTTP
        )
        [part] = form.iter_parts()
        disposition: Any = part["Content-Disposition"]
        assert (form.get_content_type(), disposition.content_disposition) == ("multipart/form-data", "form-data")
        assert disposition.params == {"name": expected.part, "filename": expected.file_name}
        assert part.get_content_type() == expected.content_type
        assert part.get_payload(decode=True) == expected.content
    else:
        assert (kind, json.loads(arrived.body)) == ("application/json", expected)
        assert same_types(expected, json.loads(arrived.body))


def same_types(expected: Any, found: Any) -> bool:
    """Whether numbers and booleans are what they should be: `1 == 1.0 == True` in Python, but not in JSON."""
    if isinstance(expected, dict):
        return all(same_types(value, found[name]) for name, value in expected.items())
    if isinstance(expected, list):
        return all(map(same_types, expected, found))
    return isinstance(expected, bool) == isinstance(found, bool)


def check_result(case: Case, result: Any) -> None:
    if case.many is None:
        assert isinstance(result, case.result)
        return
    assert type(result) is case.many
    assert [case.result] * len(result) == [type(one) for one in result] != []


# --- nothing is left out ----------------------------------------------------------------------------------


def methods_of(client: object, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public method of a client and of its resources, but those that only code written for 0.4.1 calls."""
    for name in dir(client):
        if name.startswith("_") or (prefix == "" and name in vars(OldMethods)):
            continue
        member = getattr(client, name)
        if callable(member):
            yield prefix + name, member
        else:
            yield from methods_of(member, f"{prefix}{name}.")


@pytest.fixture(params=[FetchHive, AsyncFetchHive])
def methods(request: pytest.FixtureRequest) -> dict[str, Callable[..., Any]]:
    """The methods of one of the clients that send something."""
    return {name: method for name, method in methods_of(request.param(KEY)) if name not in LOCAL}


def test_every_method_has_cases(methods: dict[str, Callable[..., Any]]) -> None:
    """No method of a client is left out of the table, and none is in it that the client does not have."""
    assert methods.keys() == {case.name for case in [*CASES, *RAW]}


def test_every_argument_has_cases(methods: dict[str, Callable[..., Any]]) -> None:
    """Each method is called once with all its arguments, and once with those alone that it cannot do without."""
    for name, method in methods.items():
        passed = [case.passed(method) for case in [*CASES, *RAW] if case.name == name]
        parameters = inspect.signature(method).parameters
        required = {one.name for one in parameters.values() if one.default is inspect.Parameter.empty}
        fewest = min(passed, key=len)
        assert parameters.keys() - SUPERSEDED in passed, name
        assert (fewest > required and len(fewest) == len(required) + 1) if name in CHANGES else fewest == required, name


def shape(endpoint: str) -> re.Pattern[str]:
    """What matches a request to an endpoint, whatever its ids are."""
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(endpoint)))


def reached_by(endpoint: str) -> set[str]:
    """The methods that call an endpoint."""
    return {case.name for case in CASES if shape(endpoint).fullmatch(case.endpoint)}


@pytest.mark.parametrize("endpoint", [endpoint for row in ENDPOINTS.values() for endpoint in row])
def test_every_endpoint_is_reached(methods: dict[str, Callable[..., Any]], endpoint: str) -> None:
    """Each documented endpoint is called by a method of each client."""
    assert reached_by(endpoint) & methods.keys()


def test_every_case_is_documented() -> None:
    """No method calls an endpoint that is not documented."""
    known = [shape(endpoint) for row in ENDPOINTS.values() for endpoint in row]
    assert [] == [case.endpoint for case in CASES if not any(one.fullmatch(case.endpoint) for one in known)]
    assert list(range(1, 17)) == list(ENDPOINTS)


def documented_table(text: str) -> dict[str, set[str]]:
    """The rows of a page's table from an endpoint to methods: the endpoint's ids without their names."""
    rows = re.findall(r"^\| *`((?:GET|POST|PATCH|DELETE) /[^`]+)` *\|([^|]*)\|", text, flags=re.MULTILINE)
    table = {without_names(endpoint): set(re.findall(r"`client\.([\w.]+?)(?:\(\))?`", cell)) for endpoint, cell in rows}
    assert len(table) == len(rows)
    return table


def without_names(endpoint: str) -> str:
    return re.sub(r"\{\w+\}", "{}", endpoint)


def test_documentation_lists_the_endpoints() -> None:
    """The documentation's table of endpoints has each with the methods that call it, and no other."""
    expected = {without_names(endpoint): reached_by(endpoint) for row in ENDPOINTS.values() for endpoint in row}
    assert expected == documented_table(DOCUMENT.read_text(encoding="utf-8"))
