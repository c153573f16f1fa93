"""Calling any endpoint by hand, the live catalog of error codes, hive agents, and what is told of each answer."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from pytest_httpx import HTTPXMock
from typing_extensions import TypedDict

from fetch_hive_sdk import (
    APIConnectionError,
    ConfigurationError,
    ErrorCatalog,
    FetchHive,
    HiveAgentRun,
    HTTPResponse,
    InvalidRequestError,
    NotFoundError,
    PromptResult,
    RequestRecord,
    RetryPolicy,
    UnexpectedResponseError,
)

pytestmark = pytest.mark.anyio

BASE = "https://api.fetchhive.com/v1"
AT_ONCE = RetryPolicy(initial_delay=0)


class Thing(BaseModel):
    """What a caller's own model may look like."""

    id: int


class ThingDict(TypedDict):
    """The same as a dict."""

    id: int


class Unfinished(BaseModel):
    """One that speaks of what is nowhere."""

    thing: "Nowhere"  # type: ignore[name-defined]  # noqa: F821, UP037


@dataclasses.dataclass
class ThingRecord:
    """The same as a dataclass."""

    id: int


async def test_request(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A call by hand sends method, path, query and JSON with the key, and gives plain JSON values."""
    httpx_mock.add_response(json=[1, {"a": None}])
    params = {"q": "a b&c", "n": 5, "all": True, "left": None, "tag": ["x", "y"]}
    async with make_client() as client:
        answer = await client.request("post", "/public/new%2Fthing", json={"when": {1}}, params=params)
    [request] = httpx_mock.get_requests()
    assert ("POST", f"{BASE}/public/new%2Fthing?q=a+b%26c&n=5&all=true&tag=x&tag=y") == (
        request.method,
        str(request.url),
    )
    assert {"when": [1]} == json.loads(request.content)
    assert ("Bearer fhk_test", "application/json") == (
        request.headers["Authorization"],
        request.headers["Content-Type"],
    )
    assert [1, {"a": None}] == answer


@pytest.mark.parametrize(
    ("cast_to", "result"),
    [
        (dict, {"id": 7}),
        (dict[str, int], {"id": 7}),
        (Thing, Thing(id=7)),
        (ThingDict, {"id": 7}),
        (ThingRecord, ThingRecord(id=7)),
        (RequestRecord, RequestRecord.model_validate({"id": 7})),
        (PromptResult, PromptResult.model_validate({"id": 7})),
    ],
)
async def test_cast_to(make_client: Callable[..., Any], httpx_mock: HTTPXMock, cast_to: Any, result: Any) -> None:
    """The answer is read as whatever type is asked for: pydantic's, the standard library's, or a result of ours."""
    httpx_mock.add_response(json={"id": 7})
    async with make_client() as client:
        given = await client.request("GET", "/x", cast_to=cast_to)
    assert type(result) is type(given)
    assert result == given


async def test_the_answer_itself(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """`HTTPResponse` gives status, headers and bytes, whatever they are."""
    httpx_mock.add_response(status_code=201, content=b"\xff", headers={"X-Trace": "abc"})
    async with make_client() as client:
        answer = await client.request("GET", "/file", cast_to=HTTPResponse)
    assert (201, "abc", b"\xff") == (answer.status_code, answer.headers["x-trace"], answer.content)
    with pytest.raises(ValueError, match=r"\w"):
        answer.json()


async def test_no_body(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """An answer without a body is None."""
    httpx_mock.add_response(status_code=204)
    async with make_client() as client:
        assert await client.request("DELETE", "/x") is None


@pytest.mark.parametrize("content", [b'{"id": "s3cret"}', b"[]", b"no", b""])
async def test_an_answer_that_does_not_fit(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, content: bytes
) -> None:
    """What does not fit is an error of ours that quotes nothing of the answer, which is in `body`."""
    httpx_mock.add_response(content=content)
    async with make_client() as client:
        with pytest.raises(UnexpectedResponseError) as caught:
            await client.request("GET", "/x", cast_to=Thing)
    assert "it does not fit cast_to" in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert caught.value.may_have_run is False


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE", "PUT"])
async def test_what_is_repeated(make_client: Callable[..., Any], httpx_mock: HTTPXMock, method: str) -> None:
    """What does no harm twice is repeated after a failure; so a passing fault goes unnoticed."""
    httpx_mock.add_exception(httpx.ReadError("It broke."))
    httpx_mock.add_response(status_code=502, json={})
    httpx_mock.add_response(json={})
    async with make_client(retry_policy=AT_ONCE) as client:
        assert {} == await client.request(method, "/x")


async def test_a_post_is_not_repeated(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A POST that may have been done is not repeated, whatever the policy says of invokes, and the error says so."""
    httpx_mock.add_exception(httpx.ReadError("It broke."))
    async with make_client(retry_policy=RetryPolicy(invokes="always", initial_delay=0)) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.request("POST", "/x", json={})
    assert caught.value.may_have_run is True
    assert caught.value.hint == "It may have been done all the same: look before you repeat the call."


@pytest.mark.parametrize("failure", [None, 502])
async def test_deleted_at_the_first_attempt(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, failure: int | None
) -> None:
    """When a repeated DELETE finds nothing, the error says that an attempt before it may have deleted it."""
    async with make_client(retry_policy=AT_ONCE) as client:
        if failure is None:
            httpx_mock.add_exception(httpx.ReadError("It broke."))
        else:
            httpx_mock.add_response(status_code=failure)
        httpx_mock.add_response(status_code=404, json={"error": "Not found"})
        httpx_mock.add_response(status_code=404, json={"error": "Not found"})
        with pytest.raises(NotFoundError) as caught:
            await client.request("DELETE", "/x")
        assert (
            "An attempt before this one failed on the way, and may have deleted it all the same." in caught.value.hint
        )
        with pytest.raises(NotFoundError) as caught:
            await client.request("DELETE", "/x")
        assert "deleted" not in caught.value.hint


@pytest.mark.parametrize(
    ("method", "path", "given", "message"),
    [
        ("", "/x", {}, "method: '' is not allowed."),
        ("GET /", "/x", {}, "method: 'GET /' is not allowed."),
        (None, "/x", {}, "method: None is not allowed."),
        ("GET", "x", {}, "path: it is not a path below base_url."),
        ("GET", "//evil.example/x", {}, "path: it is not a path below base_url."),
        ("GET", "https://evil.example/x", {}, "path: it is not a path below base_url."),
        ("GET", "/x?a=1", {}, "path: it is not a path below base_url."),
        ("GET", "/x#a", {}, "path: it is not a path below base_url."),
        ("GET", "/a b", {}, "path: it is not a path below base_url."),
        ("GET", "/a\r\nb", {}, "path: it is not a path below base_url."),
        ("GET", "/a\\b", {}, "path: it is not a path below base_url."),
        ("GET", "/a/../b", {}, 'path: "." and ".." are not allowed in it.'),
        ("GET", "/a/.", {}, 'path: "." and ".." are not allowed in it.'),
        ("GET", None, {}, "path: None is not allowed."),
        ("POST", "/x", {"json": float("nan")}, "json: nan is not a number of JSON."),
        ("POST", "/x", {"json": {"a": b""}}, "json.a: bytes are not JSON."),
        ("GET", "/x", {"params": []}, "params: a list is not allowed."),
        ("GET", "/x", {"params": {"a": {}}}, "params.a: a dict is not allowed."),
        ("GET", "/x", {"params": {1: "a"}}, "params: an int is not allowed."),
        ("GET", "/x", {"cast_to": httpx.Response}, "cast_to: pydantic cannot read this type."),
        ("POST", "/x", {"cast_to": "Missing"}, "cast_to: pydantic cannot read this type."),
        ("POST", "/x", {"cast_to": Unfinished}, "cast_to: pydantic cannot read this type."),
    ],
)
async def test_wrong_arguments(
    make_client: Callable[..., Any], method: Any, path: Any, given: dict[str, Any], message: str
) -> None:
    """A call by hand that would go elsewhere, or cannot be sent as it is, is refused before anything is sent."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.request(method, path, **given)
    assert caught.value.message.startswith(message)


# --- the catalog of error codes -----------------------------------------------------------------------


async def test_error_codes(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """The live catalog is read without the key, typed, in the language asked for."""
    entry = {
        "code": "model_deprecated",
        "status": 422,
        "field": "error_code",
        "message_key": "errors.codes.model_deprecated",
        "message": 'The selected model "%{model}" is no longer available.',
        "field_aliases": [],
        "category": "runtime",
        "client_action_key": "errors.client_actions.model_deprecated",
        "client_action": "Choose an active model and retry.",
    }
    answer = {
        "locale": "es",
        "default_field": "error_code",
        "compatibility_aliases": ["code"],
        "codes": [entry, {"code": "new"}],
    }
    httpx_mock.add_response(url=f"{BASE}/error_codes?locale=es", json=answer)
    httpx_mock.add_response(url=f"{BASE}/error_codes", json=answer)
    async with make_client() as client:
        catalog = await client.error_codes(locale="es")
        await client.error_codes()
    assert not [request for request in httpx_mock.get_requests() if "Authorization" in request.headers]
    assert isinstance(catalog, ErrorCatalog)
    assert ("es", "error_code", ("code",)) == (
        catalog.locale,
        catalog.default_field,
        catalog.compatibility_aliases,
    )
    found = catalog.find("model_deprecated")
    assert entry == found.to_dict()
    assert (422, "Choose an active model and retry.") == (found.status, found.client_action)
    assert catalog.find("unheard") is None


# --- hive agents --------------------------------------------------------------------------------------


async def test_hive_agent(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A hive agent's run sends the documented body, and its reply verifies the callback."""
    answer = {"run_id": "r", "request_id": "req_1", "status": "pending", "webhook_secret": "whsec_0123456789"}
    httpx_mock.add_response(method="POST", url=f"{BASE}/hive-agent/invoke", status_code=202, json=answer)
    async with make_client() as client:
        run = await client.invoke_hive_agent(
            hive_agent="hive",
            objective="Find out",
            callback_url="https://example.com/callback",
            sources={"website_urls": ("https://example.com",), "asset_ids": None},
            metadata={"plan": "pro"},
            unattended=True,
            budget_policy="proceed_to_cap",
        )
    [request] = httpx_mock.get_requests()
    assert {
        "hive_agent": "hive",
        "objective": "Find out",
        "async": {"enabled": True, "callback_url": "https://example.com/callback"},
        "sources": {"website_urls": ["https://example.com"]},
        "metadata": {"plan": "pro"},
        "unattended": True,
        "budget_policy": "proceed_to_cap",
    } == json.loads(request.content)
    assert isinstance(run, HiveAgentRun)
    assert answer == run.to_dict()
    assert "whsec_" not in repr(run)
    body = b'{"event_type": "hive_agent.completed", "request_id": "req_1", "data": {}}'
    verifier = run.callback_verifier()
    assert verifier.unwrap(body, {"X-Fetch-Hive-Signature": verifier.sign(body)}).request_id == "req_1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hive_agent": ""}, "hive_agent: it is empty."),
        ({"objective": " "}, "objective: it is empty."),
        ({"callback_url": ""}, "callback_url: it is empty."),
        ({"callback_url": None}, "callback_url: None is not allowed."),
        ({"sources": []}, "sources: a list is not allowed."),
        ({"sources": {"urls": []}}, "sources.urls: there is no such source."),
        ({"sources": {"asset_ids": "a"}}, "sources.asset_ids: a str is not allowed."),
        ({"sources": {"asset_ids": [1]}}, "sources.asset_ids[0]: an int is not allowed."),
        ({"unattended": "yes"}, "unattended: a str is not allowed."),
        ({"budget_policy": "go"}, "budget_policy: 'go' is not allowed."),
    ],
)
async def test_wrong_hive_agents(make_client: Callable[..., Any], given: dict[str, Any], message: str) -> None:
    """What the service must refuse is refused before anything is sent; a missing callback is a ValueError as ever."""
    least = {"hive_agent": "hive", "objective": "Find out", "callback_url": "https://example.com/callback"}
    async with make_client() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.invoke_hive_agent(**{**least, **given})
    assert message == caught.value.message
    assert isinstance(caught.value, ValueError)


# --- what is told of each answer, and workspaces ------------------------------------------------------


async def test_http_response(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A result has the status, headers and body of its answer, also after pickle, and its repr shows no body."""
    httpx_mock.add_response(json={"response": "s3cret"}, headers={"X-RateLimit-Remaining": "9"})
    async with make_client() as client:
        result = await client.invoke_prompt(deployment="d")
    answer = pickle.loads(pickle.dumps(result)).http_response
    assert (200, "9", {"response": "s3cret"}) == (
        answer.status_code,
        answer.headers["x-ratelimit-remaining"],
        answer.json(),
    )
    assert "s3cret" not in repr(answer)
    assert b"fhk_test" not in pickle.dumps(result)
    assert PromptResult(response="by hand").http_response is None


def test_workspaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workspace comes from the argument, else from the environment, and `with_options` changes it."""
    monkeypatch.setenv("FETCH_HIVE_WORKSPACE_ID", " from-environment\r\n")
    with FetchHive("fhk_x") as client, FetchHive("fhk_x", workspace_id="given") as other:
        workspaces = [one._settings.workspace_id for one in (client, other, other.with_options(workspace_id="new"))]
    assert ["from-environment", "given", "new"] == workspaces


@pytest.mark.parametrize("workspace_id", ["", "..", 5, " "])
def test_wrong_workspaces(workspace_id: Any) -> None:
    """A workspace that cannot be one is refused when the client is made."""
    with pytest.raises(ConfigurationError, match=r"^workspace_id: "):
        FetchHive("fhk_x", workspace_id=workspace_id)


async def test_lists_compare_like_lists(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A list of results is equal to any list of the same, and to nothing that is no list."""
    httpx_mock.add_response(json=[{"id": "a"}, {"id": "b"}])
    async with make_client() as client:
        models = await client.models.list()
    assert models == [{"id": "a"}, {"id": "b"}] == models.to_list()
    assert models == tuple(models)
    assert models != [{"id": "a"}]
    assert models != "ab"
    assert ["b"] == [model.id for model in models[1:]]
