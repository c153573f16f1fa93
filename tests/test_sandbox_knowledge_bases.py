"""Knowledge bases over HTTP: made, changed, filled, searched; and what all resources have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fetch_hive_sdk.errors import InvalidRequestError
from fetch_hive_sdk.sandbox import Choices, Sandbox
from fetch_hive_sdk.sandbox.ids import WORKSPACE_ID
from fetch_hive_sdk.sandbox.resources.knowledge_base_items import passages
from fetch_hive_sdk.sandbox.runs import Reply

from .sandbox_requests import AGENT, KEY, START, Clock, ask, look_up, read

W = f"/public/workspaces/{WORKSPACE_ID}"
BASES = f"{W}/knowledge_bases"
UNKNOWN = "0190aaaa-0000-7000-8000-000000000001"
SEARCH: dict[str, Any] = {
    "search_query": "refund",
    "search_type": "hybrid",
    "search_chunk_limit": 5,
    "search_score_threshold": 0,
}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(clock=Clock())


def send(sandbox: Sandbox, method: str, path: str, body: object = b"", **more: Any) -> Reply:
    return ask(sandbox, "", body, method=method, path=f"/v1{path}", **more)


def done(sandbox: Sandbox, method: str, path: str, body: object = b"") -> Any:
    """The JSON of a 200."""
    reply = send(sandbox, method, path, body)
    assert reply.status == 200, reply.body
    return read(reply)


def refused(sandbox: Sandbox, method: str, path: str, body: object = b"") -> tuple[int, Any]:
    """Status and `error` of a refusal."""
    reply = send(sandbox, method, path, body)
    return reply.status, read(reply)["error"]


def new_base(sandbox: Sandbox, **more: Any) -> Any:
    return done(sandbox, "POST", BASES, {"knowledge_base": {"name": "Policies", **more}})["knowledge_base"]


def new_item(sandbox: Sandbox, base: Any, **more: Any) -> Any:
    body = {"knowledge_base_item": {"name": "Refunds", **more}}
    return done(sandbox, "POST", f"{BASES}/{base['id']}/items", body)["knowledge_base_item"]


def new_asset(sandbox: Sandbox, name: str, content: bytes) -> str:
    sandbox.engine.store.objects.add("asset", name, {"id": name, "file_name": name})
    sandbox.engine.store.objects.put_file(name, content)
    return name


def search(sandbox: Sandbox, base: Any, query: str = "refund", **more: Any) -> list[Any]:
    """What a search finds."""
    body = {**SEARCH, "search_query": query, **more}
    found = done(sandbox, "POST", f"{BASES}/{base['id']}/search", body)
    assert found["message"] == "Search completed."
    results: list[Any] = found["response"]["results"]
    return results


def contents(found: list[Any]) -> list[str]:
    return [one["content"] for one in found]


# --- knowledge bases ----------------------------------------------------------------------------------


def test_a_knowledge_base_is_made_with_its_name_alone(sandbox: Sandbox) -> None:
    """The reply has every documented field; list and look-up tell the same."""
    made = done(sandbox, "POST", BASES, {"knowledge_base": {"name": "Policies"}, "other": 1})
    base = made["knowledge_base"]
    assert made["message"] == "Knowledge base created."
    assert base == {
        "id": base["id"],
        "name": "Policies",
        "description": None,
        "data_item_count": 0,
        "search_score_threshold": "0.0",
        "search_chunk_limit": 5,
        "generated_at": START.isoformat(),
        "status": "active",
        "search_type": "hybrid",
        "is_active": True,
        "is_archived": False,
        "is_hybrid_search": True,
        "is_vector_search": False,
        "is_full_text_search": False,
    }
    assert done(sandbox, "GET", f"{BASES}/{base['id']}") == {"knowledge_base": base}
    assert done(sandbox, "GET", BASES) == {"knowledge_bases": [base]}


def test_a_knowledge_base_is_made_with_every_field(sandbox: Sandbox) -> None:
    """What was given is told again, the threshold as text; unknown fields are ignored."""
    given = {
        "description": "For support",
        "search_type": "vector",
        "search_score_threshold": 0.25,
        "search_chunk_limit": 7,
    }
    base = new_base(sandbox, **given, colour="red", status="archived")
    assert {key: base[key] for key in given} == {**given, "search_score_threshold": "0.25"}
    assert (base["is_hybrid_search"], base["is_vector_search"], base["is_full_text_search"]) == (False, True, False)
    assert (base["status"], "colour" in base) == ("active", False)


def test_a_knowledge_base_is_changed(sandbox: Sandbox) -> None:
    """What is sent changes, the rest stays; null is the default again."""
    base = new_base(sandbox, description="For support", search_chunk_limit=7)
    path = f"{BASES}/{base['id']}"
    change = {"search_type": "full_text", "search_chunk_limit": None}
    changed = done(sandbox, "PATCH", path, {"knowledge_base": change})
    assert changed["message"] == "Knowledge base updated."
    expected = {"search_type": "full_text", "search_chunk_limit": 5}
    assert changed["knowledge_base"] == {
        **base,
        **expected,
        "is_hybrid_search": False,
        "is_full_text_search": True,
    }
    assert done(sandbox, "GET", path) == {"knowledge_base": changed["knowledge_base"]}


def test_a_knowledge_base_is_deleted_with_all_that_is_in_it(sandbox: Sandbox) -> None:
    """It is gone from the list at once, and its items are; others stay."""
    gone, kept = new_base(sandbox), new_base(sandbox, name="Other")
    item = new_item(sandbox, gone, data_content="refund")
    new_item(sandbox, kept, data_content="refund")
    assert done(sandbox, "DELETE", f"{BASES}/{gone['id']}") == {"message": "Knowledge base deleted."}
    assert [base["name"] for base in done(sandbox, "GET", BASES)["knowledge_bases"]] == ["Other"]
    assert refused(sandbox, "GET", f"{BASES}/{gone['id']}") == (422, "Data set not found.")
    assert sandbox.engine.store.objects.get("knowledge_base_item", item["id"]) is None
    assert sandbox.engine.store.objects.search(gone["id"], "refund", limit=1) == []
    assert contents(search(sandbox, kept)) == ["refund"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": ""}, "name is required"),
        ({"name": None}, "name is required"),
        ({"name": 1}, "name must be a string"),
        ({"description": []}, "description must be a string"),
        ({"search_type": "exact"}, "search_type must be one of: hybrid, vector, full_text"),
        ({"search_type": 1}, "search_type must be a string"),
        ({"search_score_threshold": True}, "search_score_threshold must be a number"),
        ({"search_score_threshold": "0.5"}, "search_score_threshold must be a number"),
        ({"search_chunk_limit": 2.5}, "search_chunk_limit must be an integer"),
        ({"search_chunk_limit": True}, "search_chunk_limit must be an integer"),
    ],
)
def test_a_knowledge_base_with_a_wrong_field(sandbox: Sandbox, fields: dict[str, Any], error: str) -> None:
    """Making and changing it is refused with 422, and the field is named; nothing is made or changed."""
    base = new_base(sandbox)
    for method, path in (("POST", BASES), ("PATCH", f"{BASES}/{base['id']}")):
        reply = send(sandbox, method, path, {"knowledge_base": {"name": "New", **fields}})
        assert reply.status == 422
        assert read(reply) == {"error": error, "message": error, "error_code": "validation_error"}
    assert done(sandbox, "GET", BASES) == {"knowledge_bases": [base]}


def test_a_knowledge_base_without_a_name(sandbox: Sandbox) -> None:
    """Made without a name it is refused; changed without one it keeps it."""
    assert refused(sandbox, "POST", BASES, {"knowledge_base": {}}) == (422, "name is required")
    base = new_base(sandbox)
    changed = done(sandbox, "PATCH", f"{BASES}/{base['id']}", {"knowledge_base": {}})
    assert changed["knowledge_base"] == base


@pytest.mark.parametrize("body", [{}, {"name": "Policies"}, {"knowledge_base": "Policies"}, {"knowledge_base": None}])
def test_a_body_without_its_wrapper(sandbox: Sandbox, body: object) -> None:
    """The key that has to hold the fields is named."""
    error = "knowledge_base is required and must be an object"
    assert refused(sandbox, "POST", BASES, body) == (422, error)


def test_a_body_that_is_no_json(sandbox: Sandbox) -> None:
    """It is refused as everywhere else."""
    assert refused(sandbox, "POST", BASES, b"{") == (400, "The request body is not valid JSON")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/search"),
        ("GET", "/items"),
        ("POST", "/items"),
        ("GET", f"/items/{UNKNOWN}"),
        ("PATCH", f"/items/{UNKNOWN}"),
        ("DELETE", f"/items/{UNKNOWN}"),
        ("POST", f"/items/{UNKNOWN}/regenerate"),
    ],
)
def test_an_unknown_knowledge_base(sandbox: Sandbox, method: str, path: str) -> None:
    """It is a 422 with the documented text; in an unknown workspace, a 404."""
    assert refused(sandbox, method, f"{BASES}/{UNKNOWN}{path}", {}) == (422, "Data set not found.")
    elsewhere = BASES.replace(WORKSPACE_ID, UNKNOWN)
    assert refused(sandbox, method, f"{elsewhere}/{UNKNOWN}{path}", {}) == (404, "Workspace not found")


# --- items --------------------------------------------------------------------------------------------


def test_an_item_is_made_with_its_name_alone(sandbox: Sandbox) -> None:
    """The reply and the look-up have every field, the list the documented six; the base counts it."""
    base = new_base(sandbox)
    items = f"{BASES}/{base['id']}/items"
    made = done(sandbox, "POST", items, {"knowledge_base_item": {"name": "Refunds"}})
    item = made["knowledge_base_item"]
    assert made["message"] == "Item created."
    assert item == {
        "id": item["id"],
        "name": "Refunds",
        "knowledge_base_id": base["id"],
        "item_type": "custom",
        "run_status": "completed",
        "status": "active",
        "generated_at": START.isoformat(),
        "delete_email_data": "disabled",
        "delete_telephone_data": "disabled",
        **dict.fromkeys(("description", "response_type", "data_content", "data_query", "asset_id")),
        **dict.fromkeys(("chunking_strategy", "chunk_overlap", "maximum_chunk_length")),
    }
    assert done(sandbox, "GET", f"{items}/{item['id']}") == {"knowledge_base_item": item}
    keys = ("id", "name", "knowledge_base_id", "item_type", "run_status", "status")
    assert done(sandbox, "GET", items) == {"knowledge_base_items": [{key: item[key] for key in keys}]}
    assert done(sandbox, "GET", f"{BASES}/{base['id']}")["knowledge_base"]["data_item_count"] == 1


def test_an_item_is_changed(sandbox: Sandbox) -> None:
    """What is sent changes, and is found at once; type, response type and asset stay."""
    base = new_base(sandbox)
    item = new_item(sandbox, base, data_content="old", response_type="json", description="About money")
    path = f"{BASES}/{base['id']}/items/{item['id']}"
    change = {"data_content": "refund", "item_type": "document", "response_type": "text", "asset_id": "x"}
    changed = done(sandbox, "PATCH", path, {"knowledge_base_item": change})
    assert changed == {"message": "Item updated.", "knowledge_base_item": {**item, "data_content": "refund"}}
    assert done(sandbox, "GET", path)["knowledge_base_item"] == changed["knowledge_base_item"]
    assert contents(search(sandbox, base, "old refund")) == ["refund"]


def test_an_item_is_deleted(sandbox: Sandbox) -> None:
    """It is not listed, counted or found any more."""
    base = new_base(sandbox)
    item = new_item(sandbox, base, data_content="refund")
    path = f"{BASES}/{base['id']}/items/{item['id']}"
    assert done(sandbox, "DELETE", path) == {"message": "Item deleted."}
    assert refused(sandbox, "DELETE", path) == (422, "Item not found.")
    assert done(sandbox, "GET", f"{BASES}/{base['id']}/items") == {"knowledge_base_items": []}
    assert done(sandbox, "GET", f"{BASES}/{base['id']}")["knowledge_base"]["data_item_count"] == 0
    assert search(sandbox, base) == []


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/regenerate")])
def test_an_item_of_another_knowledge_base(sandbox: Sandbox, method: str, end: str) -> None:
    """Below a base it does not belong to, an item is not there."""
    base, other = new_base(sandbox), new_base(sandbox)
    item = new_item(sandbox, other)
    path = f"{BASES}/{base['id']}/items/{item['id']}{end}"
    assert refused(sandbox, method, path, {}) == (422, "Item not found.")
    assert done(sandbox, "GET", f"{BASES}/{other['id']}/items/{item['id']}")["knowledge_base_item"] == item


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": None}, "name is required"),
        ({"data_content": {}}, "data_content must be a string"),
        ({"delete_email_data": "yes"}, "delete_email_data must be one of: enabled, disabled"),
        ({"delete_telephone_data": True}, "delete_telephone_data must be a string"),
        ({"chunk_overlap": -1}, "chunk_overlap must be at least 0"),
        ({"chunk_overlap": 1.5}, "chunk_overlap must be an integer"),
        ({"maximum_chunk_length": 0}, "maximum_chunk_length must be at least 1"),
    ],
)
def test_an_item_with_a_wrong_field(sandbox: Sandbox, fields: dict[str, Any], error: str) -> None:
    """Making and changing it is refused with 422, the text in a list as well; nothing is made or changed."""
    base = new_base(sandbox)
    item = new_item(sandbox, base, data_content="refund")
    items = f"{BASES}/{base['id']}/items"
    for method, path in (("POST", items), ("PATCH", f"{items}/{item['id']}")):
        reply = send(sandbox, method, path, {"knowledge_base_item": {"name": "New", **fields}})
        assert reply.status == 422
        told = {"error": error, "message": error, "error_code": "validation_error", "errors": [error]}
        assert read(reply) == told
    assert done(sandbox, "GET", f"{items}/{item['id']}")["knowledge_base_item"] == item
    assert len(done(sandbox, "GET", items)["knowledge_base_items"]) == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"item_type": "pdf"}, "item_type must be one of: custom, website_scrape, document"),
        ({"response_type": 1}, "response_type must be a string"),
        ({"asset_id": UNKNOWN}, "asset_id is not known"),
    ],
)
def test_a_new_item_with_a_wrong_field(sandbox: Sandbox, fields: dict[str, Any], error: str) -> None:
    """What is only given when an item is made is checked then; nothing is left of a refused one."""
    base = new_base(sandbox)
    items = f"{BASES}/{base['id']}/items"
    assert refused(sandbox, "POST", items, {"knowledge_base_item": {"name": "New", **fields}}) == (422, error)
    assert done(sandbox, "GET", items) == {"knowledge_base_items": []}


def test_an_item_of_very_many_passages(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with the way out, made or changed, as everything else would wait for it; as many are accepted."""
    monkeypatch.setattr("fetch_hive_sdk.sandbox.resources.knowledge_base_items.MOST_PASSAGES", 3)
    base = new_base(sandbox)
    items = f"{BASES}/{base['id']}/items"
    item = new_item(sandbox, base, data_content="one two six", maximum_chunk_length=3)
    error = "the text makes more than 3 passages; raise maximum_chunk_length"
    many = {"knowledge_base_item": {"name": "New", "data_content": "one two six ten", "maximum_chunk_length": 3}}
    assert refused(sandbox, "POST", items, many) == (422, error)
    assert refused(sandbox, "PATCH", f"{items}/{item['id']}", many) == (422, error)
    assert contents(search(sandbox, base, "six ten")) == ["six"]


def test_a_regeneration_is_looked_up(sandbox: Sandbox) -> None:
    """The reply names a request, which the look-up of requests knows as completed."""
    base = new_base(sandbox)
    item = new_item(sandbox, base, data_content="refund")
    begun = done(sandbox, "POST", f"{BASES}/{base['id']}/items/{item['id']}/regenerate")
    assert begun["message"] == "Item is being regenerated."
    request = look_up(sandbox, f"/public/requests/{begun['request_id']}")
    assert begun["request_id"] == "req_" + request["id"].replace("-", "")
    assert {key: request[key] for key in ("request_id", "status", "request_type", "requestable_id", "ended_at")} == {
        "request_id": begun["request_id"],
        "status": "completed",
        "request_type": "knowledge_base_item",
        "requestable_id": item["id"],
        "ended_at": START.isoformat(),
    }
    run = Sandbox()
    ask(run, "agent", AGENT)
    assert look_up(run, f"/public/requests/{run.runs[0].request_id}").keys() == request.keys()
    assert sandbox.runs == []
    assert contents(search(sandbox, base)) == ["refund"]


# --- what an item's text is -----------------------------------------------------------------------------


def test_a_document_is_found_by_the_text_of_its_asset(sandbox: Sandbox) -> None:
    """A text file is found by what is in it, any other by its name, and what is not text is not shown."""
    base = new_base(sandbox)
    text = new_asset(sandbox, "terms.txt", "\ufeffEvery refund takes a café".encode())
    picture = new_asset(sandbox, "refund.png", b"\x89PNG\xff")
    for asset in (text, picture):
        new_item(sandbox, base, name=asset, item_type="document", asset_id=asset, data_content="not this")
    found = search(sandbox, base, "refund png this")
    assert sorted(contents(found)) == ["Every refund takes a café", "refund.png"]


def test_a_document_whose_file_is_gone(sandbox: Sandbox) -> None:
    """Nothing is found of it, and it can be regenerated all the same."""
    sandbox.engine.store.objects.add("asset", "a", {"id": "a", "file_name": "a.txt"})
    base = new_base(sandbox)
    item = new_item(sandbox, base, item_type="document", asset_id="a")
    done(sandbox, "POST", f"{BASES}/{base['id']}/items/{item['id']}/regenerate")
    assert search(sandbox, base, "a txt refunds") == []


def test_a_document_without_an_asset(sandbox: Sandbox) -> None:
    """It is found by the content of the request."""
    base = new_base(sandbox)
    new_item(sandbox, base, item_type="document", data_content="A refund")
    assert contents(search(sandbox, base)) == ["A refund"]


def test_a_website_is_found_by_what_is_said_of_it(sandbox: Sandbox) -> None:
    """Nobody is contacted: name, description and content of the request are what there is."""
    base = new_base(sandbox)
    content = "https://shop.example/refund"
    new_item(sandbox, base, name="Shop", item_type="website_scrape", description="Terms", data_content=content)
    new_item(sandbox, base, name="Refund site", item_type="website_scrape")
    assert sorted(contents(search(sandbox, base))) == ["Refund site", f"Shop\nTerms\n{content}"]


def test_an_item_is_cut_as_it_asks(sandbox: Sandbox) -> None:
    """Length and overlap of the passages are the item's; a change of them cuts it anew."""
    base = new_base(sandbox)
    content = "a refund is paid in a refund week"
    item = new_item(sandbox, base, data_content=content, maximum_chunk_length=16, chunk_overlap=4)
    assert sorted(contents(search(sandbox, base))) == ["a refund is paid", "paid in a refund"]
    path = f"{BASES}/{base['id']}/items/{item['id']}"
    done(sandbox, "PATCH", path, {"knowledge_base_item": {"maximum_chunk_length": None}})
    assert contents(search(sandbox, base)) == [content]


@pytest.mark.parametrize(
    ("text", "length", "overlap", "expected"),
    [
        ("", 10, 0, []),
        (" \n ", 10, 0, []),
        ("one", 10, 0, ["one"]),
        ("one two three", 7, 0, ["one two", "three"]),
        ("one two three", 6, 0, ["one", "two", "three"]),
        (" one\n two ", 20, 0, ["one\n two"]),
        ("aa bb cc dd", 5, 2, ["aa bb", "bb cc", "cc dd"]),
        ("aa bb cc dd", 5, 1, ["aa bb", "cc dd"]),
        ("aa bb cc dd", 8, 99, ["aa bb cc", "cc dd"]),
        ("aa bb longerthanall cc", 5, 2, ["aa bb", "longerthanall", "cc"]),
        ("longer longer", 1, 1, ["longer", "longer"]),
        ("a b c", 1, 0, ["a", "b", "c"]),
        ("\u5546\u54c1 30\u5929\u9000\u8d27", 4, 0, ["\u5546\u54c1", "30\u5929\u9000", "\u8d27"]),
    ],
)
def test_texts_are_cut_between_words(text: str, length: int, overlap: int, expected: list[str]) -> None:
    """No piece is longer than it may be, but a single word; each has a word the one before has not."""
    assert list(passages(text, length=length, overlap=overlap)) == expected


# --- searching ------------------------------------------------------------------------------------------


def test_a_search_tells_what_it_found_where(sandbox: Sandbox) -> None:
    """Each result has item, name, text and score, best first; the best has 1."""
    base = new_base(sandbox)
    good = new_item(sandbox, base, name="Refunds", data_content="A refund within thirty days")
    poor = new_item(sandbox, base, name="Shipping", data_content="Shipping takes days, but there are exceptions to it")
    new_item(sandbox, new_base(sandbox), data_content="A refund in another base")
    found = search(sandbox, base, "refund days")
    assert [(one["knowledge_base_item_id"], one["name"], one["content"]) for one in found] == [
        (good["id"], "Refunds", "A refund within thirty days"),
        (poor["id"], "Shipping", "Shipping takes days, but there are exceptions to it"),
    ]
    assert 1 == found[0]["score"] > found[1]["score"] > 0
    assert set(found[0]) == {"knowledge_base_item_id", "name", "content", "score"}


def test_a_search_keeps_its_limits(sandbox: Sandbox) -> None:
    """No more than `search_chunk_limit` results, and none below `search_score_threshold`; 0 and 1 are allowed."""
    base = new_base(sandbox)
    for number in range(25):
        new_item(sandbox, base, data_content=f"refund {'days' if number < 10 else ''} {number}")
    assert [len(search(sandbox, base, search_chunk_limit=limit)) for limit in (1, 20)] == [1, 20]
    both = {"search_query": "refund days", "search_chunk_limit": 20}
    assert [one["score"] for one in search(sandbox, base, **both)] == [1] * 10 + [0.5] * 10
    for threshold, count in ((0, 20), (0.5, 20), (0.6, 10), (1, 10)):
        assert len(search(sandbox, base, **both, search_score_threshold=threshold)) == count


@pytest.mark.parametrize("search_type", ["hybrid", "vector", "full_text"])
def test_every_search_type_finds_words(sandbox: Sandbox, search_type: str) -> None:
    """There are no embeddings: all of them search the text."""
    base = new_base(sandbox)
    new_item(sandbox, base, data_content="A refund")
    assert contents(search(sandbox, base, 'REFUND" OR (', search_type=search_type)) == ["A refund"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"search_query": ""}, "search_query is required"),
        ({"search_query": 1}, "search_query must be a string"),
        ({"search_type": None}, "search_type is required"),
        ({"search_type": "exact"}, "search_type must be one of: hybrid, vector, full_text"),
        ({"search_chunk_limit": None}, "search_chunk_limit is required"),
        ({"search_chunk_limit": 0}, "search_chunk_limit must be from 1 to 20"),
        ({"search_chunk_limit": 21}, "search_chunk_limit must be from 1 to 20"),
        ({"search_chunk_limit": True}, "search_chunk_limit must be an integer"),
        ({"search_score_threshold": None}, "search_score_threshold is required"),
        ({"search_score_threshold": -0.1}, "search_score_threshold must be from 0 to 1"),
        ({"search_score_threshold": 1.1}, "search_score_threshold must be from 0 to 1"),
        ({"search_score_threshold": False}, "search_score_threshold must be a number"),
    ],
)
def test_a_search_with_a_wrong_field(sandbox: Sandbox, fields: dict[str, Any], error: str) -> None:
    """All four fields are needed, of the documented types and within the documented bounds."""
    base = new_base(sandbox)
    assert refused(sandbox, "POST", f"{BASES}/{base['id']}/search", {**SEARCH, **fields}) == (422, error)


def test_a_machine_that_cannot_search(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite has no full text search, the reply says so, and nothing is half done."""
    monkeypatch.setattr(
        "fetch_hive_sdk.sandbox.objects._TEXTS", "CREATE VIRTUAL TABLE texts USING no_such_module (text)"
    )
    base = new_base(sandbox)
    items = f"{BASES}/{base['id']}/items"
    status, error = refused(sandbox, "POST", items, {"knowledge_base_item": {"name": "New"}})
    assert (status, "FTS5" in error) == (500, True)
    assert done(sandbox, "GET", items) == {"knowledge_base_items": []}


# --- what all resources have in common ------------------------------------------------------------------


def test_a_key_is_needed(sandbox: Sandbox) -> None:
    """Without one nothing is told or made; what the documentation gives to anybody needs none."""
    assert send(sandbox, "GET", BASES, headers={}).status == 401
    assert send(sandbox, "POST", BASES, {"knowledge_base": {"name": "New"}}, headers={}).status == 401
    assert done(sandbox, "GET", BASES) == {"knowledge_bases": []}
    for path in (
        "/error_codes",
        "/public/search_services/countries",
        "/public/search_services/google_search/countries",
    ):
        assert send(sandbox, "GET", path, headers={}).status != 401


def test_another_method(sandbox: Sandbox) -> None:
    """It is a 405 that names those there are."""
    reply = send(sandbox, "PUT", f"{BASES}/{UNKNOWN}")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, PATCH, DELETE")


def test_a_scripted_fault_comes_before_a_resource(sandbox: Sandbox) -> None:
    """A fault for the next request is answered to a resource as well, and nothing is made."""
    sandbox.fail_next("too_many_requests")
    assert send(sandbox, "POST", BASES, {"knowledge_base": {"name": "New"}}).status == 429
    assert done(sandbox, "GET", BASES) == {"knowledge_bases": []}
    sandbox.fail_next("status=500")
    assert send(sandbox, "GET", BASES).status == 500


def test_the_daily_limit_may_count_resources() -> None:
    """By choice calls to resources count for the daily limit; by default they do not."""
    for counts, expected in (("invokes", [200, 200, 200]), ("all", [200, 429, 429])):
        chosen: Any = counts
        sandbox = Sandbox(daily_limit=1, choices=Choices(daily_limit_counts=chosen))
        assert [send(sandbox, "GET", BASES).status for _ in range(3)] == expected


def test_a_refused_call_is_logged(sandbox: Sandbox) -> None:
    """What is refused is among the refused requests, as of any other path."""
    send(sandbox, "DELETE", f"{BASES}/{UNKNOWN}")
    [refusal] = sandbox.engine.store.refused()
    assert (refusal.request.method, refusal.status, refusal.error) == ("DELETE", 422, "Data set not found.")


def test_a_reset_forgets_what_was_made(sandbox: Sandbox) -> None:
    """After a reset there are no knowledge bases, items and requests."""
    base = new_base(sandbox)
    new_item(sandbox, base, data_content="refund")
    sandbox.reset()
    assert done(sandbox, "GET", BASES) == {"knowledge_bases": []}
    assert refused(sandbox, "GET", f"{BASES}/{base['id']}") == (422, "Data set not found.")


def test_what_was_made_outlives_the_sandbox(tmp_path: Path) -> None:
    """With a file, knowledge bases and what is found in them are there the next time."""
    with Sandbox(db=tmp_path / "sandbox.db") as sandbox:
        base = new_base(sandbox)
        new_item(sandbox, base, data_content="refund")
    with Sandbox(db=tmp_path / "sandbox.db") as sandbox:
        assert contents(search(sandbox, base)) == ["refund"]


def test_the_key_of_what_is_found_is_a_choice_in_a_file(tmp_path: Path) -> None:
    """The switches of the resources can stand in the configuration file."""
    file = tmp_path / "sandbox.toml"
    file.write_text('[choices]\nsearch_results_key = "hits"\nnext_cursor_key = "next"\nasset_storage_limit = 10\n')
    with Sandbox.from_config(file) as sandbox:
        found = done(sandbox, "POST", f"{BASES}/{new_base(sandbox)['id']}/search", SEARCH)
        assert found["response"] == {"hits": []}
        choices = sandbox.engine.choices
        assert (choices.next_cursor_key, choices.asset_storage_limit) == ("next", 10)


def new_agent(sandbox: Sandbox) -> str:
    body = {"agent": {"name": "Helper", "llm_model": "sandbox-small", "model_type": "llm"}}
    agent_id: str = done(sandbox, "POST", f"{W}/agents", body)["agent"]["id"]
    return agent_id


def test_a_strict_sandbox_knows_agents_that_were_made() -> None:
    """An agent made over the API answers in a strict sandbox, until it is deleted; a workflow of the name does not."""
    sandbox = Sandbox(strict=True)
    agent_id = new_agent(sandbox)
    invoke = {"agent": agent_id, "message": "Hello"}
    assert ask(sandbox, "agent", invoke).status == 200
    assert ask(sandbox, "workflow", {"deployment": agent_id, "variant": "default"}).status == 404
    assert ask(sandbox, "agent", AGENT).status == 404
    assert done(sandbox, "DELETE", f"{W}/agents/{agent_id}")
    assert ask(sandbox, "agent", invoke).status == 404


def test_a_message_is_put_into_a_chat(sandbox: Sandbox) -> None:
    """It is listed by the API; by default it is the user's."""
    agent_id = new_agent(sandbox)
    chats = f"{W}/agents/{agent_id}/chats"
    chat_id = done(sandbox, "POST", chats, {"chat": {"name": "Talk"}})["chat"]["id"]
    asked = sandbox.add_chat_message(chat_id, "Hello")
    answered = sandbox.add_chat_message(chat_id, "Hello back", "assistant")
    assert (asked["role"], asked["content"], answered["role"]) == ("user", "Hello", "assistant")
    assert done(sandbox, "GET", f"{chats}/{chat_id}/messages") == {"messages": [asked, answered]}


def test_a_message_that_cannot_be_put_into_a_chat(sandbox: Sandbox) -> None:
    """An unknown chat and an unknown role are refused."""
    with pytest.raises(InvalidRequestError, match=r"not found\.$"):
        sandbox.add_chat_message(UNKNOWN, "Hello")
    with pytest.raises(InvalidRequestError, match="role"):
        sandbox.add_chat_message(UNKNOWN, "Hello", "robot")


def test_links_in_replies_lead_to_the_server_while_one_runs(sandbox: Sandbox) -> None:
    """Handlers are told the server's address; before and after it the address that the transport uses."""
    origin = sandbox.engine.desk.origin
    assert origin() == "http://sandbox.test"
    with sandbox.serve() as server:
        assert f"{origin()}/v1" == server.base_url
    assert origin() == "http://sandbox.test"


def test_a_reply_may_be_an_array(sandbox: Sandbox) -> None:
    """The models are a bare JSON array, as documented."""
    models = done(sandbox, "GET", "/public/models")
    assert isinstance(models, list)


def test_a_key_stands_in_the_header_of_every_call() -> None:
    """A wrong key is refused for resources as for runs."""
    sandbox = Sandbox(api_key="fhk_other")
    assert send(sandbox, "GET", BASES, headers=KEY).status == 401
