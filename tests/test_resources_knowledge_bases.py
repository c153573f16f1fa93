"""Knowledge bases, searching them, and the items in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import InvalidRequestError, UnprocessableEntityError
from fetch_hive_sdk.resources import knowledge_bases
from fetch_hive_sdk.resources.base import Done, ResultList
from fetch_hive_sdk.resources.knowledge_bases import (
    KnowledgeBase,
    KnowledgeBaseItem,
    KnowledgeBaseSearch,
    Regeneration,
)
from fetch_hive_sdk.settings import Settings

pytestmark = pytest.mark.anyio

WORKSPACE = "0190aaaa-0000-7000-8000-00000000000a"
OTHER = UUID("0190aaaa-0000-7000-8000-00000000000b")
ID = UUID("0190aaaa-0000-7000-8000-000000000001")
ASSET = UUID("0190aaaa-0000-7000-8000-000000000003")
PATH = f"/v1/public/workspaces/{WORKSPACE}/knowledge_bases"
SETTINGS = Settings(api_key="fhk_test", workspace_id=WORKSPACE)

BASE: dict[str, Any] = {
    "id": str(ID),
    "name": "Handbook",
    "description": None,
    "data_item_count": 3,
    "search_score_threshold": "0.25",
    "search_chunk_limit": 5,
    "generated_at": "2026-06-01T00:00:00Z",
    "status": "active",
    "search_type": "hybrid",
    "is_active": True,
    "is_archived": False,
    "is_hybrid_search": True,
    "is_vector_search": False,
    "is_full_text_search": False,
}
ITEM: dict[str, Any] = {
    "id": "0190aaaa-0000-7000-8000-000000000002",
    "name": "Holidays",
    "knowledge_base_id": str(ID),
    "item_type": "custom",
    "run_status": "completed",
    "status": "active",
}
NEW_BASE: dict[str, Any] = {
    "name": "Handbook",
    "description": "",
    "search_type": "full_text",
    "search_score_threshold": 0,
    "search_chunk_limit": 30,
}
CHANGED_ITEM: dict[str, Any] = {
    "name": "Holidays",
    "description": "When we are away",
    "data_content": "All of August.",
    "data_query": "when?",
    "delete_email_data": "enabled",
    "delete_telephone_data": "disabled",
    "chunking_strategy": "by_paragraph",
    "chunk_overlap": 0,
    "maximum_chunk_length": 400,
}
NEW_ITEM: dict[str, Any] = {
    **{name: CHANGED_ITEM[name] for name in ("name", "description")},
    "item_type": "website_scrape",
    "response_type": "text",
    **{name: value for name, value in CHANGED_ITEM.items() if name not in ("name", "description")},
}

# Name, ids and arguments of a call; the request; the answer; what its result is made of.
Call = tuple[str, list[Any], dict[str, Any], str, str, Any, dict[str, Any], type[Any], Any]
ANSWER = {"message": "Saved.", "knowledge_base": BASE}
ITEM_ANSWER = {"message": "Saved.", "knowledge_base_item": ITEM}
DONE = {"message": "Knowledge base deleted."}
FOUND = {"message": "Found.", "response": {"results": [{"score": 0.9}]}}
STARTED = {"message": "Started.", "request_id": "req_019d52846ea37682b03522fd0695cc43"}
SEARCH: dict[str, Any] = {
    "search_query": "august",
    "search_type": "vector",
    "search_chunk_limit": 20,
    "search_score_threshold": 1,
}
SEARCH_AS_IT_IS: dict[str, Any] = {
    "search_query": "august",
    "search_type": "hybrid",
    "search_chunk_limit": 5,
    "search_score_threshold": 0.0,
}
CALLS: list[Call] = [
    ("list", [], {}, "GET", "", None, {"knowledge_bases": [BASE]}, ResultList, [BASE]),
    ("get", [ID], {}, "GET", f"/{ID}", None, {"knowledge_base": BASE}, KnowledgeBase, BASE),
    ("get", ["a/b?c"], {}, "GET", "/a%2Fb%3Fc", None, BASE, KnowledgeBase, BASE),
    ("create", [], {"name": "H"}, "POST", "", {"knowledge_base": {"name": "H"}}, ANSWER, KnowledgeBase, BASE),
    ("create", [], NEW_BASE, "POST", "", {"knowledge_base": NEW_BASE}, ANSWER, KnowledgeBase, BASE),
    ("update", [ID], {"name": "H"}, "PATCH", f"/{ID}", {"knowledge_base": {"name": "H"}}, ANSWER, KnowledgeBase, BASE),
    ("update", [ID], NEW_BASE, "PATCH", f"/{ID}", {"knowledge_base": NEW_BASE}, ANSWER, KnowledgeBase, BASE),
    ("delete", [ID], {}, "DELETE", f"/{ID}", None, DONE, Done, DONE),
    ("search", [ID], SEARCH, "POST", f"/{ID}/search", SEARCH, FOUND, KnowledgeBaseSearch, FOUND),
    (
        *("search", ["a/b"], {"search_query": "august"}, "POST", "/a%2Fb/search", SEARCH_AS_IT_IS),
        *(FOUND, KnowledgeBaseSearch, FOUND),
    ),
    ("items.list", [ID], {}, "GET", f"/{ID}/items", None, {"knowledge_base_items": [ITEM]}, ResultList, [ITEM]),
    (
        *("items.get", ["a/b", "c?d"], {}, "GET", "/a%2Fb/items/c%3Fd", None),
        *({"knowledge_base_item": ITEM}, KnowledgeBaseItem, ITEM),
    ),
    (
        *("items.create", [ID], {"name": "H"}, "POST", f"/{ID}/items", {"knowledge_base_item": {"name": "H"}}),
        *(ITEM_ANSWER, KnowledgeBaseItem, ITEM),
    ),
    (
        *("items.create", [ID], {**NEW_ITEM, "asset_id": ASSET}, "POST", f"/{ID}/items"),
        *({"knowledge_base_item": {**NEW_ITEM, "asset_id": str(ASSET)}}, ITEM_ANSWER, KnowledgeBaseItem, ITEM),
    ),
    (
        *("items.create", [ID], {"name": "H", "asset_id": "a1"}, "POST", f"/{ID}/items"),
        *({"knowledge_base_item": {"name": "H", "asset_id": "a1"}}, ITEM_ANSWER, KnowledgeBaseItem, ITEM),
    ),
    (
        *("items.update", [ID, "i/1"], CHANGED_ITEM, "PATCH", f"/{ID}/items/i%2F1"),
        *({"knowledge_base_item": CHANGED_ITEM}, ITEM_ANSWER, KnowledgeBaseItem, ITEM),
    ),
    (
        *("items.update", [ID, "i"], {"chunk_overlap": 0}, "PATCH", f"/{ID}/items/i"),
        *({"knowledge_base_item": {"chunk_overlap": 0}}, ITEM_ANSWER, KnowledgeBaseItem, ITEM),
    ),
    ("items.delete", [ID, "i"], {}, "DELETE", f"/{ID}/items/i", None, DONE, Done, DONE),
    ("items.regenerate", [ID, "i"], {}, "POST", f"/{ID}/items/i/regenerate", {}, STARTED, Regeneration, STARTED),
]
LEAST = {one[0]: one for one in reversed(CALLS)}


def method(client: Any, name: str) -> Any:
    resource, _, last = f"knowledge_bases.{name}".rpartition(".")
    for part in resource.split("."):
        client = getattr(client, part)
    return getattr(client, last)


async def refusal(client: Any, name: str, /, *ids: Any, **arguments: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        await method(client, name)(*ids, **arguments)
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("call", CALLS, ids=[f"{one[0]}-{index}" for index, one in enumerate(CALLS)])
async def test_calls(make_client: Callable[..., Any], httpx_mock: HTTPXMock, call: Call) -> None:
    """Each call is one request as documented, and its result has the service's JSON, by key and as it came."""
    name, ids, arguments, http_method, path, body, answer, cls, result = call
    httpx_mock.add_response(json=answer, headers={"X-Trace": "abc"})
    async with make_client(workspace_id=WORKSPACE) as client:
        returned = await method(client, name)(*ids, **arguments)
    [request] = httpx_mock.get_requests()
    assert (http_method, f"{PATH}{path}".encode()) == (request.method, request.url.raw_path)
    assert (b"" if body is None else json.dumps(body, separators=(",", ":")).encode()) == request.content
    assert (None if body is None else "application/json") == request.headers.get("Content-Type")
    assert "Bearer fhk_test" == request.headers["Authorization"]
    assert type(returned) is cls
    assert result == (returned.to_list() if isinstance(returned, ResultList) else returned.to_dict())
    assert (200, "abc", answer) == (
        returned.http_response.status_code,
        returned.http_response.headers["x-trace"],
        returned.http_response.json(),
    )


@pytest.mark.parametrize("name", LEAST)
async def test_workspaces(make_client: Callable[..., Any], httpx_mock: HTTPXMock, name: str) -> None:
    """Each call may name another workspace; without any, nothing is sent."""
    _, ids, arguments, _, path, _, answer, _, _ = LEAST[name]
    httpx_mock.add_response(json=answer)
    async with make_client() as client:
        await method(client, name)(*ids, **arguments, workspace_id=OTHER)
        assert "workspace_id: it is missing." == await refusal(client, name, *ids, **arguments)
    [request] = httpx_mock.get_requests()
    assert f"/v1/public/workspaces/{OTHER}/knowledge_bases{path}".encode() == request.url.raw_path


@pytest.mark.parametrize("name", [name for name, one in LEAST.items() if one[1]])
async def test_wrong_ids(make_client: Callable[..., Any], name: str) -> None:
    """An id that would call something else, or nothing, is refused before anything is sent."""
    _, ids, arguments, *_ = LEAST[name]
    names = ["knowledge_base_id", "item_id"]
    async with make_client(workspace_id=WORKSPACE) as client:
        for index in range(len(ids)):
            for wrong, problem in (("", "it is empty"), ("..", "'..' is not an id"), (7, "an int is not allowed")):
                given = [*ids[:index], wrong, *ids[index + 1 :]]
                assert f"{names[index]}: {problem}." == await refusal(client, name, *given, **arguments)


# --- results ------------------------------------------------------------------------------------------


def test_knowledge_base() -> None:
    """A knowledge base has every documented field; the threshold, which comes as a text, is a number."""
    base = KnowledgeBase.model_validate(BASE)

    assert {**BASE, "search_score_threshold": 0.25} == {
        name: getattr(base, name) for name in KnowledgeBase.model_fields
    }
    assert "0.25" == base["search_score_threshold"]


@pytest.mark.parametrize(("came", "read"), [(0.5, 0.5), ("1", 1.0), (None, None), ("high", None), ([], None)])
def test_thresholds(came: Any, read: float | None) -> None:
    """A threshold that is a number already is read too, and one that is none breaks nothing."""
    base = KnowledgeBase.model_validate({"name": "H", "search_score_threshold": came})

    assert ("H", read, came) == (base.name, base.search_score_threshold, base["search_score_threshold"])


def test_item() -> None:
    """An item has every documented field, and what else the service tells is there by key."""
    item = KnowledgeBaseItem.model_validate({**ITEM, "data_content": "All of August."})

    assert ITEM == {name: getattr(item, name) for name in KnowledgeBaseItem.model_fields}
    assert "All of August." == item["data_content"]


def test_search() -> None:
    """What was found is the service's object, whatever is in it; something else is there by key."""
    found = KnowledgeBaseSearch.from_json(json.dumps(FOUND).encode())
    odd = KnowledgeBaseSearch.from_json(b'{"response": [1]}')

    assert ("Found.", {"results": [{"score": 0.9}]}) == (found.message, found.response)
    assert ("", {}, [1]) == (odd.message, odd.response, odd["response"])


def test_regeneration() -> None:
    """What was started is told by its request id."""
    started = Regeneration.from_json(json.dumps(STARTED).encode())

    assert ("Started.", STARTED["request_id"]) == (started.message, started.request_id)


async def test_refused_by_the_service(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """An unknown knowledge base, or a field that the service does not accept, is its 422 in its words."""
    httpx_mock.add_response(422, json={"error": "Knowledge base not found"})
    async with make_client(workspace_id=WORKSPACE) as client:
        with pytest.raises(UnprocessableEntityError, match="Knowledge base not found"):
            await client.knowledge_bases.get(ID)


# --- arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["update", "items.update"])
async def test_nothing_to_change(make_client: Callable[..., Any], name: str) -> None:
    """A change of nothing is refused before anything is sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        assert "There is nothing to change." == await refusal(client, name, *LEAST[name][1])


@pytest.mark.parametrize("name", ["create", "update", "items.create", "items.update"])
@pytest.mark.parametrize(
    ("value", "problem"), [("", "it is empty"), (" ", "it is empty"), (7, "an int is not allowed")]
)
async def test_wrong_names(make_client: Callable[..., Any], name: str, value: Any, problem: str) -> None:
    """A name is a text with something in it."""
    async with make_client(workspace_id=WORKSPACE) as client:
        assert f"name: {problem}." == await refusal(client, name, *LEAST[name][1], name=value)


@pytest.mark.parametrize("name", ["create", "items.create"])
async def test_no_name(make_client: Callable[..., Any], name: str) -> None:
    """What is made has a name."""
    async with make_client(workspace_id=WORKSPACE) as client:
        assert "name: None is not allowed." == await refusal(client, name, *LEAST[name][1], name=None)


@pytest.mark.parametrize("name", ["create", "update"])
@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("description", 7, "an int is not allowed"),
        ("search_type", "fuzzy", "'fuzzy' is not allowed"),
        ("search_score_threshold", "0.5", "a str is not allowed"),
        ("search_score_threshold", float("nan"), "nan is not allowed"),
        ("search_chunk_limit", 2.5, "a float is not allowed"),
    ],
)
async def test_wrong_fields(make_client: Callable[..., Any], name: str, field: str, value: Any, problem: str) -> None:
    """A field of a knowledge base that the service must refuse is refused before anything is sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        message = await refusal(client, name, *LEAST[name][1], **{"name": "H", field: value})
    assert f"{field}: {problem}." == message


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("search_query", "", "it is empty"),
        ("search_query", None, "None is not allowed"),
        ("search_type", "fuzzy", "'fuzzy' is not allowed"),
        ("search_type", None, "None is not allowed"),
        ("search_chunk_limit", 0, "0 is not allowed"),
        ("search_chunk_limit", 21, "21 is not allowed"),
        ("search_chunk_limit", 1.0, "a float is not allowed"),
        ("search_chunk_limit", None, "None is not allowed"),
        ("search_score_threshold", -0.1, "-0.1 is not allowed"),
        ("search_score_threshold", 1.1, "1.1 is not allowed"),
        ("search_score_threshold", None, "None is not allowed"),
    ],
)
async def test_wrong_searches(make_client: Callable[..., Any], field: str, value: Any, problem: str) -> None:
    """A search that the service must refuse is refused before anything is sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        message = await refusal(client, "search", ID, **{"search_query": "august", field: value})
    assert f"{field}: {problem}." == message


COMMON: list[tuple[str, Any, str]] = [
    *((field, 7, "an int is not allowed") for field in ("description", "data_content", "data_query")),
    ("chunking_strategy", 7, "an int is not allowed"),
    ("delete_email_data", "yes", "'yes' is not allowed"),
    ("delete_telephone_data", True, "True is not allowed"),
    ("chunk_overlap", 1.5, "a float is not allowed"),
    ("maximum_chunk_length", "400", "a str is not allowed"),
]
ONLY_AT_FIRST: list[tuple[str, Any, str]] = [
    ("item_type", "page", "'page' is not allowed"),
    ("response_type", 7, "an int is not allowed"),
    ("asset_id", 7, "an int is not allowed"),
]


@pytest.mark.parametrize(
    ("name", "field", "value", "problem"),
    [(name, *one) for name in ("items.create", "items.update") for one in COMMON]
    + [("items.create", *one) for one in ONLY_AT_FIRST],
)
async def test_wrong_item_fields(
    make_client: Callable[..., Any], name: str, field: str, value: Any, problem: str
) -> None:
    """A field of an item that the service must refuse is refused before anything is sent."""
    async with make_client(workspace_id=WORKSPACE) as client:
        message = await refusal(client, name, *LEAST[name][1], **{"name": "H", field: value})
    assert f"{field}: {problem}." == message


async def test_what_stays_as_it_is(make_client: Callable[..., Any]) -> None:
    """An item's type and asset cannot be changed, so that there is no argument for them."""
    async with make_client(workspace_id=WORKSPACE) as client:
        for field in ("item_type", "response_type", "asset_id"):
            with pytest.raises(TypeError, match=field):
                await client.knowledge_bases.items.update(ID, "i", **{field: "x"})


# --- the calls as values ------------------------------------------------------------------------------


def test_open_fields() -> None:
    """A call can be made of any fields, nulls and unknown ones included, but of nothing without a JSON form."""
    fields = {"name": "H", "description": None, "colour": {"is": ["red"]}}
    made = knowledge_bases.create(SETTINGS, fields, None)
    item = knowledge_bases.update_item(SETTINGS, ID, "i", fields, None)
    search = knowledge_bases.search(SETTINGS, ID, {"search_query": None}, None)

    assert [{"knowledge_base": fields}, {"knowledge_base_item": fields}, {"search_query": None}] == [
        json.loads(operation.body)  # type: ignore[arg-type]
        for operation in (made, item, search)
    ]
    with pytest.raises(InvalidRequestError, match=r"knowledge_base\.score: nan is not a number of JSON"):
        knowledge_bases.create(SETTINGS, {"score": float("nan")}, None)
    with pytest.raises(InvalidRequestError, match="knowledge_base_item: a list is not allowed"):
        knowledge_bases.create_item(SETTINGS, ID, ["name"], None)  # type: ignore[arg-type]


def test_effects() -> None:
    """Making is not repeated lightly, nor is paid work; all else is safe to repeat."""
    of = knowledge_bases
    fields = {"name": "H"}
    looks = [of.list_knowledge_bases(SETTINGS, None), of.get(SETTINGS, ID, None), of.list_items(SETTINGS, ID, None)]
    looks += [of.get_item(SETTINGS, ID, "i", None), of.search(SETTINGS, ID, fields, None)]
    changes = [of.update(SETTINGS, ID, fields, None), of.update_item(SETTINGS, ID, "i", fields, None)]
    deletions = [of.delete(SETTINGS, ID, None), of.delete_item(SETTINGS, ID, "i", None)]
    makes = [of.create(SETTINGS, fields, None), of.create_item(SETTINGS, ID, fields, None)]

    assert {"nothing"} == {operation.effect for operation in (*looks, *changes, *deletions)}
    assert {"change"} == {operation.effect for operation in makes}
    assert "run" == of.regenerate_item(SETTINGS, ID, "i", None).effect
