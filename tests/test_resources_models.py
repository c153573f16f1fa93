"""Models: what the call sends, and every shape of list that it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import RetryPolicy, UnexpectedResponseError
from fetch_hive_sdk.resources.base import ResultList
from fetch_hive_sdk.resources.models import Model

pytestmark = pytest.mark.anyio

MODEL = {
    "id": "0190aaaa-0000-7000-8000-000000000001",
    "name": "Model X",
    "slug": "model-x",
    "provider": "openai",
    "provider_name": "OpenAI",
    "context_limit": 128000,
    "model_type": "llm",
    "is_image_generation": False,
    "is_vision": True,
    "is_reasoning": True,
    "is_tool_calling": True,
    "is_json_schema": True,
}


@pytest.mark.parametrize("body", [[MODEL, {}], {"models": [MODEL, {}]}, {"data": [MODEL, {}]}])
async def test_list(make_client: Callable[..., Any], httpx_mock: HTTPXMock, body: Any) -> None:
    """The list is one GET with the key, bare as documented or in an envelope, and its models have every field."""
    httpx_mock.add_response(json=body)
    async with make_client() as client:
        models = await client.models.list()
    [request] = httpx_mock.get_requests()
    assert ("GET", "https://api.fetchhive.com/v1/public/models", b"") == (
        request.method,
        str(request.url),
        request.content,
    )
    assert "Bearer fhk_test" == request.headers["Authorization"]
    assert (ResultList, Model) == (type(models), type(models[0]))
    assert [MODEL, {}] == models.to_list()
    assert MODEL == {name: getattr(models[0], name) for name in MODEL}
    assert ("", None, False) == (models[1].id, models[1].context_limit, models[1].is_vision)
    assert body == models.http_response.json()


async def test_no_models(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A workspace without models has an empty list."""
    httpx_mock.add_response(json=[])
    async with make_client() as client:
        assert [] == await client.models.list()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "it has no list of models"),
        ({"data": None}, "it has no list of data"),
        ("x", "it has no list of models"),
        ([5], "something in its list is no object"),
    ],
)
async def test_no_list(make_client: Callable[..., Any], httpx_mock: HTTPXMock, body: Any, problem: str) -> None:
    """An answer that is no list of objects is named as such."""
    httpx_mock.add_response(json=body)
    async with make_client() as client:
        with pytest.raises(UnexpectedResponseError, match=problem) as caught:
            await client.models.list()
    assert caught.value.may_have_run is False


async def test_repeated(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """After a broken connection and a 502 the models are asked for again."""
    httpx_mock.add_exception(httpx.ReadError("broken"))
    httpx_mock.add_response(502)
    httpx_mock.add_response(json=[MODEL])
    async with make_client(retry_policy=RetryPolicy(initial_delay=0)) as client:
        assert [MODEL] == await client.models.list()
