"""Background work that agents have started: looking it up, cancelling it, listing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import AgentDelegation, InvalidRequestError, NotFoundError, UnexpectedResponseError
from fetch_hive_sdk.resources import delegations

pytestmark = pytest.mark.anyio

ID = "0190aaaa-0000-7000-8000-000000000001"
PATH = "https://api.fetchhive.com/v1/agent"
DELEGATION = {
    "id": ID,
    "status": "running",
    "kind": "workflow",
    "target": {"name": "Brief"},
    "result": None,
    "expected_by": "2026-06-01T00:05:00Z",
    "delivered_at": None,
    "delivery_error": None,
    "parent_request_id": "req_019d52846ea37682b03522fd0695cc43",
    "tool_call_id": "call_1",
    "workflow_run_id": "0190aaaa-0000-7000-8000-000000000002",
    "created_at": "2026-06-01T00:00:00Z",
}


async def test_get(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A look-up is one GET with the key and no body, and the delegation has every documented field."""
    httpx_mock.add_response(url=f"{PATH}/delegations/{ID}", json=DELEGATION)
    async with make_client() as client:
        delegation = await client.delegations.get(UUID(ID))
    [request] = httpx_mock.get_requests()
    assert ("GET", b"", "Bearer fhk_test") == (request.method, request.content, request.headers["Authorization"])
    assert isinstance(delegation, AgentDelegation)
    assert DELEGATION == {name: getattr(delegation, name) for name in DELEGATION} == delegation.to_dict()
    assert (200, DELEGATION) == (delegation.http_response.status_code, delegation.http_response.json())


async def test_cancel(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """Cancelling is one POST of an empty object, and tells what the delegation is now."""
    httpx_mock.add_response(url=f"{PATH}/delegations/{ID}/cancel", json={**DELEGATION, "status": "cancelled"})
    async with make_client() as client:
        delegation = await client.delegations.cancel(ID)
    [request] = httpx_mock.get_requests()
    assert ("POST", b"{}", "application/json") == (request.method, request.content, request.headers["Content-Type"])
    assert ("cancelled", ID) == (delegation.status, delegation["id"])


async def test_list(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A thread's delegations come as a list, by the thread's free name, whatever is in it."""
    answer = {"delegations": [DELEGATION, {"id": "other", "status": "pending"}]}
    httpx_mock.add_response(json=answer)
    async with make_client() as client:
        found = await client.delegations.list("Ann & Bob/1?x=../ü")
    [request] = httpx_mock.get_requests()
    assert ("GET", b"") == (request.method, request.content)
    assert b"/v1/agent/threads/Ann%20%26%20Bob%2F1%3Fx%3D..%2F%C3%BC/delegations" == request.url.raw_path
    assert ["running", "pending"] == [one.status for one in found]
    assert all(isinstance(one, AgentDelegation) for one in found)
    assert answer == {"delegations": found.to_list()} == found.http_response.json()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [({"delegations": None}, "it has no list of delegations"), ({"delegations": [7]}, "is no object")],
)
async def test_no_list(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, answer: dict[str, Any], problem: str
) -> None:
    """An answer without a list of delegations is not taken for an empty one."""
    httpx_mock.add_response(json=answer)
    async with make_client() as client:
        with pytest.raises(UnexpectedResponseError, match=problem):
            await client.delegations.list("t")


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("get", "", "delegation_id: it is empty."),
        ("cancel", "..", "delegation_id: '..' is not an id."),
        ("cancel", 7, "delegation_id: an int is not allowed."),
        ("list", "", "thread_id: it is empty."),
        ("list", None, "thread_id: None is not allowed."),
    ],
)
async def test_wrong_ids(make_client: Callable[..., Any], name: str, wrong: Any, message: str) -> None:
    """An id that would call something else, or nothing, is refused before anything is sent."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await getattr(client.delegations, name)(wrong)
    assert message == caught.value.message


async def test_ids_are_escaped(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """Whatever is in an id, it stays one segment of the path."""
    httpx_mock.add_response(json=DELEGATION, is_reusable=True)
    async with make_client() as client:
        await client.delegations.get("a/b?c")
        await client.delegations.cancel("a/b?c")
    assert [b"/v1/agent/delegations/a%2Fb%3Fc", b"/v1/agent/delegations/a%2Fb%3Fc/cancel"] == [
        request.url.raw_path for request in httpx_mock.get_requests()
    ]


async def test_unknown(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A delegation that there is not is a NotFoundError in the service's words."""
    httpx_mock.add_response(404, json={"error": "Delegation not found"})
    async with make_client() as client:
        with pytest.raises(NotFoundError, match="Delegation not found"):
            await client.delegations.get(ID)


def test_effects() -> None:
    """All calls are safe to repeat: cancelling again changes nothing."""
    operations = [delegations.get(ID), delegations.cancel(ID), delegations.list_of_thread("t")]

    assert ["nothing"] * 3 == [operation.effect for operation in operations]


async def test_in_an_envelope(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A delegation in an envelope, as other nouns have one, is the same; an answer without any is an error."""
    for answer in ({"delegation": {"id": "1", "status": "running"}}, {"message": "Cancelled"}):
        httpx_mock.add_response(json=answer)
    async with make_client() as client:
        found = await client.delegations.get("1")
        with pytest.raises(UnexpectedResponseError, match="it has no delegation in it"):
            await client.delegations.cancel("1")
    assert ("1", "running") == (found.id, found.status)
