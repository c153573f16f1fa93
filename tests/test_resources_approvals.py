"""Calls of tools that wait for a decision: listing, going over all pages, looking up, deciding."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnexpectedResponseError,
)
from fetch_hive_sdk.resources import approvals
from fetch_hive_sdk.resources.approvals import (
    ApprovalBatchItem,
    ApprovalCapabilities,
    ApprovalPage,
    ApprovalRequester,
    ApprovalVote,
    ToolActionApproval,
    Walk,
)
from fetch_hive_sdk.settings import Settings

pytestmark = pytest.mark.anyio

WORKSPACE = "0190aaaa-0000-7000-8000-00000000000a"
OTHER = UUID("0190aaaa-0000-7000-8000-00000000000b")
ID = "0190aaaa-0000-7000-8000-000000000001"
PATH = f"/v1/public/workspaces/{WORKSPACE}/tool_action_approvals"
SETTINGS = Settings(api_key="fhk_test", workspace_id=WORKSPACE)

APPROVAL: dict[str, Any] = {
    "id": ID,
    "status": "pending",
    "summary": "Send an e-mail to ann@example.com",
    "decision": None,
    "arguments": {"to": "ann@example.com"},
    "original_arguments": {"to": "bob@example.com"},
    "arguments_edited_at": "2026-06-01T00:01:00Z",
    "arguments_edited_by": {"id": "u2", "name": "Bo"},
    "changed_fields": ["to"],
    "result": {"sent": True},
    "error": "none",
    "action_slug": "send_email",
    "action_label": "Send e-mail",
    "confirmation": "required",
    "risk_level": "medium",
    "provider_type": "gmail",
    "provider_login": "team@example.com",
    "gateway_name": "gateway",
    "token_name": "token",
    "integration_authorization_id": "0190aaaa-0000-7000-8000-000000000002",
    "integration_connection_count": 2,
    "approvals_required": 1,
    "approval_votes": [{"user_id": "u1", "decision": "allow_once"}],
    "requested_by_kind": "agent",
    "requested_by": {"kind": "agent", "name": "Helper", "workflow_name": None, "agent_name": "Helper"},
    "prompt_workflow_run_id": "0190aaaa-0000-7000-8000-000000000003",
    "agent_run_id": "0190aaaa-0000-7000-8000-000000000004",
    "ephemeral_execution_id": "e1",
    "copilot_session_id": "c1",
    "created_at": "2026-06-01T00:00:00Z",
    "expires_at": "2026-06-02T00:00:00Z",
    "decided_at": "2026-06-01T00:02:00Z",
    "decided_by": "u1",
    "decided_via": "api_key",
    "decided_by_api_key_name": "Production",
    "decided_by_user": {"id": "u1", "email": "u1@example.com"},
    "auto_allowed_by": "policy",
    "auto_allowed_source_id": "0190aaaa-0000-7000-8000-000000000005",
    "auto_allowed_source_name": "Mail",
    "workspace_id": WORKSPACE,
    "resolved_policy_id": "0190aaaa-0000-7000-8000-000000000006",
    "resolved_policy_user": {"id": "u3", "name": "Cy"},
    "locked_rule_effect": "ask",
    "audience_role": "member",
    "batch_key": "b1",
    "batch_pending_count": 2,
    "batch_items": [{"id": "other", "summary": "Send another"}],
    "capabilities": {"can_always_allow": True, "can_run_decision": False},
}
PARTS: dict[str, Any] = {
    "approval_votes": (ApprovalVote(user_id="u1", decision="allow_once"),),
    "batch_items": (ApprovalBatchItem(id="other", summary="Send another"),),
    "changed_fields": ("to",),
}


def by_id(*ids: str) -> list[dict[str, Any]]:
    return [{"id": one, "status": "pending", "summary": f"Do {one}"} for one in ids]


# --- one approval -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"approval": APPROVAL}, APPROVAL], ids=["wrapped", "flat"])
async def test_get(make_client: Callable[..., Any], httpx_mock: HTTPXMock, body: dict[str, Any]) -> None:
    """A look-up is one GET with the key and no body, and the approval has every documented field."""
    httpx_mock.add_response(json=body)
    async with make_client(workspace_id=WORKSPACE) as client:
        approval = await client.approvals.get(UUID(ID))
    [request] = httpx_mock.get_requests()
    assert ("GET", b"", "Bearer fhk_test") == (request.method, request.content, request.headers["Authorization"])
    assert f"{PATH}/{ID}".encode() == request.url.raw_path
    assert isinstance(approval, ToolActionApproval)
    assert APPROVAL == approval.to_dict()
    assert {**APPROVAL, **PARTS} == {name: getattr(approval, name) for name in ToolActionApproval.model_fields}
    assert isinstance(approval.requested_by, ApprovalRequester)
    assert ("agent", "Helper", None) == (
        approval.requested_by.kind,
        approval.requested_by.agent_name,
        approval.requested_by.workflow_name,
    )
    assert isinstance(approval.capabilities, ApprovalCapabilities)
    assert (True, False) == (approval.capabilities.can_always_allow, approval.capabilities.can_run_decision)
    assert (200, body) == (approval.http_response.status_code, approval.http_response.json())


def test_odd_fields() -> None:
    """A field that is missing, new or of another type breaks nothing, and the JSON is there as it came."""
    approval = ToolActionApproval.model_validate({"id": ID, "arguments": "text", "status": "snoozed", "new": [1]})

    assert ("snoozed", None, (), None) == (
        approval.status,
        approval.arguments,
        approval.batch_items,
        approval.requested_by,
    )
    assert {"id": ID, "arguments": "text", "status": "snoozed", "new": [1]} == approval


@pytest.mark.parametrize("decision", ["allow_once", "deny"])
async def test_decide(make_client: Callable[..., Any], httpx_mock: HTTPXMock, decision: str) -> None:
    """A decision is one POST of that word, and the approval comes back where the service answers with it."""
    httpx_mock.add_response(json={"approval": {**APPROVAL, "status": "approved", "decision": decision}})
    async with make_client(workspace_id=WORKSPACE) as client:
        approval = await client.approvals.decide(ID, decision)
    [request] = httpx_mock.get_requests()
    assert ("POST", f"{PATH}/{ID}/decide".encode()) == (request.method, request.url.raw_path)
    assert json.dumps({"decision": decision}, separators=(",", ":")).encode() == request.content
    assert (ID, "approved", decision) == (approval.id, approval.status, approval.decision)


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (b"", {}),
        (b"OK", {}),
        (b"[1]", {}),
        (b'{"approval": null}', {}),
        (b'{"message": "Done."}', {"message": "Done."}),
    ],
)
async def test_decide_without_an_approval(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, content: bytes, keys: dict[str, Any]
) -> None:
    """A decision that was accepted is no error, whatever the service answers: that is not documented."""
    httpx_mock.add_response(content=content)
    async with make_client(workspace_id=WORKSPACE) as client:
        approval = await client.approvals.decide(ID, "deny")
    assert ("", "", None) == (approval.id, approval.status, approval.decision)
    assert (keys, content) == (approval, approval.http_response.content)


async def test_decided_already(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """An approval that is decided already is a ConflictError, and one that there is not a NotFoundError."""
    httpx_mock.add_response(409, json={"error": "Already decided"})
    httpx_mock.add_response(404, json={"error": "Approval not found"})
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(ConflictError, match="Already decided"):
            await client.approvals.decide(ID, "deny")
        with pytest.raises(NotFoundError, match="Approval not found"):
            await client.approvals.get(ID)


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ("always_allow", "decision: 'always_allow' is not allowed."),
        ("", "decision: '' is not allowed."),
        (None, "decision: None is not allowed."),
        (True, "decision: a bool is not allowed."),
    ],
)
async def test_wrong_decisions(make_client: Callable[..., Any], decision: Any, message: str) -> None:
    """Only the two documented decisions are sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.approvals.decide(ID, decision)
    assert message == caught.value.message


async def test_workspaces(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """Each call may name another workspace, its ids are escaped, and without any workspace nothing is sent."""
    httpx_mock.add_response(json={"approvals": []})
    httpx_mock.add_response(json={"approvals": []})
    httpx_mock.add_response(json=APPROVAL)
    httpx_mock.add_response(json=APPROVAL)
    async with make_client() as client:
        await client.approvals.list(workspace_id=OTHER)
        assert [] == [one async for one in client.approvals.iterate(workspace_id=OTHER)]
        await client.approvals.get("a/b", workspace_id=OTHER)
        await client.approvals.decide("a?b", "deny", workspace_id="w/1")
        for call in (client.approvals.get("a"), client.approvals.list(), client.approvals.decide("a", "deny")):
            with pytest.raises(InvalidRequestError, match="workspace_id: it is missing"):
                await call
        with pytest.raises(InvalidRequestError, match="workspace_id: it is missing"):
            _ = [one async for one in client.approvals.iterate()]
    base = f"/v1/public/workspaces/{OTHER}/tool_action_approvals"
    assert [base, base, f"{base}/a%2Fb", "/v1/public/workspaces/w%2F1/tool_action_approvals/a%3Fb/decide"] == [
        request.url.raw_path.decode() for request in httpx_mock.get_requests()
    ]


def test_effects() -> None:
    """Look-ups are safe to repeat; a decision is not repeated lightly."""
    assert "nothing" == approvals.get(SETTINGS, ID, None).effect
    assert "nothing" == approvals.list_page(SETTINGS, *[None] * 7).effect
    assert "change" == approvals.decide(SETTINGS, ID, "deny", None).effect


# --- one page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, ""),
        ({"status": "pending"}, "?status=pending"),
        ({"agent_id": OTHER}, f"?agent_id={OTHER}"),
        ({"run_id": ID}, f"?run_id={ID}"),
        ({"request_id": "req_1"}, "?request_id=req_1"),
        ({"cursor": "a b&c=é"}, "?cursor=a+b%26c%3D%C3%A9"),
        ({"limit": 5}, "?limit=5"),
        (
            {"limit": 5, "cursor": "c", "request_id": "r", "run_id": "u", "agent_id": "a", "status": "s"},
            "?status=s&agent_id=a&run_id=u&request_id=r&cursor=c&limit=5",
        ),
    ],
)
async def test_list(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, arguments: dict[str, Any], query: str
) -> None:
    """A page is one GET with what was passed in the query, in one order, and its approvals are a list."""
    body = {"approvals": [APPROVAL, *by_id("other")], "next_cursor": "c2"}
    httpx_mock.add_response(json=body)
    async with make_client(workspace_id=WORKSPACE) as client:
        page = await client.approvals.list(**arguments)
    [request] = httpx_mock.get_requests()
    assert ("GET", b"", f"{PATH}{query}".encode()) == (request.method, request.content, request.url.raw_path)
    assert isinstance(page, ApprovalPage)
    assert [ID, "other"] == [one.id for one in page]
    assert body["approvals"] == page.to_list()
    assert ("c2", False, body) == (page.next_cursor, page.is_last, page.http_response.json())


@pytest.mark.parametrize(
    ("fields", "next_cursor", "is_last"),
    [
        ({}, None, None),
        ({"meta": None, "pagination": []}, None, None),
        ({"meta": {"total": 3}}, None, None),
        ({"next_cursor": "c"}, "c", False),
        ({"next": "c"}, "c", False),
        ({"cursor": "c"}, "c", False),
        ({"meta": {"next_cursor": "c"}}, "c", False),
        ({"pagination": {"next": "c"}}, "c", False),
        ({"meta": {"cursor": 17}}, "17", False),
        ({"next_cursor": None}, None, True),
        ({"pagination": {"cursor": None}}, None, True),
        ({"next_cursor": ""}, None, True),
        ({"cursor": "this", "meta": {"next_cursor": "c"}}, "c", False),
        ({"next_cursor": None, "meta": {"next": "c"}}, "c", False),
        ({"next_cursor": {"id": 1}, "next": True, "cursor": 1.5}, None, None),
    ],
)
def test_cursors(fields: dict[str, Any], next_cursor: str | None, is_last: bool | None) -> None:
    """The next page's cursor is found wherever it may be: its place is not documented."""
    page = approvals.read_page(json.dumps({"approvals": by_id("a"), **fields}).encode())

    assert (next_cursor, is_last, ["a"]) == (page.next_cursor, page.is_last, [one.id for one in page])


def test_bare_list() -> None:
    """A bare list of approvals is a page too, and says nothing of the next."""
    page = approvals.read_page(json.dumps(by_id("a", "b")).encode())

    assert (2, None, None) == (len(page), page.next_cursor, page.is_last)


@pytest.mark.parametrize("content", [b"{}", b'{"approvals": null}', b'{"approvals": [1]}', b"7"])
def test_no_page(content: bytes) -> None:
    """What has no list of approvals is not taken for an empty page."""
    with pytest.raises(ValueError, match="list"):
        approvals.read_page(content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"status": 1}, "status: an int is not allowed."),
        ({"agent_id": 7}, "agent_id: an int is not allowed."),
        ({"run_id": ["a"]}, "run_id: a list is not allowed."),
        ({"request_id": b"r"}, "request_id: a bytes is not allowed."),
        ({"limit": "5"}, "limit: a str is not allowed."),
        ({"limit": True}, "limit: a bool is not allowed."),
        ({"limit": 1.5}, "limit: a float is not allowed."),
    ],
)
async def test_wrong_arguments(make_client: Callable[..., Any], arguments: dict[str, Any], message: str) -> None:
    """What cannot be a filter or a limit is refused before anything is sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.approvals.list(**arguments)
        assert message == caught.value.message
        with pytest.raises(InvalidRequestError) as caught:
            _ = [one async for one in client.approvals.iterate(**arguments)]
        assert message == caught.value.message


async def test_wrong_cursor(make_client: Callable[..., Any]) -> None:
    """A cursor is a text."""
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(InvalidRequestError, match="cursor: an int is not allowed"):
            await client.approvals.list(cursor=1)


# --- all pages ----------------------------------------------------------------------------------------


async def test_iterate(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """All pages are gone over with the same filters, and a page is asked for when it is needed."""
    httpx_mock.add_response(json={"approvals": by_id("a", "b"), "next_cursor": "c2"})
    httpx_mock.add_response(json={"approvals": by_id("c"), "next_cursor": None})
    filters = {"status": "s", "agent_id": OTHER, "run_id": ID, "request_id": "r", "limit": 2}
    asked: list[int] = []
    found: list[ToolActionApproval] = []
    async with make_client(workspace_id=WORKSPACE) as client:
        async for approval in client.approvals.iterate(**filters):
            found.append(approval)
            asked.append(len(httpx_mock.get_requests()))
    assert ["a", "b", "c"] == [approval.id for approval in found]
    assert all(isinstance(approval, ToolActionApproval) for approval in found)
    assert [1, 1, 2] == asked
    query = f"status=s&agent_id={OTHER}&run_id={ID}&request_id=r"
    assert [f"{PATH}?{query}&limit=2", f"{PATH}?{query}&cursor=c2&limit=2"] == [
        request.url.raw_path.decode() for request in httpx_mock.get_requests()
    ]


async def test_iterate_fails(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A page that fails raises after what came before it."""
    httpx_mock.add_response(json={"approvals": by_id("a"), "next_cursor": "c2"})
    httpx_mock.add_response(404, json={"error": "Workspace not found"})
    async with make_client(workspace_id=WORKSPACE) as client:
        found = client.approvals.iterate()
        assert "a" == (await anext(found)).id
        with pytest.raises(NotFoundError):
            await anext(found)


def walk(*pages: list[dict[str, Any]] | dict[str, Any], limit: int | None = None) -> tuple[list[str], list[str | None]]:
    """The ids found and the cursors asked with, when these pages come one after the other."""
    walking = Walk(SETTINGS, None, None, None, None, limit, None)
    left = [page if isinstance(page, dict) else {"approvals": page} for page in pages]
    found: list[str] = []
    cursors: list[str | None] = []
    while walking.operation is not None:
        cursors.append(httpx.QueryParams(walking.operation.query).get("cursor"))
        page = walking.operation.read(json.dumps(left.pop(0)).encode())
        found += [approval.id for approval in walking.take(page)]
    assert not left, f"{len(left)} pages were not asked for"
    return found, cursors


@pytest.mark.parametrize("limit", [None, 2, 100])
def test_no_cursors(limit: int | None) -> None:
    """Where answers have no cursor, pages are followed from their last approval until one brings nothing new.

    So nothing is lost to a limit of the service's own, that is smaller than the one asked for.
    """
    pages = (by_id("a", "b"), by_id("c", "d"), by_id("e"), [])
    assert (["a", "b", "c", "d", "e"], [None, "b", "d", "e"]) == walk(*pages, limit=limit)
    assert ([], [None]) == walk([], limit=limit)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_an_id_is_no_cursor(make_client: Callable[..., Any], httpx_mock: HTTPXMock, status: int) -> None:
    """A service that takes no id for a cursor has given its only page: that is no error."""
    httpx_mock.add_response(json={"approvals": by_id("a", "b")})
    httpx_mock.add_response(status, json={"error": "Invalid cursor"})
    async with make_client(workspace_id=WORKSPACE) as client:
        assert ["a", "b"] == [approval.id async for approval in client.approvals.iterate()]


async def test_a_guessed_page_that_fails(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """But a page that could not be had for another reason is an error, so that nothing is missed in silence."""
    httpx_mock.add_response(json={"approvals": by_id("a")})
    httpx_mock.add_response(401, json={"error": "Invalid access."})
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(AuthenticationError):
            [approval async for approval in client.approvals.iterate()]


def test_the_cursor_is_unknown_to_the_service() -> None:
    """A service that answers the same page for ever is asked twice, and nothing comes twice."""
    assert (["a", "b"], [None, "b"]) == walk(by_id("a", "b"), by_id("a", "b"), limit=2)
    page = {"approvals": by_id("a"), "next_cursor": "same"}
    assert (["a"], [None, "same"]) == walk(page, page)


def test_pages_that_overlap() -> None:
    """An approval that is in two pages, or twice in one, comes once."""
    assert (["a", "b", "c"], [None, "x", "y"]) == walk(
        {"approvals": by_id("a", "b", "a"), "next": "x"},
        {"approvals": by_id("b", "c"), "next": "y"},
        {"approvals": by_id("c"), "next": "z"},
    )


def test_a_null_cursor_ends() -> None:
    """A null where the cursor would be is the end, even of a full page."""
    assert (["a", "b"], [None]) == walk({"approvals": by_id("a", "b"), "next_cursor": None}, limit=2)


def test_an_empty_page_ends() -> None:
    """A page with a cursor and without approvals is the end."""
    assert ([], [None]) == walk({"approvals": [], "next_cursor": "c"})


async def test_a_page_decides_nothing(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A page of something in between, or an error with a success status, is not taken for a decision."""
    httpx_mock.add_response(text="\n<!doctype html><title>Log in</title>")
    httpx_mock.add_response(json={"error": "Already decided"})
    async with make_client(workspace_id=WORKSPACE) as client:
        for problem in ("it is a page", "Already decided"):
            with pytest.raises(UnexpectedResponseError, match=problem) as caught:
                await client.approvals.decide(ID, "deny")
            assert caught.value.may_have_run is True
