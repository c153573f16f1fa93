"""Runs of workflows by their UUID."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import InvalidRequestError, NotFoundError
from fetch_hive_sdk.resources import workflow_runs
from fetch_hive_sdk.resources.workflow_runs import WorkflowRunRecord

pytestmark = pytest.mark.anyio

ID = "0190aaaa-0000-7000-8000-000000000001"
RUN = {
    "id": ID,
    "started_at": "2025-06-01T00:00:00Z",
    "ended_at": "2025-06-01T00:00:03Z",
    "start_inputs": {"topic": "bees"},
    "error_message": None,
    "duration": 2.5,
    "total_charge": "0.0031",
    "total_tokens": 120,
    "output_content": "Bees are insects.",
    "async_webhook_url": None,
    "token": "t0ken",
    "run_status": "completed",
    "run_async": False,
}


@pytest.mark.parametrize("body", [{"workflow_run": RUN}, RUN], ids=["wrapped", "flat"])
async def test_get(make_client: Callable[..., Any], httpx_mock: HTTPXMock, body: dict[str, Any]) -> None:
    """A look-up is one GET with the key, and its record has every field that was ever documented."""
    httpx_mock.add_response(url=f"https://api.fetchhive.com/v1/workflow_runs/{ID}", json=body)
    async with make_client() as client:
        run = await client.workflow_runs.get(UUID(ID))
    [request] = httpx_mock.get_requests()
    assert ("GET", b"", "Bearer fhk_test") == (request.method, request.content, request.headers["Authorization"])
    assert isinstance(run, WorkflowRunRecord)
    assert RUN == {name: getattr(run, name) for name in WorkflowRunRecord.model_fields} == run.to_dict()
    assert (200, body) == (run.http_response.status_code, run.http_response.json())


def test_odd_fields() -> None:
    """A field that is missing, new or of another type breaks nothing, and the JSON is there as it came."""
    run = WorkflowRunRecord.from_json(b'{"total_charge": 0.5, "duration": "1.5", "start_inputs": [], "new": 1}')

    assert ("0.5", 1.5, None, "", None) == (
        run.total_charge,
        run.duration,
        run.start_inputs,
        run.run_status,
        run.ended_at,
    )
    assert {"total_charge": 0.5, "duration": "1.5", "start_inputs": [], "new": 1} == run


def test_the_token_is_not_shown() -> None:
    """A run's token, which may open something, is not in what is printed of the run."""
    run = WorkflowRunRecord.model_validate(RUN)

    assert "t0ken" not in repr(run) + str(run)
    assert "t0ken" == run.token == run["token"]


async def test_ids(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """Whatever is in an id stays one segment of the path, and an empty one is refused."""
    httpx_mock.add_response(json={"workflow_run": RUN})
    async with make_client() as client:
        await client.workflow_runs.get("a/b?c é")
        with pytest.raises(InvalidRequestError, match="workflow_run_id: it is empty"):
            await client.workflow_runs.get("")
    [request] = httpx_mock.get_requests()
    assert b"/v1/workflow_runs/a%2Fb%3Fc%20%C3%A9" == request.url.raw_path


async def test_no_such_call(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """A service that has no such call or run any more answers 404, which is a NotFoundError."""
    httpx_mock.add_response(404, json={"error": "Prompt workflow run not found"})
    async with make_client() as client:
        with pytest.raises(NotFoundError, match="Prompt workflow run not found"):
            await client.workflow_runs.get(ID)


def test_effect() -> None:
    """A look-up is safe to repeat."""
    assert "nothing" == workflow_runs.get(ID).effect
