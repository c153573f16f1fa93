"""Chats: what each call sends, what it gives back, and what is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import InvalidRequestError, NotFoundError, RetryPolicy
from fetch_hive_sdk.resources import chats
from fetch_hive_sdk.resources.base import Done, ResultList
from fetch_hive_sdk.resources.chats import Chat, ChatMessage
from fetch_hive_sdk.settings import Settings

pytestmark = pytest.mark.anyio

WORKSPACE = "00000000-0000-7000-8000-000000000001"
AGENT = "0190aaaa-0000-7000-8000-000000000001"
ID = "0190aaaa-0000-7000-8000-000000000002"
BASE = f"https://api.fetchhive.com/v1/public/workspaces/{WORKSPACE}/agents/{AGENT}/chats"
CHAT = {
    "id": ID,
    "name": "First",
    "last_message_content": "Hi",
    "last_message_sent_at": "2026-06-01T00:00:00Z",
    "message_count": 1,
    "generated_at": "2026-06-01T00:00:00Z",
    "status": "active",
    "agent": {"id": AGENT, "name": "Support"},
}
MESSAGE = {
    "id": "0190aaaa-0000-7000-8000-000000000003",
    "content": "Hi",
    "role": "user",
    "sent_at": "2026-06-01T00:00:00Z",
    "chat_id": ID,
}

Call = tuple[str, tuple[Any, ...], dict[str, Any], str, str, bytes]
CALLS: list[Call] = [
    ("create", (AGENT,), {"name": "Fïrst"}, "POST", "", '{"chat":{"name":"Fïrst"}}'.encode()),
    ("get", (AGENT, UUID(ID)), {}, "GET", f"/{ID}", b""),
    ("update", (UUID(AGENT), ID), {"name": "New"}, "PATCH", f"/{ID}", b'{"chat":{"name":"New"}}'),
    ("delete", (AGENT, ID), {}, "DELETE", f"/{ID}", b""),
    ("clear", (AGENT, ID), {}, "PATCH", f"/{ID}/clear_messages", b"{}"),
    ("messages", (AGENT, ID), {}, "GET", f"/{ID}/messages", b""),
    ("messages", (AGENT, "a/../b?"), {}, "GET", "/a%2F..%2Fb%3F/messages", b""),
]
ANSWERS: dict[str, Any] = {
    "create": {"message": "Created.", "chat": CHAT},
    "get": {"chat": CHAT},
    "update": {"message": "Updated.", "chat": CHAT},
    "delete": {"message": "Deleted."},
    "clear": {"message": "Cleared.", "chat": CHAT},
    "messages": {"messages": [MESSAGE, {**MESSAGE, "role": "narrator", "content": None}]},
}
every_call = pytest.mark.parametrize("call", CALLS, ids=[f"{call[0]} {call[4]}" for call in CALLS])


@every_call
async def test_calls(make_client: Callable[..., Any], httpx_mock: HTTPXMock, call: Call) -> None:
    """Each call is one request as documented, in the client's workspace or in that of the call."""
    method, ids, arguments, verb, path, body = call
    httpx_mock.add_response(json=ANSWERS[method], headers={"X-Trace": "abc"}, is_reusable=True)
    async with make_client(workspace_id=WORKSPACE) as client:
        result = await getattr(client.chats, method)(*ids, **arguments)
        await getattr(client.chats, method)(*ids, **arguments, workspace_id=UUID(ID))
    here, there = httpx_mock.get_requests()
    assert (verb, f"{BASE}{path}", body) == (here.method, str(here.url), here.content)
    assert f"/v1/public/workspaces/{ID}/agents/{AGENT}/chats{path}" == there.url.raw_path.decode()
    assert "Bearer fhk_test" == here.headers["Authorization"]
    assert ("abc", ANSWERS[method]) == (result.http_response.headers["x-trace"], result.http_response.json())
    if method == "messages":
        assert type(result) is ResultList
        assert ANSWERS["messages"]["messages"] == result.to_list()
        assert [("user", "Hi"), ("narrator", None)] == [(message.role, message.content) for message in result]
    elif method == "delete":
        assert (Done, "Deleted.") == (type(result), result.message)
    else:
        assert type(result) is Chat
        assert CHAT == result


def test_attributes() -> None:
    """Every documented key is an attribute; an object without any has defaults."""
    chat, message = Chat.from_json(json.dumps(CHAT).encode()), ChatMessage.from_json(json.dumps(MESSAGE).encode())
    assert CHAT == {name: getattr(chat, name) for name in CHAT}
    assert MESSAGE == {name: getattr(message, name) for name in MESSAGE}
    assert ("", None, None) == (Chat().id, Chat().name, Chat().agent)
    assert ("", None, "") == (ChatMessage().id, ChatMessage().content, ChatMessage().role)


@pytest.mark.parametrize(
    ("method", "ids", "arguments", "message"),
    [
        ("create", ("",), {"name": "x"}, "agent_id: it is empty."),
        ("create", (AGENT,), {"name": " "}, "name: it is empty."),
        ("create", (AGENT,), {"name": None}, "name: None is not allowed."),
        ("get", (AGENT, ""), {}, "chat_id: it is empty."),
        ("get", (5, ID), {}, "agent_id: an int is not allowed."),
        ("update", (AGENT, "."), {"name": "x"}, "chat_id: '.' is not an id."),
        ("update", (AGENT, ID), {"name": ""}, "name: it is empty."),
        ("delete", (AGENT, None), {}, "chat_id: None is not allowed."),
        ("clear", (AGENT, b"x"), {}, "chat_id: a bytes is not allowed."),
        ("messages", (AGENT, ID), {"workspace_id": 5}, "workspace_id: an int is not allowed."),
    ],
)
async def test_refused(
    make_client: Callable[..., Any], method: str, ids: tuple[Any, ...], arguments: dict[str, Any], message: str
) -> None:
    """A wrong argument is refused by its name, and nothing is sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await getattr(client.chats, method)(*ids, **arguments)
    assert message == caught.value.message


@every_call
async def test_no_workspace(make_client: Callable[..., Any], call: Call) -> None:
    """Without a workspace every call says how to name one."""
    method, ids, arguments, *_ = call
    async with make_client() as client:
        with pytest.raises(InvalidRequestError, match=r"^workspace_id: it is missing"):
            await getattr(client.chats, method)(*ids, **arguments)


async def test_service_refusals(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A chat that does not exist is a NotFoundError with the service's words."""
    httpx_mock.add_response(404, json={"error": "Chat not found."})
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(NotFoundError, match=r"Chat not found\."):
            await client.chats.get(AGENT, ID)


@every_call
async def test_repeated_only_where_safe(make_client: Callable[..., Any], httpx_mock: HTTPXMock, call: Call) -> None:
    """A broken connection repeats every call but `create`, which may have made the chat."""
    method, ids, arguments, *_ = call
    httpx_mock.add_exception(httpx.ReadError("broken"), is_reusable=True)
    async with make_client(workspace_id=WORKSPACE, retry_policy=RetryPolicy(initial_delay=0, max_retries=1)) as client:
        with pytest.raises(httpx.TransportError) as caught:
            await getattr(client.chats, method)(*ids, **arguments)
    creates = method == "create"
    assert (1 if creates else 2) == len(httpx_mock.get_requests())
    assert creates is caught.value.may_have_run  # type: ignore[attr-defined]


def test_a_dict_of_ones_own_is_sent_as_it_is() -> None:
    """The calls as values take any fields, keys that nobody knows and null included."""
    settings, fields = Settings(api_key="fhk_test", workspace_id=WORKSPACE), {"name": None, "new": 1}
    for operation in (chats.create(settings, AGENT, fields, None), chats.update(settings, AGENT, ID, fields, None)):
        assert b'{"chat":{"name":null,"new":1}}' == operation.body
